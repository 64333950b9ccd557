/*
 * sched_state - what the scheduler knows: sequences, queues, pools of blocks. Private to sched.
 *
 * One small record per request, linked into at most one queue at a time:
 *
 *   waiting       arrived, never ran: per priority in order of arrival, those with a deadline in a heap
 *   ready         per pool: decodes that may step, in the order they came back, so that nobody starves
 *   prefill       per pool: admitted prompts that are not through, in order of rank
 *   preempted     per pool: lost their blocks, in order of rank; they go ahead of those who never ran
 *   refused       until somebody takes note
 *
 * Rank is by priority, then by age. Sequences are numbered by their place in `mine`, so a smaller number is
 * an older one. Every pool also links its admitted sequences in order of rank, for preemption. All steps of
 * all queues take constant time in the usual order of events; a batch costs time in the order of its items.
 */
#ifndef CORE_SCHED_STATE_H
#define CORE_SCHED_STATE_H

#include "core/block_pool.h"
#include "core/sched.h"

enum seq_state {
    SEQ_WAITING, /* to arrive, in the queue, or preempted */
    SEQ_IDLE,
    SEQ_OUT,
    SEQ_FINISHED,
    SEQ_REFUSED_FULL,
    SEQ_REFUSED_LATE
};

struct sched_seq {
    int32_t next, prev;         /* of the queue it is in */
    int32_t older, younger;     /* admitted sequences of its pool, by rank */
    int32_t computed, prefix;   /* prefix: tokens to compute before it decodes */
    int32_t produced, capacity; /* capacity: tokens that its blocks hold */
    int32_t n_blocks, slot, pool, preemptions;
    int32_t reused, published; /* tokens found in the cache; blocks offered to it or found there */
    uint64_t chain;            /* key of the last of those blocks */
    uint8_t state, priority;
    bool stop, begun;
};

struct sched_queue {
    int32_t first, last; /* -1 = empty */
};

/* Requests of one priority that have arrived and never ran. */
struct sched_level {
    struct sched_queue plain;
    int32_t *urgent; /* heap by deadline; those that were refused meanwhile are still in it */
    int64_t n_urgent;
};

struct sched_pool {
    struct sched_queue ready, prefill, preempted;
    struct block_pool blocks;
    int32_t oldest, youngest;        /* admitted, by rank; -1 = none */
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
    int64_t n_mine, n_arrived, next_id;
    int32_t *local; /* request -> index in mine */
    struct sched_seq *seqs;
    struct sched_level levels[SCHED_PRIORITIES];
    int n_levels;
    int32_t *urgent; /* the levels' heaps */
    bool has_deadlines;
    struct sched_queue refused;
    struct sched_pool *pools;
    struct sched_out *batches;
    int n_out, n_items;           /* items of the batch that is being made */
    int32_t *tables, *free_slots; /* block tables, one row per admitted sequence */
    int64_t n_slots, n_free_slots, table_blocks;
    struct sched_stats stats;
};

int64_t sched_blocks_for(const struct sched *s, int64_t tokens);
const struct request *sched_request(const struct sched *s, int32_t i);
/* Whether a ranks above b. */
bool sched_precedes(const struct sched *s, int32_t a, int32_t b);

void sched_queue_push(struct sched *s, struct sched_queue *q, int32_t i);
/* Keeps the queue in order of rank. */
void sched_queue_insert(struct sched *s, struct sched_queue *q, int32_t i);
void sched_queue_remove(struct sched *s, struct sched_queue *q, int32_t i);

/* A request has arrived. */
void sched_wait(struct sched *s, int32_t i);
/* The waiting request that goes next, or -1. */
int32_t sched_first_waiting(struct sched *s);
/* The one that goes next does. */
void sched_leave_waiting(struct sched *s, int32_t i);
/* Refuses what is past its deadline. */
void sched_refuse_late(struct sched *s, int64_t now_ns);
/* Refuses the newest until as many wait as may. */
void sched_refuse_surplus(struct sched *s);

/* Gives the sequence a slot in the pool, and the blocks of its prefix; those in the cache are its own at
 * once: computed is behind them. */
void sched_enter(struct sched *s, int p, int32_t i);
/* Blocks that a sequence with this prefix must take from the free ones of the pool, with one token more. */
int64_t sched_blocks_wanted(
        const struct sched *s, const struct sched_pool *pool, int32_t i, int64_t prefix);
/* Gives the sequence blocks until it has n; the pool must have them. */
void sched_take_blocks(struct sched *s, struct sched_pool *pool, struct sched_seq *seq, int64_t n);
/* Offers the blocks of its prompt that are full now to the cache. */
void sched_publish(struct sched *s, int32_t i);
/* Takes a sequence out of its pool: its blocks and its slot are free again. */
void sched_release(struct sched *s, int32_t i);

#endif
