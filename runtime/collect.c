#include "runtime/collect.h"

#include <string.h>

#include "runtime/host.h"

enum tag {
    TAG_REPORT = 100,
    TAG_USES,
    TAG_STEPS,
    TAG_EVENTS,
    TAG_RECORDS,
    TAG_TOKENS,
    TAG_LOGITS
};

static void fill_report(struct rank_report *out, const struct serve *serve, double load_s)
{
    const struct meter *meter = serve->meter;
    bool lead = serve->place->index == 0;
    bool steps = lead || meter->events;

    *out = (struct rank_report){
            .rank = serve->place->rank,
            .replica = serve->place->replica,
            .stage = serve->place->stage,
            .index = serve->place->index,
            .weight_bytes = serve->engine->weights.bytes,
            .kv_bytes = serve->engine->cache.bytes,
            .work_bytes = serve->engine->work_bytes,
            .rss_bytes = host_resident_bytes(),
            .load_s = load_s,
            .end_ns = serve->end_ns,
            .busy_ns = meter->busy_ns,
            .wait_ns = meter->wait_ns,
            .schedule_ns = meter->schedule_ns,
            .starved_ns = meter->starved_ns,
            .n_uses = lead ? meter->n_uses : 0,
            .metering_ns = meter_own_ns(meter),
            .n_steps = !steps                              ? 0
                       : meter->n_steps < meter->cap_steps ? meter->n_steps
                                                           : meter->cap_steps,
            .out_of_time = serve->out_of_time,
    };
    out->steps_dropped = steps ? meter->n_steps - out->n_steps : 0;
    out->n_events = meter->n_events < meter->cap_events ? meter->n_events : meter->cap_events;
    out->events_dropped = meter->n_events - out->n_events;
    memcpy(out->kind_ns, meter->kind_ns, sizeof out->kind_ns);
    memcpy(out->kind_count, meter->kind_count, sizeof out->kind_count);
    memcpy(out->lost_ns, meter->lost_ns, sizeof out->lost_ns);
}

static void send_data(struct ranks *ranks, const struct rank_data *data)
{
    const struct rank_report *report = &data->report;

    ranks_send(ranks, report, sizeof *report, 0, TAG_REPORT);
    if (report->n_uses > 0)
        ranks_send(ranks, data->uses, report->n_uses * (int64_t)sizeof *data->uses, 0, TAG_USES);
    if (report->n_steps > 0)
        ranks_send(
                ranks, data->steps, report->n_steps * (int64_t)sizeof *data->steps, 0, TAG_STEPS);
    if (report->n_events > 0)
        ranks_send(ranks, data->events, report->n_events * (int64_t)sizeof *data->events, 0,
                TAG_EVENTS);
}

static void recv_data(struct ranks *ranks, struct rank_data *data, int from, struct arena *arena)
{
    struct rank_report *report = &data->report;

    ranks_recv(ranks, report, sizeof *report, from, TAG_REPORT);
    data->uses = ARENA_NEW(arena, struct meter_use, report->n_uses);
    data->steps = ARENA_NEW(arena, struct run_step, report->n_steps);
    data->events = ARENA_NEW(arena, struct run_event, report->n_events);
    if (report->n_uses > 0)
        ranks_recv(ranks, data->uses, report->n_uses * (int64_t)sizeof *data->uses, from, TAG_USES);
    if (report->n_steps > 0)
        ranks_recv(ranks, data->steps, report->n_steps * (int64_t)sizeof *data->steps, from,
                TAG_STEPS);
    if (report->n_events > 0)
        ranks_recv(ranks, data->events, report->n_events * (int64_t)sizeof *data->events, from,
                TAG_EVENTS);
}

/* Requests of a replica, from its leader; rank 0 knows which those are. What a decode replica has of a request is
 * the last word on it, unless none of it came there. */
static void move_requests(struct collected *out, const struct serve *serve, int replica, int leader,
        struct ranks *ranks, struct arena *arena)
{
    const struct requests *requests = serve->options->requests;
    bool decode = serve->place->plan->replicas[replica].role == ROLE_DECODE;
    const int *route = decode ? serve->output_route : serve->route;
    bool sends = ranks_rank(ranks) == leader;

