/*
 * figures - from what was collected to the figures of a run; definitions in docs/method.md.
 *
 * TTFT = first token - arrival; TPOT = (finish - first token) / (output_len - 1), requests with one token
 * have none; throughput = tokens / makespan, makespan = start to the last token of the last replica.
 */
#ifndef RUNTIME_FIGURES_H
#define RUNTIME_FIGURES_H

#include "runtime/collect.h"

/* Fills measured, counts, bottleneck and the list of figures. */
void figures_of(struct runtime_result *out, const struct collected *from,
        const struct runtime_options *options, struct arena *arena);

#endif
