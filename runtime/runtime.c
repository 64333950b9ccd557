#include "runtime/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/sched_route.h"
#include "core/spec/cluster.h"
#include "core/str.h"
#include "kernels/dev_cuda.h"
#include "runtime/figures.h"
#include "runtime/host.h"

/* Beside a GPU. */
#define HOST_THREADS 8

const char *const run_device_names[] = {"auto", "cpu", "cuda", NULL};

/* Everything of a rank that must be closed again. */
struct rank {
    struct place place;
    struct dev *dev;
    struct weights *weights;
    struct meter meter;
    struct engine engine;
    struct pipe pipe;
    struct serve serve;
    int *route, *output_route;
    double load_s;
};

static bool check_prompt(const struct runtime_options *o, int64_t i, struct err *err)
{
    for (int64_t t = 0; o->prompts && t < o->requests->items[i].prompt_len; t++)
        if (o->prompts[i][t] < 0 || o->prompts[i][t] >= o->model->vocab)
            return err_set(err, ERR_INPUT,
                    "token %lld of prompt %lld is %d, expected 0 to %lld (the vocabulary)",
                    (long long)t, (long long)i, o->prompts[i][t], (long long)o->model->vocab - 1);
    return true;
}

static bool check_requests(const struct runtime_options *o, struct err *err)
{
    if (o->requests->n < 1)
        return err_set(err, ERR_INPUT, "the workload has no requests: nothing to run");
    for (int64_t i = 0; i < o->requests->n; i++) {
        const struct request *r = &o->requests->items[i];

        if (r->prompt_len + r->output_len > o->plan->max_len)
            return err_set(err, ERR_INPUT,
                    "request %lld has %lld prompt and %lld output tokens, the plan is for "
                    "sequences of at most %d: plan for this workload",
                    (long long)i, (long long)r->prompt_len, (long long)r->output_len,
                    o->plan->max_len);
        if (!check_prompt(o, i, err))
            return false;
    }
    return true;
}

static double rank_bytes(const struct place *place, const struct model *model)
{
    const struct plan_replica *replica = place->replica_plan;
    int64_t block =
            graph_kv_block_bytes(model, &place->split, place->piece, place->plan->block_tokens);

    return (double)graph_weight_bytes(model, &place->split, place->piece)
           + (double)graph_work_bytes(
                   model, &place->split, place->piece, replica->max_seqs, place->max_rows)
           + (double)place->kv_blocks * (double)block;
}

static bool on_gpu(const struct place *place, const struct runtime_options *o)
{
    return o->device == RUN_CUDA
           || (o->device == RUN_AS_PLANNED && place->stage_plan->device == DEVICE_CUDA);
}

/* What a rank needs, and what its host has. */
struct demand {
    double need, free;
};

/* What the ranks of each host will take against what is free there: better a sentence than a killed process. */
static bool check_memory(const struct place *place, const struct runtime_options *o,
        struct ranks *ranks, struct arena *arena, struct err *err)
{
    int n = ranks_count(ranks);
    /* A GPU says itself what it lacks. */
    struct demand mine = {
            on_gpu(place, o) ? 0 : rank_bytes(place, o->model), (double)host_free_bytes()};
    struct demand *all = ARENA_NEW(arena, struct demand, n),
                  *host = ARENA_NEW(arena, struct demand, n);
    char a[32], b[32];

    ranks_gather(ranks, &mine, sizeof mine, all, 0);
    if (ranks_rank(ranks) != 0)
        return true;
    for (int r = 0; r < n; r++) {
        host[ranks_host(ranks, r)].need += all[r].need;
        host[ranks_host(ranks, r)].free = all[r].free;
    }
    for (int r = 0; r < n; r++) {
        const struct demand *here = &host[ranks_host(ranks, r)];
        if (here->free > 0 && here->need > here->free)
            return err_set(err, ERR_ENV,
                    "the plan needs %s on %s, %s are free: end other programs, or plan with "
                    "fewer kv_blocks or a smaller dtype",
                    str_show_bytes(a, here->need),
                    ranks_hosts(ranks) > 1 ? ranks_host_name(ranks, r) : "this host",
                    str_show_bytes(b, here->free));
    }
    return true;
}

