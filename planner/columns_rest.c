/*
 * The linear program of a rest is that of the whole cluster without decode replicas: those of the branch are so many
 * requests a second that prefill may hand on.
 */
#include "planner/columns_rest.h"

#include <math.h>
#include <string.h>

#include "planner/ilp.h"

/* Prices of what is left are good enough when no pattern is better by more. */
#define NEARLY 1e-4

enum {
    MOST_ROUNDS = 60, /* of prices for one rest */
    REST_LABELS = 200000,
    REST_NODES = 5000 /* of the program over what fits into one rest */
};

/* Prices on a rest: w of its devices, a request a second by prefill is worth `prefill`. Both are of a solution of the dual that
 * proves `bound`. */
struct rest_dual {
    double weight[INSTANCE_KINDS], prefill, bound;
};

bool rest_fits(const struct split *sp, const struct pattern *pattern, const double *devices)
{
    for (int k = 0; k < sp->s->instance->n_kinds; k++)
        if ((double)pattern->devices[k] > devices[k])
            return false;
    return true;
}

static double worth_of(const struct split *sp, const double *weight, const double *devices)
{
    double worth = 0;
    for (int k = 0; k < sp->s->instance->n_kinds; k++)
        worth += weight[k] * devices[k];
    return worth;
}

double rest_taken(const struct split *sp, const struct rest *rest)
{
    return rest->decode / (1 - sp->slack_frac);
}

double rest_needed(const struct split *sp, const struct rest *rest)
{
    return sp->aim - rest->whole / (1 - sp->slack_frac);
}

double rest_most(
        const struct split *sp, const struct columns_cut *cut, const struct rest *rest, bool more)
{
    for (int k = 0; k < sp->s->instance->n_kinds; k++)
        if (rest->devices[k] > cut->within[k])
            return HUGE_VAL;
    double worth = worth_of(sp, cut->weight, rest->devices);
    double prefill = cut->least[ROLE_PREFILL];
    bool whole = !sp->whole_listed || (more && rest->next < sp->n_whole);
    double other = whole ? cut->least[ROLE_MIXED] : HUGE_VAL;
    double served = 0;
    if (prefill <= other && isfinite(prefill)) {
        served = rest_taken(sp, rest);
        if (prefill > 0)
            served = fmin(served, worth / prefill);
        worth = fmax(0, worth - served * prefill);
        if (more)
            other = fmin(other, prefill + cut->least[ROLE_DECODE]);
    }
    if (other <= 0)
        return HUGE_VAL;
    return served + (isinf(other) ? 0 : worth / other);
}

/* The linear or whole program of patterns[n] on a rest; the last column is what prefill hands on. */
static bool solve_rest(struct ilp_result *out, const struct split *sp, const int *patterns, int n,
        const struct rest *rest, bool relax, struct arena *arena)
{
    int n_kinds = sp->s->instance->n_kinds;
    struct ilp ilp;
    ilp_init(&ilp, "what decode replicas leave", arena);
    for (int k = 0; k < n_kinds; k++)
        ilp_add_row(&ilp, arena_printf(arena, "devices_%d", k), -HUGE_VAL, rest->devices[k]);
    ilp_add_row(&ilp, "prefill", 0, HUGE_VAL);
    for (int i = 0; i < n; i++) {
        const struct pattern *p = rest_pattern(sp, patterns[i]);
        bool whole = rest_role(sp, patterns[i]) == ROLE_MIXED;
        struct ilp_col col = {.name = arena_printf(arena, "x_%d", i),
                .hi = HUGE_VAL,
                .cost = whole ? -p->requests_per_s : 0,
                .integer = true};
        ilp_add_col(&ilp, &col);
        for (int k = 0; k < n_kinds; k++)
            if (p->devices[k] > 0)
                ilp_add_term(&ilp, k, i, (double)p->devices[k]);
        if (!whole)
            ilp_add_term(&ilp, n_kinds, i, p->requests_per_s);
    }
    const struct ilp_col flow = {
            .name = "pooled", .hi = relax ? rest_taken(sp, rest) : rest->decode, .cost = -1};
    ilp_add_col(&ilp, &flow);
    ilp_add_term(&ilp, n_kinds, n, -1);
    const struct ilp_limits limits = {.relax = relax,
            .nodes = relax ? 0 : REST_NODES,
            .gap_frac = relax ? 0 : sp->s->options->gap_frac / 8};
    if (!ilp_solve(out, &ilp, &limits, arena, sp->err))
        return false;
    sp->s->master.programs++;
    sp->s->master.nodes += out->nodes;
    return true;
}

