/*
 * choose - the best candidates of the search, simulated on the workload's own requests; one is chosen by
 * the objective among those that meet the service objectives.
 */
#ifndef PLANNER_CHOOSE_H
#define PLANNER_CHOOSE_H

#include "planner/simulate.h"
#include "planner/solve.h"

struct finalist {
    const struct candidate *candidate;
    struct plan plan; /* with predicted figures; certificate and reasons are still empty */
    struct simulate_result sim;
    double outdone_per_s; /* steady arrivals: lower rates are not tried */
    bool meets_slo;
    double met_frac; /* requests that met the service objectives */
};

struct choice {
    struct finalist *items; /* in the order of the search */
    int n, cap;
    int lead;   /* the best of the last search that the whole-cluster program found; -1 = none */
    int chosen; /* index */
    int *runners_up; /* the best of every other layout, best first */
    int n_runners_up;
    bool slo_missed; /* none of them meets the service objectives */
};

/* The plan that a candidate stands for. */
void choose_build(struct plan *out, const struct candidate *candidate,
        const struct planner_input *input, struct cost_model *costs, struct arena *arena);
/*
 * Simulates the best plans of so many layouts and chooses among them and those that are in `choice` already; an
 * empty one is all zeros.
 */
MUST_CHECK bool choose_run(struct choice *choice, const struct search_result *found,
        const struct solve *solve, int n_layouts, struct arena *arena, struct err *err);
/*
 * The plan for a question that is solved. The program's objectives are means of the steady state. Where the percentiles of the plan that it likes best
 * break them, it is asked again with tighter ones, until its plan holds. The first bound stays: it is that of
 * the larger space.
 */
MUST_CHECK bool choose_plan(struct choice *choice, struct solved *solved, const struct solve *solve,
        struct arena *arena, struct err *err);
/* A candidate, simulated, joins the finalists unless an equal plan is among them. Its index in *at. */
MUST_CHECK bool choose_add(int *at, struct choice *choice, const struct candidate *candidate,
        const struct solve *solve, struct arena *arena, struct err *err);
/* Simulates f->plan under these costs. */
MUST_CHECK bool choose_simulate(struct finalist *f, const struct planner_input *input,
        struct cost_model *costs, struct arena *arena, struct err *err);
/* The objective of a simulated plan, larger is better. */
double choose_value(const struct finalist *finalist, const struct planner_input *input);

#endif
