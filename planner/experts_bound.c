/*
 * A lower bound on the fullest device's load by patterns, for problems too large to enumerate them.
 *
 * A pattern is what one device holds: at most `slots` shares (e, r) of unlike experts, r the number of e's
 * replicas, of load at most T in all. Let z(T) be the least number of devices, in fractions, whose
 * patterns cover every expert (docs/ilp.md, X5 to X7). z(T) > n_devices proves that no placement has a
 * fullest device of T or less. Its dual is a price for every expert and one for every slot at
 * which no pattern is worth more than 1; patterns that are (experts_pricing.c) become columns. With the worth v of the best pattern, prices / v are legal prices:
 * that is Farley's bound, and it decides most questions long before the last pattern is found.
 */
#include <math.h>
#include <string.h>

#include "core/clock.h"
#include "planner/experts_pricing.h"
#include "planner/ilp.h"

#define MOST_ROUNDS 100 /* a limit that repeats, unlike that of time */

struct bounder {
    struct experts_pricing pricing;
    double *centre; /* the prices that gave the best bound so far */
    int64_t programs;
};

/* The program over the patterns found so far: its value bounds z(T) from above, its duals are the prices. */
static bool solve_master(double *value, struct bounder *b, int64_t deadline_ns, struct err *err)
{
    const struct experts_problem *p = b->pricing.problem;
    struct arena scratch = {0};
    struct ilp ilp;
    ilp_init(&ilp, "experts_bound", &scratch);
    for (int e = 0; e < p->n_experts; e++)
        ilp_add_row(&ilp, "cover", 1, HUGE_VAL);
    bool scarce = b->pricing.most < p->n_devices * p->slots;
    if (scarce)
        ilp_add_row(&ilp, "slots", -HUGE_VAL, b->pricing.most);
    for (int64_t i = 0; i < b->pricing.n_patterns; i++) {
        const struct experts_content *pattern = &b->pricing.patterns[i];
        int col = ilp_add_col(
                &ilp, &(struct ilp_col){.name = "pattern", .lo = 0, .hi = HUGE_VAL, .cost = 1});
        for (int j = 0; j < pattern->n; j++)
            ilp_add_term(&ilp, pattern->items[j].expert, col, 1.0 / pattern->items[j].replicas);
        if (scarce)
            ilp_add_term(&ilp, p->n_experts, col, pattern->n);
    }
    struct ilp_result result;
    double left_s = (double)(deadline_ns - clock_now_ns()) * 1e-9;
    struct ilp_limits limits = {.time_s = fmax(left_s, 0.01), .relax = true};
    bool ok = ilp_solve(&result, &ilp, &limits, &scratch, err);
    b->programs++;
    *value = HUGE_VAL;
    if (!ok && clock_now_ns() >= deadline_ns) { /* out of time is no failure: the bound stays */
        err_clear(err);
        ok = true;
        result.status = ILP_UNKNOWN;
    }
    if (ok && result.status == ILP_OPTIMAL) {
        *value = result.value;
        for (int e = 0; e < p->n_experts; e++)
            b->pricing.master[e] = fmax(0, result.dual[e]);
        b->pricing.master[p->n_experts] = scarce ? fmax(0, -result.dual[p->n_experts]) : 0;
    }
    arena_free(&scratch);
    return ok;
}

enum verdict {
    IMPOSSIBLE, /* proven: no placement under the cap */
    UNDECIDED
};

/* The value of prices as a solution of the dual, were no pattern worth more than 1. */
static double value_of(const struct experts_pricing *pricing, const double *price)
{
    const struct experts_problem *p = pricing->problem;
    double value = -price[p->n_experts] * pricing->most;
    for (int e = 0; e < p->n_experts; e++)
        value += price[e];
    return value;
}

/* Between the centre and the master's prices: those alone jump to and fro and find little. */
static void blend(struct bounder *b, double keep)
{
    for (int e = 0; e <= b->pricing.problem->n_experts; e++)
        b->pricing.price[e] = keep * b->centre[e] + (1 - keep) * b->pricing.master[e];
}

