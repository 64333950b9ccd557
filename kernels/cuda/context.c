#include "kernels/cuda/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char text[512];

const char *cuda_failed(const char *what, cudaError_t error)
{
    snprintf(text, sizeof text, "%s: %s", what, cudaGetErrorString(error));
    return text;
}

/* Half again as much, so that slowly growing shapes do not pile up old blocks. */
static void *room(void *self, enum cuda_room which, int64_t bytes)
{
    struct cuda_context *context = self;
    struct cuda_room_memory *room = &context->rooms[which];
    int most = sizeof room->outgrown / sizeof *room->outgrown;
    void *memory = NULL;
    if (bytes <= room->bytes)
        return room->memory;
    int64_t wanted = bytes + bytes / 2;
    if (context->recording || room->n_outgrown == most
            || cudaMalloc(&memory, (size_t)wanted) != cudaSuccess)
        return NULL;
    if (room->memory != NULL)
        room->outgrown[room->n_outgrown++] = room->memory;
    room->memory = memory;
    room->bytes = wanted;
    return memory;
}

const char *cuda_context_prepare(struct cuda_context *context)
{
    struct cudaDeviceProp properties;
    CUDA_TRY(cudaSetDevice(context->device));
    CUDA_TRY(cudaGetDeviceProperties(&properties, context->device));
    CUDA_TRY(cudaStreamCreateWithFlags(&context->stream, cudaStreamNonBlocking));
    for (int i = 0; i < 2; i++)
        CUDA_TRY(cudaEventCreate(&context->marks[i]));
    for (int i = 0; i < CUDA_STAGES; i++)
        CUDA_TRY(cudaEventCreate(&context->stages[i].done));
    context->on = (struct cuda_on){context->stream, properties.multiProcessorCount, room, context};
    return NULL;
}

static void close_room(struct cuda_room_memory *room)
{
    cudaFree(room->memory);
    for (int i = 0; i < room->n_outgrown; i++)
        cudaFree(room->outgrown[i]);
}

void cuda_context_close(struct cuda_context *context)
{
    cudaSetDevice(context->device);
    if (context->stream != NULL)
        cudaStreamSynchronize(context->stream);
    cuda_gemm_close(context->gemm);
    for (int i = 0; i < CUDA_ROOM_COUNT; i++)
        close_room(&context->rooms[i]);
    for (int i = 0; i < CUDA_STAGES; i++) {
        cudaFreeHost(context->stages[i].memory);
        if (context->stages[i].done != NULL)
            cudaEventDestroy(context->stages[i].done);
    }
    for (int i = 0; i < 2; i++) {
        if (context->marks[i] != NULL)
            cudaEventDestroy(context->marks[i]);
    }
    if (context->stream != NULL)
        cudaStreamDestroy(context->stream);
    free(context);
}

/* The next of a ring of pinned buffers; a copy that still reads from it is waited for. */
const char *cuda_context_stage(
        struct cuda_context *context, void *to, const void *from, int64_t bytes)
{
    struct cuda_stage *stage = &context->stages[context->next_stage];
    context->next_stage = (context->next_stage + 1) % CUDA_STAGES;
    CUDA_TRY(cudaSetDevice(context->device)); /* the thread may be one that never was here */
    if (stage->used)
        CUDA_TRY(cudaEventSynchronize(stage->done));
    if (bytes > stage->bytes) {
        CUDA_TRY(cudaFreeHost(stage->memory));
        stage->memory = NULL;
        stage->bytes = 0;
        CUDA_TRY(cudaMallocHost(&stage->memory, (size_t)(2 * bytes)));
        stage->bytes = 2 * bytes;
    }
    memcpy(stage->memory, from, (size_t)bytes);
    CUDA_TRY(cudaMemcpyAsync(
            to, stage->memory, (size_t)bytes, cudaMemcpyHostToDevice, context->stream));
    CUDA_TRY(cudaEventRecord(stage->done, context->stream));
    stage->used = true;
    return NULL;
}

struct cuda_gemm *cuda_context_gemm(struct cuda_context *context)
{
    const char *why = NULL;
    if (!context->asked_gemm) {
        context->asked_gemm = true;
        context->gemm = cuda_gemm_open(&why);
        if (context->gemm == NULL)
            snprintf(context->why_no_gemm, sizeof context->why_no_gemm, "%s", why);
    }
    return context->gemm;
}

/* Few rows are bound by reading the weights, which a library for large products does not do best. */
static const char *run_gemm(
        struct cuda_context *context, const struct op *op, const struct gemm_args *args)
{
    if (cuda_gemm_vector_takes(op, args)) {
        cuda_gemm_vector(&context->on, op, args);
        return NULL;
    }
    struct cuda_gemm *gemm = cuda_context_gemm(context);
    if (gemm != NULL)
        return cuda_gemm_run(gemm, &context->on, op, args);
    cuda_gemm_own(&context->on, op, args);
    return NULL;
}

static const char *check_types(const struct op *op)
{
    bool product = op->kind == OP_GEMM || op->kind == OP_LM_HEAD || op->kind == OP_EXPERT_GEMM;
    bool small = op->dtype == DTYPE_F8 || op->dtype == DTYPE_F8_BLOCK;
    if (op->dtype == DTYPE_BF16 || op->dtype == DTYPE_F32 || (product && small))
        return NULL;
    return "weights and caches on this device are f32 or bf16, those of products f8 or f8_block "
           "too";
}

static const char *start_op(
        struct cuda_context *context, const struct op *op, const struct op_args *args)
{
    const struct cuda_on *on = &context->on;
    switch (op->kind) {
    case OP_GEMM:
    case OP_LM_HEAD:
        return run_gemm(context, op, &args->gemm);
    case OP_RMSNORM:
        cuda_rmsnorm(on, op, &args->rmsnorm);
        return NULL;
    case OP_ACTIVATION:
        cuda_activation(on, op, &args->activation);
        return NULL;
    case OP_ROPE:
        cuda_rope(on, op, &args->rope);
        return NULL;
    case OP_ATTENTION_PREFILL:
    case OP_ATTENTION_DECODE:
        return cuda_attention(on, op, &args->attention);
    case OP_ROUTER:
        return cuda_router(on, op, &args->router);
    case OP_PERMUTE:
        cuda_permute(on, op, &args->permute);
        return NULL;
    case OP_EXPERT_GEMM:
        return cuda_expert(on, op, &args->expert);
    case OP_COMBINE:
        return cuda_combine(on, op, &args->combine);
    case OP_EMBEDDING:
        cuda_embedding(on, op, &args->embedding);
        return NULL;
    case OP_SAMPLE:
        cuda_sample(on, op, &args->sample);
        return NULL;
    case OP_COPY:
        cuda_copy(on, op, &args->copy);
        return NULL;
    case OP_MLA_PREFILL:
    case OP_MLA_DECODE:
        return cuda_mla(on, op, &args->mla);
    case OP_MLA_ROPE:
        cuda_mla_rope(on, op, &args->mla_rope);
        return NULL;
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
        break;
    }
    snprintf(text, sizeof text, "op kind %d is not one of a device", (int)op->kind);
    return text;
}

const char *cuda_context_run(
        struct cuda_context *context, const struct op *op, const struct op_args *args)
{
    if (op->dim[0] <= 0)
        return NULL;
    const char *why = check_types(op);
    if (why == NULL)
        why = start_op(context, op, args);
    if (why != NULL)
        return why;
    CUDA_TRY(cudaGetLastError());
    return NULL;
}
