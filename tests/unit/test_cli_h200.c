/*
 * Public tables of the H200 and public models: what a step is said to take stands beside what arithmetic says it takes,
 * and plans keep within memory. Without the tables (../shared) the first part is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <unistd.h>

#include "core/file.h"
#include "db/import.h"
#include "planner/cost.h"
#include "planner/planner.h"

#define TABLES SOURCE_DIR "/../shared/data/aiconfigurator-h200/"
/* NVIDIA H200 Tensor Core GPU datasheet (SXM), dense. */
#define HBM_PER_US  4.8e6
#define BF16_PER_US 9.89e8
#define F8_PER_US   1.979e9

struct world {
    struct arena arena;
    struct err err;
    struct model model;
    struct cluster cluster;
    struct profile profile;
    struct cost_model *costs;
};

static void must(bool ok, const struct err *err)
{
    if (!ok)
        fail_msg("%s", err->text);
}

static void read_tables(struct world *w)
{
    static const char *const names[] = {"context_attention_perf.csv", "custom_allreduce_perf.csv",
            "gemm_perf.csv", "generation_attention_perf.csv", "mla_context_module_perf.csv",
            "mla_generation_module_perf.csv", "moe_perf.csv", "nccl_perf.csv"};
    const struct import_options options = {.format = IMPORT_AICONFIGURATOR};
    struct imported imported = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct import_file file = {.path = arena_printf(&w->arena, TABLES "%s", names[i])};
        must(file_read(&file.text, &file.len, file.path, &w->arena, &w->err)
                        && import_read(&imported, &file, &options, &w->arena, &w->err),
                &w->err);
    }
    int64_t n = 0;
    for (int b = 0; b < imported.n; b++)
        n += imported.batches[b].n;
    w->profile = (struct profile){
            .points = ARENA_NEW(&w->arena, struct profile_point, n), .device = "h200"};
    for (int b = 0; b < imported.n; b++) {
        memcpy(w->profile.points + w->profile.n, imported.batches[b].points,
                sizeof *w->profile.points * (size_t)imported.batches[b].n);
        w->profile.n += imported.batches[b].n;
    }
    must(profile_finish(&w->profile, &w->err), &w->err);
}

static void open_world(struct world *w, const char *model)
{
    must(model_read(&w->model, model, SOURCE_DIR, &w->arena, &w->err)
                    && cluster_read_file(&w->cluster, "1x8:h200", &w->arena, &w->err),
            &w->err);
    w->costs = cost_open(&w->model, &w->cluster, &w->profile, 1, &w->err);
    assert_non_null(w->costs);
}

static struct step_cost decode_step(
        const struct world *w, struct split split, int64_t batch, int64_t context)
{
    struct step_cost cost;
    split.threads = 1;
    split.busy = 8;
    const struct step_shape shape = {.tokens = batch,
            .group_tokens = batch * split.attention_dp,
            .decode_batch = batch,
            .decode_kv_tokens = batch * context,
            .logits_rows = batch};
    cost_piece(&cost, w->costs, 0, &split, (struct piece){0, w->model.n_layers}, &shape);
    return cost;
}

/* Weights and cache once from memory: nothing is quicker, and a good engine takes not many times that. */
static void decoding_reads_weights_and_cache(struct world *w)
{
    open_world(w, "llama-3.1-70b");
    for (int tp = 1; tp <= 8; tp *= 2)
        for (int64_t batch = 1; batch <= 64; batch *= 8) {
            const struct split split = {.tp = tp,
                    .ep = 1,
                    .attention_dp = 1,
                    .dtype = DTYPE_BF16,
                    .kv_dtype = DTYPE_BF16};
            struct step_cost cost = decode_step(w, split, batch, 4096);
            double weights = 69.5e9 * 2 / tp; /* without the embedding table */
            double cache = (double)batch * 4096 * 80 * 2 * 8 * 128 * 2 / tp;
            double least_us = (weights + cache) / HBM_PER_US;
            assert_true(cost.us > least_us);
            assert_true(
                    cost.us < 1.3 * least_us + 80 * 100); /* launches and two exchanges a layer */
            double all = 0;
            for (int s = 0; s < COST_SOURCES; s++)
                all += cost.source_us[s];
            assert_true(cost.source_us[COST_ESTIMATED] < 0.15 * all);
        }
    cost_close(w->costs);
}

