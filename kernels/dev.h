/*
 * dev - one device as a rank drives it: memory, and the threads or stream that ops run on.
 *
 * dev_host.c is always built: `threads` threads of this process, pinned, with a pool that spins briefly
 * and then sleeps. With `gpu` set, memory and ops are those of a GPU (kernels/dev_cuda.h), and the threads only
 * prepare what is sent there. A dev belongs to one thread of the caller.
 *
 * Memory of a GPU is not the host's: it is reached by dev_write, dev_read and dev_move alone, which copy on every
 * device. Work of a GPU runs behind the caller's back, in order; its failures are kept, and dev_finish tells the first
 * one, after which work is no longer started.
 */
#ifndef KERNELS_DEV_H
#define KERNELS_DEV_H

#include <stdint.h>

#include "core/err.h"

struct dev;
struct algorithm_book;

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
    bool gpu;
    int gpu_index;
    /* Of a GPU: algorithms that are used, and to which closing adds those that were chosen meanwhile; or NULL. */
    struct algorithm_book *algorithms;
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

/* Memory of a GPU: not to be read or written by the host. */
bool dev_remote(const struct dev *dev);
struct dev_cuda *dev_gpu(const struct dev *dev); /* or NULL */
/* From host memory, which may change when this returns; in order with ops. */
void dev_write(struct dev *dev, void *to, const void *from, int64_t bytes);
/* To host memory; waits for everything before it. Zeros after a failure. */
void dev_read(struct dev *dev, void *to, const void *from, int64_t bytes);
/* Within the device. */
void dev_move(struct dev *dev, void *to, const void *from, int64_t bytes);
/* y += x */
void dev_add(struct dev *dev, float *y, const float *x, int64_t n);
/* out[i] = x[rows[i]] of n rows of cols floats; rows is memory of the device too. */
void dev_gather(
        struct dev *dev, float *out, const float *x, const int32_t *rows, int64_t n, int64_t cols);
/* Waits for all work; false with the first failure of any of it. */
MUST_CHECK bool dev_finish(struct dev *dev, struct err *err);

/* Ops between record and recorded are kept, and replayed as often as wanted, with the operands they had. Each of them
 * must have run before with the same shapes. Only on a GPU; NULL and a failure kept when it cannot. */
struct dev_graph;
void dev_record(struct dev *dev);
struct dev_graph *dev_recorded(struct dev *dev);
void dev_replay(struct dev *dev, struct dev_graph *graph);
void dev_forget(struct dev *dev, struct dev_graph *graph);

/* Runs fn(arg, part, parts) once for each part 0..parts-1, parts = threads; returns when all are done. */
void dev_parallel(struct dev *dev, void (*fn)(void *arg, int part, int parts), void *arg);

#endif
