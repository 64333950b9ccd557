/*
 * coll - the collective seam: a group of ranks that exchange device buffers.
 *
 * coll_mpi.c over MPI, coll_nccl.c over NCCL, coll_self.c for one rank. Every member calls the same
 * operations in the same order. Sums are of f32. all_reduce adds in a binary tree over the group's order
 * when its size is a power of two and the group is deterministic: ((0+1)+(2+3)).
 */
#ifndef KERNELS_COLL_H
#define KERNELS_COLL_H

#include <stdint.h>

#include "core/err.h"

struct coll;

struct coll_options {
    int key; /* tells groups apart that are opened at once */
    bool deterministic;
    int host_threads; /* that compute on this host, of all ranks of the job; 0 = one for each rank */
};

/* members: world ranks in group order, this process among them. Called by the members alone, and by all of
 * them. A group of one never touches MPI. */
MUST_CHECK struct coll *coll_open(
        const int *members, int n, const struct coll_options *options, struct err *err);
/* Whether a rank that waits must offer its CPU at once: more threads compute on a host than it has CPUs, and who is
 * waited for may need this one. */
bool coll_crowded(int host_threads, int host_ranks, int cpus);
void coll_close(struct coll *coll);
int coll_size(const struct coll *coll);
int coll_rank(const struct coll *coll);

void coll_barrier(struct coll *coll);
void coll_all_reduce(struct coll *coll, float *data, int64_t count); /* in place, sum */
void coll_all_gather(
        struct coll *coll, const void *in, void *out, int64_t bytes); /* out: size * bytes */
void coll_reduce_scatter(
        struct coll *coll, const float *in, float *out, int64_t count); /* in: size * count */
void coll_broadcast(struct coll *coll, void *data, int64_t bytes, int root);
/* Bytes per destination and per source, packed in group order. Counts are known on both sides. */
void coll_all_to_all(struct coll *coll, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes);

/* Point to point inside the group. send may return before the message is taken only when the buffer is
 * free again (buffered); isend returns at once and the buffer is busy until coll_wait. */
void coll_send(struct coll *coll, const void *data, int64_t bytes, int to, int tag);
void coll_recv(struct coll *coll, void *data, int64_t bytes, int from, int tag);
struct coll_request {
    void *handle;
};
void coll_isend(struct coll *coll, const void *data, int64_t bytes, int to, int tag,
        struct coll_request *request);
bool coll_test(
        struct coll *coll, struct coll_request *request); /* done? true for an empty request */
void coll_wait(struct coll *coll, struct coll_request *request);
/* Is a message from `from` with `tag` there? Never blocks. */
bool coll_probe(struct coll *coll, int from, int tag);

#endif
