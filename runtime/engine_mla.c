/*
 * Multi-head latent attention between the norm and the output projection. The cache keeps one latent row for all
 * heads, so every rank of a tensor group makes the same row and keeps it whole.
 */
#include "models/rope.h"
#include "runtime/engine.h"

/* Not the model's: transformers and DeepSeek's own code leave these norms at their default. */
#define MLA_NORM_EPS 1e-6f

struct mla {
    int64_t heads, rank, rope, nope, v, q_rank;
    int64_t query; /* of all heads: heads (nope + rope) */
    int64_t down;  /* elements of a row of WORK_QKV */
    float *q;      /* [rows, ldq] */
    int64_t ldq;
};

static struct mla mla_of(const struct engine *engine)
{
    const struct model *model = engine->model;
    struct mla m = {.heads = model->heads / engine->place->split.tp,
            .rank = model->mla.kv_rank,
            .rope = model->mla.rope_dim,
            .nope = model->mla.nope_dim,
            .v = model->mla.v_dim,
            .q_rank = model->mla.q_rank};

    m.query = m.heads * (m.nope + m.rope);
    m.down = (m.q_rank > 0 ? m.q_rank : m.query) + m.rank + m.rope;
    m.q = engine->work[m.q_rank > 0 ? WORK_Q : WORK_QKV];
    m.ldq = m.q_rank > 0 ? m.query : m.down;
    return m;
}

/* Queries out of their latent. */
static void raise_queries(
        struct engine *engine, const struct mla *m, const struct layer_weights *layer)
{
    struct op op = engine_op(engine, OP_RMSNORM, DTYPE_F32);
    struct op_args args = {.rmsnorm = {.x = engine->work[WORK_QKV],
                                   .ldx = m->down,
                                   .gain = layer->buffer[WEIGHT_Q_GAIN],
                                   .out = engine->work[WORK_Q_LATENT],
                                   .eps = MLA_NORM_EPS}};

    op.dim[0] = engine->step.rows;
    op.dim[1] = m->q_rank;
    engine_do(engine, &op, &args);
    engine_gemm(engine, m->query, m->q_rank,
            &(struct gemm_args){.x = engine->work[WORK_Q_LATENT],
                    .ldx = m->q_rank,
                    .w = layer->buffer[WEIGHT_Q_UP],
                    .y = m->q,
                    .ldy = m->query});
}

static void do_rope(struct engine *engine, const struct mla *m, const struct layer_weights *layer,
        const struct kv_layer *cache)
{
    struct op op = engine_op(engine, OP_MLA_ROPE, engine->place->split.kv_dtype);
    const int32_t *inputs = engine->work[WORK_INPUTS];
    int64_t most = engine->place->max_rows;
    struct op_args args = {
            .mla_rope = {
                    .q = m->q,
                    .ldq = m->ldq,
                    .latent = (float *)engine->work[WORK_QKV] + (m->down - m->rank - m->rope),
                    .ldl = m->down,
                    .positions = inputs + most,
                    .slots = inputs + 2 * most,
                    .inv_freq = engine->work[WORK_INV_FREQ],
                    .rope_scale = (float)rope_scale(engine->model),
                    .gain = layer->buffer[WEIGHT_K_GAIN],
                    .eps = MLA_NORM_EPS,
                    .cache = *cache,
            }};

    op.dim[0] = engine->step.rows;
    op.dim[1] = m->heads;
    op.dim[2] = m->rank;
    op.dim[3] = m->rope;
    op.dim[4] = m->nope;
    engine_do(engine, &op, &args);
}

static void attend(struct engine *engine, const struct mla *m, const struct layer_weights *layer,
        const struct kv_layer *cache)
{
    const struct engine_step *step = &engine->step;
    struct op op = engine_op(engine, OP_MLA_PREFILL, engine->place->split.kv_dtype);
    struct op_args args = {.mla = {
                                   .q = m->q,
                                   .ldq = m->ldq,
                                   .nope = m->nope,
                                   .kv_b = layer->buffer[WEIGHT_KV_UP],
                                   .dtype = engine->place->split.dtype,
                                   .out = engine->work[WORK_ATTENTION],
                                   .ldo = m->heads * m->v,
                                   .cache = *cache,
                                   .n_seqs = 1,
                                   .scale = (float)rope_attention_scale(engine->model),
                           }};

    op.dim[2] = m->heads;
    op.dim[3] = m->rank;
    op.dim[4] = m->rope;
    op.dim[5] = m->nope + m->v;
    for (int i = step->n_decode; i < step->n_items; i++) {
        op.dim[0] = engine->seqs[i].q_len;
        op.dim[1] = engine->seqs[i].kv_len;
        args.mla.seqs = &engine->op_seqs[i];
        engine_do(engine, &op, &args);
    }
    if (step->n_decode == 0)
        return;
    op.kind = OP_MLA_DECODE;
    op.dim[0] = step->n_decode;
    op.dim[1] = (step->decode_kv_tokens + step->n_decode - 1) / step->n_decode;
    args.mla.seqs = engine->op_seqs;
    args.mla.n_seqs = step->n_decode;
    engine_do(engine, &op, &args);
}

void engine_mla(struct engine *engine, int at, const struct layer_weights *layer)
{
    struct mla m = mla_of(engine);

    engine_gemm(engine, m.down, engine->model->hidden,
            &(struct gemm_args){.x = engine->work[WORK_H],
                    .ldx = engine->model->hidden,
                    .w = layer->buffer[WEIGHT_QKV],
                    .y = engine->work[WORK_QKV],
                    .ldy = m.down});
    if (m.q_rank > 0)
        raise_queries(engine, &m, layer);
    do_rope(engine, &m, layer, &engine->cache.layers[at]);
    attend(engine, &m, layer, &engine->cache.layers[at]);
}