/* Ranks of one machine of the plan share memory and caches: they must have been started on one host. */
static bool check_hosts(const struct plan *plan, struct ranks *ranks, struct err *err)
{
    for (int r = 1; r < ranks_count(ranks); r++) {
        for (int other = 0; other < r; other++) {
            bool planned = plan_machine(plan, r) == plan_machine(plan, other);
            bool together = ranks_host(ranks, r) == ranks_host(ranks, other);
            if (planned && !together)
                return err_set(err, ERR_INPUT,
                        "ranks %d and %d belong on one machine by the plan and were started on %s "
                        "and %s: start as many ranks on each host as the plan does, in order "
                        "(srun --distribution=block --ntasks-per-node=N), or leave starting them "
                        "to this program",
                        other, r, ranks_host_name(ranks, other), ranks_host_name(ranks, r));
            if (!planned && together && ranks_rank(ranks) == 0 && other == 0)
                log_line(LOG_WARN, "ranks %d and %d run on %s, the plan is for two machines", other,
                        r, ranks_host_name(ranks, r));
        }
    }
    return true;
}

/* Pinned by who is here in fact. */
static void find_cpus(struct place *place, struct ranks *ranks, struct arena *arena)
{
    int *host_of = ARENA_NEW(arena, int, ranks_count(ranks));

    for (int r = 0; r < ranks_count(ranks); r++)
        host_of[r] = ranks_host(ranks, r);
    place->first_cpu = place_first_cpu(place->plan, place->rank, host_of);
    place->host_threads = place_host_threads(place->plan, place->rank, host_of);
}

static bool open_weights(struct rank *r, const struct runtime_options *o, struct err *err)
{
    r->weights = o->weights
                         ? weights_open(o->model, o->weights, err)
                         : weights_open_random(o->model, o->seed, (enum dtype)o->plan->dtype, err);
    return r->weights != NULL;
}

/* The GPUs of a host are dealt out in order of rank; where there are fewer, ranks share them. */
static bool choose_gpu(struct dev_options *out, struct ranks *ranks, struct err *err)
{
    int n = 0, before = 0, here = 0, rank = ranks_rank(ranks);

    if (!dev_cuda_count(&n, err))
        return false;
    if (n == 0)
        return err_set(err, ERR_ENV,
                "the plan runs on GPUs and there is none here: run it on CPUs with --device cpu");
    for (int r = 0; r < ranks_count(ranks); r++) {
        bool together = ranks_host(ranks, r) == ranks_host(ranks, rank);
        here += together;
        before += together && r < rank;
    }
    /* NCCL takes two ranks on one GPU for a mistake, unless they seem to be on two hosts. */
    char host[32];
    snprintf(host, sizeof host, "shardwright-%d", rank);
    if (here > n)
        setenv("NCCL_HOSTID", host, 0);
    out->gpu = true;
    out->gpu_index = before % n;
    /* Threads of the host only make weights and draw tokens. */
    out->threads = HOST_THREADS;
    out->first_cpu = -1;
    return true;
}

/* --isa is for all stages. */
static bool open_device(
        struct rank *r, const struct runtime_options *o, struct ranks *ranks, struct err *err)
{
    const struct plan_stage *stage = r->place.stage_plan;
    bool planned = o->isa == ISA_AUTO && stage->isa != ISA_AUTO;
    struct err why = {0};
    struct dev_options options = {
            .threads = r->place.split.threads,
            .first_cpu = r->place.first_cpu,
            .isa = planned ? (enum dev_isa)stage->isa : o->isa,
            .deterministic = o->plan->deterministic,
            .algorithms = o->algorithms,
    };

