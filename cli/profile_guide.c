#include "cli/profile_guide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/lookup.h"
#include "profiler/points.h"

enum {
    AGAIN = 2,     /* measured this often once more, a size is as well known as it will be */
    MOST_TRIES = 6 /* once more, or its neighbours */
};

static int64_t find_point(const struct profile_guide *guide, const struct op *op)
{
    for (int64_t i = 0; i < guide->n; i++)
        if (op_compare(&guide->points[i].op, op) == 0)
            return i;
    return -1;
}

void profile_guide_add(struct profile_guide *guide, const struct profile_point *point)
{
    int64_t at = find_point(guide, &point->op);
    if (at < 0) {
        if (guide->n == guide->room) {
            int64_t room = guide->room * 2 + 256;
            guide->points = arena_grow(
                    guide->arena, guide->points, guide->room, room, sizeof *guide->points);
            guide->tries =
                    arena_grow(guide->arena, guide->tries, guide->room, room, sizeof *guide->tries);
            guide->room = room;
        }
        at = guide->n++;
        guide->tries[at] = 0;
    }
    guide->points[at] = *point;
}

/* A measured point with its error and weight. */
struct judged {
    int64_t point; /* of the guide */
    double error, score;
};

static int by_op(const void *a, const void *b)
{
    const struct want *x = *(const struct want *const *)a, *y = *(const struct want *const *)b;
    return op_compare(&x->op, &y->op);
}

static int by_score(const void *a, const void *b)
{
    const struct judged *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->point > y->point) - (x->point < y->point);
}

static int by_part(const void *a, const void *b)
{
    const struct profile_guide_kind *x = a, *y = b;
    double d = y->share * y->error - x->share * x->error;
    return d != 0 ? (d > 0 ? 1 : -1) : (int)x->kind - (int)y->kind;
}

/* Wants in the order of ops, for look-ups. */
static const struct want **sorted_wants(const struct points *points, struct arena *arena)
{
    const struct want **wants = ARENA_NEW(arena, const struct want *, points->n + 1);
    for (int64_t i = 0; i < points->n; i++)
        wants[i] = &points->items[i];
    qsort(wants, (size_t)points->n, sizeof(void *), by_op);
    return wants;
}

static const struct want *want_of(const struct want *const *wants, int64_t n, const struct op *op)
{
    const struct want key = {.op = *op}, *at = &key;
    const struct want *const *found = bsearch(&at, wants, (size_t)n, sizeof(void *), by_op);
    return found ? *found : NULL;
}

static void sum_up(struct profile_guide *guide, const struct profile_guide_kind *kinds)
{
    double share = 0, error = 0;
    guide->n_kinds = 0;
    for (int k = 0; k < OP_KIND_COUNT; k++) {
        if (kinds[k].n == 0)
            continue;
        struct profile_guide_kind *kind = &guide->kinds[guide->n_kinds++];
        *kind = kinds[k];
        share += kind->share;
        error += kind->error;
        kind->error = kind->share > 0 ? kind->error / kind->share : 0;
    }
    for (int k = 0; k < guide->n_kinds; k++)
        guide->kinds[k].share /= share > 0 ? share : 1;
    qsort(guide->kinds, (size_t)guide->n_kinds, sizeof *guide->kinds, by_part);
    guide->error = share > 0 ? error / share : (double)NAN;
    guide->reached = guide->error <= guide->target;
}

/* Errors of all points with a share of some step, worst first; fills the guide's sums. */
static int64_t judge(struct judged **out, struct profile_guide *guide,
        const struct want *const *wants, int64_t n_wants, struct arena *arena)
{
    struct profile profile = {
            .points = ARENA_NEW(arena, struct profile_point, guide->n + 1), .n = guide->n};
    struct profile_guide_kind kinds[OP_KIND_COUNT] = {{0}};
    struct err err = {0};
    struct left_out *left;
    int64_t n = 0;
    memcpy(profile.points, guide->points, (size_t)guide->n * sizeof *guide->points);
    struct lookup *lookup = profile_finish(&profile, &err) ? lookup_open(&profile, &err) : NULL;
    if (lookup == NULL)
        return 0;
    int64_t n_left = lookup_left_out(&left, lookup, arena);
    *out = ARENA_NEW(arena, struct judged, n_left + 1);
    for (int64_t i = 0; i < n_left; i++) {
        const struct op *op = &left[i].point->op;
        const struct want *want = want_of(wants, n_wants, op);
        double share = want ? want->share : 0, error = fabs(left[i].error);
        kinds[op->kind].kind = op->kind;
        if (share <= 0)
            continue;
        kinds[op->kind].n++;
        kinds[op->kind].share += share;
        kinds[op->kind].error += share * error;
        (*out)[n++] = (struct judged){find_point(guide, op), left[i].error, share * error};
    }
    lookup_close(lookup);
    sum_up(guide, kinds);
    qsort(*out, (size_t)n, sizeof **out, by_score);
    return n;
}

