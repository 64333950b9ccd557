/*
 * sched_state - what the scheduler knows: sequences, queues, pools of blocks. Private to sched.
 *
 * One small record per request, linked into at most one queue. Per pool:
 *
 *   ready       decodes that may step, in the order they came back, so that nobody starves
 *   prefill     admitted prompts that are not through, oldest first
 *   preempted   lost their blocks, oldest first; they go ahead of everybody who never ran
 *
 * Requests that never ran need no queue: they are a range of `mine`. Sequences are numbered by their
 * place in `mine`, so a smaller number is an older one.
 */
#ifndef CORE_SCHED_STATE_H
#define CORE_SCHED_STATE_H

#include "core/sched.h"

enum seq_state {
    SEQ_WAITING,
    SEQ_IDLE,
    SEQ_OUT,
    SEQ_FINISHED
};

struct sched_seq {
    int64_t produced, computed, prefix; /* prefix: tokens to compute before it decodes */
    int32_t next, slot, pool, n_blocks;
    int32_t preemptions;
    uint8_t state;
    bool stop;
};

struct sched_queue {
    int32_t first, last; /* -1 = empty */
};

struct sched_pool {
    struct sched_queue ready, prefill, preempted;
    int32_t *free_blocks;
    int64_t n_free;
    int n_active, n_items, n_tokens; /* the last two: of the batch that is being made */
    bool dry;                        /* preempted somebody for this batch: admits nobody */
    struct sched_item *items;
};

struct sched_out {
    int64_t id; /* -1 = not out */
    struct sched_item *items;
};

struct sched {
    struct sched_limits limits;
    const struct requests *requests;
    int64_t *mine;
    int64_t n_mine, n_arrived, n_admitted, n_finished, next_id;
    int32_t *local; /* request -> index in mine */
    struct sched_seq *seqs;
    struct sched_pool *pools;
    struct sched_out *batches;
    int n_out;
    int32_t *slot_seq, *tables, *free_slots; /* block tables, one row per admitted sequence */
    int64_t n_slots, n_free_slots, table_blocks;
};

int64_t sched_blocks_for(const struct sched *s, int64_t tokens);
const struct request *sched_request(const struct sched *s, int32_t i);

void sched_queue_push(struct sched *s, struct sched_queue *q, int32_t i);
/* Keeps the queue ascending, that is oldest first. */
void sched_queue_insert(struct sched *s, struct sched_queue *q, int32_t i);
/* Nothing when i is not in it. */
void sched_queue_remove(struct sched *s, struct sched_queue *q, int32_t i);

/* Gives the sequence blocks until it has n; the pool must have them. */
void sched_take_blocks(struct sched *s, struct sched_pool *pool, struct sched_seq *seq, int64_t n);
/* Takes a sequence out of its pool: its blocks and its slot are free again. */
void sched_release(struct sched *s, int32_t i);

#endif
