/*
 * module - what shardwright-cuda.so offers: a table of functions, found by name after dlopen.
 *
 * Functions return NULL, or the reason why not in a buffer that the next call of the same thread
 * overwrites. The module calls nothing of the program. Pointers in op_args are of the device.
 */
#ifndef KERNELS_CUDA_MODULE_H
#define KERNELS_CUDA_MODULE_H

#include "core/spec/algorithm.h"
#include "kernels/op_table.h"

#define CUDA_MODULE_VERSION 3
#define CUDA_MODULE_SYMBOL  "shardwright_cuda"

struct cuda_context; /* a device and one stream on it */
struct cuda_graph;   /* ops that were recorded, to be started at once */

struct cuda_device_info {
    char name[256];
    int major, minor; /* compute capability */
    int64_t memory_bytes;
    int multiprocessors;
};

struct cuda_module {
    int version; /* CUDA_MODULE_VERSION */
    const char *(*count)(int *n);
    const char *(*describe)(struct cuda_device_info *out, int device);
    const char *(*open)(struct cuda_context **out, int device);
    void (*close)(struct cuda_context *context);
    const char *(*available)(struct cuda_context *context, int64_t *bytes);
    const char *(*allocate)(struct cuda_context *context, void **out, int64_t bytes); /* zeroed */
    void (*release)(struct cuda_context *context, void *memory);
    const char *(*upload)(struct cuda_context *context, void *to, const void *from, int64_t bytes);
    const char *(*download)(
            struct cuda_context *context, void *to, const void *from, int64_t bytes);
    /* In the order of the stream, without waiting; `from` may change when this returns. */
    const char *(*stage)(struct cuda_context *context, void *to, const void *from, int64_t bytes);
    /* All work that was started has ended; errors of it show here. */
    const char *(*synchronize)(struct cuda_context *context);
    /* The same without waiting. */
    const char *(*poll)(struct cuda_context *context, bool *idle);
    void *(*stream)(struct cuda_context *context);
    /* Device time between two marks of the stream. */
    const char *(*mark)(struct cuda_context *context, int which); /* 0 = begin, 1 = end */
    const char *(*elapsed)(struct cuda_context *context, double *us);
    /* Starts an op; returns before it has run. */
    const char *(*run)(
            struct cuda_context *context, const struct op *op, const struct op_args *args);
    /* y += x; out[i] = x[rows[i]] of n rows of cols floats. Start like ops. */
    const char *(*add)(struct cuda_context *context, float *y, const float *x, int64_t n);
    const char *(*gather)(struct cuda_context *context, float *out, const float *x,
            const int32_t *rows, int64_t n, int64_t cols);
    /* Between record and recorded, ops are kept instead of started. Each must have run before, so that the memory it
     * works in is there. */
    const char *(*record)(struct cuda_context *context);
    const char *(*recorded)(struct cuda_context *context, struct cuda_graph **out);
    const char *(*replay)(struct cuda_context *context, struct cuda_graph *graph);
    void (*forget)(struct cuda_graph *graph);
    /* What computes large products: "cuBLASLt 13.0", or "kernels of this module: " and why. */
    const char *(*products)(struct cuda_context *context);
    /* Where algorithms hold; an empty library where products are computed by kernels of this module. */
    const char *(*site)(struct cuda_context *context, struct algorithm_site *out);
    /* Of this site: used from now on for its shape, as long as the library takes it. */
    void (*prefer)(struct cuda_context *context, const struct algorithm *algorithm);
    /* The i-th that was chosen by timing since the context was opened; false behind the last. */
    bool (*timed)(struct cuda_context *context, int i, struct algorithm *out);
};

extern const struct cuda_module shardwright_cuda;

#endif
