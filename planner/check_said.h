/*
 * check_said - whether what a plan says about itself is so: memory of its stages, who is on which machine, percentiles and
 * the certificate, each worked out again from the plan, the model and the cluster. Part of plan_check.
 */
#ifndef PLANNER_CHECK_SAID_H
#define PLANNER_CHECK_SAID_H

#include "planner/planner.h"

/* The plan is legal. What it leaves out (0, no objective, no machines) is not judged. ERR_INPUT. */
MUST_CHECK bool check_said(const struct plan *plan, const struct model *model,
        const struct cluster *cluster, struct err *err);
/* The split of a stage, as memory needs it. */
struct split check_split(const struct plan *plan, const struct plan_stage *stage);

#endif
