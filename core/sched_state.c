#include "core/sched_state.h"

#include <stdlib.h>
#include <string.h>

int64_t sched_blocks_for(const struct sched *s, int64_t tokens)
{
    return (tokens + s->limits.block_tokens - 1) / s->limits.block_tokens;
}

const struct request *sched_request(const struct sched *s, int32_t i)
{
    return &s->requests->items[s->mine[i]];
}

void sched_queue_push(struct sched *s, struct sched_queue *q, int32_t i)
{
    s->seqs[i].next = -1;
    if (q->first < 0)
        q->first = i;
    else
        s->seqs[q->last].next = i;
    q->last = i;
}

/* Keeps the queue ascending, that is oldest first. */
void sched_queue_insert(struct sched *s, struct sched_queue *q, int32_t i)
{
    int32_t before = -1, at = q->first;

    while (at >= 0 && at < i) {
        before = at;
        at = s->seqs[at].next;
    }
    s->seqs[i].next = at;
    if (before < 0)
        q->first = i;
    else
        s->seqs[before].next = i;
    if (at < 0)
        q->last = i;
}

void sched_queue_remove(struct sched *s, struct sched_queue *q, int32_t i)
{
    int32_t before = -1, at = q->first;

    while (at >= 0 && at != i) {
        before = at;
        at = s->seqs[at].next;
    }
    if (at < 0)
        return;
    if (before < 0)
        q->first = s->seqs[i].next;
    else
        s->seqs[before].next = s->seqs[i].next;
    if (q->last == i)
        q->last = before;
}

static bool check_limits(const struct sched_limits *limits, struct err *err)
{
    if (limits->max_seqs < 1 || limits->max_tokens < 1 || limits->in_flight < 1
            || limits->n_pools < 1 || limits->n_blocks < 1 || limits->block_tokens < 1)
        return err_set(err, ERR_INPUT,
                "scheduler limits must all be at least 1, found max_seqs %d, max_tokens %d, "
                "in_flight %d, pools %d, kv_blocks %lld, block_tokens %d",
                limits->max_seqs, limits->max_tokens, limits->in_flight, limits->n_pools,
                (long long)limits->n_blocks, limits->block_tokens);
    if (limits->n_blocks > INT32_MAX / limits->block_tokens)
        return err_set(err, ERR_INPUT, "kv_blocks %lld is more than a pool can number",
                (long long)limits->n_blocks);
    return true;
}

/* Every request must fit into a pool by itself, or it could never finish. */
static bool check_requests(struct sched *s, struct err *err)
{
    for (int64_t i = 0; i < s->n_mine; i++) {
        const struct request *r = sched_request(s, (int32_t)i);
        int64_t blocks = sched_blocks_for(s, r->prompt_len + r->output_len);

        if (blocks > s->limits.n_blocks)
            return err_set(err, ERR_NO,
                    "request %lld needs %lld KV blocks (%lld + %lld tokens, %d a block), a pool "
                    "has %lld: raise kv_blocks or leave the request out",
                    (long long)s->mine[i], (long long)blocks, (long long)r->prompt_len,
                    (long long)r->output_len, s->limits.block_tokens,
                    (long long)s->limits.n_blocks);
        if (blocks > s->table_blocks)
            s->table_blocks = blocks;
    }
    return true;
}

static void *zeroed(int64_t n, size_t each)
{
    return calloc(n > 0 ? (size_t)n : 1, each);
}

static bool alloc_pools(struct sched *s)
{
    const struct sched_limits *l = &s->limits;

    for (int p = 0; p < l->n_pools; p++) {
        struct sched_pool *pool = &s->pools[p];

        pool->ready = pool->prefill = pool->preempted = (struct sched_queue){-1, -1};
        pool->free_blocks = zeroed(l->n_blocks, sizeof(int32_t));
        pool->items = zeroed(l->max_seqs, sizeof(struct sched_item));
        if (!pool->free_blocks || !pool->items)
            return false;
        pool->n_free = l->n_blocks;
        for (int64_t b = 0; b < l->n_blocks; b++)
            pool->free_blocks[b] = (int32_t)(l->n_blocks - 1 - b);
    }
    for (int b = 0; b < l->in_flight; b++) {
        s->batches[b].id = -1;
        s->batches[b].items = zeroed(l->max_seqs, sizeof(struct sched_item));
        if (!s->batches[b].items)
            return false;
    }
    return true;
}

