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
    MOST_LOOKED = 60, /* rests that are priced when only solutions are looked for */
    MOST_LISTED = 12, /* rests on which a proof lists what matters */
    REST_NODES = 2000 /* of the program over what fits into one rest */
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

/* The least ratio of a role: of its small patterns, or of all that may come. Less by the slack: one of those may stand for an
 * item that was left out. */
static double ratio_of(const struct split *sp, const struct columns_cut *cut, int role, bool all)
{
    double small_rate = all ? HUGE_VAL : sp->small_rate[role];
    if (small_rate <= 0)
        return HUGE_VAL;
    double ratio = cut->least[role];
    if (cut->small_rate[role] >= small_rate)
        ratio = fmax(ratio, cut->small[role]);
    return ratio * (1 - sp->slack_frac);
}

/* The most x that prefill and further decode replicas, of which one weighs `one` at least, serve for such a worth:
 * prefill x + max(one, decode x) = worth. */
static double beyond(double worth, double prefill, double decode, double one)
{
    if (worth <= 0 || worth < one || isinf(decode))
        return 0;
    double x = worth / (prefill + decode);
    if (x * decode >= one)
        return x;
    return fmin((worth - one) / prefill, decode > 0 ? one / decode : HUGE_VAL);
}

/* The most when prefill is better than whole replicas: with one of these at least, which then serves what it weighs, or with
 * none. */
static double most_pooled(
        const struct columns_cut *cut, double worth, double taken, double decode, double whole)
{
    double prefill = cut->least[ROLE_PREFILL];
    double served = fmin(taken, worth / prefill);
    double none = served + beyond(worth - served * prefill, prefill, decode, cut->one[ROLE_DECODE]);
    double left = worth - cut->one[ROLE_MIXED];
    if (left < 0 || isinf(whole))
        return none;
    served = fmin(taken, left / prefill);
    left = fmax(0, left - served * prefill);
    return fmax(none, cut->one[ROLE_MIXED] / whole + served + left / fmin(whole, prefill + decode));
}

/* A rate, no more than that of small patterns of the role. */
static double most_rate(const struct split *sp, int role, double rate)
{
    return role == ROLE_PREFILL ? rate : fmin(rate, sp->small_rate[role]);
}

double rest_most(
        const struct split *sp, const struct columns_cut *cut, const struct rest *rest, bool more)
{
    for (int k = 0; k < sp->s->instance->n_kinds; k++)
        if (rest->devices[k] > cut->within[k])
            return HUGE_VAL;
    double worth = worth_of(sp, cut->weight, rest->devices);
    double prefill = cut->least[ROLE_PREFILL];
    double decode = ratio_of(sp, cut, ROLE_DECODE, more);
    double whole = ratio_of(sp, cut, ROLE_MIXED, more && rest->next < sp->n_whole);
    if (whole <= 0 || prefill <= 0)
        return HUGE_VAL;
    if (prefill <= whole && isfinite(prefill))
        return most_pooled(cut, worth, rest_taken(sp, rest), decode, whole);
    return isinf(whole) ? 0 : worth / whole;
}

/* The linear or whole program of patterns[n] on a rest; the last column is what prefill hands on to the decode replicas of the
 * branch and to small ones. In the linear one, no pattern serves more than the small ones may. */
