/* The end of the last stage: rows that yield tokens, final norm, head, and the choice. */
#include <string.h>

#include "runtime/engine_gpu.h"
#include "runtime/sample.h"

/* The last row of every item that yields a token, side by side. */
static void gather_rows(struct engine *engine)
{
    int64_t n = engine->step.n_logits, hidden = engine->model->hidden;
    void **work = engine->work;

    dev_gather(engine->dev, work[WORK_LAST_X], work[WORK_X], engine->op_last_rows, n, hidden);
    dev_gather(engine->dev, work[WORK_LAST_R], work[WORK_R], engine->op_last_rows, n, hidden);
}

/* A work buffer as the host reads it. */
static void *host_copy(struct engine *engine, int buffer, int64_t bytes)
{
    return engine->gpu ? engine_gpu_fetch(engine, buffer, bytes) : engine->work[buffer];
}

static void gather(struct engine *engine, const void *in, int64_t bytes, bool metered)
{
    struct op op = engine_op(engine, OP_ALL_GATHER, DTYPE_F32);

    op.degree = coll_size(engine->place->tp_coll);
    op.nodes = graph_nodes(&engine->place->split, op.degree);
    op.dim[0] = bytes;
    if (engine->gpu)
        engine_gpu_all_gather(engine, engine->place->tp_coll, in, bytes);
    else
        coll_all_gather(engine->place->tp_coll, in, engine->work[WORK_GATHER], bytes);
    if (metered)
        engine_meter(engine, &op);
    else
        meter_mark(engine->meter);
}

/* The largest of the ranks' largest; ranks are in order of vocabulary, so the first wins a tie. */
static void choose(struct engine *engine)
{
    int64_t rows = engine->step.n_logits;
    int64_t n = coll_size(engine->place->tp_coll);
    int32_t *tokens = engine->work[WORK_SAMPLED];

    gather(engine, tokens, rows * 8, true);
    const int32_t *all = host_copy(engine, WORK_GATHER, n * rows * 8);
    if (engine->gpu)
        tokens = engine->inputs; /* not of the GPU, and read already */
    for (int64_t i = 0; i < rows; i++) {
        float best = 0;

        for (int64_t p = 0; p < n; p++) {
            float value = 0;

            memcpy(&value, &all[p * 2 * rows + rows + i], sizeof value);
            if (p > 0 && value <= best)
                continue;
            best = value;
            tokens[i] = all[p * 2 * rows + i];
        }
    }
    if (engine->gpu)
        dev_write(engine->dev, engine->work[WORK_SAMPLED], tokens, rows * 4);
}

/* The sampled rows where the host reads them, over all ranks' parts of the vocabulary. */
static const float *all_logits(struct engine *engine)
{
    int64_t bytes = engine->step.n_logits * engine->model->vocab * (int64_t)sizeof(float);

    return host_copy(engine, engine->place->split.tp > 1 ? WORK_GATHER : WORK_LOGITS, bytes);
}

/* Where row i of them lies. */
static struct sample_row row_at(const struct engine *engine, const float *logits, int i)
{
    int parts = engine->place->split.tp;
    int64_t each = engine->model->vocab / parts;

    return (struct sample_row){
            .logits = logits + i * each,
            .parts = parts,
            .stride = each * engine->step.n_logits,
    };
}

static void draw(struct engine *engine)
{
    const struct engine_step *step = &engine->step;
    int32_t *tokens = engine->gpu ? engine->inputs : engine->work[WORK_SAMPLED];
    const float *logits = all_logits(engine);
    int n = 0;

    for (int i = 0; i < step->n_items; i++) {
        if (!step->items[i].samples)
            continue;
        struct sample_row row = row_at(engine, logits, n);

        row.seed = step->items[i].seed;
        row.position = step->items[i].start + step->items[i].n_tokens;
        engine->rows[n++] = row;
    }
    sampler_draw(engine->sampler, tokens, engine->rows, n);
    if (engine->gpu)
        dev_write(engine->dev, engine->work[WORK_SAMPLED], tokens, n * (int64_t)sizeof *tokens);
}

void engine_head(struct engine *engine)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    int64_t rows = engine->step.n_logits, vocab = model->vocab / place->split.tp;
    void **work = engine->work;
    struct op head = engine_op(engine, OP_LM_HEAD, place->split.dtype);
    struct op sample = engine_op(engine, OP_SAMPLE, DTYPE_F32);

    if (rows == 0)
        return;
    gather_rows(engine);
    engine_norm(engine, rows, work[WORK_LAST_X], work[WORK_LAST_R], engine->weights.final_norm,
            work[WORK_LAST_H]);
    head.dim[0] = sample.dim[0] = rows;
    head.dim[1] = sample.dim[1] = vocab;
    head.dim[2] = model->hidden;
    engine_do(engine, &head,
            &(struct op_args){.gemm = {.x = work[WORK_LAST_H],
                                      .ldx = model->hidden,
                                      .w = engine->weights.lm_head,
                                      .y = work[WORK_LOGITS],
                                      .ldy = vocab}});
    if (engine->sampler) {
        if (place->split.tp > 1)
            gather(engine, work[WORK_LOGITS], rows * vocab * 4, true);
        draw(engine);
        engine_meter(engine, &sample);
        return;
    }
    engine_do(engine, &sample,
            &(struct op_args){.sample = {.logits = work[WORK_LOGITS],
                                      .ld = vocab,
                                      .first = place->tp_rank * vocab,
                                      .token = work[WORK_SAMPLED],
                                      .value = (float *)work[WORK_SAMPLED] + rows}});
    if (place->split.tp > 1)
        choose(engine);
    if (engine->keep_logits && place->split.tp > 1)
        gather(engine, work[WORK_LOGITS], rows * vocab * 4, false);
}

const int32_t *engine_tokens(struct engine *engine)
{
    return host_copy(engine, WORK_SAMPLED, 4 * (int64_t)engine->step.n_logits);
}

void engine_logits(struct engine *engine, int i, float *out)
{
    struct sample_row row = row_at(engine, all_logits(engine), i);
    int64_t each = engine->model->vocab / row.parts;

    for (int p = 0; p < row.parts; p++)
        memcpy(out + p * each, row.logits + p * row.stride, (size_t)each * sizeof *out);
}