/* Known prefill and whole patterns that fit into a rest. */
static int list_fitting(int *out, const struct split *sp, const struct rest *rest)
{
    int n = 0;
    for (int i = 0; i < sp->s->master.n; i++)
        if (rest_role(sp, i) != ROLE_DECODE && (rest_role(sp, i) != ROLE_MIXED || !sp->whole_listed)
                && rest_fits(sp, rest_pattern(sp, i), rest->devices))
            out[n++] = i;
    return n;
}

/* The dual of the linear program over what is known, its bound only its own; devices that are left over are worth a little. */
static bool weigh_rest(struct rest_dual *dual, const struct split *sp, const struct rest *rest,
        struct arena *arena)
{
    int n_kinds = sp->s->instance->n_kinds;
    int *fitting = ARENA_NEW(arena, int, sp->s->master.n + 1);
    int n = list_fitting(fitting, sp, rest);
    struct ilp_result result;
    *dual = (struct rest_dual){.prefill = 1};
    if (!solve_rest(&result, sp, fitting, n, rest, true, arena))
        return false;
    if (result.dual != NULL) {
        dual->bound = -result.value;
        dual->prefill = fmin(1, fmax(0, result.dual[n_kinds]));
    }
    for (int k = 0; k < n_kinds; k++)
        dual->weight[k] = result.dual != NULL ? fmax(0, -result.dual[k]) : 0;
    columns_floor_weights(dual->weight, rest->devices, n_kinds);
    return true;
}

/* Patterns of a role on a rest with a ratio below. Returns how many are new. */
static int price_role(struct columns_cut *cut, const struct split *sp, int role, double below)
{
    struct solver *s = sp->s;
    int64_t there[INSTANCE_KINDS] = {0};
    for (int k = 0; k < s->instance->n_kinds; k++)
        there[k] = (int64_t)cut->within[k];
    const struct pricing_query query = {.role = role,
            .weight = cut->weight,
            .below = below,
            .spread = 1.05,
            .devices = there,
            .deadline_ns = s->deadline_ns};
    struct pricing_answer answer;
    int added = columns_ask(&answer, s, &query);
    cut->least[role] = answer.least;
    return added;
}

/* Column generation on a rest, until it cannot serve the aim (*closed: a cut says so) or the prices are those of its
 * linear optimum: *cut. */
static bool price_rest(struct columns_cut *cut, bool *closed, const struct split *sp,
        const struct rest *rest, struct arena *arena)
{
    *closed = false;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        struct rest_dual dual;
        if (!weigh_rest(&dual, sp, rest, arena))
            return false;
        *cut = (struct columns_cut){0};
        memcpy(cut->weight, dual.weight, sizeof cut->weight);
        memcpy(cut->within, rest->devices, sizeof cut->within);
        /* A bound of the aim is all that is asked for as long as it may be had. */
        double share = 1 - NEARLY;
        if (dual.bound <= 0)
            share = HUGE_VAL;
        else if (dual.bound < rest_needed(sp, rest))
            share = worth_of(sp, dual.weight, rest->devices)
                    / (rest_needed(sp, rest) - (1 - dual.prefill) * rest_taken(sp, rest))
                    * (1 + 1e-6);
        int added = 0;
        cut->least[ROLE_MIXED] = HUGE_VAL;
        if (!sp->whole_listed)
            added += price_role(cut, sp, ROLE_MIXED, share);
        added += price_role(cut, sp, ROLE_PREFILL, isinf(share) ? share : share * dual.prefill);
        if (rest_most(sp, cut, rest, false) < rest_needed(sp, rest) - REST_ROUNDING * sp->aim) {
            if (sp->whole_listed) /* nothing is known of what whole replicas could do there */
                cut->least[ROLE_MIXED] = 0;
            columns_add_cut(sp->s, cut);
            *closed = true;
            return true;
        }
        if (added == 0 || columns_late(sp->s))
            return true;
    }
    return true;
}

/* A branch and replicas on its rest: the best solution so far, perhaps. */
static void take_solution(struct split *sp, const int *patterns, const double *x, int n)
{
    struct solver *s = sp->s;
    double *counts = ARENA_NEW(s->arena, double, s->master.n + 1);
    for (int i = 0; i < sp->n_path; i++)
        counts[sp->path[i]]++;
    for (int i = 0; i < n; i++)
        counts[patterns[i]] += nearbyint(x[i]);
    double value = master_served(&s->master, counts);
    if (value <= sp->whole->value)
        return;
    sp->whole->counts = counts;
    sp->whole->value = value;
    s->out->n_known = s->master.n;
    sp->aim = fmax(sp->aim, columns_goal(s, value));
}

