#include "kernels/coll.h"

#include <stddef.h>

#include "kernels/coll_impl.h"

bool coll_crowded(int host_threads, int host_ranks, int cpus)
{
    return (host_threads > host_ranks ? host_threads : host_ranks) > cpus;
}

struct coll *coll_open(
        const int *members, int n, const struct coll_options *options, struct err *err)
{
    if (n < 1) {
        err_set(err, ERR_BUG, "a group of %d ranks", n);
        return NULL;
    }
    if (n == 1)
        return coll_self_open(err);
    return coll_mpi_open(members, n, options, err);
}

void coll_close(struct coll *coll)
{
    if (coll)
        coll->ops->close(coll);
}

int coll_size(const struct coll *coll)
{
    return coll->size;
}

int coll_rank(const struct coll *coll)
{
    return coll->rank;
}

void coll_barrier(struct coll *coll)
{
    coll->ops->barrier(coll);
}

void coll_all_reduce(struct coll *coll, float *data, int64_t count)
{
    coll->ops->all_reduce(coll, data, count);
}

void coll_all_gather(struct coll *coll, const void *in, void *out, int64_t bytes)
{
    coll->ops->all_gather(coll, in, out, bytes);
}

void coll_reduce_scatter(struct coll *coll, const float *in, float *out, int64_t count)
{
    coll->ops->reduce_scatter(coll, in, out, count);
}

void coll_broadcast(struct coll *coll, void *data, int64_t bytes, int root)
{
    coll->ops->broadcast(coll, data, bytes, root);
}

void coll_all_to_all(struct coll *coll, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes)
{
    coll->ops->all_to_all(coll, in, send_bytes, out, recv_bytes);
}

void coll_send(struct coll *coll, const void *data, int64_t bytes, int to, int tag)
{
    coll->ops->send(coll, data, bytes, to, tag);
}

void coll_recv(struct coll *coll, void *data, int64_t bytes, int from, int tag)
{
    coll->ops->recv(coll, data, bytes, from, tag);
}

void coll_isend(struct coll *coll, const void *data, int64_t bytes, int to, int tag,
        struct coll_request *request)
{
    coll->ops->isend(coll, data, bytes, to, tag, request);
}

bool coll_test(struct coll *coll, struct coll_request *request)
{
    return !request->handle || coll->ops->test(coll, request);
}

void coll_wait(struct coll *coll, struct coll_request *request)
{
    if (request->handle)
        coll->ops->wait(coll, request);
}

bool coll_probe(struct coll *coll, int from, int tag)
{
    return coll->ops->probe(coll, from, tag);
}
