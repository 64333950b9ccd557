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
    TRIES = 50,
    PASSES = 2 /* the second tells the noise of the machine */
};

/* A shape, and what it took in each pass; 0 = not measured. */
struct drawn {
    struct op op;
    double us[PASSES];
};

struct check {
    const struct profile_request *request;
    const struct points *points;
    const struct check_request *sizes;
    uint64_t random;
    struct drawn *drawn;
    int64_t n;
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

/* In turn of each kind that there is, so that a check that is cut short has all of them. */
static void draw_all(struct check *check, int64_t n)
{
    bool left = true;
    while (check->n < n && left) {
        left = false;
        for (int k = 0; k < OP_KIND_COUNT && check->n < n; k++)
            if (draw_op(&check->drawn[check->n].op, check, (enum op_kind)k)) {
                check->n++;
                left = true;
            }
    }
}

static double seconds_since(int64_t begin_ns)
{
    return (double)(clock_now_ns() - begin_ns) * 1e-9;
}

/* What the budget leaves out stays 0; the second pass has half of it. */
static bool measure(struct check *check, const struct source *source, struct err *err)
{
    struct trial_limits limits = trial_limits_default;
    int64_t begin_ns = clock_now_ns();
    double budget_s = check->request->budget_s;

    if (check->request->point_budget_s > 0)
        limits.budget_s = check->request->point_budget_s;
    for (int64_t turn = 0; turn < PASSES * check->n; turn++) {
        struct arena arena = {0};
        struct trial_result result;
        int64_t i = turn % check->n;
        int pass = (int)(turn / check->n);
        double spent_s = seconds_since(begin_ns);
        if (budget_s > 0 && spent_s > budget_s * (pass + 1) / PASSES)
            continue;
        log_progress("checking", turn, PASSES * check->n,
                turn > 0 ? spent_s / (double)turn * (double)(PASSES * check->n - turn) : 0);
        enum source_answer answer =
                trial_run(&result, source, &check->drawn[i].op, &limits, &arena, err);
        if (answer == SOURCE_OK && !result.disturbed)
            check->drawn[i].us[pass] = result.point.cost_us;
        arena_free(&arena);
        if (answer == SOURCE_FAIL)
            return false;
    }
    log_progress("checking", PASSES * check->n, PASSES * check->n, 0);
    return true;
}

/* The quicker of the passes that were not disturbed, because disturbance only adds; 0 = none. */
static double measured_us(const struct drawn *drawn)
{
    double least = 0;
    for (int pass = 0; pass < PASSES; pass++)
        if (drawn->us[pass] > 0 && (least <= 0 || drawn->us[pass] < least))
            least = drawn->us[pass];
    return least;
}

/* One row of the table: shapes of a kind, and of a class unless that is COST_CLASSES. */
static struct check_row summarise(
        const struct check *check, enum op_kind kind, int size_class, struct arena *arena)
{
    struct check_row row = {.kind = kind, .size_class = size_class};
    double *frac = ARENA_NEW(arena, double, check->n + 1);
    double covered = 0, noise = 0, signed_sum = 0;
    int64_t repeated = 0;
    for (int64_t i = 0; i < check->n; i++) {
        const struct drawn *drawn = &check->drawn[i];
        double truth = measured_us(drawn), us, lo_us, hi_us;
        if (drawn->op.kind != kind || truth <= 0
                || (size_class < COST_CLASSES && (int)cost_class_of(truth) != size_class)
                || !check->sizes->predict(check->sizes->self, &drawn->op, &us, &lo_us, &hi_us))
            continue;
        signed_sum += us / truth - 1;
        frac[row.n++] = fabs(us / truth - 1);
        covered += truth >= lo_us && truth <= hi_us;
        if (drawn->us[0] > 0 && drawn->us[1] > 0) {
            noise += fabs(drawn->us[1] - drawn->us[0]) / truth;
            repeated++;
        }
    }
    if (row.n == 0)
        return row;
    struct summary s;
    summary_of(&s, frac, row.n);
    row.mape = s.mean;
    row.median = s.median;
    row.p90 = s.p90;
    row.p99 = summary_quantile(frac, row.n, 0.99);
    row.bias = signed_sum / (double)row.n;
    row.coverage = covered / (double)row.n;
    row.noise = repeated > 0 ? noise / (double)repeated : (double)NAN;
    return row;
}

static int make_rows(struct check_row *rows, const struct check *check, struct arena *arena)
{
    int n = 0;
    for (int k = 0; k < OP_KIND_COUNT; k++) {
        rows[n] = summarise(check, (enum op_kind)k, COST_CLASSES, arena);
        if (rows[n].n == 0)
            continue;
        n++;
        for (int c = 0; c < COST_CLASSES; c++) {
            rows[n] = summarise(check, (enum op_kind)k, c, arena);
            n += rows[n].n > 0;
        }
    }
    return n;
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
    bool ok = ranks_agree(ranks, !leads || points_of(&points, request, &arena, err), err);
    if (ok && leads) {
        check.drawn = ARENA_NEW(&arena, struct drawn, sizes->n + 1);
        draw_all(&check, sizes->n);
    }
    if (ok) {
        ok = session_open(&session, request, ranks, &arena, err);
        if (ok)
            ok = leads ? measure(&check, session_source(&session), err)
                       : session_follow(&session, err);
        session_close(&session);
        ok = ranks_agree(ranks, ok, err);
    }
    if (ok && leads)
        *n_rows = make_rows(rows, &check, &arena);
    arena_free(&arena);
    return ok;
}
