/* The end of the last stage: rows that yield tokens, final norm, head, and the choice. */
#include <string.h>

#include "runtime/engine.h"
#include "runtime/sample.h"

/* The last row of every item that yields a token, side by side. */
static void gather_rows(struct engine *engine)
{
    const struct engine_step *step = &engine->step;
    size_t row_bytes = (size_t)engine->model->hidden * sizeof(float);
    const char *x = engine->work[WORK_X], *r = engine->work[WORK_R];
    char *to_x = engine->work[WORK_LAST_X], *to_r = engine->work[WORK_LAST_R];
    size_t end = 0;

    for (int i = 0; i < step->n_items; i++) {
        end += (size_t)step->items[i].n_tokens;
        if (!step->items[i].samples)
            continue;
        size_t row = end - 1;
        memcpy(to_x, x + row * row_bytes, row_bytes);
        memcpy(to_r, r + row * row_bytes, row_bytes);
        to_x += row_bytes;
        to_r += row_bytes;
    }
}

static void gather(struct engine *engine, const void *in, int64_t bytes, bool metered)
{
    struct op op = engine_op(engine, OP_ALL_GATHER, DTYPE_F32);

    op.degree = coll_size(engine->place->tp_coll);
    op.nodes = graph_nodes(&engine->place->split, op.degree);
    op.dim[0] = bytes;
    coll_all_gather(engine->place->tp_coll, in, engine->work[WORK_GATHER], bytes);
    if (metered)
        meter_op(engine->meter, &op);
    else
        meter_mark(engine->meter);
}

/* The largest of the ranks' largest; ranks are in order of vocabulary, so the first wins a tie. */
static void choose(struct engine *engine)
{
    int64_t rows = engine->step.n_logits;
    int64_t n = coll_size(engine->place->tp_coll);
    int32_t *tokens = engine->work[WORK_SAMPLED];
    const int32_t *all = engine->work[WORK_GATHER];

    gather(engine, tokens, rows * 8, true);
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
}

/* Where row i of the sampled rows lies, over all ranks' parts of the vocabulary. */
static struct sample_row row_at(const struct engine *engine, int i)
{
    int parts = engine->place->split.tp;
    int64_t each = engine->model->vocab / parts;
    const float *logits = engine->work[parts > 1 ? WORK_GATHER : WORK_LOGITS];

    return (struct sample_row){
            .logits = logits + i * each,
            .parts = parts,
            .stride = each * engine->step.n_logits,
    };
}

static void draw(struct engine *engine)
{
    const struct engine_step *step = &engine->step;
    int32_t *tokens = engine->work[WORK_SAMPLED];
    int n = 0;

    for (int i = 0; i < step->n_items; i++) {
        if (!step->items[i].samples)
            continue;
        struct sample_row row = row_at(engine, n);

        row.seed = step->items[i].seed;
        row.position = step->items[i].start + step->items[i].n_tokens;
        engine->rows[n++] = row;
    }
    sampler_draw(engine->sampler, tokens, engine->rows, n);
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
        meter_op(engine->meter, &sample);
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

const int32_t *engine_tokens(const struct engine *engine)
{
    return engine->work[WORK_SAMPLED];
}

void engine_logits(const struct engine *engine, int i, float *out)
{
    struct sample_row row = row_at(engine, i);
    int64_t each = engine->model->vocab / row.parts;

    for (int p = 0; p < row.parts; p++)
        memcpy(out + p * each, row.logits + p * row.stride, (size_t)each * sizeof *out);
}
