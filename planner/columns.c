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
#include "planner/master.h"

/* Finer than this, sums of doubles decide. */
#define FINEST 1e-9
/* A device that is left over is worth this share of what all are worth on average: prices stay positive. */
#define LEAST_WORTH 1e-7
/* Seconds for one integer program over the columns. */
#define WHOLE_S 5

enum {
    MOST_ROUNDS = 400,
    MOST_CLOSINGS = 4, /* enumerations of all columns that could matter */
    EFFORT_ALL =
            100000 /* labels for one of them: a large cluster has more patterns than can help */
};

struct solver {
    const struct instance *instance;
    const struct columns_options *options;
    struct columns_result *out;
    struct pricing *pricing;
    struct master master;
    struct master_prices prices;
    struct arena *arena, round; /* round: what one round forgets */
    int64_t deadline_ns;
    double bound; /* of the linear program: HUGE_VAL or -HUGE_VAL before the first */
    double weight[INSTANCE_KINDS]; /* of the last round */
    double least[ROLE_DECODE + 1]; /* no pattern of a role has a smaller ratio for these weights */
    double *whole_count;
};

static bool late(const struct solver *s)
{
    return s->deadline_ns > 0 && clock_now_ns() >= s->deadline_ns;
}

static double devices_in_all(const struct instance *in)
{
    double all = 0;
    for (int k = 0; k < in->n_kinds; k++)
        all += (double)in->kinds[k].devices;
    return fmax(1, all);
}

/* Weights of the pricing problem: what devices are worth, and for INSTANCE_PRICE what they cost, too. */
static void weights_of(double *weight, const struct solver *s, const struct master_prices *prices)
{
    const struct instance *in = s->instance;
    double all = 0;
    for (int k = 0; k < in->n_kinds; k++) {
        weight[k] = prices->device[k];
        if (s->master.objective == INSTANCE_PRICE)
            weight[k] += in->kinds[k].price;
        all += weight[k] * (double)in->kinds[k].devices;
    }
    double least = all > 0 ? LEAST_WORTH * all / devices_in_all(in) : 1;
    for (int k = 0; k < in->n_kinds; k++)
        weight[k] = fmax(weight[k], least);
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
    pricing_run(&answer, s->pricing, &query, s->arena);
    s->out->labels += answer.labels;
    *least = answer.least;
    int added = 0;
    for (int i = 0; i < answer.n; i++)
        added += master_add(&s->master, &answer.items[i]);
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

static void tighten(struct solver *s, double bound)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    s->bound = price ? fmax(s->bound, bound) : fmin(s->bound, bound);
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
    weights_of(s->weight, s, &s->prices);
    for (int role = 0; role <= ROLE_DECODE; role++) {
        /* One side of the pools may be worth nothing as long as the other one is missing. */
        double below = fmax(s->prices.worth[role] * (1 - step), 1e-3 * s->prices.worth[ROLE_MIXED]);
        *added += add_priced(s, s->weight, role, below, &s->least[role]);
    }
    tighten(s, farley(s, s->weight, s->least));
    return true;
}

static double gap_of(const struct solver *s, double value, double bound)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    double gap = price ? value - bound : bound - value;
    return fmax(0, gap) / fmax(fabs(bound), 1e-300);
}

/* Column generation until no pattern is better than the prices by more than the last step. */
static bool generate(struct solver *s, struct err *err)
{
    double target = fmax(s->options->gap_frac / 4, FINEST);
    s->bound = s->master.objective == INSTANCE_PRICE ? -HUGE_VAL : HUGE_VAL;
    if (s->master.n == 0)
        seed(s);
    double step = fmax(0.05, target);
    for (int round = 0; round < MOST_ROUNDS; round++) {
        int added;
        if (!do_round(s, step, &added, err))
            return false;
        if (added < 0)
            return true;
        bool close = gap_of(s, s->prices.value, s->bound) <= target;
        if (close || late(s))
            break;
        if (added == 0 && step <= target)
            break;
        if (added == 0)
            step = fmax(step / 8, target);
    }
    return true;
}

/* C8 leaves room: the pattern that is worth most for what it takes, as often as it fits, and again. */
static void fill_up(const struct solver *s, double *counts)
{
    const struct instance *in = s->instance;
    double left[INSTANCE_KINDS];
    double weight[INSTANCE_KINDS];
    weights_of(weight, s, &s->prices);
    for (int k = 0; k < in->n_kinds; k++) {
        left[k] = (double)in->kinds[k].devices;
        for (int i = 0; i < s->master.n; i++)
            left[k] -= counts[i] * (double)s->master.items[i].devices[k];
    }
    for (;;) {
        int best = -1;
        double best_rate = 0;
        double best_count = 0;
        for (int i = 0; i < s->master.n; i++) {
            const struct pattern *p = &s->master.items[i];
            double fits = HUGE_VAL;
            double worth = 0;
            for (int k = 0; k < in->n_kinds; k++) {
                if (p->devices[k] > 0)
                    fits = fmin(fits, floor(left[k] / (double)p->devices[k]));
                worth += weight[k] * (double)p->devices[k];
            }
            double rate = p->requests_per_s / worth;
            if (in->limits[p->limits].role != ROLE_MIXED || fits < 1 || rate <= best_rate)
                continue;
            best = i;
            best_rate = rate;
            best_count = fits;
        }
        if (best < 0)
            return;
        counts[best] += best_count;
        for (int k = 0; k < in->n_kinds; k++)
            left[k] -= best_count * (double)s->master.items[best].devices[k];
    }
}

