#include "reports/cost_compare.h"

#include <math.h>
#include <stdlib.h>

#include "core/summary.h"

/* Of the sign test over shapes that differ. */
static const double sign_alpha = 0.01;

/* Points without an interval, as imported ones, are taken at their word. */
static double or_cost(double limit_us, double cost_us)
{
    return limit_us > 0 ? limit_us : cost_us;
}

static struct cost_change change_of(
        const struct profile_point *before, const struct profile_point *after, double threshold)
{
    struct cost_change change = {.op = before->op,
            .before_us = before->cost_us,
            .after_us = after->cost_us,
            .before_lo_us = or_cost(before->lo_us, before->cost_us),
            .before_hi_us = or_cost(before->hi_us, before->cost_us),
            .after_lo_us = or_cost(after->lo_us, after->cost_us),
            .after_hi_us = or_cost(after->hi_us, after->cost_us),
            .ratio = after->cost_us / before->cost_us};
    if (change.after_lo_us > change.before_hi_us * (1 + threshold))
        change.direction = 1;
    else if (change.before_lo_us > change.after_hi_us * (1 + threshold))
        change.direction = -1;
    return change;
}

/* P(Binomial(n, 1/2) >= k). */
static double tail(int64_t n, int64_t k)
{
    double sum = 0;
    for (int64_t i = k; i <= n; i++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1)
                   - (double)n * log(2));
    return fmin(sum, 1);
}

static struct kind_change kind_of(
        const struct cost_comparison *all, enum op_kind kind, double threshold, struct arena *arena)
{
    struct kind_change out = {.kind = kind};
    double *ratios = ARENA_NEW(arena, double, all->n + 1);
    for (int64_t i = 0; i < all->n; i++) {
        if (all->shapes[i].op.kind != kind)
            continue;
        ratios[out.n++] = all->shapes[i].ratio;
        out.slower += all->shapes[i].direction > 0;
        out.quicker += all->shapes[i].direction < 0;
    }
    struct summary s;
    summary_of(&s, ratios, out.n);
    out.ratio = s.median;
    out.lo = s.ci_lo;
    out.hi = s.ci_hi;
    out.p = tail(out.slower + out.quicker, out.slower);
    out.worse = out.slower > 0 && (out.lo > 1 + threshold || out.p <= sign_alpha);
    return out;
}

static int by_ratio(const void *a, const void *b)
{
    const struct cost_change *x = a, *y = b;
    if (x->ratio != y->ratio)
        return x->ratio < y->ratio ? 1 : -1;
    return op_compare(&x->op, &y->op);
}

void cost_compare(struct cost_comparison *out, const struct profile *before,
        const struct profile *after, double threshold, struct arena *arena)
{
    *out = (struct cost_comparison){.shapes = ARENA_NEW(arena, struct cost_change, before->n + 1)};
    for (int64_t i = 0; i < before->n; i++) {
        const struct profile_point *now = profile_find(after, &before->points[i].op);
        if (now != NULL && now->cost_us > 0 && before->points[i].cost_us > 0)
            out->shapes[out->n++] = change_of(&before->points[i], now, threshold);
        else
            out->only_before++;
    }
    out->only_after = after->n - out->n;
    qsort(out->shapes, (size_t)out->n, sizeof *out->shapes, by_ratio);
    for (int k = 0; k < OP_KIND_COUNT; k++) {
        struct kind_change kind = kind_of(out, (enum op_kind)k, threshold, arena);
        if (kind.n == 0)
            continue;
        out->kinds[out->n_kinds++] = kind;
        out->worse = out->worse || kind.worse;
    }
}
