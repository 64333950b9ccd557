/*
 * More requests than can be served: burst RANKS SECONDS OVERLOAD [JSON [TRACE]]
 *
 * Measures what the ranks serve offline, then offers OVERLOAD times that for SECONDS, with the arrivals and lengths
 * of an Azure trace (scaled down) where one is given. The queue is bounded. Then: every request was answered once
 * or refused, the answers are those that other limits and another split of the model give without hurry, memory did
 * not grow, and nothing of this program allocated while requests were served.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "runtime/host.h"
#include "runtime/runtime.h"

/* Sanitizers have their own allocators. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static atomic_bool counting;
static atomic_llong n_allocations;

#if COUNTS_ALLOCATIONS
// NOLINTBEGIN: names of the C library and the linker, which are theirs to choose
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *memory, size_t bytes);
extern char __executable_start, etext;
__attribute__((noinline)) void *malloc(size_t bytes);
__attribute__((noinline)) void *calloc(size_t n, size_t each);
__attribute__((noinline)) void *realloc(void *memory, size_t bytes);

/* MPI and the BLAS do as they like: callers inside this program count. */
static void count(const void *caller)
{
    const char *at = caller;

    if (atomic_load_explicit(&counting, memory_order_relaxed) && at >= &__executable_start
            && at < &etext)
        atomic_fetch_add(&n_allocations, 1);
}

void *malloc(size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t each)
{
    count(__builtin_return_address(0));
    return __libc_calloc(n, each);
}

void *realloc(void *memory, size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_realloc(memory, bytes);
}
// NOLINTEND
#endif

/* A counter that counts nothing would pass every test. */
static bool counter_works(void)
{
    void *volatile memory = NULL;

    atomic_store(&counting, true);
    memory = malloc(1);
    atomic_store(&counting, false);
    free(memory);
    return !COUNTS_ALLOCATIONS || atomic_exchange(&n_allocations, 0) == 1;
}

enum {
    MAX_LEN = 768,
    BLOCK_TOKENS = 16,
    MAX_QUEUE = 24,
    CALIBRATION = 120,
    CHECKED = 1500, /* accepted requests that are computed again */
    MAX_RANKS = 16
};

struct memory {
    double before, after;
};

struct bench {
    struct arena *arena;
    struct model model;
    struct workload workload;
    struct requests pool; /* lengths and arrivals to draw from, again and again */
    struct ranks *ranks;
    struct memory memory;
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
    struct memory *memory = self;