static void prompts_are_arithmetic(struct world *w)
{
    open_world(w, "llama-3.1-70b");
    const struct split split = {.tp = 8,
            .ep = 1,
            .attention_dp = 1,
            .threads = 1,
            .busy = 8,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16};
    const struct seq_shape seq = {8192, 8192};
    const struct step_shape shape = {.tokens = 8192,
            .group_tokens = 8192,
            .prefill = &seq,
            .n_prefill = 1,
            .logits_rows = 1};
    struct step_cost cost;
    cost_piece(&cost, w->costs, 0, &split, (struct piece){0, 80}, &shape);
    double least_us = 8192 * 2 * 68.5e9 / 8 / BF16_PER_US;
    assert_true(cost.us > least_us && cost.us < 2.5 * least_us);
    cost_close(w->costs);
}

/* DeepSeek-V3: 37 billion of 671 are met by a token; 256 experts are read whole once enough tokens come. */
static void experts_are_read_once(struct world *w)
{
    open_world(w, "deepseek-v3");
    for (int ep = 1; ep <= 8; ep *= 8) {
        const struct split split = {
                .tp = 8, .ep = ep, .attention_dp = 1, .dtype = DTYPE_F8, .kv_dtype = DTYPE_F8};
        struct step_cost cost = decode_step(w, split, 128, 4096);
        double least_us = 671e9 / 8 / HBM_PER_US;
        assert_true(cost.us > 0.9 * least_us); /* the embedding table is among the 671 */
        assert_true(cost.us < 3 * least_us);
    }
    /* Over four machines a rank has 8 experts; balanced rows of the tables would make this 1.3 ms a layer. */
    struct op op = {.kind = OP_MOE,
            .dtype = DTYPE_F8,
            .degree = 1,
            .busy = 8,
            .dim = {2048, 7168, 2048, 8, 256, 8}};
    double us = cost_op(w->costs, 0, &op).us;
    assert_true(us > op_bytes(&op) / HBM_PER_US && us > op_flop(&op) / F8_PER_US);
    assert_true(us < 700);
    cost_close(w->costs);
}

static void tables_agree_with_arithmetic(void **unused)
{
    (void)unused;
    struct world w = {.arena = {0}};
    if (access(TABLES "gemm_perf.csv", R_OK) != 0)
        skip();
    read_tables(&w);
    decoding_reads_weights_and_cache(&w);
    prompts_are_arithmetic(&w);
    experts_are_read_once(&w);
    arena_free(&w.arena);
}

static bool plan_for(struct plan *plan, struct world *w, const char *model, const char *cluster,
        enum dtype dtype)
{
    struct workload workload = {.name = "chat",
            .requests = 16,
            .prompt = {.mean = 1000},
            .output = {.mean = 100},
            .slo = {.percentile = 0.9}};
    struct requests requests;
    must(model_read(&w->model, model, SOURCE_DIR, &w->arena, &w->err)
                    && cluster_read_file(&w->cluster, cluster, &w->arena, &w->err)
                    && workload_requests(&requests, &workload, &w->arena, &w->err),
            &w->err);
    const struct planner_input input = {.model = &w->model,
            .cluster = &w->cluster,
            .workload = &workload,
            .requests = &requests,
            .dtype = dtype,
            .kv_dtype = dtype,
            .simulate_best = 1,
            .time_limit_s = 20};
    return planner_run(plan, &input, &w->arena, &w->err);
}

/* Bytes of weights of a replica; every rank within its device. */
static double replica_weights(const struct plan *plan, double device_bytes)
{
    double bytes = 0;
    for (int s = 0; s < plan->replicas[0].n_stages; s++) {
        const struct plan_stage *stage = &plan->replicas[0].stages[s];
        double rank = (double)(stage->weight_bytes + stage->kv_bytes + stage->work_bytes);
        assert_true(rank <= device_bytes);
        bytes += (double)stage->weight_bytes * stage->n_ranks;
    }
    return bytes;
}

static void large_models_are_spread(void **unused)
{
    (void)unused;
    struct world w = {.arena = {0}};
    struct plan plan;
    must(plan_for(&plan, &w, "llama-3.1-405b", "4x8:h100", DTYPE_BF16), &w.err);
    assert_true(replica_weights(&plan, 80e9) > 2 * 405e9);
    must(plan_for(&plan, &w, "deepseek-v3", "1x8:h200", DTYPE_F8), &w.err);
    assert_true(replica_weights(&plan, 141e9) > 671e9);
    assert_false(plan_for(&plan, &w, "deepseek-v3", "1x4:h200", DTYPE_F8));
    assert_int_equal(w.err.kind, ERR_NO);
    assert_non_null(strstr(w.err.text, "the weights are"));
    arena_free(&w.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(large_models_are_spread),
            cmocka_unit_test(tables_agree_with_arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
