/*
 * simulate_show - what a simulation found: a table, JSON, and every request as a row of CSV.
 */
#ifndef CLI_SIMULATE_SHOW_H
#define CLI_SIMULATE_SHOW_H

#include "planner/simulate.h"

void simulate_print(
        const struct plan *plan, const char *shown, const struct simulate_result *result);
void simulate_print_json(const struct plan *plan, const struct simulate_result *result);
/* "-" writes stdout. Times are microseconds from the start of the run; a cell is empty where a request has none. */
MUST_CHECK bool simulate_write_csv(const struct simulate_result *result,
        const struct requests *requests, const char *path, struct err *err);

#endif
