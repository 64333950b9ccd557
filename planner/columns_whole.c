/*
 * From a linear solution to whole numbers of replicas. The solution rounded down and filled up is a start; the
 * integer program over the known patterns is better; and where the gap is still larger than asked for, patterns
 * that are nearly worth their devices join, more and more of them, until none that is left out matters (C14).
 */
#include "planner/columns.h"

#include <math.h>
#include <string.h>

#include "core/clock.h"
#include "planner/columns_inside.h"

enum {
    WIDENINGS = 4,        /* enumerations, each of four times the loss of the one before */
    WHOLE_NODES = 20000,  /* of the tree of one integer program */
    LOOK_NODES = 2000,    /* ... that looks for a solution only */
    LOOKS = 40,           /* rests of decode replicas that are looked at for a solution only */
    EFFORT_ALL = 1000000, /* labels of one enumeration */
    EFFORT_CLOSE =
            500000 /* ... where a larger gap is close enough: there are more patterns than can help */
};

bool columns_late(const struct solver *s)
{
    return s->deadline_ns > 0 && clock_now_ns() >= s->deadline_ns;
}

double columns_enough(const struct solver *s)
{
    return fmax(fmax(s->options->gap_frac, s->options->close_frac), COLUMNS_FINEST);
}

double columns_gap(const struct solver *s, double value, double bound)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    double gap = price ? value - bound : bound - value;
    return fmax(0, gap) / fmax(fabs(bound), 1e-300);
}

/* C8 leaves room: the pattern that is worth most for what it takes, as often as it fits, and again. */
static void fill_up(const struct solver *s, double *counts)
{
    const struct instance *in = s->instance;
    double left[INSTANCE_KINDS];
    double weight[INSTANCE_KINDS];
    columns_weights(weight, s);
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

bool columns_round(struct solver *s, struct master_whole *whole, bool prove, struct err *err)
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
    whole->bound = price ? -HUGE_VAL : HUGE_VAL;
    double seconds = 0;
    if (s->deadline_ns > 0)
        seconds = fmax(0.05, (double)(s->deadline_ns - clock_now_ns()) * 1e-9);
    if (whole->known && s->options->export_lp == NULL
            && columns_gap(s, whole->value, s->bound) <= fmax(s->options->gap_frac, COLUMNS_FINEST))
        return true;
    const struct master_limits limits = {
            s->options->gap_frac / 4, seconds, prove ? WHOLE_NODES : LOOK_NODES};
    return master_solve(whole, &s->master, &limits, err);
}

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

/*
 * Every pattern of a role that a better solution could hold (C14): with weights w and the least ratio a of its role, a
 * pattern in a solution costs it w . devices - a requests_per_s of the bound; where that is more than what
 * separates the bound from a value, it is in none that is better. With pools, nor is one that leaves too little for
 * the others (C20). False when labels or time ran out.
 */
static bool add_role(struct solver *s, int role, double value)
{
    double ratio = s->proof.least[role];
    if (isinf(ratio))
        return true;
    double scaled[INSTANCE_KINDS];
    for (int k = 0; k < s->instance->n_kinds; k++)
        scaled[k] = s->proof.weight[k] / ratio;
    struct pricing_query query = {.role = role,
            .weight = scaled,
            .all = true,
            .loss = loss_of(s, value) / ratio,
            .slack_frac = slack_of(s),
            .effort = s->options->close_frac > 0 ? EFFORT_CLOSE : EFFORT_ALL,
            .known = s->master.items,
            .n_known = s->master.n,
            .deadline_ns = s->deadline_ns};
    double allowed[POOLS_STEPS + 1];
    if (s->pooled) {
        query.most_rate = pools_allow(allowed, &s->pools, role, value);
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
        if (!beaten(s, &answer.items[i], role))
            master_add(&s->master, &answer.items[i]);
    if (answer.complete && s->pooled)
        columns_list_pools(s, role, slack_of(s));
    return answer.complete;
}

/* What is known of pools again for another aim. */
static void forget_lists(struct solver *s)
{
    for (int role = 0; role <= ROLE_DECODE && s->pooled; role++)
        pools_line(&s->pools, role, s->pools.ratio[role], s->pools.one[role]);
}

/* All roles; false when one was too many. */
static bool add_all(struct solver *s, double value)
{
    forget_lists(s);
    static const int order[] = {ROLE_PREFILL, ROLE_DECODE, ROLE_MIXED};
    for (int i = 0; i <= ROLE_DECODE; i++)
        if (!add_role(s, order[i], value))
            return false;
    return true;
}

double columns_goal(const struct solver *s, double value)
{
    double enough = columns_enough(s) * (1 - 1e-6);
    return s->master.objective == INSTANCE_PRICE ? value * (1 - enough) : value / (1 - enough);
}

enum split {
    SPLIT_PROVEN,
    SPLIT_OPEN,
    SPLIT_TOO_MUCH /* not even decode replicas could be listed */
};

/* C22: decode replicas alone are listed. */
static bool close_split(
        struct solver *s, struct master_whole *whole, double aim, enum split *how, struct err *err)
{
    *how = SPLIT_TOO_MUCH;
    forget_lists(s);
    bool decode = add_role(s, ROLE_DECODE, aim);
    struct columns_split_ask ask = {.slack_frac = slack_of(s), .looks = LOOKS};
    ask.whole_listed = decode && add_role(s, ROLE_MIXED, aim);
    bool proven;
    double goal = columns_goal(s, whole->value);
    if (!columns_split(s, whole, &ask, &goal, &proven, err))
        return false;
    ask.looks = 0;
    aim = fmax(aim, goal);
    if (decode) {
        if (!columns_split(s, whole, &ask, &aim, &proven, err))
            return false;
        if (proven)
            s->bound = fmin(s->bound, fmax(aim, whole->value));
        *how = proven ? SPLIT_PROVEN : SPLIT_OPEN;
    }
    return *how == SPLIT_OPEN || columns_round(s, whole, false, err);
}

/* Every pattern that a solution better than `aim` may hold, and the program over them: its bound holds for all
 * solutions better than aim. *all: labels and time were enough. */
static bool close_to(
        struct solver *s, struct master_whole *whole, double aim, bool *all, struct err *err)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    *all = add_all(s, aim);
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

bool columns_close(struct solver *s, struct master_whole *whole, struct err *err)
{
    double enough = columns_enough(s);
    if (!whole->known || columns_gap(s, whole->value, s->bound) <= enough)
        return true;
    columns_find_pools(s);
    for (int share = 1 << 2 * (WIDENINGS - 1); share > 0; share /= 4) {
        if (!whole->known || columns_late(s) || columns_gap(s, whole->value, s->bound) <= enough)
            return true;
        double goal = columns_goal(s, whole->value);
        double aim = s->bound + (goal - s->bound) / share;
        enum split how = SPLIT_OPEN;
        if (s->pooled && !close_split(s, whole, aim, &how, err))
            return false;
        if (how == SPLIT_TOO_MUCH)
            return true;
        if (how == SPLIT_PROVEN)
            continue;
        bool all;
        if (!close_to(s, whole, aim, &all, err))
            return false;
        if (!all)
            return true;
    }
    return true;
}