static bool same_site(const struct op *a, const struct op *b)
{
    struct op x = *a, y = *b;
    for (int d = 0; d < (op_is_attention(a->kind) ? 2 : 1); d++)
        x.dim[d] = y.dim[d] = 0;
    return op_compare(&x, &y) == 0;
}

static double distance(const struct op *a, const struct op *b)
{
    double sum = 0;
    for (int d = 0; d < (op_is_attention(a->kind) ? 2 : 1); d++)
        sum += fabs(log((double)a->dim[d] / (double)b->dim[d]));
    return sum;
}

/* The nearest size of the site that the grid has and nobody measured. */
static const struct want *nearest_unmeasured(
        const struct profile_guide *guide, const struct points *points, const struct op *op)
{
    const struct want *best = NULL;
    for (int64_t i = 0; i < points->n; i++) {
        const struct op *at = &points->items[i].op;
        if (same_site(at, op) && (best == NULL || distance(at, op) < distance(&best->op, op))
                && find_point(guide, at) < 0)
            best = &points->items[i];
    }
    return best;
}

/* The middle, by ratio, of the wider gap beside a point of a site with one size. */
static bool middle_of_gap(struct op *out, const struct profile_guide *guide, const struct op *op)
{
    int64_t below = 0, above = INT64_MAX, size = op->dim[0];
    if (op_is_attention(op->kind))
        return false;
    for (int64_t i = 0; i < guide->n; i++) {
        int64_t at = guide->points[i].op.dim[0];
        if (!same_site(&guide->points[i].op, op))
            continue;
        below = at < size && at > below ? at : below;
        above = at > size && at < above ? at : above;
    }
    if (below == 0 || above == INT64_MAX)
        return false;
    struct op middle = *op;
    int64_t other = (double)above / (double)size > (double)size / (double)below ? above : below;
    middle.dim[0] = (int64_t)(sqrt((double)size * (double)other) + 0.5);
    if (op_is_collective(op->kind) || op->kind == OP_COPY)
        middle.dim[0] = middle.dim[0] / 8 * 8;
    if (middle.dim[0] < 1 || find_point(guide, &middle) >= 0)
        return false;
    *out = middle;
    return true;
}

/* A point whose own interval explains the error is measured again, else its surroundings get denser. */
static bool propose(struct op *out, struct profile_guide *guide, const struct points *points,
        const struct judged *judged)
{
    const struct profile_point *point = &guide->points[judged->point];
    double noise = (point->hi_us - point->lo_us) / 2 / point->cost_us;
    int *tries = &guide->tries[judged->point];
    *out = point->op;
    if (*tries >= MOST_TRIES)
        return false;
    ++*tries;
    if (noise > fabs(judged->error) / 3 && *tries <= AGAIN)
        return true;
    const struct want *want = nearest_unmeasured(guide, points, &point->op);
    if (want != NULL)
        *out = want->op;
    return want != NULL || middle_of_gap(out, guide, &point->op) || *tries <= AGAIN;
}

static int large_first(const void *a, const void *b)
{
    return op_compare(b, a);
}

int64_t profile_guide_next(void *self, struct op *out, int64_t most, const struct points *points)
{
    struct profile_guide *guide = self;
    struct arena arena = {0};
    struct judged *judged = NULL;
    int64_t n = 0;
    const struct want **wants = sorted_wants(points, &arena);
    int64_t n_judged = judge(&judged, guide, wants, points->n, &arena);
    for (int64_t i = 0; i < n_judged && n < most && !guide->reached; i++) {
        bool twice = false;
        if (fabs(judged[i].error) <= guide->target || !propose(&out[n], guide, points, &judged[i]))
            continue;
        for (int64_t j = 0; j < n && !twice; j++)
            twice = op_compare(&out[j], &out[n]) == 0;
        n += !twice;
    }
    /* Of one site from large to small: then operands are made once (profiler/source_host.c). */
    qsort(out, (size_t)n, sizeof *out, large_first);
    arena_free(&arena);
    return n;
}
