#include "core/sched_state.h"

#include <stdlib.h>

const struct request *sched_request(const struct sched *s, int32_t i)
{
    return &s->requests->items[s->mine[i]];
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
        int64_t output = s->limits.role == SCHED_PREFILL ? 1 : r->output_len;
        int64_t blocks = sched_blocks_for(s, r->prompt_len + output);

        if (r->priority < 0 || r->priority >= SCHED_PRIORITIES)
            return err_set(err, ERR_INPUT, "request %lld has priority %d, expected 0 to %d",
                    (long long)s->mine[i], r->priority, SCHED_PRIORITIES - 1);

        if (blocks > s->limits.n_blocks)
            return err_set(err, ERR_NO,
                    "request %lld needs %lld KV blocks (%lld + %lld tokens, %d a block), a pool "
                    "has %lld: raise kv_blocks or leave the request out",
                    (long long)s->mine[i], (long long)blocks, (long long)r->prompt_len,
                    (long long)output, s->limits.block_tokens, (long long)s->limits.n_blocks);
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
        pool->oldest = pool->youngest = -1;
        pool->items = zeroed(l->max_seqs, sizeof(struct sched_item));
        if (!pool->items || !block_pool_init(&pool->blocks, l->n_blocks, l->prefix_cache))
            return false;
    }
    for (int b = 0; b < l->in_flight; b++) {
        s->batches[b].id = -1;
        s->batches[b].items = zeroed(l->max_seqs, sizeof(struct sched_item));
        if (!s->batches[b].items)
            return false;
    }
    return true;
}

/* Every level gets as much of the heaps' room as it has requests with deadlines. */
static bool alloc_queues(struct sched *s)
{
    int64_t n[SCHED_PRIORITIES] = {0}, at = 0;

    s->refused = (struct sched_queue){-1, -1};
    for (int64_t i = 0; i < s->n_mine; i++) {
        const struct request *r = sched_request(s, (int32_t)i);

        s->seqs[i].slot = s->seqs[i].next = s->seqs[i].prev = -1;
        s->seqs[i].priority = (uint8_t)r->priority;
        s->seqs[i].produced = s->limits.role == SCHED_DECODE;
        n[r->priority] += r->deadline_ns > 0;
        if (r->priority >= s->n_levels)
            s->n_levels = r->priority + 1;
    }
    for (int p = 0; p < SCHED_PRIORITIES; p++)
        at += n[p];
    s->has_deadlines = at > 0;
    s->urgent = zeroed(at, sizeof *s->urgent);
    at = 0;
    for (int p = 0; s->urgent && p < SCHED_PRIORITIES; p++) {
        s->levels[p] = (struct sched_level){.plain = {-1, -1}, .urgent = s->urgent + at};
        at += n[p];
    }
    return s->urgent != NULL;
}

static bool alloc_state(struct sched *s)
{
    int64_t slots = (int64_t)s->limits.max_seqs * s->limits.in_flight;

    s->n_slots = slots < s->n_mine ? slots : s->n_mine;
    s->seqs = zeroed(s->n_mine, sizeof *s->seqs);
    s->free_slots = zeroed(s->n_slots, sizeof(int32_t));
    s->tables = zeroed(s->n_slots * s->table_blocks, sizeof(int32_t));
    s->pools = zeroed(s->limits.n_pools, sizeof *s->pools);
    s->batches = zeroed(s->limits.in_flight, sizeof *s->batches);
    if (!s->seqs || !s->free_slots || !s->tables || !s->pools || !s->batches)
        return false;
    s->n_free_slots = s->n_slots;
    for (int64_t i = 0; i < s->n_slots; i++)
        s->free_slots[i] = (int32_t)(s->n_slots - 1 - i);
    return alloc_queues(s) && alloc_pools(s);
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
        block_pool_fini(&s->pools[p].blocks);
        free(s->pools[p].items);
    }
    for (int b = 0; s->batches && b < s->limits.in_flight; b++)
        free(s->batches[b].items);
    free(s->pools);
    free(s->batches);
    free(s->seqs);
    free(s->urgent);
    free(s->free_slots);
    free(s->tables);
    free(s->local);
    free(s->mine);
    free(s);
}
