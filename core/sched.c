/*
 * The policy; the records it works on are in sched_state. A prompt gets the blocks of its whole prefix
 * when it is admitted, so only decodes can find a pool dry.
 */
#include "core/sched.h"

#include <string.h>

#include "core/sched_state.h"

static void preempt(struct sched *s, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];
    struct sched_pool *pool = &s->pools[seq->pool];

    sched_queue_remove(s, seq->computed < seq->prefix ? &pool->prefill : &pool->ready, i);
    sched_release(s, i);
    seq->state = SEQ_WAITING;
    seq->computed = 0;
    seq->preemptions++;
    s->stats.preemptions++;
    sched_queue_insert(s, &pool->preempted, i);
    pool->dry = true;
}

/*
 * Finds a block for decode i, at the cost of the lowest in rank that is not out. Nobody who ranks above i
 * pays. When those below i are all out or already in this batch, i waits for them; when there are none, i
 * itself goes. So the first in rank always gets on.
 */
static bool make_room(struct sched *s, int p, int32_t i)
{
    struct sched_pool *pool = &s->pools[p];

    while (block_pool_free(&pool->blocks) == 0) {
        int32_t victim = pool->youngest;

        while (victim != i && s->seqs[victim].state != SEQ_IDLE)
            victim = s->seqs[victim].older;
        if (victim == i && pool->youngest != i)
            return false;
        preempt(s, victim);
        if (victim == i)
            return false;
    }
    return true;
}

static int pool_seqs(const struct sched *s)
{
    return (s->limits.max_seqs + s->limits.n_pools - 1) / s->limits.n_pools;
}

static bool has_room(const struct sched *s, const struct sched_pool *pool)
{
    return s->n_items < s->limits.max_seqs && pool->n_tokens < s->limits.max_tokens
           && pool->n_items < pool_seqs(s);
}

static void put_item(
        struct sched *s, struct sched_pool *pool, int32_t i, int64_t n_tokens, bool decode)
{
    struct sched_seq *seq = &s->seqs[i];

    pool->items[pool->n_items++] = (struct sched_item){
            .request = s->mine[i],
            .pool = seq->pool,
            .start = seq->computed,
            .n_tokens = (int)n_tokens,
            .decode = decode,
            .samples = seq->computed + n_tokens == seq->prefix,
    };
    pool->n_tokens += (int)n_tokens;
    s->n_items++;
    seq->state = SEQ_OUT;
}

/* With several batches in flight each takes its share of the decodes, or one would take all of them and
 * leave the pipeline empty behind it. */
static void put_decodes(struct sched *s, int p)
{
    struct sched_pool *pool = &s->pools[p];
    int share = (pool->n_active + s->limits.in_flight - 1) / s->limits.in_flight;
    int32_t i = pool->ready.first, next = -1;

    for (; i >= 0 && pool->n_items < share && has_room(s, pool); i = next) {
        struct sched_seq *seq = &s->seqs[i];
        bool fits = seq->computed < seq->capacity, room = fits || make_room(s, p, i);

        if (!room
                && seq->state == SEQ_WAITING) { /* i itself went: those behind it may get on now */
            next = pool->ready.first;
            continue;
        }
        next = seq->next;
        if (!room)
            continue;
        if (!fits)
            sched_take_blocks(s, pool, seq, seq->n_blocks + 1);
        seq->prefix = seq->computed + 1;
        sched_queue_remove(s, &pool->ready, i);
        put_item(s, pool, i, 1, true);
    }
}

static void put_chunk(struct sched *s, struct sched_pool *pool, int32_t i)
{
    int64_t left = s->seqs[i].prefix - s->seqs[i].computed;
    int64_t room = s->limits.max_tokens - pool->n_tokens;

    put_item(s, pool, i, left < room ? left : room, false);
}

/* Whether sequence i may enter the pool now: a slot, and blocks for its prefix and one token more. */
static bool can_admit(const struct sched *s, const struct sched_pool *pool, int32_t i)
{
    bool brought = s->limits.role == SCHED_DECODE && !s->seqs[i].begun;
    int64_t prefix = sched_request(s, i)->prompt_len + (brought ? 0 : s->seqs[i].produced);

    return !pool->dry && s->n_free_slots > 0 && has_room(s, pool)
           && sched_blocks_wanted(s, pool, i, prefix) <= block_pool_free(&pool->blocks);
}

