/*
 * How sizes are usually joined, by kind (docs/method.md, design decision 5; measured there on 35,000 GEMMs). Where
 * points that are left out are met better by another way, that one is taken (fit_width.c):
 *   gemm, lm_head, expert_gemm   log time, piecewise linear in log m
 *   attention_prefill (and mla)  utilisation (time / roofline), bilinear in the logs of both lengths:
 *                                exact for work that grows with q * kv, unlike time or its root
 *   attention_decode (and mla)   time, bilinear in batch and mean key length
 *   the rest, collectives        time, piecewise linear in size
 * Never forced to be monotone: real kernels step at tile edges.
 */
#include "planner/fit.h"

#include <math.h>

/* Distance of the quartiles of a normal distribution, in standard deviations. */
#define IQR_OF_NORMAL 1.349
/* Between two points the truth wanders this far beyond their intervals, past the edge that far. */
#define WIDEN_BETWEEN 0.04
#define WIDEN_EDGE    0.30

enum fit_join fit_usual_join(enum op_kind kind)
{
    if (kind == OP_GEMM || kind == OP_LM_HEAD || kind == OP_EXPERT_GEMM)
        return FIT_LOG;
    return op_is_prefill(kind) ? FIT_UTILISATION : FIT_LINEAR;
}

static int size_dims(enum op_kind kind)
{
    return op_is_attention(kind) ? 2 : 1;
}

int fit_compare_sites(const struct op *a, const struct op *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->dtype != b->dtype)
        return a->dtype < b->dtype ? -1 : 1;
    if (a->degree != b->degree)
        return a->degree < b->degree ? -1 : 1;
    if (a->busy != b->busy)
        return a->busy < b->busy ? -1 : 1;
    if (a->nodes != b->nodes)
        return a->nodes < b->nodes ? -1 : 1;
    for (int d = size_dims(a->kind); d < OP_DIMS; d++)
        if (a->dim[d] != b->dim[d])
            return a->dim[d] < b->dim[d] ? -1 : 1;
    return 0;
}

int fit_compare_points(const void *a, const void *b)
{
    const struct op *x = &((const struct profile_point *)a)->op;
    const struct op *y = &((const struct profile_point *)b)->op;
    int order = fit_compare_sites(x, y);
    for (int d = 0; d < 2 && order == 0; d++)
        order = (x->dim[d] > y->dim[d]) - (x->dim[d] < y->dim[d]);
    return order;
}

double fit_roof_us(const struct op *op, const struct roof *roof)
{
    if (op_is_collective(op->kind))
        return (double)op->dim[0];
    double us = fmax(op_flop(op) / roof->flop_per_us, op_bytes(op) / roof->bytes_per_us);
    return fmax(us, 1e-6);
}

static struct cost cost_of(const struct profile_point *point)
{
    struct cost cost = {point->cost_us, point->lo_us, point->hi_us, point->source, 0};
    if (point->q3_us > point->q1_us && point->cost_us > 0)
        cost.sd_frac = (point->q3_us - point->q1_us) / IQR_OF_NORMAL / point->cost_us;
    if (!(cost.lo_us > 0 && cost.lo_us <= cost.us))
        cost.lo_us = cost.us;
    if (!(cost.hi_us >= cost.us))
        cost.hi_us = cost.us;
    return cost;
}

static struct cost scaled(struct cost cost, double by)
{
    cost.us *= by;
    cost.lo_us *= by;
    cost.hi_us *= by;
    return cost;
}

static struct cost past_edge(struct cost cost, double by)
{
    cost = scaled(cost, by);
    cost.lo_us *= 1 - WIDEN_EDGE;
    cost.hi_us *= 1 + WIDEN_EDGE;
    cost.source = COST_ESTIMATED;
    return cost;
}

/* Something known at a size, with its op, on the way to another size. */
struct anchor {
    struct op op;
    struct cost cost;
};

/* The way that the sizes of a site are joined, and the ceilings of its layout. */
struct how {
    const struct roof *roof;
    enum fit_join join;
};

static struct cost between(const struct anchor *a, const struct anchor *b, int dim,
        const struct op *op, const struct how *how)
{
    double x0 = (double)a->op.dim[dim];
    double x1 = (double)b->op.dim[dim];
    double x = (double)op->dim[dim];
    double t = how->join == FIT_LINEAR ? (x - x0) / (x1 - x0) : log(x / x0) / log(x1 / x0);
    double us;
    if (how->join == FIT_LOG) {
        us = exp(log(a->cost.us) + t * (log(b->cost.us) - log(a->cost.us)));
    } else if (how->join == FIT_LINEAR) {
        us = a->cost.us + t * (b->cost.us - a->cost.us);
    } else {
        double u0 = a->cost.us / fit_roof_us(&a->op, how->roof);
        double u1 = b->cost.us / fit_roof_us(&b->op, how->roof);
        us = (u0 + t * (u1 - u0)) * fit_roof_us(op, how->roof);
    }
    double lo = fmin(a->cost.lo_us / a->cost.us, b->cost.lo_us / b->cost.us);
    double hi = fmax(a->cost.hi_us / a->cost.us, b->cost.hi_us / b->cost.us);
    enum cost_source source = COST_INTERPOLATED;
    if (a->cost.source == COST_ESTIMATED || b->cost.source == COST_ESTIMATED)
        source = COST_ESTIMATED;
    return (struct cost){us, us * lo * (1 - WIDEN_BETWEEN), us * hi * (1 + WIDEN_BETWEEN), source,
            (a->cost.sd_frac + b->cost.sd_frac) / 2};
}