    *(begins ? &memory->before : &memory->after) = (double)host_resident_bytes();
    atomic_store(&counting, begins);
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

struct outcome {
    double capacity, offered_s, growth_bytes;
    int64_t offered, finished, refused, lost, checked, wrong, allocations;
};

/* Every so manieth accepted request once more, without hurry, by another plan. Collective. */
static void check_tokens(struct outcome *o, struct bench *b, const struct requests *offered,
        const struct runtime_result *result)
{
    bool first = ranks_rank(b->ranks) == 0;
    int n_ranks = ranks_count(b->ranks);
    unsigned char *chosen = arena_alloc(b->arena, offered->n);
    int64_t n = 0, seen = 0, every = o->finished / CHECKED + 1;
    struct plan plan;
    struct runtime_result again;

    for (int64_t i = 0; first && i < offered->n; i++)
        chosen[i] = result->records[i].outcome == REQUEST_FINISHED && seen++ % every == 0;
    ranks_broadcast(b->ranks, chosen, offered->n, 0);
    for (int64_t i = 0; i < offered->n; i++)
        n += chosen[i];
    struct requests subset = {ARENA_NEW(b->arena, struct request, n), n};
    n = 0;
    for (int64_t i = 0; i < offered->n; i++)
        if (chosen[i]) {
            subset.items[n] = offered->items[i];
            subset.items[n++].arrival_ns = 0;
        }
    b->workload.admission.max_queue = 0;
    make_plan(&plan, b, n_ranks, 1, n_ranks < 8 ? n_ranks : 1, 12);
    run(&again, b, &plan, &subset);
    n = 0;
    for (int64_t i = 0; first && i < offered->n; i++) {
        if (!chosen[i])
            continue;
        o->wrong += result->n_tokens[i] != again.n_tokens[n]
                    || memcmp(result->tokens[i], again.tokens[n],
                               sizeof(int32_t) * (size_t)again.n_tokens[n])
                               != 0;
        n++;
    }
    o->checked = n;
}

static void count_outcomes(
        struct outcome *o, const struct requests *offered, const struct runtime_result *result)
{
    for (int64_t i = 0; i < offered->n; i++) {
        const struct run_request *r = &result->records[i];
        bool whole = r->finish_ns >= 0 && result->n_tokens[i] == offered->items[i].output_len;
        bool nothing = r->finish_ns < 0 && r->first_token_ns < 0;

        if (r->outcome == REQUEST_FINISHED && whole)
            o->finished++;
        else if ((r->outcome == REQUEST_REFUSED_FULL || r->outcome == REQUEST_REFUSED_LATE)
                 && nothing)
            o->refused++;
        else
            o->lost++;
    }
}

static void serve_burst(struct outcome *o, struct bench *b, double seconds, double overload)
{
    struct plan plan;
    struct runtime_result result;
    struct requests offered = take(b, CALIBRATION);
    int n_ranks = ranks_count(b->ranks);
    double growth = 0;

    make_plan(&plan, b, n_ranks, n_ranks > 1 ? 2 : 1, 1, 8);
    plan.prefix_cache = true;
    run(&result, b, &plan, &offered);
    o->capacity = result.measured.requests_per_s;
    ranks_broadcast(b->ranks, &o->capacity, sizeof o->capacity, 0);
    o->offered = (int64_t)(overload * o->capacity * seconds) + 1;
    o->offered_s = (double)o->offered / seconds;
    offered = take_burst(b, o->offered, seconds);
    b->workload.admission.max_queue = MAX_QUEUE;
    atomic_store(&n_allocations, 0);
    run(&result, b, &plan, &offered);
    growth = b->memory.after - b->memory.before;
    o->growth_bytes = ranks_max(b->ranks, growth);
    o->allocations = (int64_t)ranks_max(b->ranks, (double)atomic_load(&n_allocations));
    if (ranks_rank(b->ranks) == 0)
        count_outcomes(o, &offered, &result);
    ranks_broadcast(b->ranks, &o->finished, sizeof o->finished, 0);
    check_tokens(o, b, &offered, &result);
}

static bool judge(const struct outcome *o)
{
    const double flat = 8 << 20;
    bool ok = o->lost == 0 && o->finished + o->refused == o->offered && o->finished > 0
              && o->refused > 0 && o->wrong == 0 && o->checked > 0 && o->allocations == 0
              && o->growth_bytes <= flat;

    printf("offered   %lld requests, %.1f a second; without hurry %.1f a second are served\n"
           "finished  %lld, refused %lld, lost or answered twice %lld\n"
           "checked   %lld of the finished, %lld with other tokens than by another plan\n"
           "memory    %+.2f MiB while serving, %s\n",
            (long long)o->offered, o->offered_s, o->capacity, (long long)o->finished,
            (long long)o->refused, (long long)o->lost, (long long)o->checked, (long long)o->wrong,
            o->growth_bytes / (1 << 20),
            COUNTS_ALLOCATIONS ? "allocations counted" : "allocations not counted in this build");
    printf("allocated %lld times while serving\n%s\n", (long long)o->allocations,
            ok ? "ok" : "FAILED");
    return ok;
}

static bool write_json(const char *path, const struct outcome *o)
{
    struct err err = {0};
    struct arena arena = {0};
    const char *text = arena_printf(&arena,
            "{\"capacity_requests_per_s\": %.6g, \"offered_requests_per_s\": %.6g, \"offered\": "
            "%lld, \"finished\": %lld, \"refused\": %lld, \"lost\": %lld, \"checked\": %lld, "
            "\"wrong\": %lld, \"memory_growth\": %.0f, \"allocations\": %lld}\n",
            o->capacity, o->offered_s, (long long)o->offered, (long long)o->finished,
            (long long)o->refused, (long long)o->lost, (long long)o->checked, (long long)o->wrong,
            o->growth_bytes, (long long)o->allocations);
    bool ok = file_write(path, text, (int64_t)strlen(text), &err);

    if (!ok)
        fprintf(stderr, "burst: %s\n", err.text);
    arena_free(&arena);
    return ok;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct arena arena = {0};
    struct bench bench;
    struct outcome outcome = {0};
    int n = argc > 3 ? (int)strtol(argv[1], NULL, 10) : 0, status = 0;
    const char *json = argc > 4 && *argv[4] ? argv[4] : NULL;

    if (n < 1 || n > MAX_RANKS || !getenv("SOURCE_DIR")) {
        fprintf(stderr, "usage: SOURCE_DIR=... burst RANKS SECONDS OVERLOAD [JSON [TRACE]]\n");
        return 2;
    }
    log_setup(LOG_ERROR, 0);
    if (!counter_works()) {
        fprintf(stderr, "burst: an allocation of this program was not counted\n");
        return 1;
    }
    if (n > 1 && !ranks_launched()) {
        if (ranks_launch(n, argv, &status, &err))
            return status;
        fprintf(stderr, "%s\n", err.text);
        return strstr(err.text, "no launcher") ? 77 : 1; /* no launcher, or a rank that died */
    }
    struct ranks *ranks = ranks_open(&argc, &argv, &err);
    if (!ranks)
        die(&err);
    open_bench(&bench, argc > 5 ? argv[5] : NULL, &arena);
    bench.ranks = ranks;
    serve_burst(&outcome, &bench, strtod(argv[2], NULL), strtod(argv[3], NULL));
    bool ok = ranks_rank(ranks) != 0 || (judge(&outcome) && (!json || write_json(json, &outcome)));
    ok = ranks_agree(ranks, ok || err_set(&err, ERR_BUG, "the burst was not served right"), &err);
    ranks_close(ranks);
    arena_free(&arena);
    return !ok;
}
