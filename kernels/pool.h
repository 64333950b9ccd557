/*
 * pool - the threads of a host device. The caller is part 0; the others wait between jobs, awake for
 * 2 ms, then asleep, so that ops and steps that follow each other start at once and idle ranks cost nothing.
 */
#ifndef KERNELS_POOL_H
#define KERNELS_POOL_H

#include "core/err.h"

struct pool;

/* first_cpu counts among the CPUs this process may use; -1 or one that is not there = not pinned:
 * then CPUs may be shared, and threads wait asleep. */
MUST_CHECK struct pool *pool_open(int threads, int first_cpu, struct err *err);
void pool_close(struct pool *pool);
int pool_threads(const struct pool *pool);
/* Runs fn(arg, part, threads) once for each part; returns when all are done. */
void pool_run(struct pool *pool, void (*fn)(void *arg, int part, int parts), void *arg);

#endif
