/*
 * Steps of the real engine, one rank: rows go through engine_prepare and engine_run as in a run, without
 * scheduler and messages.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine.h"
#include "tests/bench/runtime_bench.h"

enum {
    PROMPT = 512,
    MOST_BATCH = 32,
    BLOCK_TOKENS = 16,
    MOST_OPS = 64
};
static const int batches[] = {1, 8, 32};
#define BATCHES 3

struct subject {
    const struct model *model;
    enum dtype dtype;
    struct arena arena;
    struct plan plan;
    struct plan_replica replica;
    struct plan_stage stage;
    int rank0;
    int blocks_each; /* of a sequence that decodes */
    struct place places[BENCH_THREADS];
    struct dev *devs[BENCH_THREADS];
    struct engine engines[BENCH_THREADS]; /* the same memory */
    struct meter meter;
    struct batch batch;
};

static void key_of(char *key, const char *what, const char *model, enum dtype dtype, int threads)
{
    snprintf(key, 80, "%s.%s.%s.t%d", what, model, dtype_names[dtype], threads);
}

static bool wants(const struct bench *b, const char *what, const char *model, enum dtype dtype,
        int threads, int batch)
{
    char key[96], ratio[112];

    key_of(key, what, model, dtype, threads);
    if (batch > 0)
        snprintf(key + strlen(key), 16, ".b%d", batch);
    snprintf(ratio, sizeof ratio, "ratio.%s", key);
    return bench_wants(b, key) || bench_wants(b, ratio);
}

bool subject_wanted(const struct bench *b, const char *model, enum dtype dtype)
{
    for (int t = 1; t <= BENCH_THREADS; t++) {
        if (wants(b, "prefill", model, dtype, t, 0))
            return true;
        for (int i = 0; i < BATCHES; i++)
            if (wants(b, "decode", model, dtype, t, batches[i]))
                return true;
    }
    return false;
}

static void make_plan(struct subject *s, const struct bench *b)
{
    s->blocks_each = (b->context + b->steps) / BLOCK_TOKENS + 1;
    int blocks = s->blocks_each * MOST_BATCH;
    if (blocks < PROMPT / BLOCK_TOKENS)
        blocks = PROMPT / BLOCK_TOKENS;
    s->stage = (struct plan_stage){.end_layer = s->model->n_layers,
            .tp = 1,
            .ep = 1,
            .attention_dp = 1,
            .threads = BENCH_THREADS,
            .ranks = &s->rank0,
            .n_ranks = 1};
    s->replica = (struct plan_replica){.stages = &s->stage,
            .n_stages = 1,
            .max_seqs = MOST_BATCH,
            .max_tokens = PROMPT,
            .in_flight = 1,
            .kv_blocks = blocks};
    s->plan = (struct plan){.dtype = (int)s->dtype,
            .kv_dtype = (int)s->dtype,
            .block_tokens = BLOCK_TOKENS,
            .max_len = PROMPT,
            .replicas = &s->replica,
            .n_replicas = 1,
            .n_ranks = 1};
}

struct subject *subject_open(const struct bench *b, const struct model *model, const char *path,
        enum dtype dtype, struct err *err)
{
    static const struct workload greedy = {0};
    const int most = BENCH_THREADS - 1;
    struct subject *s = calloc(1, sizeof *s);
    struct weights *weights = NULL;
    bool ok = false;

    if (!s) {
        err_set(err, ERR_ENV, "no memory");
        return NULL;
    }
    s->model = model;
    s->dtype = dtype;
    make_plan(s, b);
    weights = path ? weights_open(model, path, err) : weights_open_random(model, 1, dtype, err);
    if (!weights || !place_find(&s->places[most], &s->plan, model, 0, 1, err)
            || !place_connect(&s->places[most], &s->arena, err) || !meter_open(&s->meter, 1, 0, err)
            || !batch_alloc(&s->batch, &s->places[most], err))
        goto done;
    for (int t = 0; t < BENCH_THREADS; t++) {
        s->devs[t] = dev_host_open(&(struct dev_options){.threads = t + 1}, err);
        if (!s->devs[t])
            goto done;
    }
    if (!engine_open(&s->engines[most], &s->places[most],
                &(struct engine_options){model, &greedy, weights, s->devs[most], &s->meter, false},
                &s->arena, err))
        goto done;
    for (int t = 0; t < most; t++) {
        s->places[t] = s->places[most];
        s->places[t].split.threads = t + 1;
        s->engines[t] = s->engines[most];
        s->engines[t].place = &s->places[t];
        s->engines[t].dev = s->devs[t];
    }
    ok = true;
done:
    if (weights)
        weights_close(weights);
    if (ok)
        return s;
    subject_close(s);
    return NULL;
}