static bool alloc_state(struct sched *s)
{
    int64_t slots = (int64_t)s->limits.max_seqs * s->limits.in_flight;

    s->n_slots = slots < s->n_mine ? slots : s->n_mine;
    s->seqs = zeroed(s->n_mine, sizeof *s->seqs);
    s->slot_seq = zeroed(s->n_slots, sizeof(int32_t));
    s->free_slots = zeroed(s->n_slots, sizeof(int32_t));
    s->tables = zeroed(s->n_slots * s->table_blocks, sizeof(int32_t));
    s->pools = zeroed(s->limits.n_pools, sizeof *s->pools);
    s->batches = zeroed(s->limits.in_flight, sizeof *s->batches);
    if (!s->seqs || !s->slot_seq || !s->free_slots || !s->tables || !s->pools || !s->batches)
        return false;
    s->n_free_slots = s->n_slots;
    for (int64_t i = 0; i < s->n_slots; i++) {
        s->free_slots[i] = (int32_t)(s->n_slots - 1 - i);
        s->slot_seq[i] = -1;
    }
    for (int64_t i = 0; i < s->n_mine; i++)
        s->seqs[i].slot = s->seqs[i].next = -1;
    return alloc_pools(s);
}

struct sched *sched_open(const struct sched_limits *limits, const struct requests *requests,
        const int64_t *mine, int64_t n_mine, struct err *err)
{
    struct sched *s = NULL;

    if (!check_limits(limits, err))
        return NULL;
    s = zeroed(1, sizeof *s);
    if (s) {
        s->limits = *limits;
        s->requests = requests;
        s->n_mine = n_mine;
        s->mine = zeroed(n_mine, sizeof(int64_t));
        s->local = zeroed(requests->n, sizeof(int32_t));
    }
    if (!s || !s->mine || !s->local)
        goto memory;
    for (int64_t i = 0; i < n_mine; i++) {
        s->mine[i] = mine[i];
        s->local[mine[i]] = (int32_t)i;
    }
    if (!check_requests(s, err)) {
        sched_close(s);
        return NULL;
    }
    if (alloc_state(s))
        return s;
memory:
    sched_close(s);
    err_set(err, ERR_ENV, "not enough memory to schedule %lld requests", (long long)n_mine);
    return NULL;
}

void sched_close(struct sched *s)
{
    if (!s)
        return;
    for (int p = 0; s->pools && p < s->limits.n_pools; p++) {
        free(s->pools[p].free_blocks);
        free(s->pools[p].items);
    }
    for (int b = 0; s->batches && b < s->limits.in_flight; b++)
        free(s->batches[b].items);
    free(s->pools);
    free(s->batches);
    free(s->seqs);
    free(s->slot_seq);
    free(s->free_slots);
    free(s->tables);
    free(s->local);
    free(s->mine);
    free(s);
}

void sched_take_blocks(struct sched *s, struct sched_pool *pool, struct sched_seq *seq, int64_t n)
{
    int32_t *table = s->tables + seq->slot * s->table_blocks;

    while (seq->n_blocks < n)
        table[seq->n_blocks++] = pool->free_blocks[--pool->n_free];
}

/* Takes a sequence out of its pool: its blocks and its slot are free again. */
void sched_release(struct sched *s, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];
    struct sched_pool *pool = &s->pools[seq->pool];
    const int32_t *table = s->tables + seq->slot * s->table_blocks;

    while (seq->n_blocks > 0)
        pool->free_blocks[pool->n_free++] = table[--seq->n_blocks];
    s->slot_seq[seq->slot] = -1;
    s->free_slots[s->n_free_slots++] = seq->slot;
    seq->slot = -1;
    pool->n_active--;
}
