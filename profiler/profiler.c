#include "profiler/profiler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "profiler/looks.h"
#include "profiler/points.h"
#include "profiler/record.h"
#include "profiler/session.h"
#include "profiler/trial.h"

/* Least time that a point takes beside its samples: commands between ranks, a case opened and closed. */
static const double overhead_s = 2e-3;
/* A point gets more than its even share of what is left, because many stop early. */
static const double share_factor = 2.5;

enum {
    GUIDED_FROM = 2, /* levels from here on are asked for by request->next */
    GUIDED = 32      /* ops that it names at a time */
};
/* Where it names them, the levels before take at most this share of the budget. */
static const double before_guide = 0.6;

struct work {
    const struct points *points;
    const struct want *const *wants; /* to do */
    int64_t n;
    struct looked *looked; /* of each of them */
    int looks;             /* at each */
    struct arena *arena;
    const struct profile_request *request;
    const struct measure_sink *sink;
    struct recording recording;
    struct profile_summary *summary;
    int64_t begin_ns;
};

static double seconds_since(int64_t begin_ns)
{
    return (double)(clock_now_ns() - begin_ns) * 1e-9;
}

static double point_estimate_s(const struct op *op, double point_budget_s, int looks)
{
    const double fill_bytes_per_s = 2e9;
    double once = points_typical_s(op), samples = 14 * once;
    double cap = fmax(point_budget_s / looks, 5 * once);
    double setup =
            op_is_collective(op->kind) ? 0 : (double)session_case_bytes(op) / fill_bytes_per_s;
    return looks * (overhead_s + setup + fmin(fmax(samples, 1e-3), cap));
}

/* Keeps the highest rates of each layout. Only products count: other ops live in caches. */
static void learn_ceiling(struct profile_summary *summary, const struct profile_point *point)
{
    const struct op *op = &point->op;
    int i = 0;

    if ((op->kind != OP_GEMM && op->kind != OP_LM_HEAD) || point->cost_us <= 0)
        return;
    while (i < summary->n_ceilings
            && (summary->ceilings[i].degree != op->degree || summary->ceilings[i].busy != op->busy))
        i++;
    if (i == PROFILER_CEILINGS)
        return;
    struct profiler_ceiling *c = &summary->ceilings[i];
    if (i == summary->n_ceilings) {
        summary->n_ceilings++;
        *c = (struct profiler_ceiling){.degree = op->degree, .busy = op->busy};
    }
    c->peak_flops = fmax(c->peak_flops, op_flop(op) / point->cost_us * 1e6);
    c->peak_bytes_per_s = fmax(c->peak_bytes_per_s, op_bytes(op) / point->cost_us * 1e6);
}

/* Splits what is wanted into known and to do; estimates the rest. */
static void plan_work(struct work *work, const struct points *points, struct arena *arena)
{
    const struct profile *known = work->request->known;
    const struct want **todo = ARENA_NEW(arena, const struct want *, points->n);

    work->summary->wanted = points->n;
    for (int64_t i = 0; i < points->n; i++) {
        const struct profile_point *point =
                known ? profile_find(known, &points->items[i].op) : NULL;
        if (point) {
            work->summary->known++;
            learn_ceiling(work->summary, point);
            continue;
        }
        if (work->request->next && points->items[i].level >= GUIDED_FROM) {
            work->summary->left++;
            continue;
        }
        todo[work->n++] = &points->items[i];
        work->summary->estimate_s +=
                point_estimate_s(&points->items[i].op, work->request->point_budget_s, work->looks);
    }
    work->wants = todo;
    work->looked = ARENA_NEW(arena, struct looked, work->n + 1);
    if (work->request->budget_s > 0)
        work->summary->estimate_s = fmin(work->summary->estimate_s, work->request->budget_s);
}

/* What a look at the point may take, so that the last ones and the looks to come get their turn too. */
static struct trial_limits limits_for(const struct work *work, int look, int64_t i)
{
    struct trial_limits limits = trial_limits_default;
    const struct profile_request *request = work->request;

