/*
 * watch_memory - resident memory of this process over time, sampled by a thread of its own.
 */
#ifndef TESTS_MPI_WATCH_MEMORY_H
#define TESTS_MPI_WATCH_MEMORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    WATCH_MEMORY_SAMPLES = 1024
};

struct watch_memory {
    pthread_t thread;
    atomic_bool stop;
    int n;
    double interval_s; /* doubled, and every second sample dropped, when there is no room */
    double begin_s;
    double at_s[WATCH_MEMORY_SAMPLES], bytes[WATCH_MEMORY_SAMPLES];
};

/* Both on the same thread. Ends the process when there is no thread to be had. */
void watch_memory_begin(struct watch_memory *watch);
void watch_memory_end(struct watch_memory *watch);
/* From the first sample to the last. */
double watch_memory_growth(const struct watch_memory *watch);
/* Bytes a second: the least-squares line through the second half of the time. */
double watch_memory_slope(const struct watch_memory *watch);

#endif
