/*
 * sched - which requests step together next. The runtime and the simulator call this same module, so
 * that simulated and executed batches are the same batches.
 *
 * Continuous batching: running sequences decode first, then waiting prompts fill the token budget in
 * chunks, first come first served. KV lives in blocks, in one pool per attention-dp group; a sequence
 * stays in its pool. When a pool runs dry the youngest sequence there is preempted and recomputed.
 * Up to in_flight batches are out at once (pipeline); a sequence is in at most one of them.
 * Pure: time comes in as an argument, and the same calls give the same batches.
 */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include <stdint.h>

#include "core/err.h"
#include "core/spec/workload.h"

struct sched_limits {
    int max_seqs;   /* sequences in one batch, over all pools */
    int max_tokens; /* tokens in one batch and pool */
    int in_flight;
    int n_pools;      /* attention-dp groups */
    int64_t n_blocks; /* per pool */
    int block_tokens;
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

struct sched;

/* mine: indices into requests this scheduler serves (ascending), n_mine of them. */
MUST_CHECK struct sched *sched_open(const struct sched_limits *limits,
        const struct requests *requests, const int64_t *mine, int64_t n_mine, struct err *err);
void sched_close(struct sched *sched);
/* Next batch at time now, or false: nothing to do before sched_wake_ns or the next sched_done. */
bool sched_next(struct sched *sched, int64_t now_ns, struct sched_batch *out);
/* The batch has run: its sampling items have one token more; finished ones free their blocks. */
void sched_done(struct sched *sched, const struct sched_batch *batch, int64_t now_ns);
/* Ends a request early (stop token) after the batch that yielded it; call before sched_done. */
void sched_stop(struct sched *sched, int64_t request);
/* Next arrival after now; INT64_MAX when none. */
int64_t sched_wake_ns(const struct sched *sched, int64_t now_ns);
/* Nothing waiting, running or to arrive. */
bool sched_idle(const struct sched *sched);
/* Blocks of a sequence in its pool, in order; valid until the next sched call. */
const int32_t *sched_blocks(const struct sched *sched, int64_t request, int *n);
int sched_preemptions(const struct sched *sched, int64_t request);
/* Tokens produced so far. */
int64_t sched_produced(const struct sched *sched, int64_t request);

/* Which replica serves which request: round robin weighted by speed; deterministic. out[n]. */
void sched_route(int *out, const struct requests *requests, const double *speed, int n_replicas);

#endif
