/* Figures from hand-made measurements: formulas of TTFT, TPOT, throughput, objectives and the bottleneck. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/figures.h"

static const struct op decode_gemm = {OP_GEMM, DTYPE_BF16, 1, 1, {1, 1000, 1000}};
static const struct op reduce = {OP_ALL_REDUCE, DTYPE_F32, 2, 2, {4096}};

struct fixture {
    struct plan plan;
    struct plan_replica replica;
    struct plan_stage stage;
    struct workload workload;
    struct request requests[4];
    struct requests list;
    struct run_request records[4];
    struct meter_use uses[2];
    struct run_step steps[3];
    struct rank_data rank;
    struct collected collected;
    struct runtime_options options;
};

static void make(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->stage = (struct plan_stage){.tp = 1, .attention_dp = 1, .step_us = 50, .weight_bytes = 900};
    f->replica = (struct plan_replica){.stages = &f->stage, .n_stages = 1, .max_seqs = 2};
    f->plan = (struct plan){.replicas = &f->replica, .n_replicas = 1};
    f->plan.predicted.output_tokens_per_s = 110;
    f->plan.predicted.lo_frac = 0.9;
    f->plan.predicted.hi_frac = 1.2;
    f->list = (struct requests){f->requests, 4};
    /* arrival, first token, finish in ms; 5 output tokens, the last one with 1 */
    const int64_t ms[4][3] = {{0, 100, 500}, {0, 200, 1000}, {500, 600, 1000}, {900, 1000, 1000}};
    for (int i = 0; i < 4; i++)
        f->records[i] = (struct run_request){.request = i,
                .prompt_len = 10,
                .output_len = i < 3 ? 5 : 1,
                .arrival_ns = ms[i][0] * 1000000,
                .first_token_ns = ms[i][1] * 1000000,
                .finish_ns = ms[i][2] * 1000000,
                .preemptions = i};
    f->uses[0] = (struct meter_use){decode_gemm, 10, 600000000};
    f->uses[1] = (struct meter_use){reduce, 10, 100000000};
    f->steps[0] = (struct run_step){.busy_ns = 40000, .sequences = 2};
    f->steps[1] = (struct run_step){.busy_ns = 90000, .sequences = 2, .prefill_tokens = 8};
    f->steps[2] = (struct run_step){.busy_ns = 60000, .sequences = 2};
    f->rank = (struct rank_data){.report = {.weight_bytes = 1000,
                                         .kv_bytes = 200,
                                         .work_bytes = 30,
                                         .end_ns = 1000000000,
                                         .busy_ns = 750000000,
                                         .n_uses = 2,
                                         .n_steps = 3},
            .uses = f->uses,
            .steps = f->steps};
    f->rank.report.kind_ns[OP_GEMM] = 600000000;
    f->rank.report.kind_ns[OP_ALL_REDUCE] = 200000000; /* half of it without a shape */
    f->rank.report.lost_ns[OP_ALL_REDUCE] = 100000000;
    f->collected = (struct collected){.ranks = &f->rank, .n_ranks = 1, .records = f->records};
    f->options = (struct runtime_options){
            .plan = &f->plan, .workload = &f->workload, .requests = &f->list};
}

static const struct run_figure *find(
        const struct runtime_result *result, enum figure_scope scope, const char *name)
{
    for (int64_t i = 0; i < result->n_figures; i++)
        if (result->figures[i].scope == scope && strcmp(result->figures[i].name, name) == 0)
            return &result->figures[i];
    fail_msg("no figure %s", name);
    return NULL;
}

static void test_requests_give_throughput_and_latency(void **state)
{
    struct arena arena = {0};
    struct fixture f;
    struct runtime_result result = {0};
    (void)state;

    make(&f);
    f.workload.slo.ttft_us = 150000;
    f.workload.slo.tpot_us = 100000;
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_float_equal(result.measured.makespan_s, 1, 1e-12);
    assert_float_equal(result.measured.output_tokens_per_s, 16, 1e-9);
    assert_float_equal(result.measured.total_tokens_per_s, 56, 1e-9);
    assert_float_equal(result.measured.requests_per_s, 4, 1e-9);
    assert_float_equal(result.measured.ttft_p50_us, 100000, 1e-6); /* 100, 200, 100, 100 ms */
    assert_float_equal(result.measured.ttft_p99_us, 197000, 1e-6);
    assert_float_equal(result.measured.tpot_p50_us, 100000, 1e-6); /* 100, 200, 100 ms */
    assert_float_equal(result.measured.goodput_requests_per_s, 3, 1e-9);
    assert_int_equal(result.measured.memory_bytes, 1230);
    assert_int_equal(result.n_finished, 4);
    assert_int_equal(result.n_preemptions, 6);
    const struct run_figure *throughput = find(&result, FIGURE_RUN, "output_tokens_per_s");
    assert_float_equal(throughput->predicted, 110, 0);
    assert_float_equal(throughput->lo, 99, 1e-9);
    assert_float_equal(throughput->hi, 132, 1e-9);
    assert_true(isnan(find(&result, FIGURE_RUN, "ttft_p50_us")->predicted));
    arena_free(&arena);
}

