#include "runtime/serve_pools.h"

#include <sched.h>
#include <string.h>

#include "core/clock.h"

static int role_of(const struct serve *s)
{
    return s->place->replica_plan->role;
}

bool serve_pools_open(struct serve *s, struct arena *arena, struct err *err)
{
    const struct plan *plan = s->place->plan;
    const struct requests *requests = s->options->requests;
    int64_t most = (plan->max_len + (int64_t)plan->block_tokens - 1) / plan->block_tokens;

    if (role_of(s) == ROLE_MIXED)
        return true;
    s->scratch = ARENA_NEW(arena, int32_t, most);
    s->told = ARENA_NEW(arena, bool, requests->n);
    s->taken = ARENA_NEW(arena, bool, requests->n);
    s->pool_of = ARENA_NEW(arena, int32_t, requests->n);
    s->handover = (struct handover){.place = s->place,
            .model = s->engine->model,
            .cache = &s->engine->cache,
            .requests = requests,
            .from = s->route,
            .to = s->output_route};
    return handover_open(&s->handover, arena, err);
}

const struct requests *serve_coming(struct serve *s, struct arena *arena)
{
    const struct requests *requests = s->options->requests;

    s->coming = *requests;
    s->coming.items = ARENA_NEW(arena, struct request, requests->n);
    for (int64_t i = 0; i < requests->n; i++) {
        s->coming.items[i] = requests->items[i];
        s->coming.items[i].arrival_ns = INT64_MAX;
        s->coming.items[i].deadline_ns = 0; /* it has begun */
        s->coming.items[i].priority = 0; /* caches are taken in the order in which they are sent */
    }
    return &s->coming;
}

/* Blocks of a group that serves several pools lie one pool behind the other. */
static const int32_t *local_blocks(struct serve *s, const int32_t *blocks, int n, int pool)
{
    int32_t base = (int32_t)((pool - s->place->first_pool) * s->place->replica_plan->kv_blocks);

    for (int i = 0; i < n; i++)
        s->scratch[i] = blocks[i] + base;
    return s->scratch;
}

static void move_cache(struct serve *s, const struct batch *batch, const struct batch_item *item,
        const int32_t *blocks)
{
    if (batch->head->what == BATCH_CACHES)
        handover_send(&s->handover, item->request, item->pool,
                local_blocks(s, blocks, item->n_blocks, item->pool));
    else
        handover_take(&s->handover, item->request, item->from, NULL, s->meter);
}

void serve_move_caches(struct serve *s, const struct batch *batch)
{
    const int32_t *blocks = batch->blocks;

    for (int i = 0; i < batch->head->n_items; i++) {
        move_cache(s, batch, &batch->items[i], blocks);
        blocks += batch->items[i].n_blocks;
    }
}

void serve_take_caches(struct serve *s, const struct batch *batch)
{
    const int32_t *blocks = batch->blocks;

    if (role_of(s) != ROLE_DECODE || batch->head->what != BATCH_STEP)
        return;
    for (int i = 0; i < batch->head->n_items; i++) {
        const struct batch_item *item = &batch->items[i];

        if (item->takes) {
            handover_take(&s->handover, item->request, item->from, blocks, s->meter);
            if (s->place->leader)
                s->records[item->request].first_token_ns = s->meter->mark_ns - s->start_ns;
        }
        blocks += item->n_blocks;
    }
}

static void tell(struct serve *s, int64_t request, int pool, bool come)
{
    struct handover_note note = {.request = request, .pool = pool, .come = come};

    if (come)
        note.token = s->produced[request][0];
    handover_tell(&s->handover, &note);
    s->told[request] = true;
}

static bool goes_on(const struct serve *s, const struct batch_item *item)
{
    return item->samples && s->output_route[item->request] >= 0
           && s->records[item->request].outcome == REQUEST_PENDING;
}

/* To all ranks first. Every cache is told of as soon as this rank has sent it: who waits for a buffer waits until the
 * decode replica has taken one, so it must know of that. */
