/*
 * what_if_sweep - one figure of a cluster over a range: a what-if for every point of it.
 */
#ifndef PLANNER_WHAT_IF_SWEEP_H
#define PLANNER_WHAT_IF_SWEEP_H

#include <stdbool.h>

#include "core/arena.h"
#include "core/err.h"

/* A range of one target: "h200.memory=0.5x..4x", "b200.count=8..64", with /N points (7). */
struct what_if_sweep {
    const char *target;
    bool factor; /* values are factors */
    double *values;
    int n_values;
};
/* Values are spaced evenly by ratio, counts rounded; equal ones once. */
MUST_CHECK bool what_if_sweep_read(
        struct what_if_sweep *out, const char *text, struct arena *arena, struct err *err);
/* The change of one point, for what_if_apply (planner/what_if.h). */
const char *what_if_sweep_change(const struct what_if_sweep *sweep, int point, struct arena *arena);

#endif
