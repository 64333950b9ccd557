#include "kernels/operands.h"

#include <math.h>
#include <string.h>

#include "kernels/element.h"
#include "kernels/operands_build.h"

/* More copies than this make the argument table itself cold. */
#define MAX_COPIES 4096
/* Experts have two matrices a copy, and scales of each. */
#define MAX_BLOCKS (4 * MAX_COPIES + 16)

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t next_seed(struct builder *b)
{
    b->seed += 0x9e3779b97f4a7c15u;
    return mix(b->seed);
}

int64_t build_below(struct builder *b, int64_t n)
{
    return (int64_t)(next_seed(b) % (uint64_t)n);
}

void *build_take(struct builder *b, int64_t bytes)
{
    b->out->bytes += bytes;
    if (!b->dev || b->failed)
        return NULL;
    void *memory = dev_alloc(b->dev, bytes, b->err);
    if (!memory) {
        b->failed = true;
        return NULL;
    }
    b->out->block_bytes[b->out->n_blocks] = bytes;
    b->out->blocks[b->out->n_blocks++] = memory;
    return memory;
}

void *build_output(struct builder *b, int64_t bytes)
{
    void *memory = build_take(b, bytes);
    if (memory)
        memset(memory, 0xff, (size_t)bytes);
    return memory;
}

struct fill {
    void *data;
    enum dtype dtype;
    int64_t n;
    uint32_t seed;
    float scale;
};

/* Hashing is slow beside copying, so the values repeat: with a prime period, so that no two rows of a matrix
 * are equal. */
#define FILL_PERIOD 1021

static void fill_first(const struct fill *f, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t x = (uint32_t)i * 0x9e3779b1u ^ f->seed;
        x ^= x >> 15;
        x *= 0x85ebca77u;
        x ^= x >> 13;
        x *= 0xc2b2ae3du;
        x ^= x >> 16;
        element_store(f->data, f->dtype, i, ((float)(x >> 8) * 0x1p-23f - 1) * f->scale);
    }
}

/* Periods 1, 2, ... of a longer array; the first is there. */
static void fill_part(void *arg, int part, int parts)
{
    const struct fill *f = arg;
    int64_t width = dtype_bytes(f->dtype), periods = (f->n - 1) / FILL_PERIOD;
    int64_t end = periods * (part + 1) / parts;
    for (int64_t p = periods * part / parts; p < end; p++) {
        int64_t at = (p + 1) * FILL_PERIOD;
        int64_t n = f->n - at < FILL_PERIOD ? f->n - at : FILL_PERIOD;
        memcpy((char *)f->data + at * width, f->data, (size_t)(n * width));
    }
}

void *build_random(struct builder *b, enum dtype dtype, int64_t n, float scale)
{
    void *data = build_take(b, n * dtype_bytes(dtype));
    struct fill fill = {data, dtype, n, (uint32_t)next_seed(b), scale};
    if (data && n > 0) {
        fill_first(&fill, n < FILL_PERIOD ? n : FILL_PERIOD);
        if (n > FILL_PERIOD)
            dev_parallel(b->dev, fill_part, &fill);
    }
    return data;
}

float *build_floats(struct builder *b, int64_t n)
{
    return build_random(b, DTYPE_F32, n, 1);
}

float build_scale(int64_t k)
{
    return (float)(1.7 / sqrt((double)k)); /* sums of k products come out near 1 */
}

void *build_weights(struct builder *b, int64_t count, int64_t n, int64_t k)
{
    float scale = scale_wanted(b->op->dtype) ? F8_MOST : build_scale(k);
    return build_random(b, b->op->dtype, count * n * k, scale);
}

float *build_scales(struct builder *b, int64_t count, int64_t n, int64_t k)
{
    int64_t each = scale_count(b->op->dtype, n, k);
    float *scales = each > 0 ? build_floats(b, count * each) : NULL;
    for (int64_t i = 0; scales && i < count * each; i++)
        scales[i] = (1.5f + scales[i]) * (build_scale(k) / (1.5f * F8_MOST));
    return scales;
}

int64_t build_weight_bytes(const struct builder *b, int64_t n, int64_t k)
{
    return n * k * dtype_bytes(b->op->dtype) + 4 * scale_count(b->op->dtype, n, k);
}

int build_copies(struct builder *b, int64_t bytes, int least)
{
    int64_t n = 1;
    if (b->cold_bytes > 0 && bytes > 0) {
        n = b->cold_bytes / bytes + 1;
        n = n < least ? least : n > MAX_COPIES ? MAX_COPIES : n;
    }
    b->out->n_copies = (int)n;
    b->out->args = ARENA_NEW(b->arena, struct op_args, n);
    return (int)n;
}

static void (*const build[OP_KIND_COUNT])(struct builder *b) = {
        [OP_GEMM] = build_gemm,
        [OP_LM_HEAD] = build_gemm,
        [OP_ATTENTION_PREFILL] = build_attention,
        [OP_ATTENTION_DECODE] = build_attention,
        [OP_RMSNORM] = build_rmsnorm,
        [OP_ROPE] = build_rope,
        [OP_ACTIVATION] = build_activation,
        [OP_ROUTER] = build_router,
        [OP_PERMUTE] = build_permute,
        [OP_EXPERT_GEMM] = build_expert,
        [OP_COMBINE] = build_combine,
        [OP_EMBEDDING] = build_embedding,
        [OP_SAMPLE] = build_sample,
        [OP_COPY] = build_copy,
        [OP_MLA_PREFILL] = build_mla,
        [OP_MLA_DECODE] = build_mla,
        [OP_MLA_ROPE] = build_mla_rope,
};

bool operands_make(struct operands *out, struct dev *dev, const struct op *op,
        const struct operands_wish *wish, struct arena *arena, struct err *err)
{
    char text[160];
    *out = (struct operands){0};
    if (op->kind < 0 || op->kind >= OP_KIND_COUNT || !build[op->kind])
        return err_set(err, ERR_BUG, "%s is not an op of a device", op_show(text, op));
    /* Copies of weights are the only operands whose number grows. */
    out->blocks = ARENA_NEW(arena, void *, MAX_BLOCKS);
    out->block_bytes = ARENA_NEW(arena, int64_t, MAX_BLOCKS);
    struct builder b = {.out = out,
            .dev = dev,
            .op = op,
            .arena = arena,
            .err = err,
            .cold_bytes = wish->cold_bytes,
            .seed = mix(wish->seed + 1),
            .variant = wish->variant};
    build[op->kind](&b);
    if (!b.failed)
        return true;
    operands_free(out, dev);
    return err_context(err, "%s", op_show(text, op));
}

void operands_free(struct operands *operands, struct dev *dev)
{
    for (int i = 0; i < operands->n_blocks; i++)
        dev_free(dev, operands->blocks[i]);
    operands->n_blocks = 0;
}
