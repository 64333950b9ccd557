/*
 * plan_table - `plan --table FILE`: the answer to a placement problem that is a plain table.
 */
#ifndef CLI_PLAN_TABLE_H
#define CLI_PLAN_TABLE_H

#include "cli/cli.h"
#include "planner/columns.h"

MUST_CHECK bool plan_table_run(
        const struct cli *cli, const char *path, const struct columns_options *options);

#endif
