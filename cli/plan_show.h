/*
 * plan_show - a plan as `shardwright plan` prints it.
 */
#ifndef CLI_PLAN_SHOW_H
#define CLI_PLAN_SHOW_H

#include "core/spec/plan.h"

/* explain: every stage, and every limit. measured: costs are more than datasheet figures. */
void plan_show_text(const struct plan *plan, bool explain, bool measured, struct arena *arena);

#endif
