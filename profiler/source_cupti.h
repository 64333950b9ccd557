/*
 * source_cupti - how long kernels ran on the GPU, by CUPTI's activity records: without the launch, and for
 * kernels of libraries too.
 *
 * CUPTI knows one client per process and its callbacks carry no pointer of the user's, so there is one
 * window at a time. Open before the first GPU is opened: CUPTI must be there before the driver starts.
 * Kernels are recorded concurrently, as they run without a profiler. Records without time stamps (lost for
 * lack of memory) and records that were dropped are counted, never taken for zero.
 */
#ifndef PROFILER_SOURCE_CUPTI_H
#define PROFILER_SOURCE_CUPTI_H

#include <stdint.h>

#include "core/err.h"

struct cupti_window {
    int64_t kernels;           /* with time stamps */
    int64_t lost, dropped;     /* without; and those CUPTI had no room for */
    double busy_us;            /* time in which at least one kernel ran */
    double sum_us;             /* of the durations: larger where kernels overlap */
    int64_t first_ns, last_ns; /* first start, last end, of CUPTI's clock */
};

/* ERR_ENV when the build or the machine has no CUPTI. */
MUST_CHECK bool source_cupti_open(struct err *err);
void source_cupti_close(void);
/* Records kernels from here. */
MUST_CHECK bool source_cupti_begin(struct err *err);
/* To here: the caller has waited for the GPU. ERR_INCONCLUSIVE when anything was lost or dropped; *out is
 * filled then too. */
MUST_CHECK bool source_cupti_end(struct cupti_window *out, struct err *err);

/* The arithmetic of a window, apart from where its spans come from. Sorts them. A span with start and end 0
 * is lost; one that ends before it starts is lost too. */
struct cupti_span {
    uint64_t start_ns, end_ns;
};
void cupti_window_of(struct cupti_window *out, struct cupti_span *spans, int64_t n);

#endif
