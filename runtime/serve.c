#include "runtime/serve.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "runtime/serve_pools.h"

static enum sched_role sched_role_of(int role)
{
    return role == ROLE_PREFILL ? SCHED_PREFILL : role == ROLE_DECODE ? SCHED_DECODE : SCHED_MIXED;
}

static bool open_leader(struct serve *s, struct arena *arena, struct err *err)
{
    const struct requests *requests = s->options->requests;
    const struct plan_replica *replica = s->place->replica_plan;
    bool decode = replica->role == ROLE_DECODE;
    const int *route = decode ? s->output_route : s->route;
    int64_t *mine = ARENA_NEW(arena, int64_t, requests->n);
    int64_t n = 0;
    struct sched_limits limits = {
            .max_seqs = replica->max_seqs,
            .max_tokens = replica->max_tokens,
            .in_flight = replica->in_flight,
            .n_pools = s->place->n_pools,
            .n_blocks = replica->kv_blocks,
            .block_tokens = s->place->plan->block_tokens,
            .prefix_cache = s->place->plan->prefix_cache && !decode, /* whole caches come there */
            .role = sched_role_of(replica->role),
            .max_queue = decode ? 0 : s->options->workload->admission.max_queue,
    };

    s->records = ARENA_NEW(arena, struct run_request, requests->n);
    s->produced = ARENA_NEW(arena, int32_t *, requests->n);
    for (int64_t i = 0; i < requests->n; i++) {
        if (route[i] != s->place->replica)
            continue;
        mine[n++] = i;
        s->produced[i] = ARENA_NEW(arena, int32_t, requests->items[i].output_len);
        /* Touched now, so that serving does not wait for pages and memory stays as it is. */
        memset(s->produced[i], 0, sizeof(int32_t) * (size_t)requests->items[i].output_len);
        s->records[i] = (struct run_request){
                .request = i,
                .replica = s->place->replica,
                .prompt_len = requests->items[i].prompt_len,
                .arrival_ns = requests->items[i].arrival_ns,
                .first_token_ns = -1,
                .finish_ns = -1,
        };
    }
    s->flying = ARENA_NEW(arena, struct sched_batch, replica->in_flight);
    s->flying_slot = ARENA_NEW(arena, int, replica->in_flight);
    s->local_result = ARENA_NEW(arena, int32_t, replica->max_seqs);
    s->n_mine = n;
    s->sched = sched_open(&limits, decode ? serve_coming(s, arena) : requests, mine, n, err);
    return s->sched != NULL;
}

bool serve_open(struct serve *s, const struct runtime_options *options, struct engine *engine,
        struct pipe *pipe, struct arena *arena, struct err *err)
{
    s->options = options;
    s->place = engine->place;
    s->engine = engine;
    s->pipe = pipe;
    s->meter = engine->meter;
    if (options->keep_logits && s->place->last && s->place->tp_rank == 0)
        s->logits = ARENA_NEW(arena, float *, options->requests->n);
    return serve_pools_open(s, arena, err)
           && (s->place->leader ? open_leader(s, arena, err)
                                : batch_alloc(&s->inbox, s->place, err));
}

void serve_close(struct serve *s)
{
    for (int64_t i = 0; s->logits && i < s->options->requests->n; i++)
        free(s->logits[i]);
    if (s->sched)
        sched_close(s->sched);
    s->sched = NULL;
    handover_close(&s->handover);
    batch_free(&s->inbox);
}

/* Tests only: memory comes as requests do. */
static void keep_logits(struct serve *s)
{
    const struct engine_step *step = &s->engine->step;
    int64_t vocab = s->engine->model->vocab;
    int row = 0;

    for (int i = 0; i < step->n_items; i++) {
        const struct batch_item *item = &step->items[i];
        const struct request *request = &s->options->requests->items[item->request];

        if (!item->samples)
            continue;
        if (!s->logits[item->request])
            s->logits[item->request] = calloc((size_t)(request->output_len * vocab), sizeof(float));
        if (s->logits[item->request])
            engine_logits(s->engine, row, s->logits[item->request] + item->output_index * vocab);
        row++;
    }
}

static void finish_stage(struct serve *s, const struct batch *batch)
{
    const struct engine_step *step = &s->engine->step;

    if (!s->place->last) {
        pipe_send_rows(s->pipe, s->engine);
        return;
    }
    if (s->place->tp_rank != 0)
        return;
    if (s->logits && batch->head->what == BATCH_STEP)
        keep_logits(s);
    if (s->place->leader)
        memcpy(s->local_result, engine_tokens(s->engine), sizeof(int32_t) * (size_t)step->n_logits);
    else
        pipe_send_result(s->pipe, engine_tokens(s->engine), step->n_logits);
}

/* A GPU that failed gives no more results: the job ends, and says why. */
static void check_device(const struct serve *s)
{
    struct err err = {0};

    if (dev_finish(s->engine->dev, &err))
        return;
    log_line(LOG_ERROR, "rank %d: %s", s->place->rank, err.text);
    ranks_abort(s->ranks, ERR_ENV);
}

