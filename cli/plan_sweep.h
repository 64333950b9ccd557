/*
 * plan_sweep - `plan --sweep`: the best plan at every value of one figure of the cluster.
 */
#ifndef CLI_PLAN_SWEEP_H
#define CLI_PLAN_SWEEP_H

#include "cli/cli.h"
#include "planner/planner.h"

/* base: as for planner_run. workload: its path. dir: where sweep.csv and report.html go, or NULL. Prints the
 * points as a table or, with --json, as JSON. A point where nothing fits is a row, no failure. */
MUST_CHECK bool plan_sweep(const struct cli *cli, const struct planner_input *base,
        const char *text, const char *workload, const char *dir);

#endif
