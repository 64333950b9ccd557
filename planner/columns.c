/*
 * The rounds ask for patterns that are a good deal better than what the master has, first by 5 %, then
 * closer and closer: few columns come in that way, and only the last rounds have to search to the end. Any
 * prices bound the optimum (Farley, docs/ilp.md C15); the least bound of all rounds counts.
 */
#include "planner/columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "planner/columns_inside.h"

/* A device that is left over is worth this share of what all are worth on average: prices stay positive. */
#define LEAST_WORTH 1e-7
enum {
    MOST_ROUNDS = 400
};

void columns_floor_weights(double *weight, const double *devices, int n_kinds)
{
    double worth = 0, all = 0;
    for (int k = 0; k < n_kinds; k++) {
        worth += weight[k] * devices[k];
        all += devices[k];
    }
    double least = worth > 0 ? LEAST_WORTH * worth / all : 1;
    for (int k = 0; k < n_kinds; k++)
        weight[k] = fmax(weight[k], least);
}

void columns_weights(double *weight, const struct solver *s)
{
    const struct instance *in = s->instance;
    double devices[INSTANCE_KINDS];
    for (int k = 0; k < in->n_kinds; k++) {
        devices[k] = (double)in->kinds[k].devices;
        weight[k] = s->prices.device[k];
        if (s->master.objective == INSTANCE_PRICE)
            weight[k] += in->kinds[k].price;
    }
    columns_floor_weights(weight, devices, in->n_kinds);
}

int columns_ask(struct pricing_answer *out, struct solver *s, const struct pricing_query *query)
{
    pricing_run(out, s->pricing, query, s->arena);
    s->out->labels += out->labels;
    int added = 0;
    for (int i = 0; i < out->n; i++)
        added += master_add(&s->master, &out->items[i]);
    return added;
}

/* Patterns of a role with a ratio below; the least ratio of the role, at least. Returns how many are new. */
static int add_priced(struct solver *s, const double *weight, int role, double below, double *least)
{
    struct pricing_query query = {.role = role,
            .weight = weight,
            .below = below,
            .spread = 1.05,
            .deadline_ns = s->deadline_ns};
    struct pricing_answer answer;
    int added = columns_ask(&answer, s, &query);
    *least = answer.least;
    return added;
}

/* C15: no solution is better than this, given any weights and the least ratios for them. */
static double farley(const struct solver *s, const double *weight, const double least[])
{
    const struct instance *in = s->instance;
    double ratio = fmin(least[ROLE_MIXED], least[ROLE_PREFILL] + least[ROLE_DECODE]);
    bool price = s->master.objective == INSTANCE_PRICE;
    double worth = 0;
    for (int k = 0; k < in->n_kinds; k++)
        worth += (weight[k] - (price ? in->kinds[k].price : 0)) * (double)in->kinds[k].devices;
    if (price)
        return isinf(ratio) ? HUGE_VAL : ratio * in->demand - fmax(0, worth);
    return isinf(ratio) ? 0 : worth / ratio;
}

static void tighten(struct solver *s, const struct columns_proof *proof)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    if (price ? proof->bound > s->proof.bound : proof->bound < s->proof.bound)
        s->proof = *proof;
    s->bound = s->proof.bound;
}

/* Patterns to begin with. */
static void seed(struct solver *s)
{
    double weight[INSTANCE_KINDS];
    for (int k = 0; k < s->instance->n_kinds; k++)
        weight[k] = 1;
    for (int role = 0; role <= ROLE_DECODE; role++) {
        struct pricing_query query = {.role = role, .weight = weight, .below = HUGE_VAL};
        struct pricing_answer answer;
        pricing_guess(&answer, s->pricing, &query, s->arena);
        for (int i = 0; i < answer.n; i++)
            master_add(&s->master, &answer.items[i]);
    }
}

/* One round: prices, and patterns at least `step` better than them. *added < 0: the program is infeasible. */
static bool do_round(struct solver *s, double step, int *added, struct err *err)
{
    arena_free(&s->round);
    s->round = (struct arena){0};
    *added = -1;
    if (!master_relax(&s->prices, &s->master, &s->round, err))
        return false;
    s->out->rounds++;
    if (!s->prices.feasible)
        return true;
    *added = 0;
    struct columns_proof proof = {0};
    columns_weights(proof.weight, s);
    for (int role = 0; role <= ROLE_DECODE; role++) {
        /* One side of the pools may be worth nothing as long as the other one is missing. */
        double below = fmax(s->prices.worth[role] * (1 - step), 1e-3 * s->prices.worth[ROLE_MIXED]);
        *added += add_priced(s, proof.weight, role, below, &proof.least[role]);
    }
    proof.bound = farley(s, proof.weight, proof.least);
    tighten(s, &proof);
    struct columns_cut cut = {0};
    memcpy(cut.weight, proof.weight, sizeof cut.weight);
    memcpy(cut.least, proof.least, sizeof cut.least);
    memcpy(cut.small, proof.least, sizeof cut.small);
    for (int role = 0; role <= ROLE_DECODE; role++)
        cut.small_rate[role] = HUGE_VAL;
    for (int k = 0; k < s->instance->n_kinds; k++)
        cut.within[k] = HUGE_VAL;
    columns_add_cut(s, &cut);
    return true;
}

