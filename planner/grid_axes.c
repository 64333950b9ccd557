#include "planner/grid_axes.h"

#include <string.h>

enum {
    NO_WINDOW = 1 << 30
};

/* clang-format off */
#define SIZE(offset)  {(offset), false, 0}
#define STRAIGHT(far) {0, false, (far)}
#define NAME()        {0, true, 0}
/* clang-format on */

static const struct grid_axes gemm_axes = {3, 6, false, {SIZE(0), SIZE(0), SIZE(0)}};
/* queries, cached, groups, queries per group, key heads, head size, window, type. Groups are sequences times key heads: those
 * of one site are not those of another. */
static const struct grid_axes prefill_axes = {
        8, 0xb8, true, {SIZE(0), SIZE(64), SIZE(0), SIZE(0), SIZE(0), SIZE(0), SIZE(16), NAME()}};
/* keys, groups, queries per group, key heads, head size, window, type */
static const struct grid_axes decode_axes = {
        7, 0x5c, true, {SIZE(0), SIZE(0), SIZE(0), SIZE(0), SIZE(0), SIZE(16), NAME()}};
/* rows, width, local experts, skew */
static const struct grid_axes expert_axes = {
        4, 6, false, {SIZE(0), STRAIGHT(8), STRAIGHT(8), SIZE(100)}};
/* queries or sequences, cached or keys, sequences or 1, heads, bits of the cache, type */
static const struct grid_axes mla_axes = {
        6, 0x38, false, {SIZE(0), SIZE(64), SIZE(0), STRAIGHT(0.5), NAME(), NAME()}};
static const struct grid_axes no_axes = {0, 0, false, {SIZE(0)}};

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

void grid_place_op(struct op *out, const struct grid_place *place)
{
    const int64_t *a = place->at;
    const int64_t *f = place->fixed;
    *out = (struct op){.kind = (enum op_kind)f[0], .degree = (int32_t)f[1]};
    switch (out->kind) {
    case OP_ATTENTION_PREFILL: /* the work is that of as many sequences with one key head */
        out->dtype = (enum dtype)(a[7] - 1);
        PUT(out->dim, a[0], a[0] + a[1], a[3], 1, a[5], a[6] == NO_WINDOW ? 0 : a[6], a[2] - 1);
        break;
    case OP_ATTENTION_DECODE:
        out->dtype = (enum dtype)(a[6] - 1);
        PUT(out->dim, a[1], a[0], a[2], 1, a[4], a[5] == NO_WINDOW ? 0 : a[5]);
        break;
    case OP_MOE:
    case OP_EXPERT_GEMM:
        out->dtype = (enum dtype)(f[2] - 1);
        PUT(out->dim, a[0], f[3], a[1], a[2], f[4], f[5], a[3]);
        break;
    case OP_MLA_MODULE_PREFILL:
        out->dtype = (enum dtype)(a[5] - 1);
        PUT(out->dim, a[0], a[0] + a[1], a[3], f[2], f[3], f[4], a[4], a[2] - 1);
        break;
    case OP_MLA_MODULE_DECODE:
        out->dtype = (enum dtype)(a[5] - 1);
        PUT(out->dim, a[0], a[1], a[3], f[2], f[3], f[4], a[4]);
        break;
    default:
        out->dtype = (enum dtype)(f[2] - 1);
        PUT(out->dim, a[0], a[1], a[2]);
        break;
    }
}