/* The program over the known patterns that fit: a solution, perhaps, and what nothing made of them exceeds. */
static bool round_rest(
        double *bound, struct split *sp, const struct rest *rest, struct arena *arena)
{
    int *fitting = ARENA_NEW(arena, int, sp->s->master.n + 1);
    int n = list_fitting(fitting, sp, rest);
    struct ilp_result result;
    if (!solve_rest(&result, sp, fitting, n, rest, false, arena))
        return false;
    if (result.x != NULL)
        take_solution(sp, fitting, result.x, n);
    *bound = rest->whole - result.bound;
    return true;
}

/* The dual solution that the ratios of a cut make: the one of least bound. */
static struct rest_dual dual_of(
        const struct split *sp, const struct columns_cut *cut, const struct rest *rest)
{
    double worth = worth_of(sp, cut->weight, rest->devices);
    double prefill = cut->least[ROLE_PREFILL];
    double decode = rest_taken(sp, rest);
    double scale = 1 / cut->least[ROLE_MIXED]; /* 0: there are none */
    if (worth < prefill * decode || scale <= 0)
        scale = fmax(scale, 1 / prefill);
    struct rest_dual dual = {.prefill = fmin(1, scale * prefill)};
    for (int k = 0; k < sp->s->instance->n_kinds; k++)
        dual.weight[k] = scale * cut->weight[k];
    dual.bound = scale * worth + (1 - dual.prefill) * decode;
    return dual;
}

/* Every pattern of a role that matters on a rest; false when labels or time ran out. */
static bool list_role(const struct split *sp, const struct columns_cut *cut,
        const struct rest_dual *dual, double need, int role)
{
    struct solver *s = sp->s;
    int64_t there[INSTANCE_KINDS] = {0};
    double weight[INSTANCE_KINDS];
    double worth = role == ROLE_PREFILL ? dual->prefill : 1; /* of a request a second */
    if (isinf(cut->least[role]) || worth <= 0)
        return true;
    for (int k = 0; k < s->instance->n_kinds; k++) {
        there[k] = (int64_t)cut->within[k];
        weight[k] = dual->weight[k] / worth;
    }
    const struct pricing_query query = {.role = role,
            .weight = weight,
            .all = true,
            .loss = (fmax(0, dual->bound - need) + REST_ROUNDING * dual->bound) / worth,
            .slack_frac = sp->slack_frac,
            .effort = REST_LABELS,
            .known = s->master.items,
            .n_known = s->master.n,
            .devices = there,
            .deadline_ns = s->deadline_ns};
    struct pricing_answer answer;
    (void)columns_ask(&answer, s, &query);
    return answer.complete;
}

/* The linear program of a rest can serve the aim: whole numbers of what is known, then of all that matters. */
static bool list_rest(struct split *sp, const struct rest *rest, const struct columns_cut *cut,
        struct arena *arena)
{
    double bound;
    if (!round_rest(&bound, sp, rest, arena))
        return false;
    const struct rest_dual dual = dual_of(sp, cut, rest);
    if (sp->looks > 0) {
        sp->open = --sp->looks == 0;
        return true;
    }
    const double need = rest_needed(sp, rest);
    if (dual.bound <= need)
        return true;
    bool all = list_role(sp, cut, &dual, need, ROLE_PREFILL);
    all = (sp->whole_listed || list_role(sp, cut, &dual, need, ROLE_MIXED)) && all;
    if (!round_rest(&bound, sp, rest, arena))
        return false;
    sp->open = !all || bound / (1 - sp->slack_frac) > sp->aim * (1 + REST_ROUNDING);
    return true;
}

bool rest_judge(struct split *sp, const struct rest *rest)
{
    bool ok = false;
    struct arena scratch = {0};
    struct columns_cut cut;
    bool closed;
    if (!price_rest(&cut, &closed, sp, rest, &scratch))
        goto done;
    if (!closed && columns_late(sp->s))
        sp->open = true;
    else if (!closed && !list_rest(sp, rest, &cut, &scratch))
        goto done;
    ok = true;
done:
    arena_free(&scratch);
    return ok;
}
