/*
 * context - a device and one stream on it, and what its ops need beside their operands. Private to the module.
 */
#ifndef KERNELS_CUDA_CONTEXT_H
#define KERNELS_CUDA_CONTEXT_H

#include <cuda_runtime_api.h>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/module.h"

#define CUDA_STAGES 8

/* Pinned memory that a copy to the device reads from; `done` when it has. */
struct cuda_stage {
    void *memory;
    int64_t bytes;
    cudaEvent_t done;
    bool used;
};

/* Grown, never freed before the end: recorded graphs keep the addresses. */
struct cuda_room_memory {
    void *memory;
    int64_t bytes;
    void *outgrown[64];
    int n_outgrown;
};

struct cuda_context {
    int device;
    struct cuda_on on;
    cudaStream_t stream;
    cudaEvent_t marks[2];
    struct cuda_room_memory rooms[CUDA_ROOM_COUNT];
    struct cuda_stage stages[CUDA_STAGES];
    int next_stage;
    bool recording;
    bool asked_gemm;
    struct cuda_gemm *gemm; /* NULL: products are computed by kernels of this module */
    char why_no_gemm[256];
};

/* The reason, in the buffer of this thread. */
const char *cuda_failed(const char *what, cudaError_t error);

/* Returns the reason from the function it stands in. The only macro here that does. */
#define CUDA_TRY(call)                         \
    do {                                       \
        cudaError_t error_ = (call);           \
        if (error_ != cudaSuccess)             \
            return cuda_failed(#call, error_); \
    } while (0)

/* Fills `on`; context is zeroed but for the device. */
const char *cuda_context_prepare(struct cuda_context *context);
void cuda_context_close(struct cuda_context *context);
const char *cuda_context_stage(
        struct cuda_context *context, void *to, const void *from, int64_t bytes);
/* Starts an op. */
const char *cuda_context_run(
        struct cuda_context *context, const struct op *op, const struct op_args *args);
/* Looks for cuBLASLt once. */
struct cuda_gemm *cuda_context_gemm(struct cuda_context *context);

#endif
