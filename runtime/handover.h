/*
 * handover - the KV cache of a prompt goes from a prefill replica to a decode replica.
 *
 * Every rank of the one sends every rank of the other what both hold of it: layers and KV heads are cut anew,
 * whatever the two splits are. Where a cache lies on several ranks, one of them sends. Leaders tell each other by
 * notes which requests come, in the order in which they are sent; a decode replica takes them in that order, so that
 * no two ranks wait for each other. Sending does not wait for the receiver while there is a buffer.
 */
#ifndef RUNTIME_HANDOVER_H
#define RUNTIME_HANDOVER_H

#include "core/spec/workload.h"
#include "runtime/kvcache.h"
#include "runtime/meter.h"

enum {
    HANDOVER_BUFFERS = 4 /* caches on their way from a rank */
};

/* What the leader of a prefill replica tells that of a decode replica about a request, once. */
struct handover_note {
    int64_t request;
    int32_t token; /* the first one */
    int32_t pool;  /* of the prefill replica, where the cache is */
    int32_t come;  /* 0 = it does not: the request ended where it began */
    int32_t unused;
};

/* A buffer of caches, or the notes, on their way. */
struct handover_out {
    void *memory;
    struct coll_request *requests;
    int n_requests;
};

struct handover {
    const struct place *place;
    const struct model *model;
    const struct kvcache *cache;
    const struct requests *requests;
    const int *from, *to; /* by request: its prefill replica; its decode replica, -1 = none */
    struct handover_out out[HANDOVER_BUFFERS];
    struct handover_out notes[HANDOVER_BUFFERS];
    int out_turn, note_turn;
    char *in;   /* one part */
    int *leads; /* decode leader: leaders of prefill replicas */
    int n_leads;
};

/* The caller has set place to to. Ranks of mixed replicas need none. Buffers are for the longest prompt that
 * comes this way. */
MUST_CHECK bool handover_open(struct handover *handover, struct arena *arena, struct err *err);
/* Waits until all that was sent has been taken. */
void handover_close(struct handover *handover);

/* KV blocks that the prompt of a request fills. */
int handover_blocks(const struct handover *handover, int64_t request);
/* A rank of a prefill replica: its part of the cache in these blocks of a pool, which may be used again then. */
void handover_send(struct handover *handover, int64_t request, int pool, const int32_t *blocks);
/* A rank of a decode replica: into these blocks, or nowhere (NULL). pool: as in the note. Blocks. */
void handover_take(struct handover *handover, int64_t request, int pool, const int32_t *blocks,
        struct meter *meter);

/* Leaders. hear never blocks: false = nothing is there. */
void handover_tell(struct handover *handover, const struct handover_note *note);
bool handover_there(const struct handover *handover);
bool handover_hear(struct handover *handover, struct handover_note *note);

#endif