/* Column generation until no pattern is better than the prices by more than the last step. */
static bool generate(struct solver *s, struct err *err)
{
    double target = fmax(s->options->gap_frac / 4, COLUMNS_FINEST);
    s->proof = (struct columns_proof){
            .bound = s->master.objective == INSTANCE_PRICE ? -HUGE_VAL : HUGE_VAL};
    s->bound = s->proof.bound;
    if (s->master.n == 0)
        seed(s);
    double step = fmax(0.05, target);
    for (int round = 0; round < MOST_ROUNDS; round++) {
        int added;
        if (!do_round(s, step, &added, err))
            return false;
        if (added < 0)
            return true;
        bool close = columns_gap(s, s->prices.value, s->bound) <= target;
        if (close || columns_late(s))
            break;
        if (added == 0 && step <= target)
            break;
        if (added == 0)
            step = fmax(step / 8, target);
    }
    return true;
}

static int by_role(const void *a, const void *b)
{
    const struct columns_pick *x = a;
    const struct columns_pick *y = b;
    return pattern_compare(&x->pattern, &y->pattern);
}

static void report(struct solver *s, const struct master_whole *whole)
{
    struct columns_result *out = s->out;
    out->known = s->master.items;
    out->n_known = s->master.n;
    out->bound = s->bound;
    out->programs = s->master.programs;
    out->nodes = s->master.nodes;
    out->trouble = s->master.trouble;
    out->device_worth = ARENA_NEW(s->arena, double, s->instance->n_kinds);
    for (int k = 0; k < s->instance->n_kinds && s->prices.feasible; k++)
        out->device_worth[k] = s->prices.device[k];
    /* Prefill replicas without any for decode serve nothing: no plan. */
    if (!whole->known || (s->master.objective != INSTANCE_PRICE && whole->value <= 0))
        return;
    out->picks = ARENA_NEW(s->arena, struct columns_pick, s->master.n + 1);
    for (int i = 0; i < s->master.n; i++)
        if (whole->counts[i] > 0.5)
            out->picks[out->n_picks++] =
                    (struct columns_pick){s->master.items[i], (int64_t)nearbyint(whole->counts[i])};
    qsort(out->picks, (size_t)out->n_picks, sizeof *out->picks, by_role);
    out->feasible = out->n_picks > 0;
    out->value = whole->value;
    out->requests_per_s = master_served(&s->master, whole->counts);
    out->gap_frac = columns_gap(s, whole->value, s->bound);
    out->proven = out->gap_frac <= columns_enough(s);
}

/*
 * The least price needs patterns that can serve the demand at all, and a solution to begin with: those of
 * the most throughput. *enough is false when not even that serves the demand.
 */
static bool reach_demand(
        struct solver *s, struct master_whole *whole, bool *enough, struct err *err)
{
    double demand = s->instance->demand * (1 - COLUMNS_FINEST);
    s->master.objective = INSTANCE_THROUGHPUT;
    bool ok = generate(s, err)
              && (!s->prices.feasible
                      || (columns_round(s, whole, !columns_pooled(s), err)
                              && (s->bound < demand || whole->value >= demand
                                      || columns_close(s, whole, err))));
    *enough = ok && whole->known && whole->value >= demand;
    s->out->proven = !*enough && s->bound < demand;
    s->master.objective = INSTANCE_PRICE;
    if (*enough) {
        whole->value = master_cost(&s->master, whole->counts);
    } else {
        s->out->bound = s->bound;
        s->out->requests_per_s = whole->known ? whole->value : 0;
    }
    return ok;
}

bool columns_solve(struct columns_result *out, const struct instance *in,
        const struct columns_options *options, struct arena *arena, struct err *err)
{
    bool ok = false;
    memset(out, 0, sizeof *out);
    struct solver s = {.instance = in, .options = options, .out = out, .arena = arena};
    s.master = (struct master){.instance = in,
            .objective = in->objective,
            .arena = arena,
            .export_lp = options->export_lp};
    if (options->time_limit_s > 0)
        s.deadline_ns = clock_now_ns() + (int64_t)(options->time_limit_s * 1e9);
    s.pricing = pricing_open(in, err);
    if (s.pricing == NULL)
        return false;
    struct master_whole whole = {0};
    bool enough = true;
    if (in->objective == INSTANCE_PRICE && !reach_demand(&s, &whole, &enough, err))
        goto done;
    if (!enough) {
        ok = true;
        goto done;
    }
    if (!generate(&s, err))
        goto done;
    out->linear = s.bound;
    if (s.prices.feasible && !options->relax_only
            && (!columns_round(&s, &whole, !columns_pooled(&s), err)
                    || !columns_close(&s, &whole, err)))
        goto done;
    report(&s, &whole);
    if (!out->feasible && !columns_late(&s) && out->bound <= 0)
        out->proven = true;
    ok = true;
done:
    arena_free(&s.round);
    pricing_close(s.pricing);
    return ok;
}

bool columns_value(double *requests_per_s, const struct instance *in,
        const struct columns_pick *picks, int n_picks)
{
    double by_role[ROLE_DECODE + 1] = {0};
    double devices[INSTANCE_KINDS] = {0};
    for (int i = 0; i < n_picks; i++) {
        const struct pattern *p = &picks[i].pattern;
        by_role[in->limits[p->limits].role] += (double)picks[i].count * p->requests_per_s;
        for (int k = 0; k < in->n_kinds; k++)
            devices[k] += (double)(picks[i].count * p->devices[k]);
    }
    *requests_per_s = by_role[ROLE_MIXED] + fmin(by_role[ROLE_PREFILL], by_role[ROLE_DECODE]);
    for (int k = 0; k < in->n_kinds; k++)
        if (devices[k] > (double)in->kinds[k].devices)
            return false;
    return true;
}