    limits.budget_s = request->point_budget_s / work->looks;
    limits.max_samples /= work->looks;
    if (request->budget_s > 0) {
        double left = request->budget_s - seconds_since(work->begin_ns);
        double points = (double)(work->looks - look) * (double)work->n - (double)i;
        double share = share_factor * left / points - overhead_s;
        limits.budget_s = fmin(limits.budget_s, fmax(share, 1e-3));
    }
    return limits;
}

static bool deliver(struct work *work, const struct profile_point *point, const double *samples,
        struct err *err)
{
    return !work->sink->point || work->sink->point(work->sink->self, point, samples, err);
}

/* The first look at an op of the list, or what request->next asked for. */
static bool take(struct work *work, const struct trial_result *result, struct err *err)
{
    work->summary->measured++;
    work->summary->disturbed += result->disturbed;
    if (work->request->record)
        record_add(&work->recording, &result->point, result->samples);
    return deliver(work, &result->point, result->samples, err);
}

/* A look at an op of the list, with all that is known from the ones before. */
static bool take_look(struct work *work, struct looked *looked, const struct trial_result *result,
        struct err *err)
{
    bool first = looked->point.looks == 0, was = looked->disturbed;

    looks_add(looked, result, work->arena);
    if (first)
        return take(work, result, err);
    work->summary->disturbed += looked->disturbed - was;
    return deliver(work, &looked->point, looked->samples, err);
}

static void log_point(const struct trial_result *result, enum source_answer answer, double took_s)
{
    char text[160];
    const struct profile_point *p = &result->point;
    if (answer == SOURCE_OK)
        log_line(LOG_DEBUG, "%s: %.4g us, %d samples, %s, %.1f ms", op_show(text, &p->op),
                p->cost_us, p->samples, p->stop, took_s * 1e3);
    else
        log_line(LOG_DEBUG, "%s: left out", op_show(text, &p->op));
}

/* looked: of an op of the list; NULL = an op that request->next asked for. */
static bool measure_one(struct work *work, const struct source *source, const struct op *op,
        struct looked *looked, const struct trial_limits *limits, struct err *err)
{
    struct arena arena = {0};
    struct trial_result result;
    bool again = looked && looked->point.looks > 0;
    int64_t begin_ns = clock_now_ns();
    enum source_answer answer = trial_run(&result, source, op, limits, &arena, err);
    bool ok = answer == SOURCE_SKIP;
    if (answer == SOURCE_OK) {
        learn_ceiling(work->summary, &result.point);
        ok = looked ? take_look(work, looked, &result, err) : take(work, &result, err);
    }
    if (ok && !again) /* after it was delivered: what is said to be measured is stored */
        log_point(&result, answer, seconds_since(begin_ns));
    work->summary->skipped += answer == SOURCE_SKIP && !again;
    arena_free(&arena);
    return ok;
}

/* One look at every op of the list; *spent: the budget ended it. */
static bool look_at_all(
        bool *spent, struct work *work, const struct source *source, int look, struct err *err)
{
    double budget_s = work->request->budget_s * (work->request->next ? before_guide : 1);
    int64_t all = work->n * work->looks;

    for (int64_t i = 0; i < work->n; i++) {
        struct trial_limits limits = limits_for(work, look, i);
        double spent_s = seconds_since(work->begin_ns);
        int64_t done = look * work->n + i;

        if (budget_s > 0 && spent_s >= budget_s) {
            work->summary->left += look == 0 ? work->n - i : 0;
            *spent = true;
            return true;
        }
        double eta_s = done > 0 ? spent_s / (double)done * (double)(all - done)
                                : work->summary->estimate_s;
        if (budget_s > 0)
            eta_s = fmin(eta_s, budget_s - spent_s);
        log_progress(look == 0 ? "measuring" : "measuring again", done, all, eta_s);
        if ((look == 0 || work->looked[i].point.looks > 0)
                && !measure_one(work, source, &work->wants[i]->op, &work->looked[i], &limits, err))
            return false;
    }
    return true;
}

