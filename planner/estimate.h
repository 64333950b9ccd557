/*
 * estimate - what a pace means for the user: tokens a second and latencies in the steady state. Good
 * enough to rank; the simulator has the last word.
 */
#ifndef PLANNER_ESTIMATE_H
#define PLANNER_ESTIMATE_H

#include "planner/planner.h"
#include "planner/space.h"

struct estimate {
    double tokens_per_s; /* what the plan can do; not capped by what is offered */
    double ttft_us, tpot_us;
    double score; /* of the objective, larger is better */
};

/* pace_us: time between two micro-batches of a replica. */
void estimate_of(struct estimate *out, const struct planner_input *input,
        const struct demand *demand, const struct config *config, double pace_us);

#endif