static bool solve_rest(struct ilp_result *out, const struct split *sp, const int *patterns, int n,
        const struct rest *rest, bool relax, struct arena *arena)
{
    int n_kinds = sp->s->instance->n_kinds;
    struct ilp ilp;
    ilp_init(&ilp, "what items leave", arena);
    for (int k = 0; k < n_kinds; k++)
        ilp_add_row(&ilp, arena_printf(arena, "devices_%d", k), -HUGE_VAL, rest->devices[k]);
    const int prefill = ilp_add_row(&ilp, "prefill", 0, HUGE_VAL);
    const int decode =
            ilp_add_row(&ilp, "decode", relax ? -rest_taken(sp, rest) : -rest->decode, HUGE_VAL);
    for (int i = 0; i < n; i++) {
        const struct pattern *p = rest_pattern(sp, patterns[i]);
        int role = rest_role(sp, patterns[i]);
        double rate = p->requests_per_s;
        if (relax && role != ROLE_PREFILL)
            rate = most_rate(sp, role, rate) / (1 - sp->slack_frac);
        struct ilp_col col = {.name = arena_printf(arena, "x_%d", i),
                .hi = HUGE_VAL,
                .cost = role == ROLE_MIXED ? -rate : 0,
                .integer = true};
        ilp_add_col(&ilp, &col);
        for (int k = 0; k < n_kinds; k++)
            if (p->devices[k] > 0)
                ilp_add_term(&ilp, k, i, (double)p->devices[k]);
        if (role != ROLE_MIXED)
            ilp_add_term(&ilp, role == ROLE_PREFILL ? prefill : decode, i, rate);
    }
    const struct ilp_col flow = {.name = "pooled", .hi = HUGE_VAL, .cost = -1};
    ilp_add_col(&ilp, &flow);
    ilp_add_term(&ilp, prefill, n, -1);
    ilp_add_term(&ilp, decode, n, -1);
    const struct ilp_limits limits = {.relax = relax,
            .nodes = relax ? 0 : REST_NODES,
            .gap_frac = relax ? 0 : sp->s->options->gap_frac / 8};
    if (!ilp_solve(out, &ilp, &limits, arena, sp->err))
        return false;
    sp->s->master.programs++;
    sp->s->master.nodes += out->nodes;
    return true;
}

/* Known patterns that fit into a rest and may join what the branch has; of the linear program, also those that are not
 * small. */
static int list_fitting(int *out, const struct split *sp, const struct rest *rest, bool relax)
{
    int n = 0;
    for (int i = 0; i < sp->s->master.n; i++) {
        const struct pattern *p = rest_pattern(sp, i);
        double most = most_rate(sp, rest_role(sp, i), p->requests_per_s);
        if (most > 0 && (relax || most >= p->requests_per_s) && rest_fits(sp, p, rest->devices))
            out[n++] = i;
    }
    return n;
}

