/*
 * speed - two quick figures of this machine: how fast it reads memory, how fast it multiplies.
 *
 * For a first look and for the cluster file; `profile` measures what plans are made of.
 */
#ifndef CLI_SPEED_H
#define CLI_SPEED_H

#include <stdint.h>

#include "core/err.h"

struct speed {
    double read_bytes_per_s; /* sum over threads, memory far larger than the caches: best of some passes */
    double flops;            /* of a 512-row f32 product, all threads: best of some passes */
    int threads;
    int64_t buffer_bytes;
    bool optimised; /* false in a debug build: both figures are too low */
};

/* Pins `threads` threads from first_cpu on. last_cache_bytes sizes the buffer. About a second. */
MUST_CHECK bool speed_measure(
        struct speed *out, int threads, int first_cpu, int64_t last_cache_bytes, struct err *err);

#endif
