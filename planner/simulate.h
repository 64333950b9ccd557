/*
 * simulate - a plan under a request trace, event by event. Mirrors the runtime's loop on top of the same
 * core/sched, with costs from the cost model in place of the devices:
 *
 *   The leader of a replica runs stage 0. It takes results that have arrived; while fewer than in_flight
 *   batches are out and sched_next has one, it sends that out and runs stage 0 on it; otherwise it waits
 *   for a result or an arrival. A stage starts a batch when it is free and its input has arrived.
 */
#ifndef PLANNER_SIMULATE_H
#define PLANNER_SIMULATE_H

#include "core/spec/plan.h"
#include "core/spec/workload.h"
#include "planner/cost.h"

struct simulate_stage {
    double busy_frac;       /* of the makespan */
    struct step_cost total; /* all steps of one rank */
};

struct simulate_result {
    struct plan_figures figures;
    int64_t steps, preemptions, unfinished;
    struct simulate_stage *stages; /* replica after replica, plan order */
    int n_stages;
    /* Per request, from the start of the run. */
    int64_t *first_token_ns, *finish_ns;
};

struct simulate_input {
    const struct plan *plan;
    const struct workload *workload; /* its SLO; or NULL */
    const struct requests *requests;
    struct cost_model *costs;
};

MUST_CHECK bool simulate_run(struct simulate_result *out, const struct simulate_input *input,
        struct arena *arena, struct err *err);

#endif
