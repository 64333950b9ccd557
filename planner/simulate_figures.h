/*
 * simulate_figures - what the records of a simulation amount to, by the formulas of docs/method.md. Private
 * to simulate.
 */
#ifndef PLANNER_SIMULATE_FIGURES_H
#define PLANNER_SIMULATE_FIGURES_H

#include "planner/simulate.h"

/* weight: by replica, how many it stands for; 0 = it was not simulated. Turns the stages' busy nanoseconds into
 * fractions. */
void simulate_figures(
        struct simulate_result *out, const struct simulate_input *input, const double *weight);

#endif
