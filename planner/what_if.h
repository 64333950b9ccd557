/*
 * what_if - another cluster than there is: more memory, faster devices, slower links, more of a kind, or a
 * kind that is known by its datasheet alone. Measured costs change with it, as docs/method.md says.
 *
 *   h200.memory=2x          a factor: x at the end
 *   h200.memory=282GB       or the new value: memory, compute (FLOP/s), bandwidth, price, count
 *   link.ib.bandwidth=0.5x  links: bandwidth, latency
 *   b200.count=16           a kind that the cluster does not have comes from its datasheet
 */
#ifndef PLANNER_WHAT_IF_H
#define PLANNER_WHAT_IF_H

#include "core/spec/cluster.h"
#include "core/spec/profile.h"

/* What can be changed; both are replaced by changed copies in the arena. */
struct what_if {
    struct cluster cluster;
    struct profile *profiles;
    int n_profiles;
};

/* "TARGET=VALUE". ERR_INPUT with what was found and what can be said. */
MUST_CHECK bool what_if_apply(
        struct what_if *what, const char *change, struct arena *arena, struct err *err);

#endif
