/*
 * forced_pools - prefill and decode replicas of which something was forced, --force prefill.tp=2,decode.dp=3.
 *
 * Every replica of a side is alike and on one kind of device, as the search of forced plans has it; all that was not
 * forced is enumerated, and the pair that serves most is the best candidate. Nothing is claimed beyond that.
 */
#ifndef PLANNER_FORCED_POOLS_H
#define PLANNER_FORCED_POOLS_H

#include "planner/whole.h"

/* n == 0 when nothing fits. ERR_NO with the rule that the forced values break. layouts are found anew. */
MUST_CHECK bool forced_pools_run(struct search_result *out, const struct whole_question *question,
        struct arena *arena, struct err *err);

#endif
