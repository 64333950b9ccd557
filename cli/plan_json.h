/*
 * plan_json - a plan as JSON on stdout: everything that plan.yaml holds (core/conf_json.h).
 */
#ifndef CLI_PLAN_JSON_H
#define CLI_PLAN_JSON_H

#include "core/spec/plan.h"

/* measured: whether its costs were. */
void plan_print_json(const struct plan *plan, bool measured);

#endif