    if (on_gpu(&r->place, o) && !choose_gpu(&options, ranks, err))
        return false;
    r->dev = dev_host_open(&options, &why);
    if (!r->dev && planned)
        return err_at(err, stage->pos, "rank %d: %s", r->place.rank, why.text);
    if (!r->dev)
        *err = why;
    return r->dev != NULL;
}

/* Upper bound of a replica's steps, within reason: what is beyond is not kept one by one. */
static int64_t step_bound(const struct runtime_options *o)
{
    int64_t steps = 1024;

    for (int64_t i = 0; i < o->requests->n && steps < 1 << 18; i++)
        steps += 2 * o->requests->items[i].output_len + o->requests->items[i].prompt_len;
    return steps < 1 << 18 ? steps : 1 << 18;
}

static bool open_engine(
        struct rank *r, const struct runtime_options *o, struct arena *arena, struct err *err)
{
    struct engine_options options = {.model = o->model,
            .workload = o->workload,
            .weights = r->weights,
            .dev = r->dev,
            .meter = &r->meter,
            .keep_logits = o->keep_logits,
            .trace = o->trace_events > 0};
    int64_t began = clock_now_ns();

    if (!meter_open(&r->meter, step_bound(o), o->trace_events, err)
            || !engine_open(&r->engine, &r->place, &options, arena, err))
        return false;
    r->load_s = (double)(clock_now_ns() - began) * 1e-9;
    return true;
}

/* Each line is a phase in which any rank may fail; then all stop with the first failure. */
static bool open_rank(struct rank *r, const struct runtime_options *o, struct ranks *ranks,
        struct arena *arena, struct err *err)
{
    int rank = ranks_rank(ranks), n = ranks_count(ranks);
    bool found = check_requests(o, err) && place_find(&r->place, o->plan, o->model, rank, n, err)
                 && check_hosts(o->plan, ranks, err)
                 && place_experts(&r->place, o->model, o->experts, err);

    if (!ranks_agree(ranks, found, err) || !found)
        return false;
    find_cpus(&r->place, ranks, arena);
    ranks_phase(ranks, "loading the weights");
    if (!ranks_agree(ranks, check_memory(&r->place, o, ranks, arena, err), err)
            || !ranks_agree(ranks, open_weights(r, o, err) && open_device(r, o, ranks, err), err)
            || !ranks_agree(ranks, open_engine(r, o, arena, err), err)
            || !ranks_agree(ranks, place_connect(&r->place, arena, err), err))
        return false;
    weights_close(r->weights);
    r->weights = NULL;
    r->route = ARENA_NEW(arena, int, o->requests->n);
    route_requests(r->route, o->requests, o->plan);
    r->output_route = ARENA_NEW(arena, int, o->requests->n);
    route_outputs(r->output_route, o->requests, o->plan, r->route);
    r->serve = (struct serve){.ranks = ranks, .route = r->route, .output_route = r->output_route};
    bool opened = pipe_open(&r->pipe, &r->place, arena, err)
                  && serve_open(&r->serve, o, &r->engine, &r->pipe, arena, err);
    return ranks_agree(ranks, opened, err);
}

static void close_rank(struct rank *r)
{
    serve_close(&r->serve);
    if (r->pipe.place)
        pipe_close(&r->pipe);
    engine_close(&r->engine);
    place_disconnect(&r->place);
    meter_close(&r->meter);
    if (r->weights)
        weights_close(r->weights);
    if (r->dev)
        dev_close(r->dev);
}

static bool emit(const struct runtime_result *out, const struct collected *from,
        const struct measure_sink *sink, struct err *err)
{
    for (int64_t i = 0; sink->figure && i < out->n_figures; i++)
        if (!sink->figure(sink->self, &out->figures[i], err))
            return false;
    for (int64_t i = 0; sink->request && i < out->n_requests; i++)
        if (from->records[i].finish_ns >= 0 && !sink->request(sink->self, &from->records[i], err))
            return false;
    for (int r = 0; sink->step && r < from->n_ranks; r++)
        for (int64_t i = 0; from->ranks[r].report.index == 0 && i < from->ranks[r].report.n_steps;
                i++)
            if (!sink->step(sink->self, &from->ranks[r].steps[i], err))
                return false;
    return true;
}

