#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/spec/plan.h"

#define HEAD                                                                                 \
    "format: shardwright-plan\nversion: 1\nmodel: qwen3-0.6b\ndtype: bf16\nkv_dtype: bf16\n" \
    "max_len: 512\n"
#define LIMITS "max_seqs: 8, max_tokens: 64, kv_blocks: 100"

static bool try_read(struct plan *out, const char *text, struct arena *arena, struct err *err)
{
    return conf_read(out, &plan_table, text, (int64_t)strlen(text), "p.yaml", arena, err)
           && plan_consistent(out, err);
}

static void bad_plans_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {HEAD "n_ranks: 1\nreplicas: []\n", "the plan has no replicas, expected at least one"},
            {HEAD "n_ranks: 1\nreplicas:\n- {" LIMITS ", stages: []}\n",
                    "p.yaml:9:14: the replica has no stages, expected at least one"},
            {HEAD "n_ranks: 1\nreplicas:\n- {" LIMITS
                  ", stages: [{first_layer: 1, end_layer: 4, kind: c, ranks: [0]}]}\n",
                    "p.yaml:9:72: the stage starts at layer 1, expected 0: no layer may be missing "
                    "or "
                    "held twice"},
            {HEAD "n_ranks: 1\nreplicas:\n- {" LIMITS
                  ", stages: [{first_layer: 0, end_layer: 4, kind: c, tp: 2, ranks: [0]}]}\n",
                    "p.yaml:9:72: the stage has 1 ranks, expected tp * attention_dp = 2"},
            {HEAD "n_ranks: 2\nreplicas:\n- {" LIMITS
                  ", stages: [{first_layer: 0, end_layer: 4, kind: c, tp: 2, ranks: [0, 0]}]}\n",
                    "p.yaml:9:72: rank 0 is used twice"},
            {HEAD "n_ranks: 2\nreplicas:\n- {" LIMITS
                  ", stages: [{first_layer: 0, end_layer: 4, kind: c, ranks: [0]}]}\n",
                    "p.yaml:9:14: rank 1 of 2 has no stage, expected every rank in one"},
            {HEAD "n_ranks: 1\nreplicas:\n- {" LIMITS
                  ", stages: [{first_layer: 0, end_layer: 4, kind: c, ranks: [1]}]}\n",
                    "p.yaml:9:72: found rank 1, expected 0 to 0"},
            {HEAD "n_ranks: 1\nreplicas:\n- {" LIMITS ", in_flight: 2, stages: [{first_layer: 0, "
                  "end_layer: 4, kind: c, ranks: [0]}]}\n",
                    "p.yaml:9:14: in_flight is 2, expected at most the 1 stages"},
            {HEAD "n_ranks: 3\nreplicas:\n- {" LIMITS
                  ", stages: [{first_layer: 0, end_layer: 4, kind: c, tp: 3, ep: 2, ranks: [0, 1, "
                  "2]}]}\n",
                    "p.yaml:9:72: ep is 2, expected a divisor of the stage's 3 ranks"},
            {HEAD "n_ranks: 1\nreplicas:\n- {" LIMITS ", role: prefill, stages: [{first_layer: 0, "
                  "end_layer: 4, kind: c, ranks: [0]}]}\n",
                    "p.yaml:9:14: a prefill replica without a decode replica, expected both or "
                    "neither"},
            {HEAD "n_ranks: 5\nreplicas:\n- {" LIMITS
                  ", stages: [{first_layer: 0, end_layer: 2, kind: c, attention_dp: 3, ranks: "
                  "[0, 1, 2]}, {first_layer: 2, end_layer: 4, kind: c, attention_dp: 2, ranks: "
                  "[3, 4]}]}\n",
                    "p.yaml:9:148: attention_dp is 2, expected a divisor of the 3 groups that "
                    "another stage has: each group serves a whole number of them"},
            {HEAD "n_ranks: 1\nreplicas:\n- {max_seqs: 0, max_tokens: 64, kv_blocks: 1, stages: "
                  "[]}\n",
                    "p.yaml:9:14: max_seqs: found 0, expected 1 to 1048576"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct plan plan;
        assert_false(try_read(&plan, cases[i].text, &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        arena_free(&arena);
    }
}

static struct plan two_replicas(void)
{
    static const int ranks[6][2] = {{0, 1}, {2}, {3, 4}, {5}};
    static struct plan_stage stages[4];
    static struct plan_replica replicas[2];
    static struct plan_runner_up runner_up = {
            .what = "tp=1", .output_tokens_per_s = 9.5, .loses_frac = 0.05, .why = "memory: full"};
    for (int i = 0; i < 4; i++)
        stages[i] = (struct plan_stage){.first_layer = i % 2 == 0 ? 0 : 3,
                .end_layer = i % 2 == 0 ? 3 : 7,
                .tp = i % 2 == 0 ? 2 : 1,
                .ep = 1,
                .attention_dp = 1,
                .threads = 1,
                .kind = "core",
                .ranks = ranks[i],
                .n_ranks = i % 2 == 0 ? 2 : 1,
                .weight_bytes = 123456789,
                .kv_bytes = 1 << 20,
                .step_us = 1234.5678};
    for (int i = 0; i < 2; i++)
        replicas[i] = (struct plan_replica){.stages = &stages[2 * i],
                .n_stages = 2,
                .max_seqs = 16,
                .max_tokens = 256,
                .in_flight = 2,
                .kv_blocks = 77};
    return (struct plan){.model = "m",
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_F32,
            .block_tokens = 16,
            .max_len = 100,
            .replicas = replicas,
            .n_replicas = 2,
            .n_ranks = 6,
            .predicted = {.output_tokens_per_s = 100.0 / 3, .ttft_p50_us = 5e5, .lo_frac = 0.9},
            .certificate = {.objective = "output_tokens_per_s", .value = 1.0 / 7, .programs = 3},
            .binding = "memory of rank 0: 3.1 GiB of 3.2 GiB",
            .runners_up = &runner_up,
            .n_runners_up = 1};
}

static void written_plans_read_back(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct plan plan = two_replicas(), back = {0};
    plan.replicas[0].stages[1].dtype = STAGE_DTYPE_FIRST + DTYPE_F8_BLOCK;
    plan.replicas[1].stages[0].kv_dtype = STAGE_DTYPE_FIRST + DTYPE_F32;
    plan.why.limits = (struct plan_limit[]){{.name = "core.count", .unit = "devices", .buys = 0.1}};
    plan.why.n_limits = 1;
    char path[] = "/tmp/shardwright-plan-XXXXXX";
    fclose(fdopen(mkstemp(path), "w"));
    if (!plan_write_file(&plan, path, &err) || !plan_read_file(&back, path, &arena, &err))
        fail_msg("%s", err.text);
    remove(path);
    assert_true(back.predicted.output_tokens_per_s == plan.predicted.output_tokens_per_s);
    assert_true(back.certificate.value == 1.0 / 7 && back.certificate.programs == 3);
    assert_true(back.n_replicas == 2 && back.replicas[1].stages[0].ranks[1] == 4);
    assert_true(back.replicas[1].stages[1].step_us == 1234.5678);
    assert_true(back.replicas[0].stages[0].weight_bytes == 123456789);
    assert_int_equal(back.kv_dtype, DTYPE_F32);
    assert_int_equal(plan_stage_dtype(&back, &back.replicas[0].stages[1]), DTYPE_F8_BLOCK);
    assert_int_equal(plan_stage_dtype(&back, &back.replicas[0].stages[0]), DTYPE_BF16);
    assert_int_equal(back.replicas[1].stages[0].kv_dtype, STAGE_DTYPE_FIRST + DTYPE_F32);
    assert_int_equal(back.replicas[0].stages[0].kv_dtype, STAGE_DTYPE_PLAN);
    assert_non_null(strstr(plan_show(&back, &arena), " dtype=bf16+f8_block "));
    assert_true(back.why.n_limits == 1 && back.why.limits[0].buys == 0.1);
    assert_string_equal(back.runners_up[0].why, "memory: full");
    char *a = NULL, *b = NULL;
    assert_true(conf_write(&a, &plan, &plan_table, &arena, &err));
    assert_true(conf_write(&b, &back, &plan_table, &arena, &err));
    assert_string_equal(a, b);
    arena_free(&arena);
}

static void a_full_disk_is_reported(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan plan = two_replicas();
    assert_false(plan_write_file(&plan, "/dev/full", &err));
    assert_int_equal(err.kind, ERR_ENV);
}

static void shown_in_short(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct plan plan = two_replicas();
    assert_string_equal(plan_show(&plan, &arena),
            "tp=2+1 pp=2 dp=2 ep=1 adp=1 threads=1 layers=3+4 "
            "max_seqs=16 max_tokens=256 in_flight=2");
    plan.replicas[1].max_seqs = 4;
    assert_string_equal(plan_show(&plan, &arena),
            "tp=2+1 pp=2 dp=1 ep=1 adp=1 threads=1 layers=3+4 max_seqs=16 max_tokens=256 "
            "in_flight=2 "
            "and tp=2+1 pp=2 dp=1 ep=1 adp=1 threads=1 layers=3+4 max_seqs=4 max_tokens=256 "
            "in_flight=2");
    plan.n_replicas = 1;
    plan.replicas[0].n_stages = 1;
    assert_string_equal(plan_show(&plan, &arena),
            "tp=2 pp=1 dp=1 ep=1 adp=1 threads=1 layers=3 max_seqs=16 max_tokens=256");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(bad_plans_are_refused),
            cmocka_unit_test(written_plans_read_back),
            cmocka_unit_test(a_full_disk_is_reported),
            cmocka_unit_test(shown_in_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
