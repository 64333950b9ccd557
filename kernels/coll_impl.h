/*
 * coll_impl - what stands behind coll.h: one table of functions per way to exchange.
 */
#ifndef KERNELS_COLL_IMPL_H
#define KERNELS_COLL_IMPL_H

#include "kernels/coll.h"

struct coll_ops {
    void (*close)(struct coll *coll);
    void (*barrier)(struct coll *coll);
    void (*all_reduce)(struct coll *coll, float *data, int64_t count);
    void (*all_gather)(struct coll *coll, const void *in, void *out, int64_t bytes);
    void (*reduce_scatter)(struct coll *coll, const float *in, float *out, int64_t count);
    void (*broadcast)(struct coll *coll, void *data, int64_t bytes, int root);
    void (*all_to_all)(struct coll *coll, const void *in, const int64_t *send_bytes, void *out,
            const int64_t *recv_bytes);
    void (*send)(struct coll *coll, const void *data, int64_t bytes, int to, int tag);
    void (*recv)(struct coll *coll, void *data, int64_t bytes, int from, int tag);
    void (*isend)(struct coll *coll, const void *data, int64_t bytes, int to, int tag,
            struct coll_request *request);
    bool (*test)(struct coll *coll, struct coll_request *request);
    void (*wait)(struct coll *coll, struct coll_request *request);
    bool (*probe)(struct coll *coll, int from, int tag);
};

/* The first member of each implementation's own struct. */
struct coll {
    const struct coll_ops *ops;
    int size, rank;
    bool deterministic;
};

MUST_CHECK struct coll *coll_self_open(struct err *err);
/* Built with MPI only; ERR_ENV otherwise. */
MUST_CHECK struct coll *coll_mpi_open(
        const int *members, int n, const struct coll_options *options, struct err *err);

#endif
