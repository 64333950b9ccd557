/*
 * Closes the gap between a solution in whole numbers and the linear bound. Patterns that are nearly worth their devices join,
 * more and more of them, until none that is left out matters (C14). With separate pools only those that serve much do,
 * and what they leave is looked at for itself (C22).
 */
#include <math.h>

#include "planner/columns_inside.h"

enum {
    WIDENINGS = 4,    /* enumerations, each of four times the loss of the one before */
    ROUNDS = 3,       /* walks through items, each of smaller ones */
    LOOKS = 20,       /* rests of items that are looked at for a solution only */
    FIRST_SHARE = 16, /* of the gap, for the first look, then of four times as much */
    MOST_ITEMS = 12,  /* decode replicas of a solution that is worth a walk */
    FIRST_EFFORT =
            20000, /* labels of one list of items, and EFFORT_GROWS times as many in the next round */
    EFFORT_GROWS = 5,
    REST_EFFORT = 5,      /* times as many for what matters on a rest */
    EFFORT_ALL = 1000000, /* labels of one enumeration */
    EFFORT_CLOSE =
            500000 /* ... where a larger gap is close enough: there are more patterns than can help */
};

/* Items serve less from list to list, by these factors, down to a share of the bound; then all are listed. */
#define FINER          2
#define MUCH_FINER     16 /* after a list of few labels */
#define LARGEST_SHARE  0.5
#define SMALLEST_SHARE 1e-3

/* Of what is asked for, half is given to patterns that are nearly as good as others (only where less is not too
 * little), a quarter to the integer program. */
static double slack_of(const struct solver *s)
{
    return s->master.objective == INSTANCE_PRICE ? 0 : s->options->gap_frac / 2;
}

/* What separates a value from the bound that the weights alone give, in their unit. */
static double loss_of(const struct solver *s, double value)
{
    const struct instance *in = s->instance;
    const struct columns_proof *proof = &s->proof;
    bool price = s->master.objective == INSTANCE_PRICE;
    double ratio =
            fmin(proof->least[ROLE_MIXED], proof->least[ROLE_PREFILL] + proof->least[ROLE_DECODE]);
    double worth = 0;
    for (int k = 0; k < in->n_kinds; k++)
        worth += (proof->weight[k] - (price ? in->kinds[k].price : 0))
                 * (double)in->kinds[k].devices;
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

/* What is to be listed: patterns of a role that serve at least `rate` and may be in a solution that serves `value`. */
struct listing {
    int role;
    double value, rate;
    int64_t effort;
};

/*
 * Every pattern of a role that a better solution could hold (C14): with weights w and the least ratio a of its role, a
 * pattern in a solution costs it w . devices - a requests_per_s of the bound; where that is more than what
 * separates the bound from a value, it is in none that is better. With pools, nor is one that leaves too little for
 * the others (C20). False when labels or time ran out.
 */
static bool add_role(struct solver *s, const struct listing *list)
{
    double ratio = s->proof.least[list->role];
    if (isinf(ratio))
        return true;
    double scaled[INSTANCE_KINDS];
    for (int k = 0; k < s->instance->n_kinds; k++)
        scaled[k] = s->proof.weight[k] / ratio;
    struct pricing_query query = {.role = list->role,
            .weight = scaled,
            .all = true,
            .loss = loss_of(s, list->value) / ratio,
            .slack_frac = slack_of(s),
            .least_rate = list->rate,
            .effort = list->effort,
            .known = s->master.items,
            .n_known = s->master.n,
            .deadline_ns = s->deadline_ns};
    double allowed[POOLS_STEPS + 1];
    if (s->pooled) {
        query.most_rate = pools_allow(allowed, &s->pools, list->role, list->value);
        query.most_rate = isinf(query.most_rate) ? 0 : query.most_rate;
        for (int j = 0; j <= POOLS_STEPS; j++)
            allowed[j] /= ratio;
        query.allowed = allowed;
        query.n_allowed = POOLS_STEPS + 1;
        query.steps_per_rate = 1 / s->pools.step;
    }
    struct pricing_answer answer;
    pricing_run(&answer, s->pricing, &query, s->arena);
    s->out->labels += answer.labels;
    for (int i = 0; i < answer.n; i++)
        if (!beaten(s, &answer.items[i], list->role))
            master_add(&s->master, &answer.items[i]);
    if (answer.complete && s->pooled && list->rate <= 0)
        columns_list_pools(s, list->role, slack_of(s));
    return answer.complete;
}

static int64_t most_effort(const struct solver *s)
{
    return s->options->close_frac > 0 ? EFFORT_CLOSE : EFFORT_ALL;
}

/* Every pattern that a solution better than `aim` may hold, and the program over them: its bound holds for all
 * solutions better than aim. *all: labels and time were enough. */
static bool close_to(
        struct solver *s, struct master_whole *whole, double aim, bool *all, struct err *err)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    *all = true;
    for (int role = 0; role <= ROLE_DECODE && *all; role++)
        *all = add_role(s, &(struct listing){role, aim, 0, most_effort(s)});
    if (!columns_round(s, whole, true, err))
        return false;
    if (!*all)
        return true;
    if (price)
        s->bound = fmax(s->bound, fmin(fmin(whole->bound, whole->value), aim));
    else
        s->bound = fmin(s->bound, fmax(fmax(whole->bound, whole->value) / (1 - slack_of(s)), aim));
    return true;
}

