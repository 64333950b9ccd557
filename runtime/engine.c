#include "runtime/engine.h"

#include <stdlib.h>
#include <string.h>

#include "models/rope.h"
#include "runtime/engine_gpu.h"

struct op engine_op(const struct engine *engine, enum op_kind kind, enum dtype dtype)
{
    return (struct op){.kind = kind,
            .dtype = dtype,
            .degree = engine->place->split.threads,
            .busy = engine->place->split.busy};
}

void engine_do(struct engine *engine, const struct op *op, const struct op_args *args)
{
    if (op->dim[0] <= 0)
        return;
    op_run(engine->dev, op, args);
    engine_meter(engine, op);
}

/* A GPU is waited for: only then is the time until now that of the op. Its failures are looked for behind the step. */
void engine_meter(struct engine *engine, const struct op *op)
{
    struct err ignored = {0};

    if (!engine->timed)
        return;
    if (engine->gpu && !dev_finish(engine->dev, &ignored))
        return;
    meter_op(engine->meter, op);
}

void engine_all_reduce(struct engine *engine, struct coll *coll, float *data, int64_t count)
{
    struct op op = engine_op(engine, OP_ALL_REDUCE, DTYPE_F32);

    if (coll_size(coll) == 1 || count == 0)
        return;
    op.degree = coll_size(coll);
    op.nodes = graph_nodes(&engine->place->split, op.degree);
    op.dim[0] = count * (int64_t)sizeof(float);
    if (engine->gpu)
        engine_gpu_all_reduce(engine, coll, data, count);
    else
        coll_all_reduce(coll, data, count);
    engine_meter(engine, &op);
}

void engine_norm(struct engine *engine, int64_t rows, void *x, const void *residual,
        const void *gain, void *out)
{
    struct op op = engine_op(engine, OP_RMSNORM, DTYPE_F32);
    struct op_args args = {.rmsnorm = {x, residual, gain, out, (float)engine->model->norm_eps}};

    op.dim[0] = rows;
    op.dim[1] = engine->model->hidden;
    op.dim[2] = residual != NULL;
    engine_do(engine, &op, &args);
}

void engine_gemm(struct engine *engine, int64_t n, int64_t k, const struct gemm_args *gemm)
{
    struct op op = engine_op(engine, OP_GEMM, engine->place->split.dtype);
    struct op_args args = {.gemm = *gemm};

    op.dim[0] = engine->step.rows;
    op.dim[1] = n;
    op.dim[2] = k;
    engine_do(engine, &op, &args);
}

struct heads {
    int64_t q, kv, dim, ld;
};

static struct heads heads_of(const struct engine *engine)
{
    struct slice kv =
            graph_kv_heads(engine->model, engine->place->split.tp, engine->place->tp_rank);
    struct heads h = {.q = engine->model->heads / engine->place->split.tp,
            .kv = kv.end - kv.begin,
            .dim = engine->model->head_dim};

    h.ld = (h.q + 2 * h.kv) * h.dim;
    return h;
}

static void do_rope(struct engine *engine, const struct heads *h, const struct layer_weights *layer,
        const struct kv_layer *cache)
{
    struct op op = engine_op(engine, OP_ROPE, engine->place->split.kv_dtype);
    const int32_t *inputs = engine->work[WORK_INPUTS];
    int64_t most = engine->place->max_rows;
    struct op_args args = {.rope = {
                                   .qkv = engine->work[WORK_QKV],
                                   .ld = h->ld,
                                   .positions = inputs + most,
                                   .slots = inputs + 2 * most,
                                   .inv_freq = engine->work[WORK_INV_FREQ],
                                   .rope_scale = (float)rope_scale(engine->model),
                                   .q_gain = layer->buffer[WEIGHT_Q_GAIN],
                                   .k_gain = layer->buffer[WEIGHT_K_GAIN],
                                   .eps = (float)engine->model->norm_eps,
                                   .cache = *cache,
                           }};

    op.dim[0] = engine->step.rows;
    op.dim[1] = h->q;
    op.dim[2] = h->kv;
    op.dim[3] = h->dim;
    op.dim[4] = engine->model->qk_norm;
    engine_do(engine, &op, &args);
}

