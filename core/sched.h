/*
 * sched - which requests step together next. The runtime and the simulator call this same module, so
 * that simulated and executed batches are the same batches.
 *
 * Continuous batching: running sequences decode first, then waiting prompts fill the token budget in
 * chunks, first come first served. KV lives in blocks, in one pool per attention-dp group; a sequence
 * stays in its pool. When a pool runs dry the youngest sequence there is preempted and recomputed.
 * Up to in_flight batches are out at once (pipeline); a sequence is in at most one of them.
 * Pure: time comes in as an argument, and the same calls give the same batches.
 *
 * Four things are off until they are asked for:
 *
 *   priorities    request.priority, 0 to SCHED_PRIORITIES - 1, larger goes first: in the queue, and when
 *                 somebody must be preempted (the youngest of the lowest priority). A request that runs is
 *                 never preempted to let a new one in. Strict: the low may starve.
 *   deadlines     request.deadline_ns. Among waiting requests of a priority the earliest deadline goes first,
 *                 those without one last. One that has not begun when sched_next is called at or after its
 *                 deadline is refused (SCHED_REFUSED_LATE); one that has begun runs to its end.
 *   bounded queue limits.max_queue. When a batch has been made, or cannot be made, at most max_queue requests
 *                 that never ran stay waiting; those beyond are refused, the newest first
 *                 (SCHED_REFUSED_FULL), so nobody is refused for lack of room after that first call.
 *   prefix cache  limits.prefix_cache. Full blocks of a prompt that its prefix hashes cover are kept when
 *                 they are let go, until room is needed (the least recently used goes first), and a request
 *                 that begins with the same hashes takes them over: its first chunk starts behind them.
 *                 At least one token of a prompt is always computed, a block is offered only after
 *                 sched_done of the batch that filled it, and is never written again. Shared blocks stand in
 *                 the tables of all their sequences.
 *
 * Every request ends exactly once, as SCHED_FINISHED or as one of the refused.
 */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include <stdint.h>

#include "core/err.h"
#include "core/spec/workload.h"

enum {
    SCHED_PRIORITIES = 16
};

/* What a replica does with its requests when prefill and decode have pools of their own. */
enum sched_role {
    SCHED_MIXED,
    SCHED_PREFILL, /* a request ends with its first token */
    SCHED_DECODE   /* a request comes with its prompt in the cache and its first token produced */
};

enum sched_outcome {
    SCHED_PENDING,
    SCHED_FINISHED,
    SCHED_REFUSED_FULL,
    SCHED_REFUSED_LATE
};

struct sched_limits {
    int max_seqs;   /* sequences in one batch, over all pools */
    int max_tokens; /* tokens in one batch and pool */
    int in_flight;
    int n_pools;      /* attention-dp groups */
    int64_t n_blocks; /* per pool */
    int block_tokens;
    enum sched_role role;
    bool prefix_cache;
    int64_t max_queue; /* 0 = any number may wait */
};

struct sched_item {
    int64_t request; /* index in the request list */
    int pool;
    int64_t start; /* tokens of it already in the cache */
    int n_tokens;  /* tokens of this step: 1 for decode, a chunk for prefill */
    bool decode;   /* one new token that was sampled before */
    bool samples;  /* its last row yields a token */
};

/* Items are ordered by pool, and in a pool prefill chunks follow decodes. */
struct sched_batch {
    int64_t id;
    int n_items;
    struct sched_item *items; /* borrowed until sched_done */
};

struct sched_stats {
    int64_t waiting; /* arrived, never ran, not refused */
    int64_t most_waiting;
    int64_t finished, refused_full, refused_late;
    int64_t preemptions;
    int64_t reused_tokens; /* prompt tokens that were found in the prefix cache */
    int64_t evicted_blocks;
};

struct sched;

/* mine: indices into requests this scheduler serves (ascending), n_mine of them. */
MUST_CHECK struct sched *sched_open(const struct sched_limits *limits,
        const struct requests *requests, const int64_t *mine, int64_t n_mine, struct err *err);
void sched_close(struct sched *sched);
/* Next batch at time now, or false: nothing to do before sched_wake_ns or the next sched_done. */
bool sched_next(struct sched *sched, int64_t now_ns, struct sched_batch *out);
/* The batch has run: its sampling items have one token more; finished ones free their blocks. */
void sched_done(struct sched *sched, const struct sched_batch *batch, int64_t now_ns);
/* Decode replicas: a request whose arrival_ns is INT64_MAX comes now, or never will. */
void sched_arrive(struct sched *sched, int64_t request);
void sched_forget(struct sched *sched, int64_t request);
/* Ends a request early (stop token) after the batch that yielded it; call before sched_done. */
void sched_stop(struct sched *sched, int64_t request);
/* A request that was refused and was not returned here before, or -1. */
int64_t sched_take_refused(struct sched *sched);
/* Next arrival after now; INT64_MAX when none. */
int64_t sched_wake_ns(const struct sched *sched, int64_t now_ns);
/* Nothing waiting, running or to arrive. */
bool sched_idle(const struct sched *sched);
/* Blocks of a sequence in its pool, in order; valid until the next sched call. */
const int32_t *sched_blocks(const struct sched *sched, int64_t request, int *n);
enum sched_outcome sched_outcome(const struct sched *sched, int64_t request);
int sched_preemptions(const struct sched *sched, int64_t request);
/* Tokens produced so far. */
int64_t sched_produced(const struct sched *sched, int64_t request);
/* Prompt tokens it found in the prefix cache when it first began. */
int64_t sched_reused(const struct sched *sched, int64_t request);
void sched_stats(struct sched_stats *out, const struct sched *sched);

#endif
