/*
 * batch - what the leader of a replica tells its ranks about one step, as one flat message: a head, then
 * items, token ids and block tables. Every rank gets all of it and steps the items of its own pool.
 */
#ifndef RUNTIME_BATCH_H
#define RUNTIME_BATCH_H

#include "core/sched.h"
#include "runtime/place.h"

enum batch_what {
    BATCH_STEP,
    BATCH_CACHES, /* prefill replica: the caches of these items go to decode replicas */
    BATCH_DROP,   /* decode replica: the caches of these items are received for nothing */
    BATCH_WARMUP,
    BATCH_STOP
};

struct batch_head {
    int64_t id, body_bytes;
    int32_t what, n_items, n_tokens, n_blocks; /* over all pools */
};

struct batch_item {
    int64_t request, start;
    uint64_t seed; /* of its draws */
    int32_t pool, n_tokens, n_blocks;
    int32_t output_index; /* which of the request's output tokens its last row yields */
    uint8_t decode, samples;
    uint8_t takes; /* decode replica: its cache comes first, ... */
    uint8_t unused;
    int32_t from; /* ... from this pool of its prefill replica */
};

struct batch {
    void *memory;
    int64_t capacity;
    struct batch_head *head;
    struct batch_item *items; /* by pool, decodes first */
    int32_t *tokens;          /* of the items, one after the other */
    int32_t *blocks;          /* their block tables, the same way */
};

/* Room for the largest batch of the plan. */
MUST_CHECK bool batch_alloc(struct batch *batch, const struct place *place, struct err *err);
void batch_free(struct batch *batch);

/* Where token ids come from: the prompt, then what was produced. */
struct batch_source {
    const struct sched *sched;
    const struct requests *requests;
    int64_t vocab;
    const int32_t *const *prompts;  /* or NULL = request_token */
    const int32_t *const *produced; /* by request */
    uint64_t sampling_seed;
};
void batch_build(
        struct batch *batch, const struct sched_batch *from, const struct batch_source *source);
/* A step that is not counted: one chunk per pool, or a decode of every sequence there may be. */
void batch_build_warmup(struct batch *batch, const struct place *place, bool decode, int64_t vocab);
void batch_build_stop(struct batch *batch);
/* An empty message of BATCH_CACHES or BATCH_DROP, and one item of it with the blocks of its prompt (n, or none). */
void batch_build_caches(struct batch *batch, enum batch_what what, int n_items);
void batch_add_cache(struct batch *batch, int64_t request, int pool, const int32_t *blocks, int n);
/* Finds the parts behind the head, after the head has been filled or received. */
void batch_locate(struct batch *batch);

/* Rows of n pools from `first` on that yield tokens. */
int batch_samples(const struct batch *batch, int first, int n);
/* The most entries that the block tables of a batch have together. */
int64_t batch_most_blocks(const struct place *place);

#endif
