/*
 * robust - the plan that loses least whether costs are as told or worse.
 *
 * The question is solved for the costs as told and for inflated ones, every plan that either answer thinks well of
 * is simulated under both, and the one whose larger regret is least is chosen. docs/method.md, "Least regret".
 */
#ifndef PLANNER_ROBUST_H
#define PLANNER_ROBUST_H

#include "planner/choose.h"

/* choice: that for the costs as told, of `solve`; its plans grow by those for the inflated costs, and chosen and
 * runners-up become those by least regret. */
MUST_CHECK bool robust_choose(struct choice *choice, struct plan_regret *out,
        const struct solve *solve, struct arena *arena, struct err *err);

#endif
