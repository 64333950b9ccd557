#include <stdlib.h>
#include <string.h>

#include "kernels/element.h"
#include "kernels/op_table.h"
#include "kernels/operands.h"

struct op_case {
    struct dev *dev;
    struct dev *host; /* owns the operands where dev is a GPU, else NULL */
    struct op op;
    struct arena *arena;
    struct operands operands;
    struct operands_remote remote;
    int last;
    char *weights; /* that pass through the caches: STREAM bytes for each thread; NULL = not yet */
};

enum {
    LINE = 64,
    STREAM = 8
             << 20 /* more than a core has to itself, in cache and in addresses that it remembers */
};

/* Where the operands are made. */
static struct dev *maker(const struct op_case *c)
{
    return c->host ? c->host : c->dev;
}

static struct op_case *open_case(
        struct dev *dev, const struct op *op, const struct operands_wish *wish, struct err *err)
{
    struct op_case *c = calloc(1, sizeof(*c));
    if (!c) {
        err_set(err, ERR_ENV, "no memory for the operands of an op");
        return NULL;
    }
    *c = (struct op_case){.dev = dev, .op = *op, .last = -1, .arena = calloc(1, sizeof(*c->arena))};
    if (!c->arena) {
        free(c);
        err_set(err, ERR_ENV, "no memory for the operands of an op");
        return NULL;
    }
    struct dev_options options = {.threads = dev_threads(dev), .first_cpu = -1};
    bool ok = true;
    if (dev_remote(dev)) {
        c->host = dev_host_open(&options, err);
        ok = c->host != NULL;
    }
    ok = ok && operands_make(&c->operands, maker(c), op, wish, c->arena, err);
    if (ok && c->host)
        ok = operands_upload(&c->remote, &c->operands, op, dev, c->arena, err);
    if (ok)
        return c;
    op_case_close(c);
    return NULL;
}

struct op_case *op_case_open(
        struct dev *dev, const struct op *op, int64_t cold_bytes, uint64_t seed, struct err *err)
{
    return open_case(dev, op, &(struct operands_wish){cold_bytes, seed, 0}, err);
}

struct op_case *op_case_vary(
        struct dev *dev, const struct op *op, int variant, uint64_t seed, struct err *err)
{
    return open_case(dev, op, &(struct operands_wish){0, seed, variant}, err);
}

int op_case_variants(enum op_kind kind)
{
    static const int variants[OP_KIND_COUNT] = {
            [OP_GEMM] = 1,
            [OP_LM_HEAD] = 1,
            [OP_ATTENTION_PREFILL] = 3,
            [OP_ATTENTION_DECODE] = 3,
            [OP_ROUTER] = 3,
            [OP_EXPERT_GEMM] = 2,
            [OP_COMBINE] = 2,
    };
    return variants[kind];
}

void op_case_close(struct op_case *c)
{
    if (!c)
        return;
    if (c->host)
        operands_release(&c->remote, c->dev);
    operands_free(&c->operands, maker(c));
    dev_close(c->host);
    arena_free(c->arena);
    free(c->arena);
    free(c->weights);
    free(c);
}

void op_case_run(struct op_case *c)
{
    c->last = c->last + 1 < c->operands.n_copies ? c->last + 1 : 0;
    op_run(c->dev, &c->op, c->host ? &c->remote.args[c->last] : &c->operands.args[c->last]);
}

/* What an op reads that another op has written: rows of floats. */
struct activations {
    float *data;
    int64_t rows, ld;
};

