#include "kernels/cuda/module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/launch.h"

struct cuda_context {
    int device;
    cudaStream_t stream;
    cudaEvent_t marks[2];
    struct cuda_gemm *gemm; /* opened by the first product */
};

static _Thread_local char text[512];

static const char *failed(const char *what, cudaError_t error)
{
    snprintf(text, sizeof text, "%s: %s", what, cudaGetErrorString(error));
    return text;
}

/* Returns the reason from the function it stands in. */
#define CUDA_TRY(call)                    \
    do {                                  \
        cudaError_t error_ = (call);      \
        if (error_ != cudaSuccess)        \
            return failed(#call, error_); \
    } while (0)

static const char *count_devices(int *n)
{
    *n = 0;
    cudaError_t error = cudaGetDeviceCount(n);
    if (error == cudaErrorNoDevice)
        return NULL; /* a driver without a GPU */
    return error == cudaSuccess ? NULL : failed("looking for GPUs", error);
}

static const char *describe(struct cuda_device_info *out, int device)
{
    struct cudaDeviceProp properties;
    CUDA_TRY(cudaGetDeviceProperties(&properties, device));
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", properties.name);
    out->major = properties.major;
    out->minor = properties.minor;
    out->memory_bytes = (int64_t)properties.totalGlobalMem;
    out->multiprocessors = properties.multiProcessorCount;
    return NULL;
}

static const char *prepare(struct cuda_context *context)
{
    CUDA_TRY(cudaSetDevice(context->device));
    CUDA_TRY(cudaStreamCreateWithFlags(&context->stream, cudaStreamNonBlocking));
    for (int i = 0; i < 2; i++)
        CUDA_TRY(cudaEventCreate(&context->marks[i]));
    return NULL;
}

static void close_context(struct cuda_context *context)
{
    if (context == NULL)
        return;
    cudaSetDevice(context->device);
    cuda_gemm_close(context->gemm);
    for (int i = 0; i < 2; i++) {
        if (context->marks[i] != NULL)
            cudaEventDestroy(context->marks[i]);
    }
    if (context->stream != NULL)
        cudaStreamDestroy(context->stream);
    free(context);
}

static const char *open_context(struct cuda_context **out, int device)
{
    struct cuda_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return "not enough memory";
    context->device = device;
    const char *why = prepare(context);
    if (why != NULL) {
        close_context(context);
        return why;
    }
    *out = context;
    return NULL;
}

static const char *allocate(struct cuda_context *context, void **out, int64_t bytes)
{
    CUDA_TRY(cudaSetDevice(context->device));
    CUDA_TRY(cudaMalloc(out, bytes > 0 ? (size_t)bytes : 1));
    CUDA_TRY(cudaMemsetAsync(*out, 0, (size_t)bytes, context->stream));
    return NULL;
}

static void release(struct cuda_context *context, void *memory)
{
    cudaSetDevice(context->device);
    cudaFree(memory);
}

static const char *copy(struct cuda_context *context, void *to, const void *from, int64_t bytes,
        enum cudaMemcpyKind kind)
{
    CUDA_TRY(cudaMemcpyAsync(to, from, (size_t)bytes, kind, context->stream));
    CUDA_TRY(cudaStreamSynchronize(context->stream));
    return NULL;
}

static const char *upload(struct cuda_context *context, void *to, const void *from, int64_t bytes)
{
    return copy(context, to, from, bytes, cudaMemcpyHostToDevice);
}

static const char *download(struct cuda_context *context, void *to, const void *from, int64_t bytes)
{
    return copy(context, to, from, bytes, cudaMemcpyDeviceToHost);
}

static const char *synchronize(struct cuda_context *context)
{
    CUDA_TRY(cudaStreamSynchronize(context->stream));
    return NULL;
}

static const char *poll_context(struct cuda_context *context, bool *idle)
{
    cudaError_t error = cudaStreamQuery(context->stream);
    *idle = error == cudaSuccess;
    return error == cudaSuccess || error == cudaErrorNotReady ? NULL : failed("the stream", error);
}

static void *stream_of(struct cuda_context *context)
{
    return context->stream;
}

static const char *mark(struct cuda_context *context, int which)
{
    CUDA_TRY(cudaEventRecord(context->marks[which], context->stream));
    return NULL;
}

static const char *elapsed(struct cuda_context *context, double *us)
{
    float ms = 0;
    CUDA_TRY(cudaEventSynchronize(context->marks[1]));
    CUDA_TRY(cudaEventElapsedTime(&ms, context->marks[0], context->marks[1]));
    *us = (double)ms * 1000;
    return NULL;
}

static const char *run_gemm(
        struct cuda_context *context, const struct op *op, const struct op_args *args)
{
    const char *why = NULL;
    if (context->gemm == NULL)
        context->gemm = cuda_gemm_open(&why);
    return context->gemm == NULL ? why
                                 : cuda_gemm_run(context->gemm, op, &args->gemm, context->stream);
}

static const char *not_here(const struct op *op)
{
    snprintf(text, sizeof text, "op kind %d is not built for GPUs yet", (int)op->kind);
    return text;
}

static const char *run(
        struct cuda_context *context, const struct op *op, const struct op_args *args)
{
    if (op->dim[0] <= 0)
        return NULL;
    switch (op->kind) {
    case OP_GEMM:
    case OP_LM_HEAD:
        return run_gemm(context, op, args);
    case OP_RMSNORM:
        cuda_rmsnorm(op, &args->rmsnorm, context->stream);
        break;
    case OP_ACTIVATION:
        cuda_activation(op, &args->activation, context->stream);
        break;
    case OP_ROPE:
        if (op->dtype != DTYPE_BF16 && op->dtype != DTYPE_F32)
            return "the cache on this device is f32 or bf16";
        cuda_rope(op, &args->rope, context->stream);
        break;
    case OP_ATTENTION_PREFILL:
    case OP_ATTENTION_DECODE:
    case OP_ROUTER:
    case OP_PERMUTE:
    case OP_EXPERT_GEMM:
    case OP_COMBINE:
    case OP_EMBEDDING:
    case OP_SAMPLE:
    case OP_COPY:
    case OP_MLA_PREFILL:
    case OP_MLA_DECODE:
    case OP_MLA_ROPE:
    case OP_MOE:
    case OP_MLA_MODULE_PREFILL:
    case OP_MLA_MODULE_DECODE:
    case OP_ALL_REDUCE:
    case OP_ALL_GATHER:
    case OP_REDUCE_SCATTER:
    case OP_ALL_TO_ALL:
    case OP_SEND_RECV:
    case OP_BROADCAST:
    case OP_KIND_COUNT:
        return not_here(op);
    }
    CUDA_TRY(cudaGetLastError());
    return NULL;
}

const struct cuda_module shardwright_cuda = {
        .version = CUDA_MODULE_VERSION,
        .count = count_devices,
        .describe = describe,
        .open = open_context,
        .close = close_context,
        .allocate = allocate,
        .release = release,
        .upload = upload,
        .download = download,
        .synchronize = synchronize,
        .poll = poll_context,
        .stream = stream_of,
        .mark = mark,
        .elapsed = elapsed,
        .run = run,
};
