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
/* For the test: the algorithms that contexts were told. */
extern struct algorithm fake_told[8];
extern int fake_n_told;
struct algorithm fake_told[8];
int fake_n_told;
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

static const char *available(struct cuda_context *context, int64_t *bytes)
{
    (void)context;
    *bytes = (int64_t)79 << 30;
    return answer();
}

static const char *add(struct cuda_context *context, float *y, const float *x, int64_t n)
{
    const char *why = answer();
    for (int64_t i = 0; why == NULL && i < n; i++)
        y[i] += x[i];
    context->runs += why == NULL;
    return why;
}

static const char *gather(struct cuda_context *context, float *out, const float *x,
        const int32_t *rows, int64_t n, int64_t cols)
{
    const char *why = answer();
    for (int64_t i = 0; why == NULL && i < n; i++)
        memcpy(out + i * cols, x + rows[i] * cols, sizeof *out * (size_t)cols);
    context->runs += why == NULL;
    return why;
}

/* Graphs are numbers of replays. */
static const char *record(struct cuda_context *context)
{
    (void)context;
    return answer();
}

static const char *recorded(struct cuda_context *context, struct cuda_graph **out)
{
    (void)context;
    const char *why = answer();
    if (why == NULL)
        *out = calloc(1, sizeof(int64_t));
    return why;
}

static const char *replay(struct cuda_context *context, struct cuda_graph *graph)
{
    (void)graph;
    const char *why = answer();
    context->runs += why == NULL;
    return why;
}

static void forget(struct cuda_graph *graph)
{
    free(graph);
}

static const char *products(struct cuda_context *context)
{
    (void)context;
    return "nothing";
}

static const char *site(struct cuda_context *context, struct algorithm_site *out)
{
    *out = (struct algorithm_site){"fake", "fakeLt 1.0.0", 13000 + context->device};
    return answer();
}

static void prefer(struct cuda_context *context, const struct algorithm *algorithm)
{
    (void)context;
    fake_told[fake_n_told++ % 8] = *algorithm;
}

/* As many as ops have run, of shapes with one row more each; an engine knows hundreds of shapes, not millions. */
static bool timed(struct cuda_context *context, int i, struct algorithm *out)
{
    *out = (struct algorithm){.shape = {.m = i + 1}, .bytes = {(unsigned char)(i + 1)}, .us = 2};
    return i < 100 && i < context->runs;
}

const struct cuda_module shardwright_cuda = {
        .version = CUDA_MODULE_VERSION,
        .count = count,
        .describe = describe,
        .open = open_context,
        .close = close_context,
        .available = available,
        .allocate = allocate,
        .release = release,
        .upload = copy,
        .download = copy,
        .stage = copy,
        .synchronize = synchronize,
        .poll = poll_context,
        .stream = stream,
        .mark = mark,
        .elapsed = elapsed,
        .run = run,
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
