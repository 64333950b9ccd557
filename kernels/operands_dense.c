#include <math.h>

#include "kernels/element.h"
#include "kernels/operands_build.h"

static struct operand_span gemm_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    return i ? span_none() : span_f32(o->args[copy].gemm.y, op->dim[0] * op->dim[1]);
}

void build_gemm(struct builder *b)
{
    int64_t m = b->op->dim[0], n = b->op->dim[1], k = b->op->dim[2];
    int count = build_copies(b, build_weight_bytes(b, n, k), 2);
    float *x = build_floats(b, m * k), *y = build_output(b, m * n * 4);
    const float *bias = b->variant ? build_floats(b, n) : NULL;
    for (int i = 0; i < count; i++)
        b->out->args[i].gemm = (struct gemm_args){.x = x,
                .ldx = k,
                .bias = bias,
                .w = build_weights(b, 1, n, k),
                .w_scale = build_scales(b, 1, n, k),
                .y = y,
                .ldy = n};
    b->out->outputs = gemm_outputs;
}

static struct operand_span attention_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct attention_args *a = &o->args[copy].attention;
    int64_t rows = 0;
    for (int s = 0; s < a->n_seqs; s++)
        rows += a->seqs[s].q_len;
    return i ? span_none() : span_f32(a->out, rows * op->dim[2] * op->dim[4]);
}

static int32_t *build_blocks(struct builder *b, int64_t n)
{
    int32_t *order = ARENA_NEW(b->arena, int32_t, b->dev ? n : 1);
    for (int64_t i = 0; b->dev && i < n; i++) {
        int64_t j = build_below(b, i + 1);
        order[i] = order[j];
        order[j] = (int32_t)i;
    }
    return order;
}

struct attention_seq *build_seqs(
        struct builder *b, int64_t n, int64_t n_seqs, int64_t q_len, int64_t kv_len)
{
    int64_t per_seq = (kv_len + CASE_BLOCK_TOKENS - 1) / CASE_BLOCK_TOKENS;
    const int32_t *order = build_blocks(b, n * per_seq);
    struct attention_seq *seqs = ARENA_NEW(b->arena, struct attention_seq, b->dev ? n : 1);
    for (int64_t i = 0; b->dev && i < n; i++)
        seqs[i] = (struct attention_seq){
                .row = i % n_seqs, .q_len = q_len, .kv_len = kv_len, .blocks = order + i * per_seq};
    return seqs;
}

void build_attention(struct builder *b)
{
    const int64_t *dim = b->op->dim;
    bool decode = b->op->kind == OP_ATTENTION_DECODE;
    int64_t n_seqs = decode ? dim[0] : 1, q_len = decode ? 1 : dim[0];
    int64_t per_seq = (dim[1] + CASE_BLOCK_TOKENS - 1) / CASE_BLOCK_TOKENS;
    int64_t block = CASE_BLOCK_TOKENS * dim[3] * dim[4];
    int count = build_copies(b, n_seqs * per_seq * block * 2 * dtype_bytes(b->op->dtype), 2);
    int64_t n_blocks = count * n_seqs * per_seq, width = dim[2] * dim[4];
    const float *q = build_floats(b, n_seqs * q_len * width);
    float *out = build_output(b, n_seqs * q_len * width * 4);
    struct kv_layer cache = {.k = build_random(b, b->op->dtype, n_blocks * block, 1),
            .v = build_random(b, b->op->dtype, n_blocks * block, 1),
            .dtype = b->op->dtype,
            .block_tokens = CASE_BLOCK_TOKENS};
    const struct attention_seq *seqs = build_seqs(b, count * n_seqs, n_seqs, q_len, dim[1]);
    const float *sinks = b->variant & 2 ? build_floats(b, dim[2]) : NULL;
    for (int i = 0; i < count; i++)
        b->out->args[i].attention = (struct attention_args){.q = q,
                .ldq = width,
                .out = out,
                .ldo = width,
                .cache = cache,
                .seqs = b->dev ? seqs + i * n_seqs : NULL,
                .n_seqs = (int)n_seqs,
                .scale = (float)(1 / sqrt((double)dim[4])),
                .window = b->variant & 1 ? dim[1] / 3 + 1 : 0,
                .sinks = sinks};
    b->out->outputs = attention_outputs;
}

static struct operand_span rmsnorm_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct rmsnorm_args *a = &o->args[copy].rmsnorm;
    return i > 1 ? span_none() : span_f32(i ? a->x : a->out, op->dim[0] * op->dim[1]);
}

void build_rmsnorm(struct builder *b)
{
    int64_t n = b->op->dim[0] * b->op->dim[1];
    build_copies(b, 0, 1);
    b->out->args[0].rmsnorm = (struct rmsnorm_args){.x = build_floats(b, n),
            .residual = b->op->dim[2] ? build_floats(b, n) : NULL,
            .gain = build_floats(b, b->op->dim[1]),
            .out = build_output(b, n * 4),
            .eps = 1e-6f};
    b->out->outputs = rmsnorm_outputs;
}

