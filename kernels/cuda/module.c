#include "kernels/cuda/module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/context.h"

struct cuda_graph {
    cudaGraph_t graph;
    cudaGraphExec_t executable;
};

static const char *count_devices(int *n)
{
    *n = 0;
    cudaError_t error = cudaGetDeviceCount(n);
    if (error == cudaErrorNoDevice)
        return NULL; /* a driver without a GPU */
    return error == cudaSuccess ? NULL : cuda_failed("looking for GPUs", error);
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

static void close_context(struct cuda_context *context)
{
    if (context != NULL)
        cuda_context_close(context);
}

static const char *open_context(struct cuda_context **out, int device)
{
    struct cuda_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return "not enough memory";
    context->device = device;
    const char *why = cuda_context_prepare(context);
    if (why != NULL) {
        close_context(context);
        return why;
    }
    *out = context;
    return NULL;
}

static const char *available(struct cuda_context *context, int64_t *bytes)
{
    size_t here = 0, all = 0;
    CUDA_TRY(cudaSetDevice(context->device));
    CUDA_TRY(cudaMemGetInfo(&here, &all));
    *bytes = (int64_t)here;
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
    cudaStreamSynchronize(context->stream);
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
    return error == cudaSuccess || error == cudaErrorNotReady ? NULL
                                                              : cuda_failed("the stream", error);
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

static const char *add(struct cuda_context *context, float *y, const float *x, int64_t n)
{
    cuda_add(&context->on, y, x, n);
    CUDA_TRY(cudaGetLastError());
    return NULL;
}

static const char *gather(struct cuda_context *context, float *out, const float *x,
        const int32_t *rows, int64_t n, int64_t cols)
{
    cuda_gather(&context->on, out, x, rows, n, cols);
    CUDA_TRY(cudaGetLastError());
    return NULL;
}

/* Relaxed: other threads of the process may allocate meanwhile. */
static const char *record(struct cuda_context *context)
{
    CUDA_TRY(cudaStreamBeginCapture(context->stream, cudaStreamCaptureModeRelaxed));
    context->recording = true;
    return NULL;
}

static void forget(struct cuda_graph *graph)
{
    if (graph == NULL)
        return;
    if (graph->executable != NULL)
        cudaGraphExecDestroy(graph->executable);
    if (graph->graph != NULL)
        cudaGraphDestroy(graph->graph);
    free(graph);
}

static const char *instantiate(struct cuda_context *context, struct cuda_graph *graph)
{
    CUDA_TRY(cudaStreamEndCapture(context->stream, &graph->graph));
    CUDA_TRY(cudaGraphInstantiate(&graph->executable, graph->graph, 0));
    return NULL;
}

static const char *recorded(struct cuda_context *context, struct cuda_graph **out)
{
    struct cuda_graph *graph = calloc(1, sizeof *graph);
    context->recording = false;
    if (graph == NULL)
        return "not enough memory";
    const char *why = instantiate(context, graph);
    if (why != NULL) {
        forget(graph);
        return why;
    }
    *out = graph;
    return NULL;
}

static const char *replay(struct cuda_context *context, struct cuda_graph *graph)
{
    CUDA_TRY(cudaGraphLaunch(graph->executable, context->stream));
    return NULL;
}

static const char *products(struct cuda_context *context)
{
    static _Thread_local char shown[320];
    struct cuda_gemm *gemm = cuda_context_gemm(context);
    if (gemm != NULL)
        return cuda_gemm_version(gemm);
    snprintf(shown, sizeof shown, "kernels of this module: %s", context->why_no_gemm);
    return shown;
}

static const char *site(struct cuda_context *context, struct algorithm_site *out)
{
    struct cudaDeviceProp properties;
    struct cuda_gemm *gemm = cuda_context_gemm(context);
    int driver = 0;
    memset(out, 0, sizeof *out);
    CUDA_TRY(cudaGetDeviceProperties(&properties, context->device));
    CUDA_TRY(cudaDriverGetVersion(&driver));
    snprintf(out->device, sizeof out->device, "%.*s", (int)sizeof out->device - 1, properties.name);
    snprintf(out->library, sizeof out->library, "%s", gemm != NULL ? cuda_gemm_version(gemm) : "");
    out->driver = driver;
    return NULL;
}

static void prefer(struct cuda_context *context, const struct algorithm *algorithm)
{
    if (context->gemm != NULL)
        cuda_gemm_prefer(context->gemm, algorithm);
}

static bool timed(struct cuda_context *context, int i, struct algorithm *out)
{
    return context->gemm != NULL && cuda_gemm_timed(context->gemm, i, out);
}

const struct cuda_module shardwright_cuda = {
        .version = CUDA_MODULE_VERSION,
        .count = count_devices,
        .describe = describe,
        .open = open_context,
        .close = close_context,
        .available = available,
        .allocate = allocate,
        .release = release,
        .upload = upload,
        .download = download,
        .stage = cuda_context_stage,
        .synchronize = synchronize,
        .poll = poll_context,
        .stream = stream_of,
        .mark = mark,
        .elapsed = elapsed,
        .run = cuda_context_run,
        .add = add,
        .gather = gather,
        .record = record,
        .recorded = recorded,
        .replay = replay,
        .forget = forget,
        .products = products,
        .site = site,
        .prefer = prefer,
        .timed = timed,
};
