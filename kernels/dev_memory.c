/* Memory that may not be the host's, and work that fails later than it was started. */
#include <string.h>

#include "kernels/dev_cuda.h"
#include "kernels/dev_host.h"

/* dev.h knows no module; a graph of a device is one of the module. */
static struct cuda_graph *graph_of(struct dev_graph *graph)
{
    return (struct cuda_graph *)graph;
}

/* A failure is kept where it was written. */
static void note(bool ok)
{
    (void)ok;
}

/* The GPU to work with, or NULL after a failure. */
static struct dev_cuda *working(struct dev *dev)
{
    return dev_failure(dev)->kind == ERR_NONE ? dev_gpu(dev) : NULL;
}

void dev_start(struct dev *dev, const struct op *op, const struct op_args *args)
{
    struct dev_cuda *gpu = working(dev);

    if (gpu)
        note(dev_cuda_run(gpu, op, args, dev_failure(dev)));
}

bool dev_remote(const struct dev *dev)
{
    return dev_gpu(dev) != NULL;
}

void dev_write(struct dev *dev, void *to, const void *from, int64_t bytes)
{
    struct dev_cuda *gpu = working(dev);

    if (!dev_remote(dev))
        memcpy(to, from, (size_t)bytes);
    else if (gpu && bytes > 0)
        note(dev_cuda_stage(gpu, to, from, bytes, dev_failure(dev)));
}

void dev_read(struct dev *dev, void *to, const void *from, int64_t bytes)
{
    struct dev_cuda *gpu = working(dev);

    if (!dev_remote(dev))
        memcpy(to, from, (size_t)bytes);
    else if (!gpu || (bytes > 0 && !dev_cuda_download(gpu, to, from, bytes, dev_failure(dev))))
        memset(to, 0, (size_t)bytes);
}

void dev_move(struct dev *dev, void *to, const void *from, int64_t bytes)
{
    struct op op = {.kind = OP_COPY, .dtype = DTYPE_F32, .dim = {bytes}};
    struct op_args args = {.copy = {from, to}};

    if (bytes > 0)
        op_run(dev, &op, &args);
}

void dev_add(struct dev *dev, float *y, const float *x, int64_t n)
{
    struct dev_cuda *gpu = working(dev);

    for (int64_t i = 0; !dev_remote(dev) && i < n; i++)
        y[i] += x[i];
    if (gpu)
        note(dev_cuda_add(gpu, y, x, n, dev_failure(dev)));
}

void dev_gather(
        struct dev *dev, float *out, const float *x, const int32_t *rows, int64_t n, int64_t cols)
{
    struct dev_cuda *gpu = working(dev);

    for (int64_t i = 0; !dev_remote(dev) && i < n; i++)
        memcpy(out + i * cols, x + rows[i] * cols, sizeof *out * (size_t)cols);
    if (gpu)
        note(dev_cuda_gather(gpu, out, x, rows, n, cols, dev_failure(dev)));
}

bool dev_finish(struct dev *dev, struct err *err)
{
    struct err *failure = dev_failure(dev);
    struct dev_cuda *gpu = working(dev);

    if (gpu)
        note(dev_cuda_synchronize(gpu, failure));
    return failure->kind == ERR_NONE || err_set(err, failure->kind, "%s", failure->text);
}

void dev_record(struct dev *dev)
{
    struct dev_cuda *gpu = working(dev);

    if (gpu)
        note(dev_cuda_record(gpu, dev_failure(dev)));
}

struct dev_graph *dev_recorded(struct dev *dev)
{
    struct cuda_graph *graph = NULL;
    struct dev_cuda *gpu = dev_gpu(dev); /* ends the recording after a failure too */
    struct err ignored = {0};

    if (gpu)
        note(dev_cuda_recorded(gpu, &graph, working(dev) ? dev_failure(dev) : &ignored));
    return (struct dev_graph *)graph;
}

void dev_replay(struct dev *dev, struct dev_graph *graph)
{
    struct dev_cuda *gpu = working(dev);

    if (gpu)
        note(dev_cuda_replay(gpu, graph_of(graph), dev_failure(dev)));
}

void dev_forget(struct dev *dev, struct dev_graph *graph)
{
    if (graph)
        dev_cuda_forget(dev_gpu(dev), graph_of(graph));
}
