/*
 * What is known of pools of whole replicas (planner/pools.h), for the weights that the linear bound rests on. The
 * linear program mixes fractions of replicas that are never together: here each role has its own least ratio, found
 * among patterns that leave room for the lightest one of the other side.
 */
#include <math.h>
#include <string.h>

#include "planner/columns_inside.h"

/* A little more: what is over by rounding may be there. */
#define ROUNDING 1e-9
/* How close to the least ratio of a role is close enough. */
#define NEARLY 1e-3

enum {
    MOST_EQUAL = 8
};

static bool has_role(const struct instance *in, int role)
{
    for (int l = 0; l < in->n_limits; l++)
        if (in->limits[l].role == role)
            return true;
    return false;
}

bool columns_pooled(const struct solver *s)
{
    return s->master.objective == INSTANCE_THROUGHPUT && has_role(s->instance, ROLE_PREFILL)
           && has_role(s->instance, ROLE_DECODE);
}

static double weight_of(const struct solver *s, const struct pattern *pattern)
{
    double weight = 0;
    for (int k = 0; k < s->instance->n_kinds; k++)
        weight += s->proof.weight[k] * (double)pattern->devices[k];
    return weight;
}

/* The least ratio of the patterns of a role that are known and weigh no more than `most`. */
static double known_ratio(const struct solver *s, int role, double most)
{
    double least = HUGE_VAL;
    for (int i = 0; i < s->master.n; i++) {
        const struct pattern *p = &s->master.items[i];
        double weight = weight_of(s, p);
        if (s->instance->limits[p->limits].role == role && weight <= most)
            least = fmin(least, weight / p->requests_per_s);
    }
    return least;
}

/* No pattern of a role that weighs at most so much has a smaller ratio; those that are better than what is known join
 * the program. */
static double least_ratio(struct solver *s, int role, double most)
{
    struct pricing_query query = {.role = role,
            .weight = s->proof.weight,
            .below = known_ratio(s, role, most) * (1 - NEARLY),
            .spread = 1.05,
            .allowed = &most,
            .n_allowed = 1,
            .steps_per_rate = 1,
            .deadline_ns = s->deadline_ns};
    struct pricing_answer answer;
    (void)columns_ask(&answer, s, &query);
    return answer.least;
}

/* Whole replicas that fit so often: where pools are better the program has little use for them, but they are what pools
 * are told beside (planner/whole.c). */
static void add_whole(struct solver *s, double budget)
{
    for (int n = 2; n <= MOST_EQUAL && s->instance->n_kinds == 1; n++)
        (void)least_ratio(s, ROLE_MIXED, budget / n * (1 + ROUNDING));
}

void columns_find_pools(struct solver *s)
{
    const struct instance *in = s->instance;
    s->pooled = columns_pooled(s) && isfinite(s->proof.bound);
    if (!s->pooled)
        return;
    double budget = 0;
    for (int k = 0; k < in->n_kinds; k++)
        budget += s->proof.weight[k] * (double)in->kinds[k].devices;
    pools_init(&s->pools, budget, s->proof.bound, s->arena);
    double lightest[ROLE_DECODE + 1];
    for (int role = 0; role <= ROLE_DECODE; role++)
        lightest[role] = pricing_lightest(s->pricing, role, s->proof.weight, NULL);
    for (int role = 0; role <= ROLE_DECODE; role++) {
        double beside = 0;
        if (role != ROLE_MIXED)
            beside = lightest[role == ROLE_PREFILL ? ROLE_DECODE : ROLE_PREFILL];
        double room = budget * (1 + ROUNDING) - beside;
        double ratio = HUGE_VAL;
        if (lightest[role] <= room)
            ratio = fmax(s->proof.least[role], least_ratio(s, role, room));
        pools_line(&s->pools, role, ratio, lightest[role]);
    }
    s->bound = fmin(s->bound, pools_bound(&s->pools));
    add_whole(s, budget);
}

void columns_list_pools(struct solver *s, int role, double slack_frac)
{
    struct arena scratch = {0};
    struct pools_item *items = ARENA_NEW(&scratch, struct pools_item, s->master.n + 1);
    int n = 0;
    for (int i = 0; i < s->master.n; i++) {
        const struct pattern *p = &s->master.items[i];
        if (s->instance->limits[p->limits].role == role)
            items[n++] = (struct pools_item){weight_of(s, p), p->requests_per_s};
    }
    pools_list(&s->pools, role, items, n, slack_frac, &scratch);
    arena_free(&scratch);
}
