/*
 * A made-up database through the stores: two models, seven plans of two runs each, a run that was killed,
 * costs, checks. Names in it try to break out of HTML.
 */
#ifndef TESTS_UNIT_REPORT_SAMPLE_H
#define TESTS_UNIT_REPORT_SAMPLE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/check_store.h"
#include "db/profile_store.h"
#include "db/run_store.h"

/* Between -1 and 1, the same for the same number. */
static double noise(uint64_t i)
{
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ (i >> 29)) * 0xbf58476d1ce4e5b9u;
    return (double)(i >> 11) / 4503599627370496.0 - 1;
}

static void must(bool ok, const struct err *err)
{
    if (!ok) {
        fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
}

struct shape {
    int dp, tp, pp, ep, adp, threads;
    int split; /* layers of the first of two stages */
    double tokens_per_s, ttft_us, tpot_us;
    const char *bottleneck;
};

static void fill_stage(struct plan_stage *out, const struct shape *shape, int stage, int first_rank,
        struct arena *arena)
{
    const int n = shape->tp * shape->adp;
    const int64_t parts = (int64_t)shape->pp * shape->tp;
    int *ranks = ARENA_NEW(arena, int, n);
    for (int i = 0; i < n; i++)
        ranks[i] = first_rank + i;
    *out = (struct plan_stage){.first_layer = stage == 0 ? 0 : shape->split,
            .end_layer = stage + 1 < shape->pp ? shape->split : 28,
            .tp = shape->tp,
            .ep = shape->ep,
            .attention_dp = shape->adp,
            .threads = shape->threads,
            .kind = "cpu",
            .ranks = ranks,
            .n_ranks = n,
            .weight_bytes = 1200000000 / parts,
            .kv_bytes = 230000000 / parts,
            .work_bytes = (int64_t)61234567 / shape->tp,
            .step_us = shape->tpot_us / shape->pp};
}

static void fill_replicas(struct plan *plan, const struct shape *shape, struct arena *arena)
{
    plan->n_replicas = shape->dp;
    plan->replicas = ARENA_NEW(arena, struct plan_replica, shape->dp);
    for (int r = 0; r < shape->dp; r++) {
        struct plan_replica *replica = &plan->replicas[r];
        *replica = (struct plan_replica){.n_stages = shape->pp,
                .max_seqs = 16,
                .max_tokens = 256,
                .in_flight = shape->pp,
                .kv_blocks = 512,
                .stages = ARENA_NEW(arena, struct plan_stage, shape->pp)};
        for (int s = 0; s < shape->pp; s++) {
            fill_stage(&replica->stages[s], shape, s, plan->n_ranks, arena);
            plan->n_ranks += replica->stages[s].n_ranks;
        }
    }
}

static void fill_runners_up(struct plan *plan, const struct shape *shape, struct arena *arena)
{
    plan->n_runners_up = 5;
    plan->runners_up = ARENA_NEW(arena, struct plan_runner_up, 5);
    for (int i = 0; i < 5; i++)
        plan->runners_up[i] = (struct plan_runner_up){
                .what = arena_printf(arena, "tp=%d pp=%d dp=1 ep=1 adp=1 threads=1 max_seqs=%d",
                        1 + i % 2, 1 + (i + 1) % 2, 8 << (i % 3)),
                .output_tokens_per_s = shape->tokens_per_s * (0.97 - 0.06 * i),
                .ttft_p50_us = shape->ttft_us * (0.8 + 0.15 * i),
                .tpot_p50_us = shape->tpot_us * (1.1 - 0.07 * i),
                .memory_bytes = 800000000 + 90000000LL * i,
                .loses_frac = 0.03 + 0.06 * i,
                .why = i % 2 ? "an all-reduce in every layer" : "the second stage waits"};
}

static void fill_plan(struct plan *plan, const struct shape *shape, const char *model, bool chosen,
        struct arena *arena)
{
    const double off = 1 + 0.06 * noise((uint64_t)(shape->tokens_per_s * 10));
    *plan = (struct plan){.name = "made up",
            .model = model,
            .model_digest = "0123456789abcdef",
            .cluster = "made-up",
            .workload = "chat <small>",
            .profile_digest = "fedcba9876543210",
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .block_tokens = 16,
            .max_len = 1024,
            .bottleneck = shape->bottleneck,
            .binding = "memory bandwidth of the device: the weights are read once a step",
            .predicted = {.output_tokens_per_s = shape->tokens_per_s * off,
                    .total_tokens_per_s = shape->tokens_per_s * off * 3,
                    .requests_per_s = 0.6,
                    .ttft_p50_us = shape->ttft_us / off,
                    .ttft_p99_us = 2.1 * shape->ttft_us,
                    .tpot_p50_us = shape->tpot_us / off,
                    .tpot_p99_us = 1.3 * shape->tpot_us,
                    .makespan_s = 50,
                    .memory_bytes = 1491234567 / ((int64_t)shape->pp * shape->tp),
                    .lo_frac = 0.94,
                    .hi_frac = 1.05}};
    fill_replicas(plan, shape, arena);
    plan->certificate.forced = !chosen;
    plan->certificate.objective = "output_tokens_per_s";
    plan->certificate.value = plan->predicted.output_tokens_per_s;
    plan->certificate.bound = plan->predicted.output_tokens_per_s * 1.0004;
    plan->certificate.gap_frac = 0.0004;
    plan->certificate.solve_s = 1.25;
    plan->certificate.programs = 9;
    plan->certificate.oracle = "glpk 5.0";
    if (chosen)
        fill_runners_up(plan, shape, arena);
}

static void add_figures(struct db *db, int64_t run, const struct plan *plan,
        const struct plan_figures *measured, struct err *err)
{
    static const struct {
        const char *name;
        double ms;
    } ops[] = {{"gemm", 20145}, {"attention_decode", 1820}, {"attention_prefill", 2230},
            {"lm_head", 4500}, {"rmsnorm", 310}, {"rope", 240}, {"activation", 410},
            {"embedding", 12}, {"sample", 95}, {"all_reduce", 900}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        struct run_figure figure = {FIGURE_OP, (int)i, ops[i].name, "us",
                ops[i].ms * 1e3 * (1 + 0.1 * noise(i)), ops[i].ms * 1e3, (double)NAN, (double)NAN};
        must(run_store_figure(db, run, &figure, err), err);
    }
    for (int i = 0; i < plan->n_ranks; i++) {
        struct run_figure figure = {FIGURE_RANK, i, "weight_bytes", "bytes",
                (double)plan->predicted.memory_bytes, (double)measured->memory_bytes, (double)NAN,
                (double)NAN};
        must(run_store_figure(db, run, &figure, err), err);
    }
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            struct run_figure figure = {FIGURE_STAGE, r * 1000 + s, "step_us", "us",
                    plan->replicas[r].stages[s].step_us,
                    plan->replicas[r].stages[s].step_us * (1 + 0.05 * noise((uint64_t)s + 9)),
                    (double)NAN, (double)NAN};
            must(run_store_figure(db, run, &figure, err), err);
        }
}