/* One anchor, past the edge of the grid along a dimension. */
static struct cost beyond(
        const struct anchor *a, int dim, const struct op *op, const struct how *how)
{
    /* Below its smallest size a collective is all latency. */
    if (op_is_collective(op->kind) && op->dim[dim] < a->op.dim[dim])
        return past_edge(a->cost, 1);
    return past_edge(a->cost, fit_roof_us(op, how->roof) / fit_roof_us(&a->op, how->roof));
}

/* Along one dimension over n points whose sizes ascend in it; op has its other sizes from the points. */
static struct cost along(const struct profile_point *points, int64_t n, int dim,
        const struct op *op, const struct how *how)
{
    int64_t lo = 0;
    int64_t hi = n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (points[mid].op.dim[dim] < op->dim[dim])
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < n && points[lo].op.dim[dim] == op->dim[dim])
        return cost_of(&points[lo]);
    struct anchor after = {0};
    struct anchor before = {0};
    if (lo < n)
        after = (struct anchor){points[lo].op, cost_of(&points[lo])};
    if (lo > 0)
        before = (struct anchor){points[lo - 1].op, cost_of(&points[lo - 1])};
    if (lo == n)
        return beyond(&before, dim, op, how);
    if (lo == 0)
        return beyond(&after, dim, op, how);
    return between(&before, &after, dim, op, how);
}

/* The op with the first size of a row of points, and its cost there. */
static struct anchor row_anchor(
        const struct profile_point *points, int64_t n, const struct op *op, const struct how *how)
{
    struct anchor anchor = {.op = *op};
    anchor.op.dim[0] = points->op.dim[0];
    /* Keys include the queries of the step. */
    if (op_is_prefill(op->kind) && anchor.op.dim[1] < anchor.op.dim[0])
        anchor.op.dim[1] = anchor.op.dim[0];
    anchor.cost = along(points, n, 1, &anchor.op, how);
    return anchor;
}

/* Points with the same first size. */
struct row {
    const struct profile_point *points; /* NULL = none */
    int64_t n;
};

/* Whether the op's second size lies within the row's. A profile that was cut short has rows with few of them. */
static bool row_spans(const struct row *row, const struct op *op)
{
    return row->points[0].op.dim[1] <= op->dim[1]
           && row->points[row->n - 1].op.dim[1] >= op->dim[1];
}

/* The rows around the op: the nearest ones that span its second size, else the nearest. */
static void rows_around(
        struct row *before, struct row *after, const struct fit_site *site, const struct op *op)
{
    struct row row;
    bool spanned = false;
    *before = *after = (struct row){0};
    for (int64_t at = 0; at < site->n; at += row.n) {
        row = (struct row){&site->points[at], 1};
        while (at + row.n < site->n && row.points[row.n].op.dim[0] == row.points->op.dim[0])
            row.n++;
        bool spans = row_spans(&row, op);
        if (row.points->op.dim[0] < op->dim[0]) {
            if (spans || before->points == NULL || !row_spans(before, op))
                *before = row;
        } else if (after->points == NULL || (spans && !spanned)) {
            *after = row;
            spanned = spans;
        }
        if (spanned)
            return;
    }
}

struct cost fit_site_cost(const struct fit_site *site, const struct op *op, const struct roof *roof)
{
    const struct how with = {roof, site->join};
    const struct how *how = &with;
    struct row before;
    struct row after;
    if (size_dims(op->kind) == 1)
        return along(site->points, site->n, 0, op, how);
    rows_around(&before, &after, site, op);
    struct anchor above = {0};
    struct anchor below = {0};
    if (after.points != NULL)
        above = row_anchor(after.points, after.n, op, how);
    if (above.cost.us > 0 && above.op.dim[0] == op->dim[0])
        return above.cost;
    if (before.points != NULL)
        below = row_anchor(before.points, before.n, op, how);
    if (after.points == NULL)
        return beyond(&below, 0, op, how);
    if (before.points == NULL)
        return beyond(&above, 0, op, how);
    return between(&below, &above, 0, op, how);
}

double fit_distance(const struct op *a, const struct op *b)
{
    double sum = 0;
    for (int d = size_dims(a->kind); d < OP_DIMS; d++) {
        double step = log2((double)(a->dim[d] + 1) / (double)(b->dim[d] + 1));
        sum += step * step;
    }
    return sqrt(sum);
}

struct op fit_move(const struct op *op, const struct op *at)
{
    struct op moved = *at;
    for (int d = 0; d < size_dims(op->kind); d++)
        moved.dim[d] = op->dim[d];
    return moved;
}