/* Fills at most two; returns how many. */
static int activations_of(struct activations out[2], const struct op_case *c)
{
    const struct op_args *a = &c->operands.args[c->last < 0 ? 0 : c->last];
    const int64_t *dim = c->op.dim;
    const void *read = NULL;
    int64_t width = dim[1];
    int n = 0;
    if (c->op.kind == OP_RMSNORM) {
        out[n++] = (struct activations){a->rmsnorm.x, dim[0], width};
        read = a->rmsnorm.residual;
    } else if (c->op.kind == OP_ROPE) {
        read = a->rope.qkv;
        width = a->rope.ld;
    } else if (c->op.kind == OP_ACTIVATION) {
        read = a->activation.x;
        width = a->activation.ldx;
    } else if (c->op.kind == OP_SAMPLE) {
        read = a->sample.logits;
        width = a->sample.ld;
    } else if (c->op.kind == OP_ROUTER) {
        read = a->router.x;
    } else if (c->op.kind == OP_PERMUTE) {
        read = a->permute.x;
    }
    if (read) // NOLINTNEXTLINE(performance-no-int-to-ptr): takes const away
        out[n++] = (struct activations){(float *)(uintptr_t)read, dim[0], width};
    return n;
}

/* Writes what is there again: that makes the lines this core's. */
static void write_columns(void *arg, int part, int parts)
{
    const struct activations *a = arg;
    int64_t lines = (a->ld * 4 + LINE - 1) / LINE;
    for (int64_t row = 0; row < a->rows; row++)
        for (int64_t line = lines * part / parts; line < lines * (part + 1) / parts; line++) {
            volatile float *at = a->data + row * a->ld + line * (LINE / 4);
            *at = *at;
        }
}

static void read_weights(void *arg, int part, int parts)
{
    const char *weights = arg;
    volatile char sink = 0;
    (void)parts;
    for (int64_t at = 0; at < STREAM; at += LINE)
        sink = (char)(sink + weights[(int64_t)part * STREAM + at]);
}

bool op_case_stir(struct op_case *c)
{
    struct activations written[2];
    int n = activations_of(written, c);
    if (n == 0)
        return false;
    if (!c->weights) {
        size_t bytes = (size_t)dev_threads(c->dev) * STREAM;
        c->weights = malloc(bytes);
        if (c->weights)
            memset(c->weights, 1, bytes); /* zeros nobody wrote are one page for all */
    }
    for (int i = 0; i < n; i++)
        dev_parallel(c->dev, write_columns, &written[i]);
    if (c->weights)
        dev_parallel(c->dev, read_weights, c->weights);
    return true;
}

/* Kinds whose rows stand one after the other in every operand. */
static const bool rows_apart[OP_KIND_COUNT] = {
        [OP_GEMM] = true,
        [OP_LM_HEAD] = true,
        [OP_RMSNORM] = true,
        [OP_ACTIVATION] = true,
        [OP_ROUTER] = true,
        [OP_SAMPLE] = true,
};

bool op_case_shrink(struct op_case *c, const struct op *op)
{
    struct op same = *op;
    same.dim[0] = c->op.dim[0];
    if (!rows_apart[op->kind] || op->dim[0] > c->op.dim[0] || op_compare(&same, &c->op) != 0)
        return false;
    c->op = *op;
    return true;
}

static int64_t output_count(const struct op_case *c, int copy)
{
    int64_t n = 0;
    struct operand_span span;
    for (int i = 0; (span = c->operands.outputs(&c->operands, &c->op, copy, i)).data; i++)
        n += span.count;
    return n;
}

const float *op_case_output(const struct op_case *c, int64_t *n)
{
    int copy = c->last;
    struct err err = {0};
    *n = 0;
    if (copy < 0)
        return NULL; /* it has not run */
    if (c->host && !operands_download(&c->operands, &c->remote, c->dev, &err))
        return NULL;
    *n = output_count(c, copy);
    float *out = ARENA_NEW(c->arena, float, *n + 1), *to = out;
    struct operand_span span;
    for (int i = 0; (span = c->operands.outputs(&c->operands, &c->op, copy, i)).data; i++) {
        for (int64_t j = 0; j < span.count; j++)
            *to++ = span.integers ? (float)((const int32_t *)span.data)[j]
                                  : element_load(span.data, span.dtype, j);
    }
    return out;
}

int64_t op_case_bytes(const struct op *op, int64_t cold_bytes)
{
    struct operands operands;
    struct arena arena = {0};
    struct err err = {0};
    bool ok = operands_make(
            &operands, NULL, op, &(struct operands_wish){cold_bytes, 1, 0}, &arena, &err);
    arena_free(&arena);
    return ok ? operands.bytes : 0;
}