/* The rows, then the k and v of each stored head. */
static struct operand_span rope_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct rope_args *a = &o->args[copy].rope;
    int64_t kv_heads = op->dim[2], head_dim = op->dim[3], at = (i - 1) / 2;
    if (i == 0)
        return span_f32(a->qkv, op->dim[0] * a->ld);
    if (at >= op->dim[0] * kv_heads)
        return span_none();
    int64_t slot = a->slots[at / kv_heads];
    int64_t first =
            ((slot / a->cache.block_tokens * kv_heads + at % kv_heads) * a->cache.block_tokens
                    + slot % a->cache.block_tokens)
            * head_dim;
    return (struct operand_span){
            .data = element_at(i % 2 ? a->cache.k : a->cache.v, a->cache.dtype, first),
            .dtype = a->cache.dtype,
            .count = head_dim};
}

void build_rope(struct builder *b)
{
    const int64_t *dim = b->op->dim;
    int64_t m = dim[0], token = dim[2] * dim[3] * dtype_bytes(b->op->dtype);
    int count = build_copies(b, 2 * m * token, 2);
    int64_t blocks = (m * count + CASE_BLOCK_TOKENS - 1) / CASE_BLOCK_TOKENS;
    int64_t ld = (dim[1] + 2 * dim[2]) * dim[3];
    int32_t *positions = build_take(b, m * 4), *slots = build_take(b, m * count * 4);
    float *inv_freq = build_take(b, dim[3] / 2 * 4);
    for (int64_t i = 0; inv_freq && i < dim[3] / 2; i++)
        inv_freq[i] = (float)pow(1e6, -2.0 * (double)i / (double)dim[3]);
    for (int64_t i = 0; positions && i < m; i++)
        positions[i] = (int32_t)build_below(b, 32768);
    for (int64_t i = 0; slots && i < m * count; i++)
        slots[i] = (int32_t)i;
    struct rope_args args = {.qkv = build_floats(b, m * ld),
            .ld = ld,
            .positions = positions,
            .inv_freq = inv_freq,
            .rope_scale = 1,
            .q_gain = dim[4] ? build_floats(b, dim[3]) : NULL,
            .k_gain = dim[4] ? build_floats(b, dim[3]) : NULL,
            .eps = 1e-6f,
            .cache = {.k = build_take(b, blocks * CASE_BLOCK_TOKENS * token),
                    .v = build_take(b, blocks * CASE_BLOCK_TOKENS * token),
                    .dtype = b->op->dtype,
                    .block_tokens = CASE_BLOCK_TOKENS}};
    for (int i = 0; i < count; i++) {
        b->out->args[i].rope = args;
        b->out->args[i].rope.slots = slots ? slots + m * i : NULL;
    }
    b->out->outputs = rope_outputs;
}

static struct operand_span activation_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    return i ? span_none() : span_f32(o->args[copy].activation.out, op->dim[0] * op->dim[1]);
}

void build_activation(struct builder *b)
{
    int64_t m = b->op->dim[0], n = b->op->dim[1];
    build_copies(b, 0, 1);
    b->out->args[0].activation =
            (struct activation_args){.x = build_random(b, DTYPE_F32, m * 2 * n, 4),
                    .ldx = 2 * n,
                    .out = build_output(b, m * n * 4)};
    b->out->outputs = activation_outputs;
}

static struct operand_span sample_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct sample_args *a = &o->args[copy].sample;
    if (i == 1)
        return span_i32(a->token, op->dim[0]);
    return i ? span_none() : span_f32(a->value, op->dim[0]);
}

void build_sample(struct builder *b)
{
    int64_t m = b->op->dim[0], vocab = b->op->dim[1];
    build_copies(b, 0, 1);
    b->out->args[0].sample = (struct sample_args){.logits = build_floats(b, m * vocab),
            .ld = vocab,
            .token = build_output(b, m * 4),
            .value = build_output(b, m * 4)};
    b->out->outputs = sample_outputs;
}

static struct operand_span copy_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    return i ? span_none() : span_f32(o->args[copy].copy.to, op->dim[0] / 4);
}

void build_copy(struct builder *b)
{
    int64_t n = (b->op->dim[0] + 3) / 4;
    build_copies(b, 0, 1);
    b->out->args[0].copy =
            (struct copy_args){.from = build_floats(b, n), .to = build_output(b, n * 4)};
    b->out->outputs = copy_outputs;
}

static struct operand_span embedding_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    return i ? span_none() : span_f32(o->args[copy].embedding.out, op->dim[0] * op->dim[1]);
}

void build_embedding(struct builder *b)
{
    int64_t m = b->op->dim[0], hidden = b->op->dim[1], row = hidden * dtype_bytes(b->op->dtype);
    int64_t rows = b->cold_bytes / row;
    rows = rows < 1024 ? 1024 : rows > 262144 ? 262144 : rows;
    int count = build_copies(b, m * row, 2);
    int32_t *tokens = build_take(b, m * count * 4);
    for (int64_t i = 0; tokens && i < m * count; i++)
        tokens[i] = (int32_t)build_below(b, rows);
    struct embedding_args args = {.table = build_random(b, b->op->dtype, rows * hidden, 1),
            .rows = rows,
            .out = build_output(b, m * hidden * 4)};
    for (int i = 0; i < count; i++) {
        b->out->args[i].embedding = args;
        b->out->args[i].embedding.tokens = tokens ? tokens + m * i : NULL;
    }
    b->out->outputs = embedding_outputs;
}
