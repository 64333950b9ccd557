/*
 * The policy; the records it works on are in sched_state. A prompt gets the blocks of its whole prefix
 * when it is admitted, so only decodes can find a pool dry.
 */
#include "core/sched.h"

#include <stdlib.h>
#include <string.h>

#include "core/sched_state.h"

static void preempt(struct sched *s, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];
    struct sched_pool *pool = &s->pools[seq->pool];

    sched_queue_remove(s, &pool->ready, i);
    sched_queue_remove(s, &pool->prefill, i);
    sched_release(s, i);
    seq->state = SEQ_WAITING;
    seq->computed = 0;
    seq->preemptions++;
    sched_queue_insert(s, &pool->preempted, i);
    pool->dry = true;
}

/*
 * Finds a block for decode i, at the cost of the youngest that is not out. Nobody older than i pays. When
 * those younger than i are all out or already in this batch, i waits for them; when there are none, i itself
 * goes. So the oldest always gets on.
 */
static bool make_room(struct sched *s, int p, int32_t i)
{
    struct sched_pool *pool = &s->pools[p];

    while (pool->n_free == 0) {
        int32_t youngest = i;
        bool younger_out = false;

        for (int64_t slot = 0; slot < s->n_slots; slot++) {
            int32_t other = s->slot_seq[slot];

            if (other < 0 || s->seqs[other].pool != p || other <= i)
                continue;
            if (s->seqs[other].state != SEQ_IDLE)
                younger_out = true;
            else if (other > youngest)
                youngest = other;
        }
        if (youngest == i && younger_out)
            return false;
        preempt(s, youngest);
        if (youngest == i)
            return false;
    }
    return true;
}

static int total_items(const struct sched *s)
{
    int n = 0;

    for (int p = 0; p < s->limits.n_pools; p++)
        n += s->pools[p].n_items;
    return n;
}

static int pool_seqs(const struct sched *s)
{
    return (s->limits.max_seqs + s->limits.n_pools - 1) / s->limits.n_pools;
}

static bool has_room(const struct sched *s, const struct sched_pool *pool)
{
    return pool->n_items < pool_seqs(s) && pool->n_tokens < s->limits.max_tokens
           && total_items(s) < s->limits.max_seqs;
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
        int64_t need = sched_blocks_for(s, seq->computed + 1);
        bool room = need <= seq->n_blocks || make_room(s, p, i);

        if (!room
                && seq->state == SEQ_WAITING) { /* i itself went: those behind it may get on now */
            next = pool->ready.first;
            continue;
        }
        next = seq->next;
        if (!room)
            continue;
        sched_take_blocks(s, pool, seq, need);
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
    int64_t prefix = sched_request(s, i)->prompt_len + s->seqs[i].produced;

    return !pool->dry && s->n_free_slots > 0 && has_room(s, pool)
           && sched_blocks_for(s, prefix + 1) <= pool->n_free;
}

static void admit(struct sched *s, int p, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];

    seq->pool = p;
    seq->slot = s->free_slots[--s->n_free_slots];
    s->slot_seq[seq->slot] = i;
    seq->computed = 0;
    seq->prefix = sched_request(s, i)->prompt_len + seq->produced;
    s->pools[p].n_active++;
    sched_take_blocks(s, &s->pools[p], seq, sched_blocks_for(s, seq->prefix));
    put_chunk(s, &s->pools[p], i);
}

static void put_prefills(struct sched *s, int p)
{
    struct sched_pool *pool = &s->pools[p];

    while (pool->prefill.first >= 0 && has_room(s, pool)) {
        int32_t i = pool->prefill.first;

        sched_queue_remove(s, &pool->prefill, i);
        put_chunk(s, pool, i);
    }
    while (pool->preempted.first >= 0 && can_admit(s, pool, pool->preempted.first)) {
        int32_t i = pool->preempted.first;

        sched_queue_remove(s, &pool->preempted, i);
        admit(s, p, i);
    }
}

/* First come first served: when the oldest finds no pool, nobody behind it gets in. */
static void admit_waiting(struct sched *s)
{
    while (s->n_admitted < s->n_arrived) {
        int32_t i = (int32_t)s->n_admitted;
        int best = -1;

        for (int p = 0; p < s->limits.n_pools; p++) {
            const struct sched_pool *pool = &s->pools[p];

            if (pool->preempted.first < 0 && can_admit(s, pool, i)
                    && (best < 0 || pool->n_active < s->pools[best].n_active))
                best = p;
        }
        if (best < 0)
            return;
        s->n_admitted++;
        admit(s, best, i);
    }
}

bool sched_next(struct sched *s, int64_t now_ns, struct sched_batch *out)
{
    struct sched_out *batch = s->batches;

    while (s->n_arrived < s->n_mine
            && sched_request(s, (int32_t)s->n_arrived)->arrival_ns <= now_ns)
        s->n_arrived++;
    if (s->n_out >= s->limits.in_flight)
        return false;
    for (int p = 0; p < s->limits.n_pools; p++) {
        s->pools[p].n_items = s->pools[p].n_tokens = 0;
        s->pools[p].dry = false;
    }
    for (int p = 0; p < s->limits.n_pools; p++)
        put_decodes(s, p);
    for (int p = 0; p < s->limits.n_pools; p++)
        put_prefills(s, p);
    admit_waiting(s);

    *out = (struct sched_batch){0};
    if (total_items(s) == 0)
        return false;
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
    return true;
}

static void item_done(struct sched *s, const struct sched_item *item)
{
    int32_t i = s->local[item->request];
    struct sched_seq *seq = &s->seqs[i];
    struct sched_pool *pool = &s->pools[seq->pool];

    seq->computed += item->n_tokens;
    seq->produced += item->samples;
    if (item->samples && (seq->stop || seq->produced >= sched_request(s, i)->output_len)) {
        sched_release(s, i);
        seq->state = SEQ_FINISHED;
        s->n_finished++;
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
    return s->n_finished == s->n_mine;
}

const int32_t *sched_blocks(const struct sched *s, int64_t request, int *n)
{
    const struct sched_seq *seq = &s->seqs[s->local[request]];

    *n = seq->n_blocks;
    return seq->slot < 0 ? NULL : s->tables + seq->slot * s->table_blocks;
}

int sched_preemptions(const struct sched *s, int64_t request)
{
    return s->seqs[s->local[request]].preemptions;
}

int64_t sched_produced(const struct sched *s, int64_t request)
{
    return s->seqs[s->local[request]].produced;
}

void sched_route(int *out, const struct requests *requests, const double *speed, int n_replicas)
{
    int64_t *given = calloc((size_t)n_replicas, sizeof *given);

    for (int64_t i = 0; i < requests->n; i++) {
        int best = 0;

        for (int r = 1; given && r < n_replicas; r++)
            if ((double)(given[r] + 1) / speed[r] < (double)(given[best] + 1) / speed[best])
                best = r;
        if (given)
            given[best]++;
        out[i] = best;
    }
    free(given);
}
