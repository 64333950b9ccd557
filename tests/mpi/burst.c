/*
 * More requests than can be served: burst RANKS SECONDS OVERLOAD [JSON [TRACE]]
 *
 * Measures what the ranks serve offline, then offers OVERLOAD times that for SECONDS, with the arrivals and lengths
 * of an Azure trace (scaled down) where one is given. The queue is bounded. Then: every request was answered once
 * or refused, the answers are those of one rank without hurry and with other limits, memory did not grow, and
 * nothing of this program allocated while requests were served.
 *
 * The ranks leave what they served in a file; the process that started them, one rank, computes it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "runtime/runtime.h"
#include "tests/mpi/burst_outcome.h"
#include "tests/mpi/count_allocations.h"
#include "tests/mpi/start_ranks.h"
#include "tests/mpi/watch_memory.h"

enum {
    MAX_LEN = 768,
    BLOCK_TOKENS = 16,
    MAX_QUEUE = 24,
    CALIBRATION = 120,
    MAX_RANKS = 16
};

struct bench {
    struct arena *arena;
    struct model model;
    struct workload workload;
    struct requests pool; /* lengths and arrivals to draw from, again and again */
    struct ranks *ranks;
    struct watch_memory memory;
};

static void die(const struct err *err)
{
    fprintf(stderr, "burst: %s\n", err->text);
    exit(1);
}

/* Stages and limits: one with `stages` stages and the rest of the ranks as replicas, or tensor parallel. */
static void make_plan(
        struct plan *plan, const struct bench *b, int n_ranks, int n_stages, int tp, int max_seqs)
{
    int n = n_ranks / (n_stages * tp), rank = 0;
    int *ranks = ARENA_NEW(b->arena, int, n_ranks);

    for (int i = 0; i < n_ranks; i++)
        ranks[i] = i;
    *plan = (struct plan){.name = "burst",
            .model = b->model.name,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .block_tokens = BLOCK_TOKENS,
            .max_len = MAX_LEN,
            .deterministic = true,
            .replicas = ARENA_NEW(b->arena, struct plan_replica, n),
            .n_replicas = n,
            .n_ranks = n_ranks};
    for (int r = 0; r < n; r++) {
        struct plan_replica *replica = &plan->replicas[r];

        *replica = (struct plan_replica){.stages = ARENA_NEW(b->arena, struct plan_stage, n_stages),
                .n_stages = n_stages,
                .max_seqs = max_seqs,
                .max_tokens = 64,
                .in_flight = n_stages,
                .kv_blocks = MAX_LEN / BLOCK_TOKENS + 2 * max_seqs};
        for (int s = 0; s < n_stages; s++, rank += tp)
            replica->stages[s] =
                    (struct plan_stage){.first_layer = b->model.n_layers * s / n_stages,
                            .end_layer = b->model.n_layers * (s + 1) / n_stages,
                            .tp = tp,
                            .ep = 1,
                            .attention_dp = 1,
                            .threads = 1,
                            .kind = "core",
                            .ranks = ranks + rank,
                            .n_ranks = tp};
    }
}

static void serving(void *self, bool begins)
{
    struct watch_memory *memory = self;

    if (begins) {
        watch_memory_begin(memory);
        count_allocations(true);
    } else {
        count_allocations(false);
        watch_memory_end(memory);
    }
}

static void run(struct runtime_result *out, struct bench *b, const struct plan *plan,
        const struct requests *requests)
{
    struct err err = {0};
    struct runtime_options options = {.plan = plan,
            .model = &b->model,
            .workload = &b->workload,
            .requests = requests,
            .seed = 2,
            .keep_tokens = true,
            .serving = serving,
            .serving_self = &b->memory};

    if (!runtime_run(out, &options, b->ranks, NULL, b->arena, &err))
        die(&err);
}

static void open_bench(struct bench *b, const char *trace, struct arena *arena)
{
    struct err err = {0};
    const char *source = getenv("SOURCE_DIR");

    *b = (struct bench){.arena = arena,
            .workload = {.requests = 4096,
                    .seed = 4,
                    .arrival = {ARRIVAL_POISSON, 10},
                    .prompt = {LENGTH_LOGNORMAL, 72, 1, 600, 1.0},
                    .output = {LENGTH_LOGNORMAL, 14, 1, 60, 0.7},
                    .sampling = {.temperature = 0.8, .top_p = 0.95, .top_k = 50, .seed = 1}}};
    if (!model_read(&b->model, arena_printf(arena, "%s/models/tiny-llama.yaml", source), source,
                arena, &err))
        die(&err);
    if (trace) {
        b->workload.requests = 0;
        b->workload.arrival.process = ARRIVAL_TRACE;
        b->workload.trace.path = trace;
        b->workload.trace.time_scale = 1;
        b->workload.trace.length_scale = 1.0 / 16;
        b->workload.trace.max_prompt = 600;
        b->workload.trace.max_output = 60;
    }
    if (!workload_requests(&b->pool, &b->workload, arena, &err))
        die(&err);
}

static struct requests take(struct bench *b, int64_t n)
{
    struct requests out = {ARENA_NEW(b->arena, struct request, n), n};

    for (int64_t i = 0; i < n; i++) {
        out.items[i] = b->pool.items[i % b->pool.n];
        out.items[i].arrival_ns = 0;
        out.items[i].seed += (uint64_t)(i / b->pool.n) * 7919;
    }
    return out;
}

/* n requests over `seconds`, in the rhythm of the pool. */
static struct requests take_burst(struct bench *b, int64_t n, double seconds)
{
    struct requests out = take(b, n);
    double turn = (double)b->pool.items[b->pool.n - 1].arrival_ns + 1, span = 0;

