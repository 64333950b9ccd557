/*
 * disturb - signs that somebody else had the CPU while something was measured.
 */
#ifndef PROFILER_DISTURB_H
#define PROFILER_DISTURB_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise; one per thread that measures. */
struct disturb {
    double best_us; /* of a fixed piece of arithmetic, so far */
};

/* Takes about 30 us. true: the clock is slower than it has been, or the core is shared right now. */
bool disturb_slow_clock(struct disturb *disturb);
/* Ticks (usually 10 ms) that the hypervisor has kept from this machine since it started. */
int64_t disturb_stolen_ticks(void);
/* How often this process lost its CPU to another one. */
int64_t disturb_lost_cpu(void);

#endif
