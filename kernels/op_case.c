#include <stdlib.h>

#include "kernels/element.h"
#include "kernels/op_table.h"
#include "kernels/operands.h"

struct op_case {
    struct dev *dev;
    struct op op;
    struct arena *arena;
    struct operands operands;
    int last;
};

struct op_case *op_case_open(
        struct dev *dev, const struct op *op, int64_t cold_bytes, uint64_t seed, struct err *err)
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
    if (!operands_make(&c->operands, dev, op, cold_bytes, seed, c->arena, err)) {
        op_case_close(c);
        return NULL;
    }
    return c;
}

void op_case_close(struct op_case *c)
{
    if (!c)
        return;
    operands_free(&c->operands, c->dev);
    arena_free(c->arena);
    free(c->arena);
    free(c);
}

void op_case_run(struct op_case *c)
{
    c->last = c->last + 1 < c->operands.n_copies ? c->last + 1 : 0;
    op_run(c->dev, &c->op, &c->operands.args[c->last]);
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
    *n = 0;
    if (copy < 0)
        return NULL; /* it has not run */
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
    bool ok = operands_make(&operands, NULL, op, cold_bytes, 1, &arena, &err);
    arena_free(&arena);
    return ok ? operands.bytes : 0;
}
