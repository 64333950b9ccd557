/*
 * explain - in words: what limits the chosen plan, and what the runners-up lose and why.
 */
#ifndef PLANNER_EXPLAIN_H
#define PLANNER_EXPLAIN_H

#include "planner/choose.h"

/* "compute", "memory", "network" or "bubble": where the time of the slowest stage goes (docs/method.md). */
/* "62 % imported, 30 % interpolated, 8 % estimated (most of it all_to_all, rmsnorm)" */
const char *explain_sources(const struct simulate_result *sim, struct arena *arena);
/* The rate that planner/pace.h found; NULL where the workload has its own. */
const char *explain_arrivals(
        const struct finalist *chosen, const struct planner_input *input, struct arena *arena);
const char *explain_bottleneck(const struct simulate_result *sim);
/* One sentence on a plan that was not chosen. */
const char *explain_why(const struct finalist *finalist, struct arena *arena);
/* The constraint that keeps the chosen plan from being better, a sentence. */
const char *explain_binding(const struct choice *choice, const struct planner_input *input,
        const struct demand *demand, struct cost_model *costs, struct arena *arena);
/* Separate prefill and decode replicas or not, and what the best plan of the other kind does; NULL where nothing
 * else was possible. */
const char *explain_serving(const struct choice *choice, const struct planner_input *input,
        const struct demand *demand, struct arena *arena);
void explain_runners_up(struct plan *plan, const struct choice *choice,
        const struct planner_input *input, struct arena *arena);
/* Plans that the objective prefers to the chosen one, and the percentiles that ruled them out. */
void explain_refused(struct plan *plan, const struct choice *choice,
        const struct planner_input *input, struct arena *arena);
/* Each op of the busiest stage's layers sharded for itself, against what is executed: planner/block_layer.h. */
MUST_CHECK bool explain_sharding(struct plan *plan, const struct finalist *chosen,
        const struct solve *solve, struct arena *arena, struct err *err);
/* ERR_NO: a plan exists only with objectives so many times as long. */
bool explain_too_tight(const struct candidate *found, double times, const struct solve *solve,
        struct arena *arena, struct err *err);
/* ERR_NO: the least memory that any legal plan needs, what there is, and what would make it fit. */
bool explain_nothing_fits(
        const struct least_memory *least, const struct planner_input *input, struct err *err);

#endif