static void add_trace(struct db *db, int64_t run, const struct plan *plan,
        const struct plan_figures *measured, struct err *err)
{
    for (int i = 0; i < 48; i++) {
        const int64_t arrival = (int64_t)i * 700000000;
        const int64_t first =
                arrival + (int64_t)(measured->ttft_p50_us * 1e3 * (1 + 0.4 * noise((uint64_t)i)));
        const struct run_request request = {i, i % plan->n_replicas, 64 + i, 32 + i % 7, arrival,
                first,
                first
                        + (int64_t)(measured->tpot_p50_us * 1e3 * (31 + i % 7)
                                    * (1 + 0.1 * noise((uint64_t)i + 99))),
                i % 11 == 0};
        must(run_store_request(db, run, &request, err), err);
    }
    for (int i = 0; i < 300; i++)
        for (int r = 0; r < plan->n_replicas; r++)
            for (int s = 0; s < plan->replicas[r].n_stages; s++) {
                const struct run_step step = {r, s, i,
                        i * INT64_C(42000000) + s * INT64_C(21000000),
                        19000000 + i % 7 * INT64_C(300000), 500000, i % 9 == 0 ? 140 : 12, 12,
                        i % 9 == 0 ? 128 : 0, 3600};
                must(run_store_step(db, run, &step, err), err);
            }
}

static void add_run(struct db *db, int64_t provenance, const struct shape *shape, const char *model,
        bool chosen, int round, struct err *err)
{
    struct arena arena = {0};
    struct plan plan;
    int64_t plan_id = 0, run = 0;
    fill_plan(&plan, shape, model, chosen, &arena);
    must(run_store_plan(&plan_id, db, &plan, err), err);
    must(run_store_begin(&run, db, plan_id, provenance, model, "chat <small>", err), err);
    const double by =
            1 + 0.015 * noise((uint64_t)(shape->tokens_per_s) + UINT64_C(17) * (unsigned)round);
    const struct plan_figures measured = {.output_tokens_per_s = shape->tokens_per_s * by,
            .total_tokens_per_s = shape->tokens_per_s * by * 3,
            .requests_per_s = 0.6 * by,
            .ttft_p50_us = shape->ttft_us / by,
            .ttft_p99_us = 2.2 * shape->ttft_us / by,
            .tpot_p50_us = shape->tpot_us / by,
            .tpot_p99_us = 1.35 * shape->tpot_us / by,
            .e2e_p50_us = shape->ttft_us + 40 * shape->tpot_us,
            .makespan_s = 50 / by,
            .memory_bytes = 1499000000 / ((int64_t)shape->pp * shape->tp),
            .goodput_requests_per_s = 0.55};
    must(run_store_batch_begin(db, err), err);
    add_figures(db, run, &plan, &measured, err);
    add_trace(db, run, &plan, &measured, err);
    must(run_store_batch_end(db, true, err), err);
    must(run_store_end(db, run, "done", shape->bottleneck, &measured, err), err);
    arena_free(&arena);
}

