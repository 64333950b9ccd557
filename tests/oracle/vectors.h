/*
 * vectors - numbers of devices of each kind, as states of the oracle, and the best ways to share them out.
 *
 * Devices of a kind count in the greatest common divisor of the group sizes there are on it; a state is a vector of such
 * counts in mixed radix, so that the sum of two vectors is the sum of their states, and the last state is the cluster.
 */
#ifndef TESTS_ORACLE_VECTORS_H
#define TESTS_ORACLE_VECTORS_H

#include "core/spec/plan.h"
#include "planner/instance.h"

enum {
    ROLES = ROLE_DECODE + 1
};

struct vectors {
    int kinds, n_states;
    int unit[INSTANCE_KINDS], most[INSTANCE_KINDS], step[INSTANCE_KINDS]; /* step: in states */
};

/* False when there would be more than `limit` of them. */
bool vectors_init(struct vectors *out, const struct instance *instance, int limit);
/* Units of a kind. */
static inline int vectors_at(const struct vectors *v, int state, int kind)
{
    return state / v->step[kind] % (v->most[kind] + 1);
}
/* Most that patterns serve with at most the devices of each state, any number of them together. best: of one
 * pattern on exactly the devices of a state, 0 = there is none. The caller frees it. */
double *vectors_fill(const struct vectors *v, const double *best);
/* The same for whole requests, of replicas that serve them alone and of pools: best by role. */
double *vectors_join(const struct vectors *v, double *const best[ROLES]);

#endif
