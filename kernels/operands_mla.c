#include <math.h>

#include "kernels/element.h"
#include "kernels/operands_build.h"

static struct operand_span mla_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct mla_args *a = &o->args[copy].mla;
    int64_t rows = 0;
    (void)op;
    for (int s = 0; s < a->n_seqs; s++)
        rows += a->seqs[s].q_len;
    return i ? span_none() : span_f32(a->out, rows * a->ldo);
}

/* Cache and weights come in copies together: a layer has one of each. */
void build_mla(struct builder *b)
{
    const int64_t *dim = b->op->dim;
    bool decode = b->op->kind == OP_MLA_DECODE;
    int64_t n_seqs = decode ? dim[0] : 1, q_len = decode ? 1 : dim[0], heads = dim[2];
    int64_t rank = dim[3], rope = dim[4], nope = dim[5] / 2, v = dim[5] - nope;
    int64_t per_seq = (dim[1] + CASE_BLOCK_TOKENS - 1) / CASE_BLOCK_TOKENS;
    int64_t block = CASE_BLOCK_TOKENS * (rank + rope), weights = heads * dim[5] * rank;
    int64_t one = (n_seqs * per_seq * block + weights) * dtype_bytes(b->op->dtype);
    int count = build_copies(b, one, 2);
    int64_t n_blocks = count * n_seqs * per_seq;
    struct mla_args args = {.q = build_floats(b, n_seqs * q_len * heads * (nope + rope)),
            .ldq = heads * (nope + rope),
            .nope = nope,
            .dtype = b->op->dtype,
            .out = build_output(b, n_seqs * q_len * heads * v * 4),
            .ldo = heads * v,
            .cache = {.k = build_random(b, b->op->dtype, n_blocks * block, 1),
                    .dtype = b->op->dtype,
                    .block_tokens = CASE_BLOCK_TOKENS},
            .n_seqs = (int)n_seqs,
            .scale = (float)(1 / sqrt((double)(nope + rope)))};
    const struct attention_seq *seqs = build_seqs(b, count * n_seqs, n_seqs, q_len, dim[1]);
    char *kv_b = build_random(b, args.dtype, count * weights, build_scale(rank));
    for (int64_t i = 0; i < count; i++) {
        args.kv_b = kv_b ? element_at(kv_b, args.dtype, i * weights) : NULL;
        args.seqs = b->dev ? seqs + i * n_seqs : NULL;
        b->out->args[i].mla = args;
    }
    b->out->outputs = mla_outputs;
}

/* The rotated queries, then the latent rows that were stored. */
static struct operand_span mla_rope_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct mla_rope_args *a = &o->args[copy].mla_rope;
    int64_t width = op->dim[2] + op->dim[3];
    if (i == 0)
        return span_f32(a->q, op->dim[0] * a->ldq);
    if (i > op->dim[0])
        return span_none();
    return (struct operand_span){
            .data = element_at(a->cache.k, a->cache.dtype, a->slots[i - 1] * width),
            .dtype = a->cache.dtype,
            .count = width};
}

void build_mla_rope(struct builder *b)
{
    const int64_t *dim = b->op->dim;
    int64_t m = dim[0], heads = dim[1], rank = dim[2], rope = dim[3], nope = dim[4];
    int64_t row = (rank + rope) * dtype_bytes(b->op->dtype);
    int count = build_copies(b, m * row, 2);
    int64_t blocks = (m * count + CASE_BLOCK_TOKENS - 1) / CASE_BLOCK_TOKENS;
    int32_t *positions = build_take(b, m * 4), *slots = build_take(b, m * count * 4);
    float *inv_freq = build_take(b, rope / 2 * 4);
    for (int64_t i = 0; inv_freq && i < rope / 2; i++)
        inv_freq[i] = (float)pow(1e4, -2.0 * (double)i / (double)rope);
    for (int64_t i = 0; positions && i < m; i++)
        positions[i] = (int32_t)build_below(b, 32768);
    for (int64_t i = 0; slots && i < m * count; i++)
        slots[i] = (int32_t)i;
    struct mla_rope_args args = {.q = build_floats(b, m * heads * (nope + rope)),
            .ldq = heads * (nope + rope),
            .latent = build_floats(b, m * (rank + rope)),
            .ldl = rank + rope,
            .positions = positions,
            .inv_freq = inv_freq,
            .rope_scale = 1,
            .gain = build_floats(b, rank),
            .eps = 1e-6f,
            .cache = {.k = build_take(b, blocks * CASE_BLOCK_TOKENS * row),
                    .dtype = b->op->dtype,
                    .block_tokens = CASE_BLOCK_TOKENS}};
    for (int i = 0; i < count; i++) {
        args.slots = slots ? slots + m * i : NULL;
        b->out->args[i].mla_rope = args;
    }
    b->out->outputs = mla_rope_outputs;
}
