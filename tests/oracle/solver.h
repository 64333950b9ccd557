/*
 * solver - the inside of the oracle: devices as states, prices as the instance tells them, and the best pattern of each
 * role on exactly the devices of a state, which oracle.c finds by recursion and dynamic.c by dynamic programming.
 */
#ifndef TESTS_ORACLE_SOLVER_H
#define TESTS_ORACLE_SOLVER_H

#include "tests/oracle/oracle.h"
#include "tests/oracle/pairs.h"
#include "tests/oracle/vectors.h"

/* A kind and a configuration, with the prices of every piece under the limits at hand. */
struct way {
    int kind, config, takes;      /* takes: in units of the kind */
    struct instance_price *price; /* [first * (layers + 1) + end] */
};

struct solver {
    const struct instance *in;
    struct oracle_answer *out;
    int layers, most_stages;
    struct vectors v;
    struct way *ways;
    int n_ways;
    int limits;
    double *best[ROLES]; /* requests a second of one pattern on exactly the devices of a state */
};

/* Prices of every piece under these limits. */
void solver_ask_prices(struct solver *s, int limits);
/* Whether a way's devices are still there in a state, and the state that takes them. */
bool solver_may_take(const struct solver *s, const struct way *way, int state);
static inline int solver_take(const struct solver *s, const struct way *way, int state)
{
    return state + way->takes * s->v.step[way->kind];
}
/* A whole pattern on the devices of a state. */
void solver_judge(struct solver *s, int state, int in_flight, struct pair pair);

/* Fills best by dynamic programming. */
void dynamic_find_patterns(struct solver *s);

#endif
