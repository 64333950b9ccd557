/* A CUDA module without a GPU: device memory is the host's, ops only count, and failures come on demand. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/module.h"

struct cuda_context {
    int device;
    int64_t runs;
};

/* Set by the test: the next call fails with this. */
extern const char *fake_failure;
const char *fake_failure;

static const char *answer(void)
{
    const char *why = fake_failure;
    fake_failure = NULL;
    return why;
}

static const char *count(int *n)
{
    *n = 1;
    return answer();
}

static const char *describe(struct cuda_device_info *out, int device)
{
    *out = (struct cuda_device_info){.name = "fake", .major = 9, .minor = device};
    out->memory_bytes = (int64_t)80 << 30;
    return answer();
}

static const char *open_context(struct cuda_context **out, int device)
{
    const char *why = answer();
    if (why == NULL) {
        *out = calloc(1, sizeof **out);
        (*out)->device = device;
    }
    return why;
}

static void close_context(struct cuda_context *context)
{
    free(context);
}

static const char *allocate(struct cuda_context *context, void **out, int64_t bytes)
{
    (void)context;
    const char *why = answer();
    if (why == NULL)
        *out = calloc(1, (size_t)bytes);
    return why;
}

static void release(struct cuda_context *context, void *memory)
{
    (void)context;
    free(memory);
}

static const char *copy(struct cuda_context *context, void *to, const void *from, int64_t bytes)
{
    (void)context;
    const char *why = answer();
    if (why == NULL)
        memcpy(to, from, (size_t)bytes);
    return why;
}

static const char *synchronize(struct cuda_context *context)
{
    (void)context;
    return answer();
}

static const char *poll_context(struct cuda_context *context, bool *idle)
{
    *idle = context->runs % 2 == 0;
    return answer();
}

static void *stream(struct cuda_context *context)
{
    return &context->runs;
}

static const char *mark(struct cuda_context *context, int which)
{
    (void)context;
    (void)which;
    return answer();
}

static const char *elapsed(struct cuda_context *context, double *us)
{
    *us = (double)context->runs;
    return answer();
}

static const char *run(
        struct cuda_context *context, const struct op *op, const struct op_args *args)
{
    (void)op;
    (void)args;
    const char *why = answer();
    context->runs += why == NULL;
    return why;
}

const struct cuda_module shardwright_cuda = {CUDA_MODULE_VERSION, count, describe, open_context,
        close_context, allocate, release, copy, copy, synchronize, poll_context, stream, mark,
        elapsed, run};