/* Items of a role for a walk, as small ones as the effort allows. *rate: all are listed that serve more; it falls. */
static void list_items(struct solver *s, int role, double value, int64_t effort, double *rate)
{
    const double smallest = SMALLEST_SHARE * s->bound;
    double by = FINER;
    while (*rate > 0) {
        double finer = isinf(*rate) ? LARGEST_SHARE * s->bound : *rate / by;
        if (finer < smallest)
            finer = *rate > smallest ? smallest : 0;
        int64_t before = s->out->labels;
        bool all = add_role(s, &(struct listing){role, value, finer, effort});
        if (!all && by <= FINER)
            return;
        if (all)
            *rate = finer;
        by = all && (s->out->labels - before) * MUCH_FINER < effort ? MUCH_FINER : FINER;
    }
}

/* What is known of pools holds for solutions of a value: for another one it is found again. */
static void forget_lists(struct solver *s)
{
    for (int role = 0; role <= ROLE_DECODE; role++)
        pools_line(&s->pools, role, s->pools.ratio[role], s->pools.one[role]);
}

/* Items, and solutions that are made of them. */
static bool look(struct solver *s, struct master_whole *whole, struct columns_split_ask *ask,
        double value, int64_t effort, struct err *err)
{
    forget_lists(s);
    list_items(s, ROLE_DECODE, value, effort, &ask->small_rate[ROLE_DECODE]);
    list_items(s, ROLE_MIXED, value, effort / EFFORT_GROWS, &ask->small_rate[ROLE_MIXED]);
    double aim = columns_goal(s, whole->value);
    bool proven;
    ask->looks = LOOKS;
    return columns_split(s, whole, ask, &aim, &proven, err) && columns_round(s, whole, false, err);
}

/* Where many decode replicas fit there are too many choices of them for a walk. */
static bool many_items(const struct solver *s, const struct master_whole *whole)
{
    double items = 0;
    for (int i = 0; i < s->out->n_known; i++)
        if (s->instance->limits[s->master.items[i].limits].role == ROLE_DECODE)
            items += whole->counts[i];
    return items > MOST_ITEMS;
}

/* C22: solutions of what is nearly worth its devices, then proofs with smaller and smaller items. */
static bool close_split(struct solver *s, struct master_whole *whole, struct err *err)
{
    struct columns_split_ask ask = {
            .slack_frac = slack_of(s), .small_rate = {HUGE_VAL, HUGE_VAL, HUGE_VAL}};
    const double linear = s->bound;
    int64_t effort = FIRST_EFFORT;
    for (int share = FIRST_SHARE; share > 1; share /= 4) {
        struct columns_split_ask first = ask;
        double goal = columns_goal(s, whole->value);
        if (!look(s, whole, &first, s->bound + (goal - s->bound) / share, effort, err))
            return false;
        if (columns_late(s) || columns_gap(s, whole->value, s->bound) <= columns_enough(s))
            return true;
    }
    for (int round = 0; round < ROUNDS && !columns_late(s) && !many_items(s, whole);
            round++, effort *= EFFORT_GROWS) {
        if (!look(s, whole, &ask, columns_goal(s, whole->value), effort, err))
            return false;
        if (columns_gap(s, whole->value, s->bound) <= columns_enough(s))
            return true;
        ask.looks = 0;
        ask.effort = REST_EFFORT * effort;
        double aim = columns_goal(s, whole->value);
        bool proven;
        if (!columns_split(s, whole, &ask, &aim, &proven, err))
            return false;
        /* Where many replicas fit, most rests can do what the whole cluster can. */
        if (!proven || aim >= linear)
            return true;
        s->bound = fmin(s->bound, fmax(aim, whole->value));
        if (columns_gap(s, whole->value, s->bound) <= columns_enough(s))
            return true;
    }
    return true;
}

static bool close_gap(struct solver *s, struct master_whole *whole, struct err *err)
{
    double enough = columns_enough(s);
    if (!whole->known || columns_gap(s, whole->value, s->bound) <= enough)
        return true;
    columns_find_pools(s);
    if (s->pooled)
        return columns_gap(s, whole->value, s->bound) <= enough || close_split(s, whole, err);
    for (int share = 1 << 2 * (WIDENINGS - 1); share > 0; share /= 4) {
        if (!whole->known || columns_late(s) || columns_gap(s, whole->value, s->bound) <= enough)
            return true;
        double goal = columns_goal(s, whole->value);
        bool all;
        if (!close_to(s, whole, s->bound + (goal - s->bound) / share, &all, err))
            return false;
        if (!all)
            return true;
    }
    return true;
}

bool columns_close(struct solver *s, struct master_whole *whole, struct err *err)
{
    bool ok = close_gap(s, whole, err);
    columns_count_all(s, whole);
    return ok;
}
