/*
 * run_trace - a run as a Chrome trace (JSON), which Perfetto and chrome://tracing open.
 *
 * A process for each replica with a thread for each rank: steps, and in them every op and collective; and one
 * process with a row for each request, from arrival over its first token to its end. Times in microseconds
 * from the start of the run, which is a barrier: ranks are aligned to within that.
 */
#ifndef CLI_RUN_TRACE_H
#define CLI_RUN_TRACE_H

#include "runtime/runtime.h"

/* result must come from a run with trace_events. */
MUST_CHECK bool run_write_trace(
        const char *path, const struct runtime_result *result, struct err *err);

#endif
