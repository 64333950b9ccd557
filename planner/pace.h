/*
 * pace - a plan under steady arrivals: the highest rate at which the simulation finds that the plan keeps up and keeps
 * the service objectives.
 *
 * Requests come evenly. The first of them fill the places of the plan, the last keep them filled, and neither are in any
 * figure (core/spec/workload.h, n_warm); there are enough, whatever number the workload says, that every place is taken
 * meanwhile. One replica of each kind stands for those like it.
 */
#ifndef PLANNER_PACE_H
#define PLANNER_PACE_H

#include "planner/planner.h"
#include "planner/simulate.h"

/* Requests a second. */
struct pace_range {
    double most; /* what the steady state of the plan comes to; lower rates are tried in turn ... */
    double least; /* ... while they are above this */
};
/* The result is that of the first rate that holds, else of the last; figures.requests_per_s is the rate itself. */
MUST_CHECK bool pace_simulate(struct simulate_result *out, const struct plan *plan,
        const struct planner_input *input, struct cost_model *costs, struct pace_range range,
        struct arena *arena, struct err *err);

#endif