/* Whole numbers of replicas over the known patterns: rounded down and filled up, then the program. */
static bool solve_whole(struct solver *s, struct master_whole *whole, struct err *err)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    double *old = whole->counts;
    int n_old = s->out->n_known;
    whole->counts = ARENA_NEW(s->arena, double, s->master.n + 1);
    if (old != NULL)
        memcpy(whole->counts, old, sizeof *old * (size_t)n_old);
    if (!whole->known && !price) {
        for (int i = 0; i < s->prices.n; i++)
            whole->counts[i] = floor(s->prices.count[i] + 1e-9);
        fill_up(s, whole->counts);
        whole->value = master_served(&s->master, whole->counts);
        whole->known = true;
    }
    s->out->n_known = s->master.n;
    double seconds = WHOLE_S;
    if (s->deadline_ns > 0)
        seconds = fmin(seconds, fmax(0.05, (double)(s->deadline_ns - clock_now_ns()) * 1e-9));
    if (whole->known && s->options->export_lp == NULL
            && gap_of(s, whole->value, s->bound) <= fmax(s->options->gap_frac, FINEST))
        return true;
    return master_solve(whole, &s->master, s->options->gap_frac / 2, seconds, err);
}

/* What separates a value from the bound that the last weights alone give, in their unit. */
static double loss_of(const struct solver *s, double value)
{
    const struct instance *in = s->instance;
    bool price = s->master.objective == INSTANCE_PRICE;
    double ratio = fmin(s->least[ROLE_MIXED], s->least[ROLE_PREFILL] + s->least[ROLE_DECODE]);
    double worth = 0;
    for (int k = 0; k < in->n_kinds; k++)
        worth += (s->weight[k] - (price ? in->kinds[k].price : 0)) * (double)in->kinds[k].devices;
    double loss = price ? value - (ratio * in->demand - worth) : worth - value * ratio;
    return fmax(0, loss) + 1e-9 * (fabs(worth) + fabs(value));
}

/* A known pattern of the same role that takes no more devices and serves no less. */
static bool beaten(const struct solver *s, const struct pattern *pattern, int role)
{
    for (int j = 0; j < s->master.n; j++) {
        const struct pattern *p = &s->master.items[j];
        bool better = s->instance->limits[p->limits].role == role
                      && p->requests_per_s >= pattern->requests_per_s;
        for (int k = 0; k < s->instance->n_kinds && better; k++)
            better = p->devices[k] <= pattern->devices[k];
        if (better)
            return true;
    }
    return false;
}

/*
 * Every pattern that a better solution could hold (C14): with weights w and the least ratio a of its role, a
 * pattern in a solution costs it w . devices - a requests_per_s of the bound; where that is more than what
 * separates bound and value, it is in none. False when labels or time ran out.
 */
static bool add_all(struct solver *s, double value)
{
    double loss = loss_of(s, value);
    for (int role = 0; role <= ROLE_DECODE; role++) {
        double ratio = s->least[role];
        if (isinf(ratio))
            continue;
        double scaled[INSTANCE_KINDS];
        for (int k = 0; k < s->instance->n_kinds; k++)
            scaled[k] = s->weight[k] / ratio;
        struct pricing_query query = {.role = role,
                .weight = scaled,
                .all = true,
                .loss = loss / ratio,
                .effort = EFFORT_ALL,
                .known = s->master.items,
                .n_known = s->master.n,
                .deadline_ns = s->deadline_ns};
        struct pricing_answer answer;
        pricing_run(&answer, s->pricing, &query, s->arena);
        s->out->labels += answer.labels;
        for (int i = 0; i < answer.n; i++)
            if (!beaten(s, &answer.items[i], role))
                master_add(&s->master, &answer.items[i]);
        if (!answer.complete)
            return false;
    }
    return true;
}

/* Closes the gap of whole numbers as far as is asked for. Returns the bound in s->bound. */
static bool close_gap(struct solver *s, struct master_whole *whole, struct err *err)
{
    double enough = fmax(s->options->gap_frac, FINEST);
    double fractional = s->bound;
    for (int i = 0; i < MOST_CLOSINGS; i++) {
        if (!whole->known || late(s) || gap_of(s, whole->value, s->bound) <= enough)
            return true;
        bool all = add_all(s, whole->value);
        if (!solve_whole(s, whole, err))
            return false;
        if (!all)
            return true;
        /* Over all patterns that could matter, the program's own bound holds for everything. */
        bool price = s->master.objective == INSTANCE_PRICE;
        double bound = price ? fmin(whole->bound, whole->value) : fmax(whole->bound, whole->value);
        s->bound = price ? fmax(fractional, bound) : fmin(fractional, bound);
        if (whole->proven)
            return true;
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
    if (!whole->known)
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
    out->gap_frac = gap_of(s, whole->value, s->bound);
    out->proven = out->gap_frac <= fmax(s->options->gap_frac, FINEST);
}

/*
 * The least price needs patterns that can serve the demand at all, and a solution to begin with: those of
 * the most throughput. *enough is false when not even that serves the demand.
 */
static bool reach_demand(
        struct solver *s, struct master_whole *whole, bool *enough, struct err *err)
{
    double demand = s->instance->demand * (1 - FINEST);
    s->master.objective = INSTANCE_THROUGHPUT;
    bool ok = generate(s, err)
              && (!s->prices.feasible
                      || (solve_whole(s, whole, err)
                              && (s->bound < demand || whole->value >= demand
                                      || close_gap(s, whole, err))));
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
            && (!solve_whole(&s, &whole, err) || !close_gap(&s, &whole, err)))
        goto done;
    report(&s, &whole);
    if (!out->feasible && !late(&s) && out->bound <= 0)
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