static void *kept(const void *from, int64_t n, int64_t each, struct arena *arena)
{
    void *copy = arena_alloc(arena, n * each + 1);

    if (n > 0)
        memcpy(copy, from, (size_t)(n * each));
    return copy;
}

/* The meter of this rank is closed before the trace is read. */
static void keep_trace(
        struct runtime_result *out, const struct collected *from, struct arena *arena)
{
    out->n_trace = from->n_ranks;
    out->trace = ARENA_NEW(arena, struct rank_trace, from->n_ranks);
    for (int r = 0; r < from->n_ranks; r++) {
        const struct rank_data *data = &from->ranks[r];

        out->trace[r] = (struct rank_trace){
                .rank = data->report.rank,
                .replica = data->report.replica,
                .stage = data->report.stage,
                .index = data->report.index,
                .steps = kept(data->steps, data->report.n_steps, sizeof *data->steps, arena),
                .n_steps = data->report.n_steps,
                .events = kept(data->events, data->report.n_events, sizeof *data->events, arena),
                .n_events = data->report.n_events,
                .events_lost = data->report.events_dropped,
        };
    }
}

static bool finish_result(struct runtime_result *out, const struct collected *from,
        const struct runtime_options *o, const struct measure_sink *sink, struct arena *arena,
        struct err *err)
{
    bool in_time = true;

    figures_of(out, from, o, arena);
    out->records = from->records;
    if (o->trace_events > 0)
        keep_trace(out, from, arena);
    if (o->keep_tokens) {
        out->tokens = from->tokens;
        out->n_tokens = ARENA_NEW(arena, int64_t, out->n_requests);
        for (int64_t i = 0; i < out->n_requests; i++)
            out->n_tokens[i] = from->records[i].output_len;
    }
    out->logits = from->logits;
    for (int r = 0; r < from->n_ranks; r++)
        in_time = in_time && !from->ranks[r].report.out_of_time;
    if (sink && !emit(out, from, sink, err))
        return false;
    return in_time
           || err_set(err, ERR_ENV,
                   "time was up after %g s with %lld of %lld requests done: the figures are of "
                   "those; raise --time-limit for the rest",
                   o->time_limit_s, (long long)out->n_finished, (long long)out->n_requests);
}

bool runtime_run(struct runtime_result *out, const struct runtime_options *options,
        struct ranks *ranks, const struct measure_sink *sink, struct arena *arena, struct err *err)
{
    struct rank r = {0};
    struct collected collected = {0};
    bool ok = false;
    int warmup = options->warmup_steps == 0 ? 4 : options->warmup_steps;

    *out = (struct runtime_result){0};
    if (!open_rank(&r, options, ranks, arena, err))
        goto done;
    if (ranks_rank(ranks) == 0)
        log_line(LOG_INFO, "loaded %.2f GiB in %.1f s", (double)r.engine.weights.bytes / 0x1p30,
                r.load_s);
    ranks_phase(ranks, "warming up");
    serve_warm_up(&r.serve, warmup);
    ranks_barrier(ranks);
    coll_barrier(r.place.replica_coll);
    ranks_phase(ranks, "serving");
    serve_run(&r.serve);
    ranks_phase(ranks, "collecting results");
    ranks_barrier(ranks);
    collect_all(&collected, &r.serve, r.load_s, ranks, arena);
    ok = ranks_rank(ranks) != 0 || finish_result(out, &collected, options, sink, arena, err);
    ok = ranks_agree(ranks, ok, err);
done:
    close_rank(&r);
    return ok;
}