static void send_caches(struct serve *s, const struct batch *batch, int n)
{
    int slot = s->place->replica_plan->in_flight;
    struct batch *caches = pipe_batch(s->pipe, slot);
    const int32_t *blocks = NULL;

    batch_build_caches(caches, BATCH_CACHES, n);
    for (int i = 0; i < batch->head->n_items; i++) {
        const struct batch_item *item = &batch->items[i];
        int n_blocks = 0;

        if (!goes_on(s, item))
            continue;
        blocks = sched_blocks(s->sched, item->request, &n_blocks);
        batch_add_cache(caches, item->request, item->pool, blocks,
                handover_blocks(&s->handover, item->request));
    }
    pipe_send_batch(s->pipe, slot);
    blocks = caches->blocks;
    for (int i = 0; i < n; i++) {
        const struct batch_item *item = &caches->items[i];

        move_cache(s, caches, item, blocks);
        tell(s, item->request, item->pool, true);
        blocks += item->n_blocks;
    }
}

void serve_hand_over(struct serve *s, const struct batch *batch)
{
    int n = 0;

    if (role_of(s) != ROLE_PREFILL)
        return;
    for (int i = 0; i < batch->head->n_items; i++) {
        const struct batch_item *item = &batch->items[i];

        n += goes_on(s, item);
        if (item->samples && !goes_on(s, item))
            serve_refuse(s, item->request);
    }
    if (n > 0)
        send_caches(s, batch, n);
}

void serve_refuse(struct serve *s, int64_t request)
{
    if (role_of(s) == ROLE_PREFILL && s->output_route[request] >= 0)
        tell(s, request, 0, false);
}

static void take_note(struct serve *s, const struct handover_note *note)
{
    int64_t request = note->request;

    s->n_told++;
    s->told[request] = true;
    if (!note->come) {
        sched_forget(s->sched, request);
        s->taken[request] = true; /* there is nothing to take */
        return;
    }
    s->produced[request][0] = note->token;
    s->records[request].output_len = 1;
    s->pool_of[request] = note->pool;
    sched_arrive(s->sched, request);
}

void serve_hear(struct serve *s)
{
    struct handover_note note;

    if (role_of(s) != ROLE_DECODE)
        return;
    while (handover_hear(&s->handover, &note))
        take_note(s, &note);
}

void serve_mark_caches(struct serve *s, struct batch *batch)
{
    if (role_of(s) != ROLE_DECODE)
        return;
    for (int i = 0; i < batch->head->n_items; i++) {
        struct batch_item *item = &batch->items[i];

        if (s->taken[item->request])
            continue;
        item->takes = 1;
        item->from = s->pool_of[item->request];
        s->taken[item->request] = true;
    }
}

void serve_await(struct serve *s, int64_t wake_ns)
{
    int64_t began = clock_now_ns();

    while (!sched_idle(s->sched) && !handover_there(&s->handover)
            && clock_now_ns() - s->start_ns < wake_ns)
        sched_yield();
    s->meter->starved_ns += clock_now_ns() - began;
}

/* Caches that were sent and found no place in time: somebody waits to be rid of them. */
static void drop_rest(struct serve *s)
{
    int slot = s->place->replica_plan->in_flight;

    for (int64_t i = 0; i < s->options->requests->n; i++) {
        if (s->output_route[i] != s->place->replica || !s->told[i] || s->taken[i])
            continue;
        struct batch *batch = pipe_batch(s->pipe, slot);
        batch_build_caches(batch, BATCH_DROP, 1);
        batch_add_cache(batch, i, s->pool_of[i], NULL, 0);
        pipe_send_batch(s->pipe, slot);
        meter_mark(s->meter);
        serve_move_caches(s, batch);
        s->taken[i] = true;
    }
}

void serve_leave(struct serve *s)
{
    if (role_of(s) == ROLE_PREFILL)
        for (int64_t i = 0; i < s->options->requests->n; i++)
            if (s->route[i] == s->place->replica && s->output_route[i] >= 0 && !s->told[i])
                tell(s, i, 0, false);
    if (role_of(s) != ROLE_DECODE)
        return;
    drop_rest(s);
    while (s->n_told < s->n_mine) {
        serve_hear(s);
        drop_rest(s);
        sched_yield();
    }
}