    for (int64_t i = 0; i < n; i++) {
        int64_t turns = i / b->pool.n;
        double at = turn * (double)turns + (double)b->pool.items[i % b->pool.n].arrival_ns;

        span = at > span ? at : span;
        out.items[i].arrival_ns = (int64_t)at;
    }
    for (int64_t i = 0; i < n && span > 0; i++)
        out.items[i].arrival_ns = (int64_t)((double)out.items[i].arrival_ns / span * seconds * 1e9);
    return out;
}

/* Collective. */
static bool serve_burst(struct bench *b, double seconds, double overload, const char *path)
{
    struct outcome o = {0};
    struct plan plan;
    struct runtime_result result;
    struct requests offered = take(b, CALIBRATION);
    int n_ranks = ranks_count(b->ranks);

    make_plan(&plan, b, n_ranks, n_ranks > 1 ? 2 : 1, 1, 8);
    plan.prefix_cache = true;
    run(&result, b, &plan, &offered);
    o.capacity = result.measured.requests_per_s;
    ranks_broadcast(b->ranks, &o.capacity, sizeof o.capacity, 0);
    o.offered = (int64_t)(overload * o.capacity * seconds) + 1;
    o.offered_s = (double)o.offered / seconds;
    offered = take_burst(b, o.offered, seconds);
    b->workload.admission.max_queue = MAX_QUEUE;
    count_allocations_take();
    run(&result, b, &plan, &offered);
    o.growth_bytes = ranks_max(b->ranks, watch_memory_growth(&b->memory));
    o.slope = ranks_max(b->ranks, watch_memory_slope(&b->memory));
    o.allocations = (int64_t)ranks_max(b->ranks, (double)count_allocations_take());
    if (ranks_rank(b->ranks) != 0)
        return true;
    outcome_count(&o, &offered, &result);
    return outcome_write(fopen(path, "wb"), &o, &offered, &result);
}

/* All that was accepted, by one rank, without hurry. */
static bool check_tokens(struct outcome *o, struct bench *b, int threads, const char *path)
{
    struct plan plan;
    struct requests accepted = {0};
    struct runtime_result again;
    int32_t **answers = NULL;

    if (!outcome_read(o, &accepted, &answers, fopen(path, "rb"), b->arena))
        return false;
    make_plan(&plan, b, 1, 1, 1, 32);
    plan.replicas[0].max_tokens = 256;
    plan.replicas[0].stages[0].threads = threads;
    b->workload.admission.max_queue = 0;
    if (accepted.n > 0)
        run(&again, b, &plan, &accepted);
    for (int64_t i = 0; i < accepted.n; i++)
        o->wrong +=
                again.n_tokens[i] != accepted.items[i].output_len
                || memcmp(answers[i], again.tokens[i], sizeof(int32_t) * (size_t)again.n_tokens[i])
                           != 0;
    o->checked = accepted.n;
    return true;
}

/* On every rank. */
static bool serve(int *argc, char ***argv, const char *path)
{
    struct err err = {0};
    struct arena arena = {0};
    struct bench bench;
    const char *trace = *argc > 5 ? (*argv)[5] : NULL;
    double seconds = strtod((*argv)[2], NULL), overload = strtod((*argv)[3], NULL);
    struct ranks *ranks = ranks_open(argc, argv, &err);

    if (!ranks)
        die(&err);
    open_bench(&bench, trace, &arena);
    bench.ranks = ranks;
    bool ok = serve_burst(&bench, seconds, overload, path);
    ok = ranks_agree(ranks, ok || err_set(&err, ERR_ENV, "cannot write %s", path), &err);
    if (!ok && ranks_rank(ranks) == 0)
        fprintf(stderr, "burst: %s\n", err.text);
    ranks_close(ranks);
    arena_free(&arena);
    return ok;
}

/* In the process that started them. */
static bool check(int argc, char **argv, int threads, const char *path)
{
    struct err err = {0};
    struct arena arena = {0};
    struct bench bench;
    struct outcome outcome = {0};
    const char *json = argc > 4 && *argv[4] ? argv[4] : NULL;
    struct ranks *alone = ranks_open(&argc, &argv, &err);

    if (!alone)
        die(&err);
    open_bench(&bench, argc > 5 ? argv[5] : NULL, &arena);
    bench.ranks = alone;
    bool ok = check_tokens(&outcome, &bench, threads, path);
    if (!ok)
        fprintf(stderr, "burst: what the ranks served cannot be read from %s\n", path);
    ok = ok && outcome_judge(&outcome);
    ok = (!json || outcome_write_json(json, &outcome)) && ok;
    ranks_close(alone);
    arena_free(&arena);
    return ok;
}

int main(int argc, char **argv)
{
    int n = argc > 3 ? (int)strtol(argv[1], NULL, 10) : 0;
    char path[] = "/tmp/burst.XXXXXX";

    if (n < 1 || n > MAX_RANKS || !getenv("SOURCE_DIR")) {
        fprintf(stderr, "usage: SOURCE_DIR=... burst RANKS SECONDS OVERLOAD [JSON [TRACE]]\n");
        return 2;
    }
    log_setup(LOG_ERROR, 0);
    if (!count_allocations_works()) {
        fprintf(stderr, "burst: an allocation of this program was not counted\n");
        return 1;
    }
    if (ranks_launched())
        return !serve(&argc, &argv, getenv("BURST_SERVED"));
    int fd = mkstemp(path);
    if (fd < 0 || setenv("BURST_SERVED", path, 1) != 0)
        return 1;
    close(fd);
    int status = n == 1 ? !serve(&argc, &argv, path) : start_ranks(n, argv);
    if (status == 0)
        status = !check(argc, argv, n > 1 ? 2 : 1, path);
    remove(path);
    return status;
}