    for (int64_t i = 0; i < requests->n; i++) {
        int64_t bytes = requests->items[i].output_len * (int64_t)sizeof(int32_t);

        struct run_request record = {0};
        int32_t *tokens = NULL;

        if (route[i] != replica)
            continue;
        if (ranks_rank(ranks) == leader) {
            record = serve->records[i];
            tokens = serve->produced[i];
        }
        if (sends && leader != 0) {
            ranks_send(ranks, &record, sizeof record, 0, TAG_RECORDS);
            ranks_send(ranks, tokens, bytes, 0, TAG_TOKENS);
            continue;
        }
        if (leader != 0) {
            tokens = ARENA_NEW(arena, int32_t, requests->items[i].output_len);
            ranks_recv(ranks, &record, sizeof record, leader, TAG_RECORDS);
            ranks_recv(ranks, tokens, bytes, leader, TAG_TOKENS);
        }
        if (decode && record.output_len == 0)
            continue;
        if (decode) { /* the prompt's was reused before */
            record.reused_tokens += out->records[i].reused_tokens;
            record.preemptions += out->records[i].preemptions;
        }
        out->records[i] = record;
        out->tokens[i] = tokens;
    }
}

/* Whoever ended sequences has their logits: first which request, -1 at the end, then its rows. */
static void send_logits(const struct serve *serve, struct ranks *ranks)
{
    const struct requests *requests = serve->options->requests;

    for (int64_t i = 0; i <= requests->n; i++) {
        int64_t request = i < requests->n ? i : -1;

        if (request >= 0 && !(serve->logits && serve->logits[request]))
            continue;
        ranks_send(ranks, &request, sizeof request, 0, TAG_LOGITS);
        if (request >= 0)
            ranks_send(ranks, serve->logits[request],
                    requests->items[request].output_len * serve->engine->model->vocab
                            * (int64_t)sizeof(float),
                    0, TAG_LOGITS);
    }
}

static void recv_logits(struct collected *out, const struct serve *serve, int from,
        struct ranks *ranks, struct arena *arena)
{
    const struct requests *requests = serve->options->requests;
    int64_t vocab = serve->engine->model->vocab;

    for (;;) {
        int64_t request = -1;

        ranks_recv(ranks, &request, sizeof request, from, TAG_LOGITS);
        if (request < 0)
            return;
        int64_t n = requests->items[request].output_len * vocab;
        float *rows = ARENA_NEW(arena, float, n);
        ranks_recv(ranks, rows, n * (int64_t)sizeof(float), from, TAG_LOGITS);
        /* Who did not make a row has zeros there: prefill and decode replicas each have some. */
        for (int64_t k = 0; out->logits[request] && k < n; k++)
            rows[k] += out->logits[request][k];
        out->logits[request] = rows;
    }
}

static void collect_logits(
        struct collected *out, const struct serve *serve, struct ranks *ranks, struct arena *arena)
{
    const struct requests *requests = serve->options->requests;
    int64_t vocab = serve->engine->model->vocab;

    if (ranks_rank(ranks) != 0) {
        send_logits(serve, ranks);
        return;
    }
    out->logits = ARENA_NEW(arena, float *, requests->n);
    for (int64_t i = 0; serve->logits && i < requests->n; i++) {
        int64_t n = requests->items[i].output_len * vocab;

        if (!serve->logits[i])
            continue;
        out->logits[i] = ARENA_NEW(arena, float, n);
        memcpy(out->logits[i], serve->logits[i], (size_t)n * sizeof(float));
    }
    for (int from = 1; from < ranks_count(ranks); from++)
        recv_logits(out, serve, from, ranks, arena);
}

void collect_all(struct collected *out, struct serve *serve, double load_s, struct ranks *ranks,
        struct arena *arena)
{
    const struct plan *plan = serve->place->plan;
    const struct requests *requests = serve->options->requests;
    int rank = ranks_rank(ranks);
    struct rank_data own = {.uses = serve->meter->uses,
            .steps = serve->meter->steps,
            .events = serve->meter->events};

    *out = (struct collected){.n_ranks = ranks_count(ranks)};
    meter_finish(serve->meter);
    fill_report(&own.report, serve, load_s);
    if (rank != 0) {
        send_data(ranks, &own);
    } else {
        out->ranks = ARENA_NEW(arena, struct rank_data, out->n_ranks);
        out->records = ARENA_NEW(arena, struct run_request, requests->n);
        out->tokens = ARENA_NEW(arena, int32_t *, requests->n);
        out->ranks[0] = own;
        for (int from = 1; from < out->n_ranks; from++)
            recv_data(ranks, &out->ranks[from], from, arena);
    }
    for (int decode = 0; decode < 2; decode++)
        for (int r = 0; r < plan->n_replicas; r++) {
            int leader = plan->replicas[r].stages[0].ranks[0];

            if ((plan->replicas[r].role == ROLE_DECODE) == decode && (rank == 0 || rank == leader))
                move_requests(out, serve, r, leader, ranks, arena);
        }
    if (serve->options->keep_logits)
        collect_logits(out, serve, ranks, arena);
}