void subject_close(struct subject *s)
{
    if (!s)
        return;
    engine_close(&s->engines[BENCH_THREADS - 1]);
    batch_free(&s->batch);
    meter_close(&s->meter);
    for (int t = 0; t < BENCH_THREADS; t++)
        dev_close(s->devs[t]);
    place_disconnect(&s->places[BENCH_THREADS - 1]);
    arena_free(&s->arena);
    free(s);
}

/* One step: n sequences with `tokens` new positions each from `start` on. */
static void step(struct subject *s, int threads, int n, int start, int tokens)
{
    struct batch *batch = &s->batch;
    int blocks = (start + tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS;

    *batch->head =
            (struct batch_head){.n_items = n, .n_tokens = n * tokens, .n_blocks = n * blocks};
    batch_locate(batch);
    for (int i = 0; i < n; i++) {
        batch->items[i] = (struct batch_item){.start = start,
                .n_tokens = tokens,
                .n_blocks = blocks,
                .decode = tokens == 1,
                .samples = 1};
        for (int j = 0; j < blocks; j++)
            batch->blocks[i * blocks + j] = i * s->blocks_each + j;
    }
    for (int i = 0; i < n * tokens; i++)
        batch->tokens[i] = (int32_t)((i * INT64_C(2654435761) + start) % s->model->vocab);
    engine_prepare(&s->engines[threads - 1], batch);
    engine_run(&s->engines[threads - 1]);
}

/* FLOP of the products of a step, as graph.h lists them. */
static double gemm_flop(const struct subject *s, int rows, int logits_rows)
{
    struct graph_op ops[MOST_OPS];
    struct seq_shape seq = {rows, rows}; /* of attention, which is no product */
    struct step_shape shape = {
            .tokens = rows, .prefill = &seq, .n_prefill = 1, .logits_rows = logits_rows};
    const struct place *place = &s->places[0];
    int n = graph_step(ops, MOST_OPS, s->model, &place->split, place->piece, &shape);
    double flop = 0;

    for (int i = 0; i < n && i < MOST_OPS; i++)
        if (ops[i].op.kind == OP_GEMM || ops[i].op.kind == OP_LM_HEAD
                || ops[i].op.kind == OP_EXPERT_GEMM)
            flop += op_flop(&ops[i].op) * (double)ops[i].count;
    return flop;
}

/* Bytes that a decode step of one dense sequence must read: weights but for the embedding, and the cache. */
static double touched_bytes(const struct subject *s, double positions)
{
    const struct engine *e = &s->engines[0];
    int64_t end[WEIGHT_COUNT];
    double cache =
            (double)graph_kv_block_bytes(s->model, &e->place->split, e->place->piece, BLOCK_TOKENS)
            / BLOCK_TOKENS;

    graph_end_weights(end, s->model, &e->place->split, e->place->piece);
    double weights = (double)e->weights.bytes;
    if (end[WEIGHT_LM_HEAD] > 0) /* a tied one is the embedding */
        weights -= (double)end[WEIGHT_EMBEDDING];
    return weights + cache * positions;
}

/* What a widely used CPU runtime reaches on this kind of machine with 1.1 B parameters, quiet. */
static double peer(const struct subject *s, bool prefill, int threads)
{
    static const double prefills[][2] = {
            {32, 63.0}, {28, 55.1}, {44, 84.3}}; /* by dtype, threads */
    static const double decodes[][2] = {{4.5, 7.8}, {7.2, 11.9}, {8.4, 13.8}};

    if (strcmp(s->model->name, "llama-1b") != 0)
        return (double)NAN;
    return (prefill ? prefills : decodes)[s->dtype][threads - 1];
}

/* Since the meter was reset. */
static void print_ops(const struct subject *s, const struct bench *b, const char *key)
{
    const struct meter *m = &s->meter;
    int64_t all = 0;

    if (!b->ops)
        return;
    for (int kind = 0; kind < OP_KIND_COUNT; kind++)
        all += m->kind_ns[kind];
    printf("%s:", key);
    for (int kind = 0; kind < OP_KIND_COUNT; kind++)
        if (m->kind_count[kind] > 0)
            printf(" %s %.1f %% (%.1f us each)", op_kind_names[kind],
                    100 * (double)m->kind_ns[kind] / (double)all,
                    (double)m->kind_ns[kind] / (double)m->kind_count[kind] * 1e-3);
    printf("\n");
}

static void limit(char key[80], const char *what, int threads)
{
    snprintf(key, 80, "limit.%s.t%d", what, threads);
}

static void measure_prefill(struct subject *s, struct bench *b, int threads)
{
    char key[80], of[80];

    if (!wants(b, "prefill", s->model->name, s->dtype, threads, 0))
        return;
    meter_reset(&s->meter);
    double start = bench_now();
    step(s, threads, 1, 0, PROMPT);
    double seconds = bench_now() - start, rate = gemm_flop(s, PROMPT, 1) / seconds;
    key_of(key, "prefill", s->model->name, s->dtype, threads);
    bench_add(b, key, "tokens/s", peer(s, true, threads), PROMPT / seconds);
    print_ops(s, b, key);
    limit(of, "gemm", threads);
    key_of(key, "ratio.prefill_gemm", s->model->name, s->dtype, threads);
    bench_add(b, key, "fraction", 0.9, rate / bench_last(b, of));
    limit(of, "fma", threads);
    key_of(key, "ratio.prefill_fma", s->model->name, s->dtype, threads);
    bench_add(b, key, "fraction", 0.9, rate / bench_last(b, of));
}

static void measure_decode(struct subject *s, struct bench *b, int threads, int batch)
{
    char key[80], of[80];

    if (!wants(b, "decode", s->model->name, s->dtype, threads, batch))
        return;
    int steps = batch == 1 ? b->steps : (b->steps + 3) / 4;
    step(s, threads, batch, b->context, 1);
    meter_reset(&s->meter);
    double start = bench_now();
    for (int i = 0; i < steps; i++)
        step(s, threads, batch, b->context + i, 1);
    double seconds = (bench_now() - start) / steps;
    key_of(key, "decode", s->model->name, s->dtype, threads);
    snprintf(key + strlen(key), 16, ".b%d", batch);
    bench_add(b, key, "tokens/s", batch == 1 ? peer(s, false, threads) : (double)NAN,
            batch / seconds);
    print_ops(s, b, key);
    if (batch == 1 && s->model->moe.n == 0) {
        limit(of, "read", threads);
        key_of(key, "ratio.decode_bandwidth", s->model->name, s->dtype, threads);
        bench_add(b, key, "fraction", 0.85,
                touched_bytes(s, b->context + (b->steps - 1) / 2.0 + 1) / seconds
                        / bench_last(b, of));
        return;
    }
    if (batch > 1) {
        limit(of, "fma", threads);
        key_of(key, "ratio.decode_fma", s->model->name, s->dtype, threads);
        snprintf(key + strlen(key), 16, ".b%d", batch);
        bench_add(b, key, "fraction", (double)NAN,
                gemm_flop(s, batch, batch) / seconds / bench_last(b, of));
    }
    key_of(of, "decode", s->model->name, s->dtype, threads);
    snprintf(of + strlen(of), 16, ".b1");
    key_of(key, batch == 8 ? "ratio.batch8" : "ratio.batch32", s->model->name, s->dtype, threads);
    if (batch > 1 && !isnan(bench_last(b, of)))
        bench_add(b, key, "times", batch / 4.0 < 4 ? 4 : 8, batch / seconds / bench_last(b, of));
}

void subject_measure(struct subject *s, struct bench *b)
{
    for (int threads = 1; threads <= BENCH_THREADS; threads++) {
        measure_prefill(s, b, threads);
        for (int i = 0; i < BATCHES; i++)
            measure_decode(s, b, threads, batches[i]);
    }
}