static void test_unfinished_requests_count_their_tokens_only(void **state)
{
    struct arena arena = {0};
    struct fixture f;
    struct runtime_result result = {0};
    (void)state;

    make(&f);
    f.records[1].finish_ns = -1;
    f.records[1].output_len = 2;
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_int_equal(result.n_finished, 3);
    assert_float_equal(result.measured.output_tokens_per_s, 13, 1e-9);
    assert_float_equal(result.measured.ttft_p99_us, 100000, 1e-6);
    arena_free(&arena);
}

static double ten_us(void *self, const struct op *op)
{
    (void)self;
    return op->kind == OP_GEMM ? 55000 : 10000;
}

static void test_ops_are_priced_and_scaled_to_all_of_their_kind(void **state)
{
    struct arena arena = {0};
    struct fixture f;
    struct runtime_result result = {0};
    (void)state;

    make(&f);
    f.options.cost_us = ten_us;
    figures_of(&result, &f.collected, &f.options, &arena);
    const struct run_figure *gemm = find(&result, FIGURE_OP, "gemm");
    assert_float_equal(gemm->predicted, 550000, 1e-6);
    assert_float_equal(gemm->measured, 600000, 1e-6);
    const struct run_figure *network = find(&result, FIGURE_OP, "all_reduce");
    assert_float_equal(network->predicted, 200000, 1e-6);
    assert_float_equal(network->measured, 200000, 1e-6);
    const struct run_figure *busy = find(&result, FIGURE_STAGE, "busy_us");
    assert_float_equal(busy->predicted, 750000, 1e-6);
    assert_float_equal(busy->measured, 750000, 1e-6);
    arena_free(&arena);
}

static void test_step_figure_is_of_full_decodes(void **state)
{
    struct arena arena = {0};
    struct fixture f;
    struct runtime_result result = {0};
    (void)state;

    make(&f);
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_float_equal(find(&result, FIGURE_STAGE, "step_us")->measured, 50, 1e-9);
    assert_float_equal(find(&result, FIGURE_STAGE, "step_us")->predicted, 50, 1e-9);
    f.replica.max_seqs = 3; /* none of the steps was full */
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_true(isnan(find(&result, FIGURE_STAGE, "step_us")->measured));
    arena_free(&arena);
}

static void test_bottleneck_is_the_largest_part(void **state)
{
    struct arena arena = {0};
    struct fixture f;
    struct runtime_result result = {0};
    (void)state;

    make(&f); /* one row of bf16 weights: one FLOP per byte */
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_string_equal(result.bottleneck, "memory");
    assert_float_equal(result.bottleneck_frac, 0.6, 1e-9);
    f.options.balance_flop_per_byte = 0.5;
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_string_equal(result.bottleneck, "compute");
    f.uses[1].ns = 700000000;
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_string_equal(result.bottleneck, "network");
    f.rank.report.busy_ns = 200000000;
    f.uses[0].ns = f.uses[1].ns = 100000000;
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_string_equal(result.bottleneck, "bubble");
    f.rank.report.starved_ns = 700000000;
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_string_equal(result.bottleneck, "arrivals");
    f.rank.report.starved_ns = 0;
    f.rank.report.schedule_ns = 790000000;
    figures_of(&result, &f.collected, &f.options, &arena);
    assert_string_equal(result.bottleneck, "scheduler");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_requests_give_throughput_and_latency),
            cmocka_unit_test(test_unfinished_requests_count_their_tokens_only),
            cmocka_unit_test(test_ops_are_priced_and_scaled_to_all_of_their_kind),
            cmocka_unit_test(test_step_figure_is_of_full_decodes),
            cmocka_unit_test(test_bottleneck_is_the_largest_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
