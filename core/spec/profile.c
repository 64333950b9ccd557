#include "core/spec/profile.h"

#include <stdlib.h>

#include <xxhash.h>

const char *const cost_source_names[] = {
        "measured", "interpolated", "imported", "derived", "estimated", NULL};

const char *const cost_class_names[] = {"under 20 us", "under 1 ms", "1 ms and more"};
_Static_assert(sizeof cost_class_names / sizeof *cost_class_names == COST_CLASSES,
        "a name for each class");

enum cost_class cost_class_of(double us)
{
    return us < 20 ? COST_SHORT : us < 1000 ? COST_MEDIUM : COST_LONG;
}

void profile_point_spread(struct profile_point *point, const struct summary *summary)
{
    point->lo_us = summary->ci_lo;
    point->hi_us = summary->ci_hi;
    point->min_us = summary->min;
    point->q1_us = summary->q1;
    point->q3_us = summary->q3;
    point->p99_us = summary->p99;
    point->mad_us = summary->mad;
}

static int by_op(const void *a, const void *b)
{
    const struct profile_point *x = a, *y = b;
    return op_compare(&x->op, &y->op);
}

bool profile_finish(struct profile *profile, struct err *err)
{
    bool sorted = true;
    for (int64_t i = 1; sorted && i < profile->n; i++)
        sorted = by_op(&profile->points[i - 1], &profile->points[i]) <= 0;
    if (!sorted)
        qsort(profile->points, (size_t)profile->n, sizeof *profile->points, by_op);
    for (int64_t i = 1; i < profile->n; i++) {
        char text[160];
        if (op_compare(&profile->points[i - 1].op, &profile->points[i].op) == 0)
            return err_set(err, ERR_BUG, "the profile has two points for %s",
                    op_show(text, &profile->points[i].op));
    }
    return true;
}

const struct profile_point *profile_find(const struct profile *profile, const struct op *op)
{
    const struct profile_point key = {.op = *op};
    if (profile->n == 0)
        return NULL;
    return bsearch(&key, profile->points, (size_t)profile->n, sizeof key, by_op);
}

const char *profile_digest(const struct profile *profile, struct arena *arena)
{
    XXH64_hash_t digest = 0;
    for (int64_t i = 0; i < profile->n; i++) {
        const struct profile_point *p = &profile->points[i];
        /* field by field: padding has no meaning */
        int64_t key[5 + OP_DIMS] = {
                (int64_t)p->op.kind, (int64_t)p->op.dtype, p->op.degree, p->op.busy, p->op.nodes};
        for (int d = 0; d < OP_DIMS; d++)
            key[5 + d] = p->op.dim[d];
        double cost[3] = {p->cost_us, p->lo_us, p->hi_us};
        digest = XXH64(key, sizeof key, digest);
        digest = XXH64(cost, sizeof cost, digest);
    }
    return arena_printf(arena, "%016llx", (unsigned long long)digest);
}