/* One look for patterns; true when it changed the program or raised *bound, that of z(T). */
static bool look(struct bounder *b, double keep, double *bound)
{
    struct experts_pricing *pricing = &b->pricing;
    int64_t before = pricing->n_patterns;
    blend(b, keep);
    double worth = fmax(1, experts_pricing_look(pricing));
    double value = value_of(pricing, pricing->price) / worth;
    bool better = value > *bound * (1 + 1e-6);
    if (value > *bound) {
        *bound = value;
        for (int e = 0; e <= pricing->problem->n_experts; e++)
            b->centre[e] = pricing->price[e] / worth;
    }
    return better || pricing->n_patterns > before;
}

/* Is T too small? */
static bool judge(enum verdict *verdict, struct bounder *b, int64_t deadline_ns, struct err *err)
{
    const struct experts_problem *p = b->pricing.problem;
    double devices = p->n_devices * (1 + 1e-9);
    double bound = 0;
    *verdict = UNDECIDED;
    /* Loads are prices at which no pattern is worth more than 1: the bound by the mean. */
    for (int e = 0; e < p->n_experts; e++)
        b->centre[e] = p->load[e] / b->pricing.cap;
    b->centre[p->n_experts] = 0;
    for (int round = 0; round < MOST_ROUNDS && clock_now_ns() < deadline_ns; round++) {
        double value;
        if (!solve_master(&value, b, deadline_ns, err))
            return false;
        /* A fraction of the patterns does with the devices there are: so do all of them. */
        if (isinf(value) || value <= devices)
            return true;
        bool progress = look(b, 0.7, &bound) || look(b, 0, &bound);
        if (bound > devices)
            *verdict = IMPOSSIBLE;
        if (bound > devices || !progress)
            return true;
    }
    return true;
}

/* Patterns of another cap may be too large for this one: begin with what the devices hold now, as far as it is
 * under the cap. False: even the least numbers of replicas are too many. */
static bool start(struct bounder *b, const struct experts_state *s, double cap)
{
    const struct experts_problem *p = s->problem;
    if (!experts_pricing_start(&b->pricing, cap))
        return false;
    struct experts_item *items = ARENA_NEW(b->pricing.arena, struct experts_item, p->slots);
    for (int d = 0; d < p->n_devices; d++) {
        double room = cap;
        int n = 0;
        for (int i = 0; i < s->used[d]; i++) {
            int e = s->slot[d * p->slots + i];
            double load = p->load[e] / s->replicas[e];
            if (load > room)
                continue;
            room -= load;
            items[n++] = (struct experts_item){e, s->replicas[e]};
        }
        if (n > 0)
            experts_pricing_add(&b->pricing, items, n);
    }
    return true;
}

bool experts_raise_bound(const struct experts_state *s, struct experts_bound *bound, double enough,
        int64_t deadline_ns, struct arena *arena, struct err *err)
{
    struct bounder b = {0};
    if (!experts_pricing_init(&b.pricing, s, arena))
        return true; /* many slots even out: the mean is a good bound there */
    b.centre = ARENA_NEW(arena, double, s->problem->n_experts + 1);
    double lo = bound->value;
    double hi = experts_state_max(s, NULL);
    /* What is asked for first; after that halves of what is left. */
    double cap = fmin(enough, hi);
    for (int i = 0; i < 12 && hi - lo > 2e-4 * hi && clock_now_ns() < deadline_ns; i++) {
        enum verdict verdict = IMPOSSIBLE;
        if (start(&b, s, cap) && !judge(&verdict, &b, deadline_ns, err))
            return false;
        if (verdict == IMPOSSIBLE) {
            lo = cap;
            bound->value = cap;
            bound->proof = "patterns, by column generation";
        } else {
            hi = cap;
        }
        cap = (lo + hi) / 2;
    }
    bound->programs += b.programs;
    return true;
}
