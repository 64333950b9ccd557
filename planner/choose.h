/*
 * choose - the best candidates of the search, simulated on the workload's own requests; one is chosen by
 * the objective among those that meet the service objectives.
 */
#ifndef PLANNER_CHOOSE_H
#define PLANNER_CHOOSE_H

#include "planner/search.h"
#include "planner/simulate.h"

struct finalist {
    const struct candidate *candidate;
    struct plan plan; /* with predicted figures; certificate and reasons are still empty */
    struct simulate_result sim;
    bool meets_slo;
    double met_frac; /* requests that met the service objectives */
};

struct choice {
    struct finalist *items; /* in the order of the search */
    int n;
    int chosen;      /* index */
    int *runners_up; /* the best of every other layout, best first */
    int n_runners_up;
    bool slo_missed; /* none of them meets the service objectives */
};

/* The plan that a candidate stands for. */
void choose_build(struct plan *out, const struct candidate *candidate,
        const struct planner_input *input, struct cost_model *costs, struct arena *arena);
MUST_CHECK bool choose_run(struct choice *out, const struct search_result *found,
        const struct planner_input *input, const struct demand *demand, struct cost_model *costs,
        struct arena *arena, struct err *err);
/* The objective of a simulated plan, larger is better. */
double choose_value(const struct finalist *finalist, const struct planner_input *input);

#endif