/* This rank's stage on one batch. */
static void run_stage(struct serve *s, const struct batch *batch)
{
    const struct engine_step *step = &s->engine->step;
    int64_t start = 0;

    engine_prepare(s->engine, batch);
    if (s->place->first) {
        meter_mark(s->meter);
        start = s->meter->mark_ns;
    } else {
        start = pipe_recv_rows(s->pipe, s->engine);
    }
    serve_take_caches(s, batch);
    engine_run(s->engine);
    finish_stage(s, batch);
    check_device(s);
    meter_mark(s->meter);
    if (batch->head->what != BATCH_STEP)
        return;
    meter_step(s->meter, &(struct run_step){
                                 .replica = s->place->replica,
                                 .stage = s->place->stage,
                                 .step = batch->head->id,
                                 .start_ns = start - s->start_ns,
                                 .busy_ns = s->meter->mark_ns - start,
                                 .wait_ns = start - s->idle_since_ns,
                                 .tokens = (int)step->rows,
                                 .sequences = step->n_items,
                                 .prefill_tokens = (int)step->prefill_rows,
                                 .kv_tokens = step->decode_kv_tokens,
                         });
    s->idle_since_ns = s->meter->mark_ns;
}

static bool leader_ends_group(const struct serve *s, int group)
{
    return s->place->last && group == 0;
}

static bool result_there(const struct serve *s)
{
    for (int group = 0; group < s->place->last_groups; group++)
        if (!leader_ends_group(s, group) && !pipe_result_there(s->pipe, group))
            return false;
    return true;
}

static bool is_stop(const struct serve *s, int32_t token)
{
    for (int i = 0; i < s->options->workload->sampling.n_stop; i++)
        if (token == s->options->workload->sampling.stop[i])
            return true;
    return false;
}

static void take_token(
        struct serve *s, const struct batch_item *item, int32_t token, int64_t now_ns)
{
    struct run_request *record = &s->records[item->request];
    const struct request *request = &s->options->requests->items[item->request];
    bool stop = is_stop(s, token);

    s->produced[item->request][item->output_index] = token;
    record->output_len = item->output_index + 1;
    if (item->output_index == 0)
        record->first_token_ns = now_ns;
    if (stop)
        sched_stop(s->sched, item->request);
    record->reused_tokens = sched_reused(s->sched, item->request);
    record->preemptions = sched_preemptions(s->sched, item->request);
    if (!stop && record->output_len < request->output_len)
        return;
    record->finish_ns = now_ns;
    record->outcome = REQUEST_FINISHED;
    s->n_finished++;
}

/* Takes the result of the batch that was sent first; blocks when it is not there. */
static void take_result(struct serve *s)
{
    const struct batch *batch = &s->pipe->batches[s->flying_slot[0]];
    int32_t *tokens = s->local_result;
    int64_t now = 0;
    int at = 0;

    int pools = s->place->n_pools / s->place->last_groups;
    for (int g = 0; g < s->place->last_groups; g++) {
        int n = batch_samples(batch, g * pools, pools);

        if (!leader_ends_group(s, g))
            pipe_recv_result(s->pipe, g, tokens + at, n);
        at += n;
    }
    now = clock_now_ns() - s->start_ns;
    if (batch->head->what == BATCH_STEP) {
        at = 0;
        for (int i = 0; i < batch->head->n_items; i++)
            if (batch->items[i].samples)
                take_token(s, &batch->items[i], tokens[at++], now);
        serve_hand_over(s, batch);
        sched_done(s->sched, &s->flying[0], now);
        s->end_ns = now;
    }
    s->n_flying--;
    memmove(s->flying, s->flying + 1, sizeof *s->flying * (size_t)s->n_flying);
    memmove(s->flying_slot, s->flying_slot + 1, sizeof *s->flying_slot * (size_t)s->n_flying);
}

/* Those that the scheduler turned away since the last call. */
static void take_refused(struct serve *s)
{
    for (int64_t i = sched_take_refused(s->sched); i >= 0; i = sched_take_refused(s->sched)) {
        s->records[i].outcome = sched_outcome(s->sched, i) == SCHED_REFUSED_FULL
                                        ? REQUEST_REFUSED_FULL
                                        : REQUEST_REFUSED_LATE;
        s->n_refused++;
        serve_refuse(s, i);
    }
}

/* A slot whose batch is not flying. */
static int free_slot(const struct serve *s)
{
    int slot = 0;

    for (int i = 0; i < s->n_flying; i++)
        if (s->flying_slot[i] == slot) {
            slot++;
            i = -1;
        }
    return slot;
}

