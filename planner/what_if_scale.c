#include "planner/what_if_scale.h"

#include <math.h>
#include <string.h>

/* What one layout (compute) or one kind of exchange was measured to reach. */
struct ceiling {
    int kind; /* of an exchange; -1 for compute */
    int32_t degree, busy, nodes;
    double flop_per_us, bytes_per_us, least_us;
};

static bool matches(const struct ceiling *c, const struct op *op)
{
    int kind = op_is_collective(op->kind) ? (int)op->kind : -1;
    return c->kind == kind && c->degree == op->degree && c->busy == op->busy
           && c->nodes == op->nodes;
}

static const struct ceiling *find(const struct ceiling *ceilings, int n, const struct op *op)
{
    for (int i = 0; i < n; i++)
        if (matches(&ceilings[i], op))
            return &ceilings[i];
    return NULL;
}

static int learn(struct ceiling *ceilings, const struct profile *profile)
{
    int n = 0;
    for (int64_t i = 0; i < profile->n; i++) {
        const struct op *op = &profile->points[i].op;
        double us = profile->points[i].cost_us;
        struct ceiling *c = NULL;
        if (us <= 0)
            continue;
        for (int k = 0; k < n && c == NULL; k++)
            if (matches(&ceilings[k], op))
                c = &ceilings[k];
        if (c == NULL) {
            c = &ceilings[n++];
            *c = (struct ceiling){.kind = op_is_collective(op->kind) ? (int)op->kind : -1,
                    .degree = op->degree,
                    .busy = op->busy,
                    .nodes = op->nodes,
                    .least_us = us};
        }
        c->least_us = fmin(c->least_us, us);
        if (c->kind >= 0) {
            c->bytes_per_us = fmax(c->bytes_per_us, (double)op->dim[0] / us);
            continue;
        }
        c->flop_per_us = fmax(c->flop_per_us, op_flop(op) / us);
        /* As in look-up: attention and small ops live in caches, streams of weights tell the rate. */
        if (op->kind == OP_GEMM || op->kind == OP_LM_HEAD)
            c->bytes_per_us = fmax(c->bytes_per_us, op_bytes(op) / us);
    }
    return n;
}

static double over(double amount, double rate)
{
    return rate > 0 ? amount / rate : 0;
}

/* t' / t of one point. */
static double factor(
        const struct profile_point *point, const struct ceiling *c, const struct scale *scale)
{
    const struct op *op = &point->op;
    double us = point->cost_us;
    if (c->kind >= 0) {
        bool between = op->nodes > 1;
        double wire = fmin(over((double)op->dim[0], c->bytes_per_us), us);
        double empty = fmin(c->least_us, us - wire);
        double bandwidth = between ? scale->between : scale->inside;
        double latency = between ? scale->between_latency : scale->inside_latency;
        return (us - wire - empty + wire / bandwidth + empty * latency) / us;
    }
    double compute = over(op_flop(op), c->flop_per_us);
    double memory = over(op_bytes(op), c->bytes_per_us);
    double roof = fmax(compute, memory);
    if (roof <= 0)
        return 1;
    double share = fmin(1, roof / us);
    double new_roof = fmax(compute / scale->compute, memory / scale->memory);
    return 1 - share + share * new_roof / roof;
}

void what_if_scale(struct profile *profile, const struct scale *scale, struct arena *arena)
{
    struct profile_point *points = ARENA_NEW(arena, struct profile_point, profile->n + 1);
    struct ceiling *ceilings = ARENA_NEW(arena, struct ceiling, profile->n + 1);
    int n = learn(ceilings, profile);
    for (int64_t i = 0; i < profile->n; i++) {
        struct profile_point *p = &points[i];
        *p = profile->points[i];
        const struct ceiling *c = find(ceilings, n, &p->op);
        if (c == NULL || p->cost_us <= 0)
            continue;
        double by = factor(p, c, scale);
        p->cost_us *= by;
        p->lo_us *= by;
        p->hi_us *= by;
        p->min_us *= by;
        p->q1_us *= by;
        p->q3_us *= by;
        p->p99_us *= by;
        p->mad_us *= by;
    }
    profile->points = points;
    profile->peak_flops *= scale->compute;
    profile->peak_bytes_per_s *= scale->memory;
    profile->digest = profile_digest(profile, arena);
}
