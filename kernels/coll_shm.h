/*
 * coll_shm - exchange between ranks of one host through memory that all of them map.
 *
 * Each rank has a segment that only it writes and all read: a counter of how far it has come and two slots
 * of data, used in turn, so that one synchronisation per slot is enough. Knows nothing of how the memory
 * came to be shared. All members call the same operations in the same order, as in coll.h.
 */
#ifndef KERNELS_COLL_SHM_H
#define KERNELS_COLL_SHM_H

#include <stdint.h>

#include "core/err.h"

/* More ranks than this on one host go by MPI. */
#define SHM_MAX_RANKS 64

struct shm;

/* Of each rank; zeroed before anybody opens. */
int64_t shm_segment_bytes(void);
/* segments: of all ranks in group order, borrowed. crowded: waiting yields at once (coll.h). */
MUST_CHECK struct shm *shm_create(
        void *const *segments, int size, int rank, bool crowded, struct err *err);
void shm_destroy(struct shm *shm);

void shm_barrier(struct shm *shm);
/* Adds in a binary tree over the ranks when their number is a power of two, else in order. */
void shm_all_reduce(struct shm *shm, float *data, int64_t count);
void shm_all_gather(struct shm *shm, const void *in, void *out, int64_t bytes);
void shm_reduce_scatter(struct shm *shm, const float *in, float *out, int64_t count);
void shm_broadcast(struct shm *shm, void *data, int64_t bytes, int root);
/* Messages of more than `most` bytes are left to the caller. */
void shm_all_to_all(struct shm *shm, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes, int64_t most);

#endif