static bool measure_all(struct work *work, const struct source *source, struct err *err)
{
    bool spent = false;
    for (int look = 0; look < work->looks && !spent; look++)
        if (!look_at_all(&spent, work, source, look, err))
            return false;
    return true;
}

/* What the request's guide asks for, until it asks no more. */
static bool measure_guided(struct work *work, const struct source *source, struct err *err)
{
    const struct profile_request *request = work->request;
    struct op ops[GUIDED];
    struct trial_limits limits = trial_limits_default;
    int64_t n;

    limits.budget_s = request->point_budget_s;
    int64_t before = -1; /* nothing new, nothing more to say */
    while (before != work->summary->measured
            && (n = request->next(request->next_self, ops, GUIDED, work->points)) > 0) {
        before = work->summary->measured;
        for (int64_t i = 0; i < n; i++) {
            double spent_s = seconds_since(work->begin_ns);
            if (request->budget_s > 0 && spent_s >= request->budget_s)
                return true;
            log_progress("measuring where it matters", work->summary->guided,
                    work->summary->guided + n - i,
                    request->budget_s > 0 ? request->budget_s - spent_s : 0);
            if (!measure_one(work, source, &ops[i], NULL, &limits, err))
                return false;
            work->summary->guided++;
        }
    }
    return true;
}

static bool lead(struct work *work, struct session *session, struct err *err)
{
    const struct profile_request *request = work->request;

    if (request->record)
        record_begin(&work->recording, request->target->kind->name);
    work->begin_ns = clock_now_ns();
    bool ok = measure_all(work, session_source(session), err);
    log_progress("measuring", work->n, work->n, 0);
    if (ok && request->next)
        ok = measure_guided(work, session_source(session), err);
    work->summary->seconds = seconds_since(work->begin_ns);
    if (request->record) {
        /* What was measured before a failure is worth keeping; the failure is what gets told. */
        struct err second = {0};
        if (!record_end(&work->recording, request->record, ok ? err : &second))
            ok = false;
    }
    return ok;
}

bool profiler_run(struct profile_summary *summary, const struct profile_request *request,
        struct ranks *ranks, const struct measure_sink *sink, struct err *err)
{
    struct arena arena = {0};
    struct points points = {0};
    struct session session = {0};
    struct profile_request filled = *request;
    struct profiler_target *targets;
    if (!filled.target && profiler_targets(&targets, filled.cluster, false, &arena) > 0)
        filled.target = &targets[0];
    /* A recording is one look, and a guide looks again where that matters. */
    int looks = filled.record || filled.replay || filled.next ? 1 : LOOKS;
    struct work work = {.points = &points,
            .request = &filled,
            .sink = sink,
            .summary = summary,
            .looks = looks,
            .arena = &arena};
    bool leads = ranks_rank(ranks) == 0;

    *summary = (struct profile_summary){0};
    if (filled.point_budget_s <= 0)
        filled.point_budget_s = trial_limits_default.budget_s;
    bool ok = !leads || points_of(&points, &filled, &arena, err);
    ok = ranks_agree(ranks, ok, err);
    if (ok && leads)
        plan_work(&work, &points, &arena);
    ranks_broadcast(ranks, &work.n, sizeof work.n, 0);
    if (ok && sink && (work.n > 0 || filled.next)) {
        ok = session_open(&session, &filled, ranks, &arena, err);
        if (ok)
            ok = leads ? lead(&work, &session, err) : session_follow(&session, err);
        session_close(&session);
        ok = ranks_agree(ranks, ok, err);
    }
    ranks_broadcast(ranks, summary, sizeof *summary, 0);
    arena_free(&arena);
    return ok;
}