static void send_out(struct serve *s, int slot, const struct sched_batch *from)
{
    s->flying[s->n_flying] = *from;
    s->flying_slot[s->n_flying++] = slot;
    pipe_send_batch(s->pipe, slot);
    s->meter->schedule_ns += clock_now_ns() - s->meter->mark_ns;
    run_stage(s, &s->pipe->batches[slot]);
}

/* Waits for the oldest result or for `wake_ns`, whichever is first. */
static void wait_for(struct serve *s, int64_t wake_ns)
{
    int64_t now = clock_now_ns() - s->start_ns;

    if (s->n_flying == 0 && s->place->replica_plan->role == ROLE_DECODE) {
        serve_await(s, wake_ns);
        return;
    }
    if (s->n_flying == 0) {
        if (wake_ns > now && wake_ns != INT64_MAX) {
            clock_sleep_ns(wake_ns - now);
            s->meter->starved_ns += clock_now_ns() - s->start_ns - now;
        }
        return;
    }
    while (!result_there(s) && clock_now_ns() - s->start_ns < wake_ns
            && !(s->handover.n_leads > 0 && handover_there(&s->handover)))
        sched_yield();
}

static void show_progress(const struct serve *s, int64_t now_ns, int64_t total)
{
    int64_t ended = s->n_finished + s->n_refused;
    double done = (double)ended;

    if (s->place->rank == 0)
        log_progress("requests", ended, total,
                ended > 0 ? (double)now_ns * 1e-9 * ((double)total - done) / done : -1);
}

/* The next batch, if there may be one more and the scheduler has one. */
static bool send_next(struct serve *s, int64_t now, const struct batch_source *source)
{
    struct sched_batch next;
    bool some = !s->out_of_time && s->n_flying < s->place->replica_plan->in_flight
                && sched_next(s->sched, now, &next);

    take_refused(s);
    if (some) {
        int slot = free_slot(s);

        batch_build(pipe_batch(s->pipe, slot), &next, source);
        serve_mark_caches(s, &s->pipe->batches[slot]);
        send_out(s, slot, &next);
    }
    return some;
}

static void lead(struct serve *s)
{
    struct batch_source source = {
            .sched = s->sched,
            .requests = s->options->requests,
            .vocab = s->engine->model->vocab,
            .prompts = s->options->prompts,
            .produced = (const int32_t *const *)s->produced,
            .sampling_seed = (uint64_t)s->options->workload->sampling.seed,
    };
    double limit_s = s->options->time_limit_s;
    int64_t limit_ns = limit_s > 0 ? (int64_t)(limit_s * 1e9) : INT64_MAX;

    while (!sched_idle(s->sched)) {
        meter_mark(s->meter);
        while (s->n_flying > 0 && result_there(s)) {
            take_result(s);
            show_progress(s, s->end_ns, s->n_mine);
        }
        serve_hear(s);
        int64_t now = clock_now_ns() - s->start_ns;
        if (now > limit_ns)
            s->out_of_time = true;
        if (s->out_of_time && s->n_flying == 0)
            break;
        if (send_next(s, now, &source))
            continue;
        s->meter->schedule_ns += clock_now_ns() - s->meter->mark_ns;
        int64_t wake = s->out_of_time ? INT64_MAX : sched_wake_ns(s->sched, now);
        wait_for(s, wake < limit_ns || s->out_of_time ? wake : limit_ns);
    }
}

static void follow(struct serve *s)
{
    for (;;) {
        pipe_recv_batch(s->pipe, &s->inbox);
        if (s->inbox.head->what == BATCH_STOP)
            return;
        if (s->inbox.head->what == BATCH_CACHES || s->inbox.head->what == BATCH_DROP)
            serve_move_caches(s, &s->inbox);
        else
            run_stage(s, &s->inbox);
    }
}

static void send_stop(struct serve *s)
{
    batch_build_stop(pipe_batch(s->pipe, 0));
    pipe_send_batch(s->pipe, 0);
}

static void loop(struct serve *s, int warmup_steps)
{
    if (!s->place->leader) {
        follow(s);
        return;
    }
    for (int i = 0; i < warmup_steps; i++) {
        batch_build_warmup(pipe_batch(s->pipe, 0), s->place, i % 2 == 1, s->engine->model->vocab);
        send_out(s, 0, &(struct sched_batch){.id = -1});
        take_result(s);
    }
    if (warmup_steps == 0) {
        lead(s);
        serve_leave(s);
    }
    send_stop(s);
}

void serve_warm_up(struct serve *s, int steps)
{
    if (steps > 0)
        loop(s, steps);
    meter_reset(s->meter);
}

void serve_run(struct serve *s)
{
    if (s->options->serving)
        s->options->serving(s->options->serving_self, true);
    s->start_ns = s->idle_since_ns = clock_now_ns();
    s->meter->start_ns = s->start_ns;
    loop(s, 0);
    if (!s->place->leader)
        s->end_ns = clock_now_ns() - s->start_ns;
    if (s->options->serving)
        s->options->serving(s->options->serving_self, false);
}