static void admit(struct sched *s, int p, int32_t i)
{
    struct sched_pool *pool = &s->pools[p];

    sched_enter(s, p, i);
    if (s->seqs[i].computed < s->seqs[i].prefix) {
        put_chunk(s, pool, i);
        return;
    }
    s->seqs[i].state = SEQ_IDLE; /* its prompt came with it */
    sched_queue_push(s, &pool->ready, i);
}

static void put_prefills(struct sched *s, int p)
{
    struct sched_pool *pool = &s->pools[p];

    while (pool->prefill.first >= 0 && has_room(s, pool)) {
        int32_t i = pool->prefill.first;

        sched_queue_remove(s, &pool->prefill, i);
        put_chunk(s, pool, i);
    }
}

/* Those who lost their blocks go ahead of everybody of their priority, or a lower one, who never ran. */
static void admit_preempted(struct sched *s, struct sched_pool *pool, int32_t waiting)
{
    int32_t i = pool->preempted.first;

    while (i >= 0 && (waiting < 0 || s->seqs[i].priority >= s->seqs[waiting].priority)
            && can_admit(s, pool, i)) {
        sched_queue_remove(s, &pool->preempted, i);
        admit(s, s->seqs[i].pool, i);
        i = pool->preempted.first;
    }
}

/* The pool with the fewest sequences that can take the request, or -1. */
static int pool_for(const struct sched *s, int32_t i)
{
    int best = -1;

    for (int p = 0; p < s->limits.n_pools; p++) {
        const struct sched_pool *pool = &s->pools[p];
        int32_t before = pool->preempted.first;

        if ((best < 0 || pool->n_active < s->pools[best].n_active)
                && (before < 0 || s->seqs[before].priority < s->seqs[i].priority)
                && can_admit(s, pool, i))
            best = p;
    }
    return best;
}

/* When the first in the queue finds no pool, nobody behind it gets in. */
static void admit_all(struct sched *s)
{
    for (;;) {
        int32_t i = sched_first_waiting(s);
        int best = -1;

        for (int p = 0; p < s->limits.n_pools; p++)
            admit_preempted(s, &s->pools[p], i);
        if (i < 0 || (best = pool_for(s, i)) < 0)
            return;
        sched_leave_waiting(s, i);
        admit(s, best, i);
    }
}

static void start_batch(struct sched *s, int64_t now_ns)
{
    while (s->n_arrived < s->n_mine
            && sched_request(s, (int32_t)s->n_arrived)->arrival_ns <= now_ns)
        sched_wait(s, (int32_t)s->n_arrived++);
    sched_refuse_late(s, now_ns);
    s->n_items = 0;
    for (int p = 0; p < s->limits.n_pools; p++) {
        s->pools[p].n_items = s->pools[p].n_tokens = 0;
        s->pools[p].dry = false;
    }
}

static void hand_out(struct sched *s, struct sched_batch *out)
{
    struct sched_out *batch = s->batches;

    while (batch->id >= 0)
        batch++;
    for (int p = 0; p < s->limits.n_pools; p++) {
        memcpy(batch->items + out->n_items, s->pools[p].items,
                sizeof(struct sched_item) * (size_t)s->pools[p].n_items);
        out->n_items += s->pools[p].n_items;
    }
    out->id = batch->id = s->next_id++;
    out->items = batch->items;
    s->n_out++;
}

bool sched_next(struct sched *s, int64_t now_ns, struct sched_batch *out)
{
    if (s->n_out >= s->limits.in_flight) /* out may have no room for one more */
        return false;
    *out = (struct sched_batch){0};
    start_batch(s, now_ns);
    if (s->limits.role == SCHED_DECODE) /* what comes now decodes now */
        admit_all(s);
    for (int p = 0; p < s->limits.n_pools; p++)
        put_decodes(s, p);
    for (int p = 0; p < s->limits.n_pools; p++)
        put_prefills(s, p);
    admit_all(s);
    sched_refuse_surplus(s);
    if (s->n_items == 0)
        return false;
    hand_out(s, out);
    return true;
}

