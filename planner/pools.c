/*
 * A solution that serves y by pools and m by whole replicas has y in [j, j + 1) steps: it weighs at least what prefill
 * and decode weigh for j steps, and what whole replicas weigh for the rest.
 */
#include "planner/pools.h"

#include <math.h>

/* Sums of doubles: what is over by this share may be rounding. */
#define ROUNDING 1e-9

void pools_init(struct pools *p, double budget, double most, struct arena *arena)
{
    *p = (struct pools){.budget = budget, .step = most / POOLS_STEPS};
    for (int role = 0; role <= ROLE_DECODE; role++)
        p->least[role] = ARENA_NEW(arena, double, POOLS_STEPS + 1);
}

void pools_line(struct pools *p, int role, double ratio, double one)
{
    p->one[role] = one;
    p->ratio[role] = ratio;
    for (int j = 1; j <= POOLS_STEPS; j++)
        p->least[role][j] = fmax(ratio * p->step * j, one);
}

void pools_list(struct pools *p, int role, const struct pools_item *items, int n, double slack_frac,
        struct arena *arena)
{
    double *least = ARENA_NEW(arena, double, POOLS_STEPS + 1);
    for (int j = 1; j <= POOLS_STEPS; j++)
        least[j] = HUGE_VAL;
    for (int i = 0; i < n; i++) {
        double steps = ceil(items[i].rate / (1 - slack_frac) / p->step);
        int own = steps < POOLS_STEPS ? (int)steps : POOLS_STEPS;
        for (int j = 1; j <= POOLS_STEPS; j++)
            least[j] = fmin(least[j], items[i].weight + least[j > own ? j - own : 0]);
    }
    for (int j = 1; j <= POOLS_STEPS; j++)
        p->least[role][j] = fmax(p->least[role][j], least[j]);
}

/* Pools that serve something, less than a step more than j; HUGE_VAL where they cannot. */
static double pooled(const struct pools *p, int j)
{
    double prefill = fmax(p->one[ROLE_PREFILL], p->least[ROLE_PREFILL][j]);
    return prefill + fmax(p->one[ROLE_DECODE], p->least[ROLE_DECODE][j]);
}

static double room(const struct pools *p)
{
    return p->budget * (1 + ROUNDING);
}

double pools_bound(const struct pools *p)
{
    const double *mixed = p->least[ROLE_MIXED];
    int m = POOLS_STEPS;
    while (mixed[m] > room(p))
        m--;
    int best = m;
    for (int j = 0; j <= POOLS_STEPS && pooled(p, j) <= room(p); j++) {
        while (mixed[m] + pooled(p, j) > room(p))
            m--;
        if (j + m + 1 > best)
            best = j + m + 1;
    }
    return p->step * (best + 1);
}

/* Whole replicas that serve what pools of less than j + 1 steps leave of an aim, after `own` steps of a pattern. */
static double mixed_for(const struct pools *p, double aim, int j, int own)
{
    double left = floor(aim / p->step * (1 - ROUNDING)) - j - own;
    return left > POOLS_STEPS ? HUGE_VAL : p->least[ROLE_MIXED][left > 0 ? (int)left : 0];
}

static double allow_mixed(double *allowed, const struct pools *p, double aim)
{
    for (int own = 0; own <= POOLS_STEPS; own++) {
        double least = mixed_for(p, aim, 0, own);
        for (int j = 0; j <= POOLS_STEPS && pooled(p, j) <= room(p); j++)
            least = fmin(least, pooled(p, j) + mixed_for(p, aim, j + 1, own));
        allowed[own] = room(p) - least;
    }
    return HUGE_VAL;
}

double pools_allow(double *allowed, const struct pools *p, int role, double aim)
{
    if (role == ROLE_MIXED)
        return allow_mixed(allowed, p, aim);
    int other = role == ROLE_PREFILL ? ROLE_DECODE : ROLE_PREFILL;
    int most = 0;
    double rest[POOLS_STEPS + 1];
    for (int j = 0; j <= POOLS_STEPS; j++) {
        rest[j] = fmax(p->one[other], p->least[other][j]) + mixed_for(p, aim, j + 1, 0);
        if (rest[j] + fmax(p->one[role], p->least[role][j]) <= room(p))
            most = j + 1;
    }
    for (int own = 0; own <= POOLS_STEPS; own++) {
        double least = HUGE_VAL;
        for (int j = 0; j < most; j++)
            least = fmin(least, rest[j] + p->least[role][j > own ? j - own : 0]);
        allowed[own] = room(p) - least;
    }
    return p->step * most;
}
