/*
 * search_pace - a pace that no partition of a configuration beats, from the times of single layers.
 */
#ifndef PLANNER_SEARCH_PACE_H
#define PLANNER_SEARCH_PACE_H

#include "planner/arcs.h"

/* Microseconds; HUGE_VAL when there are too few groups of devices. */
double search_least_pace_us(
        struct arcs *arcs, struct cost_model *costs, const struct config *config);

#endif
