/*
 * nvml - clocks, power and throttling of NVIDIA GPUs, by the driver's NVML, opened at run time. Its header is not in
 * the toolkit: functions and numbers are those of its reference manual (docs.nvidia.com/deploy/nvml-api).
 */
#ifndef PROFILER_NVML_H
#define PROFILER_NVML_H

#include "core/arena.h"

/* "GPU 0: SM 345 of 1980 MHz, memory 2619 MHz, 118 of 700 W, idle; GPU 1: ...", as they are now; what a GPU does not say
 * is left out. NULL without the library or a GPU. */
const char *nvml_describe(struct arena *arena);

#endif
