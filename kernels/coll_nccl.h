/*
 * coll_nccl - a group of GPUs that exchange device buffers over NCCL.
 *
 * Made from an id that one member draws and the caller hands to the others (ranks_broadcast). Operations
 * are put on the device's stream and return before they have run; coll_barrier and coll_wait wait for
 * the stream. NCCL sums in its own order: deterministic groups are refused.
 *
 * Nothing here blocks for ever: the communicator is non-blocking, every wait polls NCCL for errors of other
 * members and gives up after a time limit, and then the communicator is aborted. The functions of coll.h
 * return nothing, so the first failure is kept: ask coll_nccl_check after a step, and at the latest after
 * coll_barrier. After a failure operations do nothing.
 *
 * What NCCL does not have: tags (messages between two members arrive in order) and a probe (coll_probe says
 * yes).
 */
#ifndef KERNELS_COLL_NCCL_H
#define KERNELS_COLL_NCCL_H

#include "kernels/coll.h"
#include "kernels/dev_cuda.h"

#define COLL_NCCL_ID_BYTES 128

struct coll_nccl_group {
    unsigned char id[COLL_NCCL_ID_BYTES];
    int rank, n;
    double timeout_s; /* of one wait; also of joining */
};

/* One member draws it. ERR_ENV when the library is missing; this and open load it. */
MUST_CHECK bool coll_nccl_id(unsigned char id[COLL_NCCL_ID_BYTES], struct err *err);
/* "2.29.3", or NULL: not built in, or not installed. */
const char *coll_nccl_version(void);

/* Every member calls it; dev must outlive the group. */
MUST_CHECK struct coll *coll_nccl_open(
        struct dev_cuda *dev, const struct coll_nccl_group *group, struct err *err);
/* The same on any stream. */
struct coll_nccl_stream {
    void *stream;   /* a cudaStream_t */
    void *self;     /* for poll */
    float *scratch; /* one element of device memory, for barriers */
    /* Has all work of the stream ended? Does not wait. */
    bool (*poll)(void *self, bool *idle, struct err *err);
};
MUST_CHECK struct coll *coll_nccl_open_on(const struct coll_nccl_stream *stream,
        const struct coll_nccl_group *group, struct err *err);

/* false with the first failure since the group was opened. Does not wait. */
MUST_CHECK bool coll_nccl_check(struct coll *coll, struct err *err);
/* Ends what is under way on every member that notices; the group can only be closed afterwards. */
void coll_nccl_abort(struct coll *coll);

#endif
