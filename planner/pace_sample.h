/*
 * pace_sample - a plan made small: a few replicas of each sort, with the requests that would come to them, stand for a
 * plan of thousands. Steady arrivals come evenly to all of a sort, so nothing is lost but what few replicas see of
 * lengths drawn at random.
 *
 * Of mixed and decode replicas one of each sort is simulated, of decode replicas with several attention-dp groups one group;
 * of prefill replicas so many of each sort that they feed those decode replicas. What they hand over on top goes elsewhere.
 */
#ifndef PLANNER_PACE_SAMPLE_H
#define PLANNER_PACE_SAMPLE_H

#include "core/spec/plan.h"
#include "planner/simulate.h"

struct pace_sample {
    struct plan plan; /* the small one */
    struct simulate_sample weights;
    bool whole;     /* the small one is the plan itself, and nothing is sampled */
    double in_frac; /* of the requests that come to the plan, those that come to the small one */
    double more; /* requests that come for each that a mixed or decode replica of it takes, at least 1 */
    const int *like; /* by replica of the plan: the one of the small plan that it is like */
};

void pace_sample_of(struct pace_sample *out, const struct plan *plan, struct arena *arena);

/* Figures by stage of the small plan become those of the plan. */
void pace_sample_spread(struct simulate_result *result, const struct pace_sample *sample,
        const struct plan *plan, struct arena *arena);

#endif
