/*
 * For a cap A only arcs with time <= A are columns, and the program minimises the sum over all stages
 * and transfers, M(A). M falls as A grows, so the smallest T is found by bisection over the distinct arc
 * times: the smallest A with M(A) <= in_flight * A gives T = A, and the cap below it, where the sum
 * decides, gives T = M / in_flight; the better one is the optimum. No big-M, no named devices: both
 * were tried and find nothing in 30 s on 80 layers (docs/ilp.md).
 */
#include "planner/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "planner/ilp.h"

double partition_pace(const struct partition_problem *problem, const int *arcs)
{
    double worst = 0;
    double sum = 0;
    for (int s = 0; s < problem->n_stages; s++) {
        const struct partition_arc *arc = &problem->arcs[arcs[s]];
        worst = fmax(worst, arc->us);
        sum += arc->us + arc->send_us;
    }
    return fmax(worst, sum / problem->in_flight);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Distinct arc times, ascending. */
static int distinct_times(double **out, const struct partition_problem *p, struct arena *arena)
{
    double *t = ARENA_NEW(arena, double, p->n_arcs + 1);
    for (int i = 0; i < p->n_arcs; i++)
        t[i] = p->arcs[i].us;
    qsort(t, (size_t)p->n_arcs, sizeof *t, by_value);
    int n = 0;
    for (int i = 0; i < p->n_arcs; i++)
        if (n == 0 || t[i] > t[n - 1])
            t[n++] = t[i];
    *out = t;
    return n;
}

/* What no partition beats: every stage count shares all layers, and some stage has the slowest one. */
struct floors {
    double slowest_us; /* of the slowest stage */
    double pace_us;
};

static struct floors floors_of(const struct partition_problem *p, struct arena *arena)
{
    double *least = ARENA_NEW(arena, double, p->n_layers + 1);
    double *per_layer = ARENA_NEW(arena, double, p->n_layers + 1);
    for (int l = 0; l < p->n_layers; l++)
        least[l] = per_layer[l] = HUGE_VAL;
    for (int i = 0; i < p->n_arcs; i++) {
        const struct partition_arc *arc = &p->arcs[i];
        for (int l = arc->first; l < arc->end; l++) {
            least[l] = fmin(least[l], arc->us);
            per_layer[l] = fmin(per_layer[l], arc->us / (arc->end - arc->first));
        }
    }
    struct floors floors = {0};
    double sum = 0;
    for (int l = 0; l < p->n_layers; l++) {
        floors.slowest_us = fmax(floors.slowest_us, least[l]);
        sum += per_layer[l];
    }
    /* Sums of the same times in another order differ in the last bits. */
    sum *= 1 - 1e-9;
    floors.slowest_us = fmax(floors.slowest_us, sum / p->n_stages);
    floors.pace_us = fmax(floors.slowest_us, sum / p->in_flight);
    return floors;
}

/* The arc at (kind, first, end), or -1. */
static int *arc_table(const struct partition_problem *p, struct arena *arena)
{
    int side = p->n_layers + 1;
    int64_t n = (int64_t)p->n_kinds * side * side;
    int *table = ARENA_NEW(arena, int, n);
    for (int64_t i = 0; i < n; i++)
        table[i] = -1;
    for (int i = 0; i < p->n_arcs; i++)
        table[((int64_t)p->arcs[i].kind * side + p->arcs[i].first) * side + p->arcs[i].end] = i;
    return table;
}

/* Stage by stage as many layers as the cap allows, on the kind that gets furthest. */
static bool fill_greedily(
        int *arcs, const struct partition_problem *p, const int *table, int *left, double cap)
{
    int side = p->n_layers + 1;
    int at = 0;
    memcpy(left, p->budget, sizeof *left * (size_t)p->n_kinds);
    for (int s = 0; s < p->n_stages; s++) {
        int most = p->n_layers - (p->n_stages - 1 - s);
        int best = -1;
        for (int k = 0; k < p->n_kinds; k++) {
            if (left[k] == 0)
                continue;
            int found = -1;
            for (int end = most; end > at && found < 0; end--) {
                int arc = table[((int64_t)k * side + at) * side + end];
                if (arc >= 0 && p->arcs[arc].us <= cap)
                    found = arc;
            }
            if (found >= 0 && (best < 0 || p->arcs[found].end > p->arcs[best].end))
                best = found;
        }
        if (best < 0)
            return false;
        arcs[s] = best;
        left[p->arcs[best].kind]--;
        at = p->arcs[best].end;
    }
    return at == p->n_layers;
}

void partition_guess(
        struct partition_result *out, const struct partition_problem *p, struct arena *arena)
{
    struct arena scratch = {0};
    memset(out, 0, sizeof *out);
    out->arcs = ARENA_NEW(arena, int, p->n_stages);
    out->value_us = HUGE_VAL;
    out->bound_us = floors_of(p, &scratch).pace_us;
    double *times;
    int n = distinct_times(&times, p, &scratch);
    int *table = arc_table(p, &scratch);
    int *left = ARENA_NEW(&scratch, int, p->n_kinds);
    int *trial = ARENA_NEW(&scratch, int, p->n_stages);
    int lo = 0;
    int hi = n - 1;
    while (lo <= hi) {
        int mid = lo + (hi - lo) / 2;
        if (!fill_greedily(trial, p, table, left, times[mid])) {
            lo = mid + 1;
            continue;
        }
        hi = mid - 1;
        double pace = partition_pace(p, trial);
        if (pace < out->value_us) {
            out->feasible = true;
            out->value_us = pace;
            memcpy(out->arcs, trial, sizeof *trial * (size_t)p->n_stages);
        }
    }
    arena_free(&scratch);
}

/* The program for one cap; column c stands for arc column_arc[c]. */
struct program {
    struct ilp ilp;
    int *column_arc;
};

static void build(
        struct program *out, const struct partition_problem *p, double cap, struct arena *arena)
{
    ilp_init(&out->ilp, arena_printf(arena, "%s_cap_%.6g_us", p->name, cap), arena);
    out->column_arc = ARENA_NEW(arena, int, p->n_arcs + 1);
    /* C1 leaves layer 0 once, C2 what enters a boundary leaves it, C3 ends at the last layer once. */
    for (int l = 0; l <= p->n_layers; l++) {
        double net = 0;
        if (l == 0)
            net = 1;
        else if (l == p->n_layers)
            net = -1;
        ilp_add_row(&out->ilp, arena_printf(arena, "flow_%d", l), net, net);
    }
    int stages = ilp_add_row(&out->ilp, "stages", p->n_stages, p->n_stages); /* C4 */
    int budget = out->ilp.n_rows;                                            /* C5 */
    for (int k = 0; k < p->n_kinds; k++)
        ilp_add_row(&out->ilp, arena_printf(arena, "budget_%d", k), -HUGE_VAL, p->budget[k]);
    for (int i = 0; i < p->n_arcs; i++) {
        const struct partition_arc *arc = &p->arcs[i];
        if (arc->us > cap || p->budget[arc->kind] == 0)
            continue; /* C7: an arc above the cap is no column. C6: nor is one that does not fit */
        struct ilp_col col = {
                .name = arena_printf(arena, "x_%d_%d_%d", arc->kind, arc->first, arc->end),
                .lo = 0,
                .hi = 1,
                .cost = arc->us + arc->send_us,
                .integer = true};
        int c = ilp_add_col(&out->ilp, &col);
        out->column_arc[c] = i;
        ilp_add_term(&out->ilp, arc->first, c, 1);
        ilp_add_term(&out->ilp, arc->end, c, -1);
        ilp_add_term(&out->ilp, stages, c, 1);
        ilp_add_term(&out->ilp, budget + arc->kind, c, 1);
    }
}

/* A known partition as a solution of the program; NULL when the cap excludes it. */
static double *incumbent_of(const struct program *program, const struct partition_problem *p,
        const struct partition_result *known, struct arena *arena)
{
    if (!known->feasible)
        return NULL;
    double *x = ARENA_NEW(arena, double, program->ilp.n_cols + 1);
    int found = 0;
    for (int c = 0; c < program->ilp.n_cols; c++)
        for (int s = 0; s < p->n_stages; s++)
            if (known->arcs[s] == program->column_arc[c]) {
                x[c] = 1;
                found++;
            }
    return found == p->n_stages ? x : NULL;
}

/* Reads the path out of a solution; false when it is none, which would be a fault of the solver. */
static bool path_of(int *arcs, const struct program *program, const struct partition_problem *p,
        const double *x)
{
    int at = 0;
    for (int s = 0; s < p->n_stages; s++) {
        int next = -1;
        for (int c = 0; c < program->ilp.n_cols && next < 0; c++)
            if (x[c] > 0.5 && p->arcs[program->column_arc[c]].first == at)
                next = program->column_arc[c];
        if (next < 0)
            return false;
        arcs[s] = next;
        at = p->arcs[next].end;
    }
    return at == p->n_layers;
}

/* State of the bisection. */
struct search {
    const struct partition_problem *p;
    struct partition_result *out;
    int64_t deadline_ns;
    struct arena *arena;
    bool cut_short;
};

enum answer {
    ANSWER_RAISE,
    ANSWER_LOWER,
    ANSWER_UNKNOWN
};

static bool write_export(const struct search *s, const struct program *program, struct err *err)
{
    if (s->p->export_lp == NULL)
        return true;
    const char *text = ilp_write_lp(&program->ilp);
    return file_write(s->p->export_lp, text, (int64_t)strlen(text), err);
}

/*
 * One program. ANSWER_LOWER: with this cap the slowest stage decides, look below. ANSWER_RAISE: none
 * exists, or the sum decides. *least_us is a proven lower bound of T over all caps <= this one.
 */
static bool probe(
        struct search *s, double cap, enum answer *answer, double *least_us, struct err *err)
{
    bool ok = false;
    const struct partition_problem *p = s->p;
    struct arena scratch = {0};
    struct program program;
    build(&program, p, cap, &scratch);
    struct ilp_limits limits = {.incumbent = incumbent_of(&program, p, s->out, &scratch)};
    if (s->deadline_ns > 0)
        limits.time_s = fmax(0.01, (double)(s->deadline_ns - clock_now_ns()) * 1e-9);
    struct ilp_result result;
    if (!write_export(s, &program, err)
            || !ilp_solve(&result, &program.ilp, &limits, &scratch, err))
        goto done;
    s->out->programs++;
    s->out->nodes += result.nodes;
    if (result.trouble != NULL)
        s->out->trouble = arena_strdup(s->arena, result.trouble);
    *answer = result.status == ILP_INFEASIBLE ? ANSWER_RAISE : ANSWER_UNKNOWN;
    *least_us = result.status == ILP_INFEASIBLE ? HUGE_VAL : result.bound / p->in_flight;
    if (result.x != NULL) {
        int *arcs = ARENA_NEW(&scratch, int, p->n_stages);
        if (!path_of(arcs, &program, p, result.x)) {
            err_set(err, ERR_BUG, "program %s: the solver's answer is no path over the layers",
                    program.ilp.name);
            goto done;
        }
        double pace = partition_pace(p, arcs);
        if (!s->out->feasible || pace < s->out->value_us) {
            s->out->feasible = true;
            s->out->value_us = pace;
            memcpy(s->out->arcs, arcs, sizeof *arcs * (size_t)p->n_stages);
        }
        /* M(A) <= in_flight * A: the slowest stage decides, whatever M exactly is. */
        if (result.value <= p->in_flight * cap * (1 + 1e-12))
            *answer = ANSWER_LOWER;
        else if (result.status == ILP_OPTIMAL)
            *answer = ANSWER_RAISE;
    }
    ok = true;
done:
    arena_free(&scratch);
    return ok;
}

static bool out_of_time(const struct search *s)
{
    return s->deadline_ns > 0 && clock_now_ns() >= s->deadline_ns;
}

/* Invariant: T over caps below times[lo] is at least `below`; times[hi + 1] and up need no look. */
static bool bisect(struct search *s, const double *times, int lo, int hi, struct err *err)
{
    double below = HUGE_VAL;
    while (lo <= hi) {
        int mid = lo + (hi - lo) / 2;
        double least_us = 0;
        enum answer answer = ANSWER_UNKNOWN;
        if (out_of_time(s)) {
            s->cut_short = true;
            break;
        }
        if (!probe(s, times[mid], &answer, &least_us, err))
            return false;
        if (answer == ANSWER_UNKNOWN) {
            s->cut_short = true;
            break;
        }
        if (answer == ANSWER_LOWER) {
            hi = mid - 1;
        } else {
            /* Any cap up to this one: the sum alone takes least_us. */
            below = least_us;
            lo = mid + 1;
        }
    }
    struct partition_result *out = s->out;
    out->proven = !s->cut_short;
    if (out->proven)
        out->bound_us = out->feasible ? out->value_us : HUGE_VAL;
    else /* a better T lies at a cap in [lo, hi], or below lo where the sum is known */
        out->bound_us = fmax(out->bound_us, fmin(times[lo], below));
    if (out->feasible)
        out->bound_us = fmin(out->bound_us, out->value_us);
    return true;
}

bool partition_solve(struct partition_result *out, const struct partition_problem *p,
        struct arena *arena, struct err *err)
{
    bool ok = false;
    struct arena scratch = {0};
    partition_guess(out, p, arena);
    struct search s = {.p = p, .out = out, .arena = arena};
    if (p->time_limit_s > 0)
        s.deadline_ns = clock_now_ns() + (int64_t)(p->time_limit_s * 1e9);
    double *times;
    int n = distinct_times(&times, p, &scratch);
    if (n == 0) {
        out->proven = true;
        out->bound_us = HUGE_VAL;
        ok = true;
        goto done;
    }
    /* Caps outside [simple bound, guess] cannot hold the optimum's slowest stage. */
    int lo = 0;
    int hi = n - 1;
    while (hi > 0 && out->feasible && times[hi] > out->value_us)
        hi--;
    double slowest_us = floors_of(p, &scratch).slowest_us;
    while (lo < hi && times[lo] < slowest_us)
        lo++;
    ok = bisect(&s, times, lo, hi, err);
done:
    arena_free(&scratch);
    return ok;
}