/* Keys that a query can see at most, as graph_step counts them. */
static int64_t visible(const struct model_layer *layer, int64_t q_len, int64_t kv_len)
{
    int64_t most = layer->window + q_len - 1;

    return layer->attention == ATTENTION_FULL || layer->window <= 0 || kv_len < most ? kv_len
                                                                                     : most;
}

static void do_attention(struct engine *engine, const struct heads *h,
        const struct model_layer *layer, const struct kv_layer *cache, const float *sinks)
{
    const struct engine_step *step = &engine->step;
    struct op op = engine_op(engine, OP_ATTENTION_PREFILL, engine->place->split.kv_dtype);
    struct op_args args = {.attention = {
                                   .q = engine->work[WORK_QKV],
                                   .ldq = h->ld,
                                   .out = engine->work[WORK_ATTENTION],
                                   .ldo = h->q * h->dim,
                                   .cache = *cache,
                                   .n_seqs = 1,
                                   .scale = (float)rope_attention_scale(engine->model),
                                   .sinks = sinks,
                                   .window = layer->attention == ATTENTION_FULL ? 0 : layer->window,
                           }};

    op.dim[2] = h->q;
    op.dim[3] = h->kv;
    op.dim[4] = h->dim;
    for (int i = step->n_decode; i < step->n_items; i++) {
        const struct attention_seq *seq = &engine->seqs[i];

        op.dim[0] = seq->q_len;
        op.dim[1] = visible(layer, seq->q_len, seq->kv_len);
        args.attention.seqs = &engine->op_seqs[i];
        engine_do(engine, &op, &args);
    }
    if (step->n_decode == 0)
        return;
    op.kind = OP_ATTENTION_DECODE;
    op.dim[0] = step->n_decode;
    op.dim[1] = visible(layer, 1, (step->decode_kv_tokens + step->n_decode - 1) / step->n_decode);
    args.attention.seqs = engine->op_seqs;
    args.attention.n_seqs = step->n_decode;
    engine_do(engine, &op, &args);
}

static void run_gqa(struct engine *engine, int at, const struct layer_weights *layer)
{
    struct heads h = heads_of(engine);

    engine_gemm(engine, h.ld, engine->model->hidden,
            &(struct gemm_args){.x = engine->work[WORK_H],
                    .ldx = engine->model->hidden,
                    .w = layer->buffer[WEIGHT_QKV],
                    .bias = layer->buffer[WEIGHT_QKV_BIAS],
                    .y = engine->work[WORK_QKV],
                    .ldy = h.ld});
    do_rope(engine, &h, layer, &engine->cache.layers[at]);
    do_attention(engine, &h, &engine->model->layers[engine->place->piece.first_layer + at],
            &engine->cache.layers[at], layer->buffer[WEIGHT_SINKS]);
}

static void run_attention(
        struct engine *engine, int at, const struct layer_weights *layer, bool residual)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    bool mla = model->mla.kv_rank > 0;
    int64_t width = model->heads / place->split.tp * (mla ? model->mla.v_dim : model->head_dim);
    void **work = engine->work;

    engine_norm(engine, engine->step.rows, work[WORK_X], residual ? work[WORK_R] : NULL,
            layer->buffer[WEIGHT_ATTN_NORM], work[WORK_H]);
    if (mla)
        engine_mla(engine, at, layer);
    else
        run_gqa(engine, at, layer);
    engine_gemm(engine, model->hidden, width,
            &(struct gemm_args){.x = work[WORK_ATTENTION],
                    .ldx = width,
                    .w = layer->buffer[WEIGHT_O],
                    .bias = place->tp_rank == 0 ? layer->buffer[WEIGHT_O_BIAS] : NULL,
                    .y = work[WORK_R],
                    .ldy = model->hidden,
                    .k_chunks = graph_k_chunks(model->heads) / place->split.tp});
    engine_all_reduce(engine, place->tp_coll, work[WORK_R], engine->step.rows * model->hidden);
}

