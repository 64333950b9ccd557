/*
 * plan_demand - the requests of a workload, at the rate that the command line asks for.
 */
#ifndef CLI_PLAN_DEMAND_H
#define CLI_PLAN_DEMAND_H

#include "core/spec/workload.h"

/*
 * text: "20req/s", "5000tok/s" (output tokens) or NULL = as the workload says. Arrivals then are poisson where the
 * workload has none, else their own, faster or slower; arrival.per_s is the rate in requests.
 */
MUST_CHECK bool plan_demand(struct requests *out, struct workload *workload, const char *text,
        struct arena *arena, struct err *err);

#endif
