/*
 * probe - what this machine is: processor, kernel, software, clocks, load.
 */
#ifndef PROFILER_PROBE_H
#define PROFILER_PROBE_H

#include "core/spec/measure.h"

/* Everything in the arena; what cannot be found out is NULL. */
void probe_provenance(struct provenance *out, struct arena *arena);

#endif