static void add_point(struct db *db, int64_t provenance, struct op op, double us, struct err *err)
{
    const double cost = us * (1 + 0.03 * noise((uint64_t)(us * 1e3)));
    const struct profile_point point = {.op = op,
            .cost_us = cost,
            .lo_us = cost * 0.97,
            .hi_us = cost * 1.04,
            .min_us = cost * 0.95,
            .q1_us = cost * 0.98,
            .q3_us = cost * 1.02,
            .p99_us = cost * 1.2,
            .mad_us = cost * 0.01,
            .samples = 21,
            .cold = true,
            .source = COST_MEASURED,
            .stop = "interval"};
    bool added = false;
    must(profile_store_add(&added, db, provenance, "cpu", &point, NULL, STORE_KEEP, err), err);
}

static void add_costs(struct db *db, int64_t provenance, struct err *err)
{
    static const int64_t sites[][2] = {
            {4096, 1024}, {1024, 2048}, {6144, 1024}, {1024, 3072}, {2048, 1024}, {3072, 1024}};
    for (int layout = 0; layout < 2; layout++) {
        const int threads = 2 - layout, busy = 1 + layout;
        for (size_t i = 0; i < sizeof sites / sizeof sites[0]; i++)
            for (int64_t m = 1; m <= 512; m *= 2) {
                const double weights_us = (double)(sites[i][0] * sites[i][1] * 2) / 14e3;
                const double flop_us = 2e-3 * (double)(m * sites[i][0] * sites[i][1]) / 75;
                add_point(db, provenance,
                        (struct op){
                                OP_GEMM, DTYPE_BF16, threads, busy, {m, sites[i][0], sites[i][1]}},
                        fmax(weights_us, flop_us) / threads, err);
            }
        for (int64_t batch = 1; batch <= 32; batch *= 2)
            for (int64_t kv = 64; kv <= 1024; kv *= 2)
                add_point(db, provenance,
                        (struct op){OP_ATTENTION_DECODE, DTYPE_BF16, threads, busy,
                                {batch, kv, 16, 8, 128}},
                        3 + (double)(batch * kv) * 0.31 / threads, err);
    }
    for (int64_t bytes = 1024; bytes <= 1 << 24; bytes *= 4)
        add_point(db, provenance, (struct op){OP_ALL_REDUCE, DTYPE_F32, 2, 2, {bytes}},
                12 + (double)bytes / 3100, err);
    add_point(db, provenance, (struct op){OP_SAMPLE, DTYPE_F32, 1, 1, {8, 151936}}, 310, err);
    const char *kinds[] = {"gemm", "attention_decode", "all_reduce"};
    for (int i = 0; i < 3; i++) {
        const struct check_store_row row = {"cpu", kinds[i], "all", 40, 1700000000,
                0.031 + 0.01 * i, 0.022 + 0.008 * i, 0.06 + 0.02 * i, 0.12, 0.004 - 0.006 * i, 0.93,
                0.01};
        must(check_store_add(db, provenance, &row, err), err);
    }
}

static void make_database(const char *path, struct err *err)
{
    static const struct shape dense[] = {
            {1, 1, 1, 1, 1, 2, 0, 41.2, 812e3, 171e3, "memory"},
            {1, 2, 1, 1, 1, 1, 0, 39.6, 871e3, 178e3, "network"},
            {1, 1, 2, 1, 1, 1, 14, 37.9, 1015e3, 192e3, "bubble"},
            {1, 1, 2, 1, 1, 1, 10, 33.1, 1180e3, 221e3, "bubble"},
            {2, 1, 1, 1, 1, 1, 0, 36.4, 1490e3, 203e3, "memory"},
    };
    static const struct shape moe[] = {
            {1, 2, 1, 2, 1, 1, 0, 310.5, 95e3, 24e3, "network"},
            {1, 1, 1, 2, 2, 1, 0, 288.1, 120e3, 26e3, "compute"},
    };
    const struct provenance provenance_row = {.host = "made-up",
            .device = "Made-up CPU @ 2.0 GHz & <friends>",
            .kernel = "6.1",
            .software = "Open MPI 4.1.4, OpenBLAS 0.3.21",
            .commit = "abcdef012345",
            .build = "GNU 12",
            .clocks = "performance",
            .wall_s = 1700000000,
            .cores = 2,
            .load = 0.12};
    struct db *db = db_open(path, DB_WRITE, err);
    must(db != NULL, err);
    int64_t provenance = 0;
    must(provenance_store(&provenance, db, &provenance_row, err), err);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++)
            add_run(db, provenance, &moe[i], "qwen3-moe-small", i == 0, round, err);
        for (int i = 0; i < 5; i++)
            add_run(db, provenance, &dense[i], "<b>qwen3-0.6b</b>", i == 0, round, err);
    }
    struct arena arena = {0};
    struct plan plan;
    int64_t plan_id = 0, run = 0;
    fill_plan(&plan, &dense[0], "<b>qwen3-0.6b</b>", true, &arena);
    must(run_store_plan(&plan_id, db, &plan, err), err);
    must(run_store_begin(&run, db, plan_id, provenance, "<b>qwen3-0.6b</b>", "chat <small>", err),
            err);
    arena_free(&arena);
    add_costs(db, provenance, err);
    db_close(db);
}

#endif