static bool has_ended(const struct sched *s, int32_t i)
{
    const struct sched_seq *seq = &s->seqs[i];

    return seq->stop || s->limits.role == SCHED_PREFILL
           || seq->produced >= sched_request(s, i)->output_len;
}

static void item_done(struct sched *s, const struct sched_item *item)
{
    int32_t i = s->local[item->request];
    struct sched_seq *seq = &s->seqs[i];
    struct sched_pool *pool = &s->pools[seq->pool];

    seq->computed += item->n_tokens;
    seq->produced += item->samples;
    if (!item->decode)
        sched_publish(s, i);
    if (item->samples && has_ended(s, i)) {
        sched_release(s, i);
        seq->state = SEQ_FINISHED;
        s->stats.finished++;
        return;
    }
    seq->state = SEQ_IDLE;
    if (item->samples)
        sched_queue_push(s, &pool->ready, i);
    else
        sched_queue_insert(s, &pool->prefill, i);
}

void sched_done(struct sched *s, const struct sched_batch *batch, int64_t now_ns)
{
    (void)now_ns;
    for (int b = 0; b < s->limits.in_flight; b++) {
        if (s->batches[b].id != batch->id)
            continue;
        s->batches[b].id = -1;
        s->n_out--;
        for (int j = 0; j < batch->n_items; j++)
            item_done(s, &batch->items[j]);
        return;
    }
}

void sched_arrive(struct sched *s, int64_t request)
{
    sched_wait(s, s->local[request]);
}

void sched_forget(struct sched *s, int64_t request)
{
    s->seqs[s->local[request]].state = SEQ_FINISHED;
    s->stats.finished++;
}

void sched_stop(struct sched *s, int64_t request)
{
    s->seqs[s->local[request]].stop = true;
}

int64_t sched_wake_ns(const struct sched *s, int64_t now_ns)
{
    for (int64_t i = s->n_arrived; i < s->n_mine; i++)
        if (sched_request(s, (int32_t)i)->arrival_ns > now_ns)
            return sched_request(s, (int32_t)i)->arrival_ns;
    return INT64_MAX;
}

bool sched_idle(const struct sched *s)
{
    return s->stats.finished + s->stats.refused_full + s->stats.refused_late == s->n_mine;
}

const int32_t *sched_blocks(const struct sched *s, int64_t request, int *n)
{
    const struct sched_seq *seq = &s->seqs[s->local[request]];

    *n = seq->n_blocks;
    return seq->slot < 0 ? NULL : s->tables + seq->slot * s->table_blocks;
}

int64_t sched_take_refused(struct sched *s)
{
    int32_t i = s->refused.first;

    if (i < 0)
        return -1;
    sched_queue_remove(s, &s->refused, i);
    return s->mine[i];
}

enum sched_outcome sched_outcome(const struct sched *s, int64_t request)
{
    switch ((enum seq_state)s->seqs[s->local[request]].state) {
    case SEQ_WAITING:
    case SEQ_IDLE:
    case SEQ_OUT:
        break;
    case SEQ_FINISHED:
        return SCHED_FINISHED;
    case SEQ_REFUSED_FULL:
        return SCHED_REFUSED_FULL;
    case SEQ_REFUSED_LATE:
        return SCHED_REFUSED_LATE;
    }
    return SCHED_PENDING;
}

int64_t sched_reused(const struct sched *s, int64_t request)
{
    return s->seqs[s->local[request]].reused;
}

void sched_stats(struct sched_stats *out, const struct sched *s)
{
    *out = s->stats;
    for (int p = 0; p < s->limits.n_pools; p++)
        out->evicted_blocks += s->pools[p].blocks.evicted;
}

int sched_preemptions(const struct sched *s, int64_t request)
{
    return s->seqs[s->local[request]].preemptions;
}

int64_t sched_produced(const struct sched *s, int64_t request)
{
    return s->seqs[s->local[request]].produced;
}
