/*
 * dev_cuda - a GPU, through the module shardwright-cuda.so (kernels/cuda), which is loaded when the first GPU
 * is asked for. A machine without the module, the driver or a GPU gets ERR_ENV with what is missing; nothing
 * else of the program needs them.
 *
 * Ops are started in order on one stream and run behind the caller's back until dev_cuda_synchronize.
 * Pointers in op_args are of the device. A dev_cuda belongs to one thread.
 */
#ifndef KERNELS_DEV_CUDA_H
#define KERNELS_DEV_CUDA_H

#include "core/arena.h"
#include "kernels/op_table.h"

struct dev_cuda;

/* GPUs that can be used here. ERR_ENV when the module cannot be loaded or there is no driver. */
MUST_CHECK bool dev_cuda_count(int *n, struct err *err);
/* For doctor: "NVIDIA H200, 141 GB, compute 9.0", or what is missing. Never fails. */
const char *dev_cuda_describe(struct arena *arena);

MUST_CHECK struct dev_cuda *dev_cuda_open(int device, struct err *err);
void dev_cuda_close(struct dev_cuda *dev);

/* Zeroed. NULL with ERR_ENV when there is not enough. */
void *dev_cuda_alloc(struct dev_cuda *dev, int64_t bytes, struct err *err);
void dev_cuda_free(struct dev_cuda *dev, void *memory);
MUST_CHECK bool dev_cuda_upload(
        struct dev_cuda *dev, void *to, const void *from, int64_t bytes, struct err *err);
MUST_CHECK bool dev_cuda_download(
        struct dev_cuda *dev, void *to, const void *from, int64_t bytes, struct err *err);

/* ERR_ENV for a kind or dtype that the module does not have. */
MUST_CHECK bool dev_cuda_run(
        struct dev_cuda *dev, const struct op *op, const struct op_args *args, struct err *err);
MUST_CHECK bool dev_cuda_synchronize(struct dev_cuda *dev, struct err *err);
/* The same without waiting: *idle says whether all work has ended. */
MUST_CHECK bool dev_cuda_poll(struct dev_cuda *dev, bool *idle, struct err *err);
/* Its cudaStream_t, for NCCL. */
void *dev_cuda_stream(struct dev_cuda *dev);
/* Device time from begin to end, by events on the stream; end waits. */
MUST_CHECK bool dev_cuda_time_begin(struct dev_cuda *dev, struct err *err);
MUST_CHECK bool dev_cuda_time_end(struct dev_cuda *dev, double *us, struct err *err);

#endif
