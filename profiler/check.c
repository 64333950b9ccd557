/*
 * Held-out error: sizes drawn at random between the smallest and the largest of a site that the grid does
 * not contain, measured as the grid was, beside what the cost model says of them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/summary.h"
#include "profiler/points.h"
#include "profiler/profiler.h"
#include "profiler/session.h"
#include "profiler/trial.h"

enum {
    TRIES = 50
};

struct errors {
    double *frac; /* signed */
    int64_t n, covered;
};

struct check {
    const struct profile_request *request;
    const struct points *points;
    struct errors errors[OP_KIND_COUNT];
    const struct check_request *sizes;
    uint64_t random;
};

/* splitmix64 */
static uint64_t next_random(struct check *check)
{
    uint64_t z = check->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(struct check *check)
{
    return (double)(next_random(check) >> 11) * 0x1p-53;
}

static int size_dims(enum op_kind kind)
{
    return op_is_attention(kind) ? 2 : 1;
}

static bool same_site(const struct op *a, const struct op *b)
{
    struct op x = *a, y = *b;
    for (int d = 0; d < size_dims(a->kind); d++)
        x.dim[d] = y.dim[d] = 0;
    return op_compare(&x, &y) == 0;
}

static bool in_grid(const struct check *check, const struct op *op)
{
    for (int64_t i = 0; i < check->points->n; i++)
        if (op_compare(&check->points->items[i].op, op) == 0)
            return true;
    return check->request->known && profile_find(check->request->known, op);
}

/* A size between those of the op's site, even on a logarithmic scale. */
static int64_t draw_size(struct check *check, const struct op *op, int d)
{
    int64_t lo = op->dim[d], hi = op->dim[d];
    for (int64_t i = 0; i < check->points->n; i++) {
        const struct op *other = &check->points->items[i].op;
        if (!same_site(other, op))
            continue;
        lo = other->dim[d] < lo ? other->dim[d] : lo;
        hi = other->dim[d] > hi ? other->dim[d] : hi;
    }
    double at = log((double)lo) + uniform(check) * (log((double)hi + 1) - log((double)lo));
    int64_t size = (int64_t)exp(at);
    if (op_is_collective(op->kind) || op->kind == OP_COPY)
        size = size / 64 * 64;
    return size < lo ? lo : size > hi ? hi : size;
}

static bool draw_op(struct op *out, struct check *check, enum op_kind kind)
{
    int64_t n_kind = 0, pick;
    for (int64_t i = 0; i < check->points->n; i++)
        n_kind += check->points->items[i].op.kind == kind;
    for (int try = 0; try < TRIES && n_kind > 0; try++) {
        pick = (int64_t)(next_random(check) % (uint64_t)n_kind);
        for (int64_t i = 0; i < check->points->n; i++)
            if (check->points->items[i].op.kind == kind && pick-- == 0)
                *out = check->points->items[i].op;
        struct op op = *out;
        for (int d = 0; d < size_dims(kind); d++)
            op.dim[d] = draw_size(check, out, d);
        if (op_is_prefill(kind) && op.dim[1] < op.dim[0])
            op.dim[1] = op.dim[0];
        *out = op;
        if (!in_grid(check, out))
            return true;
    }
    return false;
}

static void compare(struct check *check, const struct profile_point *point)
{
    struct errors *errors = &check->errors[point->op.kind];
    double us, lo_us, hi_us;
    if (point->cost_us <= 0
            || !check->sizes->predict(check->sizes->self, &point->op, &us, &lo_us, &hi_us))
        return;
    errors->frac[errors->n++] = us / point->cost_us - 1;
    errors->covered += point->cost_us >= lo_us && point->cost_us <= hi_us;
}

static bool measure(struct check *check, const struct source *source, int64_t n, struct err *err)
{
    struct trial_limits limits = trial_limits_default;
    int64_t begin_ns = clock_now_ns();
    double budget_s = check->request->budget_s;

    if (check->request->point_budget_s > 0)
        limits.budget_s = check->request->point_budget_s;
    for (int64_t i = 0; i < n; i++) {
        struct arena arena = {0};
        struct trial_result result;
        struct op op;
        double spent_s = (double)(clock_now_ns() - begin_ns) * 1e-9;
        if (budget_s > 0 && spent_s > budget_s)
            break;
        if (!draw_op(&op, check, (enum op_kind)(i % OP_KIND_COUNT))) {
            n += i < (int64_t)OP_KIND_COUNT * 1000; /* a kind that is not there costs no turn */
            continue;
        }
        log_progress("checking", i, n, i > 0 ? spent_s / (double)i * (double)(n - i) : 0);
        enum source_answer answer = trial_run(&result, source, &op, &limits, &arena, err);
        if (answer == SOURCE_OK && !result.disturbed)
            compare(check, &result.point);
        arena_free(&arena);
        if (answer == SOURCE_FAIL)
            return false;
    }
    log_progress("checking", n, n, 0);
    return true;
}

static struct check_row summarise(enum op_kind kind, const struct errors *errors)
{
    struct check_row row = {.kind = kind, .n = errors->n};
    struct summary s;
    for (int64_t i = 0; i < errors->n; i++) {
        row.bias += errors->frac[i] / (double)errors->n;
        errors->frac[i] = fabs(errors->frac[i]);
    }
    summary_of(&s, errors->frac, errors->n);
    row.mape = s.mean;
    row.median = s.median;
    row.p90 = s.p90;
    row.p99 = s.p99;
    row.coverage = (double)errors->covered / (double)errors->n;
    return row;
}

bool profiler_check(struct check_row *rows, int *n_rows, const struct profile_request *request,
        const struct check_request *sizes, struct ranks *ranks, struct err *err)
{
    struct arena arena = {0};
    struct points points = {0};
    struct session session = {0};
    struct check check = {
            .request = request, .points = &points, .sizes = sizes, .random = sizes->seed};
    bool leads = ranks_rank(ranks) == 0;

    *n_rows = 0;
    for (int k = 0; leads && k < OP_KIND_COUNT; k++)
        check.errors[k].frac = ARENA_NEW(&arena, double, sizes->n + 1);
    bool ok = ranks_agree(ranks, !leads || points_of(&points, request, &arena, err), err);
    if (ok) {
        ok = session_open(&session, request, ranks, &arena, err);
        if (ok)
            ok = leads ? measure(&check, session_source(&session), sizes->n, err)
                       : session_follow(&session, err);
        session_close(&session);
        ok = ranks_agree(ranks, ok, err);
    }
    for (int k = 0; ok && leads && k < OP_KIND_COUNT; k++)
        if (check.errors[k].n > 0)
            rows[(*n_rows)++] = summarise((enum op_kind)k, &check.errors[k]);
    arena_free(&arena);
    return ok;
}