void engine_mlp(struct engine *engine, const struct layer_weights *layer, int64_t inter)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    int64_t mine = inter / place->split.tp;
    struct op op = engine_op(engine, OP_ACTIVATION, DTYPE_F32);
    void **work = engine->work;
    struct op_args args = {.activation = {work[WORK_GATE_UP], 2 * mine, work[WORK_ACTIVATION]}};

    engine_gemm(engine, 2 * mine, model->hidden,
            &(struct gemm_args){.x = work[WORK_H],
                    .ldx = model->hidden,
                    .w = layer->buffer[WEIGHT_GATE_UP],
                    .y = work[WORK_GATE_UP],
                    .ldy = 2 * mine});
    op.dim[0] = engine->step.rows;
    op.dim[1] = mine;
    engine_do(engine, &op, &args);
    engine_gemm(engine, model->hidden, mine,
            &(struct gemm_args){.x = work[WORK_ACTIVATION],
                    .ldx = mine,
                    .w = layer->buffer[WEIGHT_DOWN],
                    .y = work[WORK_R],
                    .ldy = model->hidden,
                    .k_chunks = graph_k_chunks(inter) / place->split.tp});
}

static void run_embedding(struct engine *engine)
{
    struct op op = engine_op(engine, OP_EMBEDDING, engine->place->split.dtype);
    struct op_args args = {.embedding = {engine->work[WORK_INPUTS], engine->weights.embedding, 0,
                                   engine->model->vocab, engine->work[WORK_X]}};

    op.dim[0] = engine->step.rows;
    op.dim[1] = engine->model->hidden;
    engine_do(engine, &op, &args);
}

static void run_step(struct engine *engine)
{
    const struct place *place = engine->place;
    int n = place->piece.end_layer - place->piece.first_layer;

    if (place->first)
        run_embedding(engine);
    for (int i = 0; i < n; i++) {
        const struct layer_weights *layer = &engine->weights.layers[i];

        run_attention(engine, i, layer, i > 0);
        engine_norm(engine, engine->step.rows, engine->work[WORK_X], engine->work[WORK_R],
                layer->buffer[WEIGHT_MLP_NORM], engine->work[WORK_H]);
        if (engine->model->layers[place->piece.first_layer + i].moe) {
            engine_moe(engine, layer);
            continue;
        }
        engine_mlp(engine, layer, engine->model->inter);
        engine_all_reduce(engine, place->tp_coll, engine->work[WORK_R],
                engine->step.rows * engine->model->hidden);
    }
    if (place->last)
        engine_head(engine);
}

void engine_run(struct engine *engine)
{
    if (engine->gpu)
        engine_gpu_run(engine, run_step);
    else
        run_step(engine);
}

float *engine_arrivals(struct engine *engine, int64_t row)
{
    void *rows = engine->gpu ? engine_gpu_arrivals(engine) : engine->work[WORK_X];

    return (float *)rows + row * engine->model->hidden;
}

void engine_arrived(struct engine *engine, int64_t row, int64_t rows)
{
    int64_t hidden = engine->model->hidden;

    if (engine->gpu)
        dev_write(engine->dev, (float *)engine->work[WORK_X] + row * hidden,
                engine_arrivals(engine, row), rows * hidden * (int64_t)sizeof(float));
}

void engine_output(struct engine *engine, float *out)
{
    const float *x = engine->work[WORK_X], *r = engine->work[WORK_R];
    int64_t n = engine->step.rows * engine->model->hidden;

    if (engine->gpu) {
        dev_add(engine->dev, engine->work[WORK_X], r, n);
        dev_read(engine->dev, out, x, n * (int64_t)sizeof *out);
        return;
    }

    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] + r[i];
}
