/*
 * run_show - the result of `shardwright run` on stdout: a table, or JSON.
 */
#ifndef CLI_RUN_SHOW_H
#define CLI_RUN_SHOW_H

#include "cli/run_files.h"

/* run: its id in the database, 0 = not kept. */
void run_show(const struct cli *cli, const struct run_input *in,
        const struct runtime_result *result, int64_t run);

#endif