/* The dual of the linear program over what is known, its bound only its own; devices that are left over are worth a little. */
static bool weigh_rest(struct rest_dual *dual, const struct split *sp, const struct rest *rest,
        struct arena *arena)
{
    int n_kinds = sp->s->instance->n_kinds;
    int *fitting = ARENA_NEW(arena, int, sp->s->master.n + 1);
    int n = list_fitting(fitting, sp, rest, true);
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

/* What a request a second by a pattern of a role is worth. */
static double request_worth(const struct rest_dual *dual, int role)
{
    if (role == ROLE_MIXED)
        return 1;
    return role == ROLE_PREFILL ? dual->prefill : 1 - dual->prefill;
}

static void round_down(int64_t *there, const struct columns_cut *cut, int n_kinds)
{
    for (int k = 0; k < n_kinds; k++)
        there[k] = (int64_t)cut->within[k];
}

/* What a query asks for: rates above this one are no better. 0 = they are. */
static double useful_rate(const struct split *sp, int role)
{
    double most = most_rate(sp, role, HUGE_VAL);
    return isinf(most) ? 0 : most;
}

/* Patterns of a role on a rest with a ratio below, small ones only. Returns how many are new. */
static int price_role(double *least, const struct columns_cut *cut, const struct split *sp,
        int role, double below)
{
    struct solver *s = sp->s;
    int64_t there[INSTANCE_KINDS] = {0};
    *least = HUGE_VAL;
    if (most_rate(sp, role, HUGE_VAL) <= 0)
        return 0;
    round_down(there, cut, s->instance->n_kinds);
    const struct pricing_query query = {.role = role,
            .weight = cut->weight,
            .below = below,
            .spread = 1.05,
            .devices = there,
            .most_rate = useful_rate(sp, role),
            .deadline_ns = s->deadline_ns};
    struct pricing_answer answer;
    int added = columns_ask(&answer, s, &query);
    *least = answer.least;
    return added;
}

/* The ratios of all roles, where they are below what a request a second is worth. Returns how many patterns are new. */
static int price_roles(
        struct columns_cut *cut, const struct split *sp, const struct rest_dual *dual, double share)
{
    int added = 0;
    for (int role = 0; role <= ROLE_DECODE; role++) {
        double *least = role == ROLE_PREFILL ? &cut->least[role] : &cut->small[role];
        double below = isinf(share) ? share : share * request_worth(dual, role);
        added += price_role(least, cut, sp, role, below);
    }
    memcpy(cut->small_rate, sp->small_rate, sizeof cut->small_rate);
    return added;
}

/* Whether a cut says that a rest cannot serve the aim. */
static bool closes(const struct columns_cut *cut, const struct split *sp, const struct rest *rest)
{
    return rest_most(sp, cut, rest, false) < rest_needed(sp, rest) - REST_ROUNDING * sp->aim;
}

/* Column generation on a rest, until it cannot serve the aim (*closed: a cut says so) or the prices are those of its
 * linear optimum: *cut. */
static bool price_rest(struct columns_cut *cut, bool *closed, const struct split *sp,
        const struct rest *rest, struct arena *arena)
{
    *closed = false;
    for (int round = 0; round < MOST_ROUNDS && !*closed; round++) {
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
        int added = price_roles(cut, sp, &dual, share);
        *closed = closes(cut, sp, rest);
        if (*closed || added == 0 || columns_late(sp->s))
            break;
    }
    if (!*closed && sp->looks == 0) {
        int64_t there[INSTANCE_KINDS] = {0};
        round_down(there, cut, sp->s->instance->n_kinds);
        for (int role = ROLE_MIXED; role <= ROLE_DECODE; role++)
            cut->one[role] = pricing_lightest(sp->s->pricing, role, cut->weight, there);
        *closed = closes(cut, sp, rest);
    }
    if (*closed)
        columns_add_cut(sp->s, cut);
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
    int n = list_fitting(fitting, sp, rest, false);
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
    double scale = 1
                   / fmin(ratio_of(sp, cut, ROLE_MIXED, false),
                           prefill + ratio_of(sp, cut, ROLE_DECODE, false)); /* or 0 */
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
    const double worth = request_worth(dual, role);
    if (isinf(role == ROLE_PREFILL ? cut->least[role] : cut->small[role]) || worth <= 0)
        return true;
    round_down(there, cut, s->instance->n_kinds);
    for (int k = 0; k < s->instance->n_kinds; k++)
        weight[k] = dual->weight[k] / worth;
    const struct pricing_query query = {.role = role,
            .weight = weight,
            .all = true,
            .loss = (fmax(0, dual->bound - need) + REST_ROUNDING * dual->bound) / worth,
            .slack_frac = sp->slack_frac,
            .effort = sp->effort,
            .known = s->master.items,
            .n_known = s->master.n,
            .devices = there,
            .most_rate = useful_rate(sp, role),
            .deadline_ns = s->deadline_ns};
    struct pricing_answer answer;
    (void)columns_ask(&answer, s, &query);
    return answer.complete;
}

/* The linear program of a rest can serve the aim: whole numbers of what is known, then of all that matters. What even these
 * leave open raises the aim. */
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
    if (++sp->listed > MOST_LISTED) {
        sp->open = true;
        return true;
    }
    bool all = true;
    for (int role = ROLE_MIXED; role <= ROLE_DECODE; role++)
        all = list_role(sp, cut, &dual, need, role) && all;
    if (!round_rest(&bound, sp, rest, arena))
        return false;
    double open = dual.bound + rest->whole / (1 - sp->slack_frac);
    if (all)
        open = fmin(open, bound / (1 - sp->slack_frac));
    sp->aim = fmax(sp->aim, open);
    return true;
}

bool rest_judge(struct split *sp, const struct rest *rest)
{
    bool ok = false;
    struct arena scratch = {0};
    struct columns_cut cut;
    bool closed;
    if (sp->looks > 0 && ++sp->looked == MOST_LOOKED)
        sp->open = true;
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
