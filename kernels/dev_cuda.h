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
#include "core/spec/algorithm.h"
#include "kernels/op_table.h"

struct dev_cuda;
struct cuda_graph;

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

/* Free memory of the GPU now, other programs' left out. */
MUST_CHECK bool dev_cuda_available(struct dev_cuda *dev, int64_t *bytes, struct err *err);
/* What computes large products: "cuBLASLt 13.0.0", or what does instead and why. */
const char *dev_cuda_products(struct dev_cuda *dev);
/* Uses the algorithms of the book that were chosen on such a device with the same driver and library; */
MUST_CHECK bool dev_cuda_prefer(
        struct dev_cuda *dev, const struct algorithm_book *book, struct err *err);
/* ... and adds those that were chosen by timing since. */
MUST_CHECK bool dev_cuda_collect(
        struct dev_cuda *dev, struct algorithm_book *book, struct err *err);
/* In order with ops and without waiting; `from` may change when this returns. */
MUST_CHECK bool dev_cuda_stage(
        struct dev_cuda *dev, void *to, const void *from, int64_t bytes, struct err *err);
/* y += x; out[i] = x[rows[i]] of n rows of cols floats. */
MUST_CHECK bool dev_cuda_add(
        struct dev_cuda *dev, float *y, const float *x, int64_t n, struct err *err);
MUST_CHECK bool dev_cuda_gather(struct dev_cuda *dev, float *out, const float *x,
        const int32_t *rows, int64_t n, int64_t cols, struct err *err);
/* Ops until recorded are kept, not run; each must have run before with the same shapes. */
MUST_CHECK bool dev_cuda_record(struct dev_cuda *dev, struct err *err);
MUST_CHECK bool dev_cuda_recorded(struct dev_cuda *dev, struct cuda_graph **out, struct err *err);
MUST_CHECK bool dev_cuda_replay(struct dev_cuda *dev, struct cuda_graph *graph, struct err *err);
void dev_cuda_forget(struct dev_cuda *dev, struct cuda_graph *graph);

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
