#include "planner/grid_axes.h"

#include <string.h>

enum {
    NO_WINDOW = 1 << 30
};

static const struct grid_axes gemm_axes = {3, 6, {{0, false}, {0, false}, {0, false}}};
/* queries, cached, groups, queries per group, key heads, head size, window, type */
static const struct grid_axes prefill_axes = {8, 0x38,
        {{0, false}, {64, false}, {0, false}, {0, false}, {0, false}, {0, false}, {16, false},
                {0, true}}};
/* keys, groups, queries per group, key heads, head size, window, type */
static const struct grid_axes decode_axes = {7, 0x1c,
        {{0, false}, {0, false}, {0, false}, {0, false}, {0, false}, {16, false}, {0, true}}};
/* rows, width, local experts, skew */
static const struct grid_axes expert_axes = {
        4, 6, {{0, false}, {0, false}, {0, false}, {100, false}}};
/* queries or sequences, cached or keys, sequences or 1, heads, bits of the cache, type */
static const struct grid_axes mla_axes = {
        6, 8, {{0, false}, {64, false}, {0, false}, {0, false}, {0, true}, {0, true}}};
static const struct grid_axes no_axes = {0, 0, {{0, false}}};

const struct grid_axes *grid_axes_of(enum op_kind kind)
{
    switch (kind) {
    case OP_GEMM:
    case OP_LM_HEAD:
        return &gemm_axes;
    case OP_ATTENTION_PREFILL:
        return &prefill_axes;
    case OP_ATTENTION_DECODE:
        return &decode_axes;
    case OP_MOE:
    case OP_EXPERT_GEMM:
        return &expert_axes;
    case OP_MLA_MODULE_PREFILL:
    case OP_MLA_MODULE_DECODE:
        return &mla_axes;
    case OP_ALL_REDUCE:
    case OP_ALL_GATHER:
    case OP_REDUCE_SCATTER:
    case OP_ALL_TO_ALL:
    case OP_SEND_RECV:
    case OP_BROADCAST:
    case OP_MLA_PREFILL:
    case OP_MLA_DECODE:
    case OP_MLA_ROPE:
    case OP_RMSNORM:
    case OP_ROPE:
    case OP_ACTIVATION:
    case OP_ROUTER:
    case OP_PERMUTE:
    case OP_COMBINE:
    case OP_EMBEDDING:
    case OP_SAMPLE:
    case OP_COPY:
    case OP_KIND_COUNT:
        break;
    }
    return &no_axes;
}

static void put(int64_t *to, const int64_t *values, int n)
{
    memcpy(to, values, (size_t)n * sizeof *to);
}

#define PUT(to, ...)                        \
    put(to, (const int64_t[]){__VA_ARGS__}, \
            (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof *(to)))

void grid_place_of(struct grid_place *out, const struct op *op)
{
    const int64_t *d = op->dim;
    int64_t dtype = (int64_t)op->dtype + 1;
    int64_t window = d[5] > 0 ? d[5] : NO_WINDOW;
    int64_t kv = d[3] > 0 ? d[3] : 1;

    memset(out, 0, sizeof *out);
    PUT(out->fixed, (int64_t)op->kind, op->degree);
    switch (op->kind) {
    case OP_ATTENTION_PREFILL:
        PUT(out->at, d[0], d[1] - d[0], (1 + d[6]) * kv, d[2] / kv, kv, d[4], window, dtype);
        break;
    case OP_ATTENTION_DECODE:
        PUT(out->at, d[1], d[0] * kv, d[2] / kv, kv, d[4], window, dtype);
        break;
    case OP_MOE:
    case OP_EXPERT_GEMM:
        PUT(out->at, d[0], d[2], d[3], d[6]);
        PUT(out->fixed, (int64_t)op->kind, op->degree, dtype, d[1], d[4], d[5]);
        break;
    case OP_MLA_MODULE_PREFILL:
        PUT(out->at, d[0], d[1] - d[0], 1 + d[7], d[2], d[6], dtype);
        PUT(out->fixed, (int64_t)op->kind, op->degree, d[3], d[4], d[5]);
        break;
    case OP_MLA_MODULE_DECODE:
        PUT(out->at, d[0], d[1], 1, d[2], d[6], dtype);
        PUT(out->fixed, (int64_t)op->kind, op->degree, d[3], d[4], d[5]);
        break;
    default:
        PUT(out->at, d[0], d[1], d[2]);
        PUT(out->fixed, (int64_t)op->kind, op->degree, dtype);
        break;
    }
}
