/*
 * deal - which machine each rank of a plan is on.
 *
 * Machines are numbered in the order of the cluster's nodes. A stage that fits into a machine goes to the first
 * one of its kind with room for it, a larger one takes whole machines. Ranks are dealt in order; where that
 * leaves a stage without a place, the largest stages are dealt first.
 */
#ifndef PLANNER_DEAL_H
#define PLANNER_DEAL_H

#include "core/spec/cluster.h"
#include "core/spec/plan.h"

/* Fills plan->machines where there is more than one machine, and plan->hosts where the cluster names them.
 * ERR_NO: the stages do not fit one beside the other. */
MUST_CHECK bool deal_machines(
        struct plan *plan, const struct cluster *cluster, struct arena *arena, struct err *err);

/* Names of the machines in their order, or NULL and 0 where the cluster has none. */
const char *const *deal_hosts(int *n, const struct cluster *cluster, struct arena *arena);

#endif
