/*
 * dev - one device as a rank drives it: memory, and the threads or stream that ops run on.
 *
 * dev_host.c is always built: `threads` threads of this process, pinned, with a pool that spins briefly
 * and then sleeps. The CUDA device comes from a module loaded at run time (kernels/cuda).
 * A dev belongs to one thread of the caller.
 */
#ifndef KERNELS_DEV_H
#define KERNELS_DEV_H

#include <stdint.h>

#include "core/err.h"

struct dev;

enum dev_isa {
    ISA_AUTO,
    ISA_PORTABLE,
    ISA_AVX2,
    ISA_AVX512
};
extern const char *const dev_isa_names[];

struct dev_options {
    int threads;
    int first_cpu;      /* threads are pinned to first_cpu, first_cpu + 1, ...; -1 = not pinned */
    enum dev_isa isa;   /* AUTO = best of this CPU; SHARDWRIGHT_ISA overrides */
    bool deterministic; /* results do not depend on how the work is split; slower */
    bool reference;     /* the obvious implementations of ref/, for tests */
};

MUST_CHECK struct dev *dev_host_open(const struct dev_options *options, struct err *err);
void dev_close(struct dev *dev);

/* Zeroed, 64-byte aligned (2 MiB for large ones). NULL with ERR_ENV when there is not enough. */
void *dev_alloc(struct dev *dev, int64_t bytes, struct err *err);
void dev_free(struct dev *dev, void *memory);
int64_t dev_allocated(const struct dev *dev);
int dev_threads(const struct dev *dev);
enum dev_isa dev_isa(const struct dev *dev);
bool dev_deterministic(const struct dev *dev);

/* Runs fn(arg, part, parts) once for each part 0..parts-1, parts = threads; returns when all are done. */
void dev_parallel(struct dev *dev, void (*fn)(void *arg, int part, int parts), void *arg);

#endif
