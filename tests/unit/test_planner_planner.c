/* From inputs to a plan, or to the reason why there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/planner.h"

#include "planner_runs.h"

#define MIB (INT64_C(1) << 20)

/* Two cores and a model of 6 layers. */
static void make_desk(struct fixture *f, struct planner_input *input, int64_t memory)
{
    memset(f, 0, sizeof *f);
    fixture_model(f, 6, 0);
    fixture_kind(f, "core", 2, memory, 5e10, 1e10);
    fixture_requests(f, 16, 40, 20);
    fixture_input(input, f);
}

static void force(struct planner_input *input, struct fixture *f, const char *text)
{
    struct err err = {0};
    if (!plan_force_parse(&input->force, text, &f->arena, &err))
        fail_msg("%s", err.text);
}

static void refuse(
        const struct planner_input *input, struct fixture *f, enum err_kind kind, const char *text)
{
    struct err err = {0};
    struct plan plan;
    assert_false(planner_run(&plan, input, &f->arena, &err));
    assert_int_equal(err.kind, kind);
    assert_string_equal(err.text, text);
    arena_free(&f->arena);
}

static void a_plan_has_figures_proof_and_reasons(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make_desk(&f, &input, 64 * MIB);
    fixture_plan(&plan, &input, &f);
    assert_true(plan.predicted.output_tokens_per_s > 0);
    assert_true(plan.predicted.ttft_p50_us > 0 && plan.predicted.tpot_p50_us > 0);
    assert_true(plan.predicted.lo_frac <= 1 && plan.predicted.hi_frac >= 1);
    assert_true(plan.certificate.value > 0);
    assert_true(plan.certificate.bound >= plan.certificate.value * (1 - 1e-12));
    assert_false(plan.certificate.forced);
    assert_true(plan.certificate.solve_s == 0);
    assert_non_null(plan.binding);
    assert_non_null(plan.bottleneck);
    assert_true(plan.n_runners_up >= 3);
    for (int i = 0; i < plan.n_runners_up; i++) {
        assert_non_null(plan.runners_up[i].why);
        assert_string_not_equal(plan.runners_up[i].what, plan.name);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(plan.runners_up[i].what, plan.runners_up[j].what);
    }
    arena_free(&f.arena);
}

static void same_inputs_same_bytes(void **unused)
{
    (void)unused;
    struct fixture f[2];
    char *text[2];
    for (int i = 0; i < 2; i++) {
        struct planner_input input;
        struct plan plan;
        struct err err = {0};
        make_desk(&f[i], &input, 64 * MIB);
        fixture_plan(&plan, &input, &f[i]);
        assert_true(conf_write(&text[i], &plan, &plan_table, &f[i].arena, &err));
    }
    assert_string_equal(text[0], text[1]);
    arena_free(&f[0].arena);
    arena_free(&f[1].arena);
}

/* Every forced layout of acceptance: it is what comes out, and it passes the checker. */
static void forced_plans_come_out_as_asked(void **unused)
{
    (void)unused;
    static const char *const dense[] = {"tp=1,pp=1,dp=1,threads=2", "tp=1,pp=1,dp=1,threads=1",
            "tp=2,pp=1", "pp=2,layers=3+3,in_flight=2", "layers=2+4", "dp=2,pp=1,tp=1,threads=1"};
    static const char *const moe[] = {"tp=2,ep=2", "tp=2,ep=1", "adp=2,ep=2,tp=1", "pp=2", "dp=2"};
    static const char *const shown_dense[] = {
            "tp=1 pp=1 dp=1 ep=1 adp=1 threads=2 layers=6 max_seqs=4 max_tokens=64",
            "tp=1 pp=1 dp=1 ep=1 adp=1 threads=1 layers=6 max_seqs=4 max_tokens=64",
            "tp=2 pp=1 dp=1 ep=1 adp=1 threads=1 layers=6 max_seqs=4 max_tokens=64",
            "tp=1 pp=2 dp=1 ep=1 adp=1 threads=1 layers=3+3 max_seqs=4 max_tokens=64 in_flight=2",
            "tp=1 pp=2 dp=1 ep=1 adp=1 threads=1 layers=2+4 max_seqs=4 max_tokens=64 in_flight=2",
            "tp=1 pp=1 dp=2 ep=1 adp=1 threads=1 layers=6 max_seqs=4 max_tokens=64"};
    for (int i = 0; i < 6 + 5; i++) {
        struct fixture f;
        struct planner_input input;
        struct plan plan;
        struct err err = {0};
        make_desk(&f, &input, 64 * MIB);
        if (i >= 6)
            fixture_model(&f, 6, 8);
        const char *text = i < 6 ? dense[i] : moe[i - 6];
        force(&input, &f,
                arena_printf(&f.arena, "%s,max_seqs=4,max_tokens=64%s", text,
                        strstr(text, "layers") != NULL && strstr(text, "in_") == NULL
                                ? ",in_flight=2"
                                : ""));
        fixture_plan(&plan, &input, &f);
        assert_true(plan.certificate.forced);
        if (i < 6)
            assert_string_equal(plan.name, shown_dense[i]);
        assert_true(plan_check(&plan, &f.model, &f.cluster, &err));
        arena_free(&f.arena);
    }
}

static void forced_illegal_plans_hear_the_rule(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "ep=2,tp=2");
    refuse(&input, &f, ERR_NO,
            "no legal plan has tp=2 ep=2 adp=1 threads=1: ep=2 needs experts, little is dense: use "
            "ep=1");
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "tp=3");
    refuse(&input, &f, ERR_NO,
            "no legal plan has tp=3 ep=1 adp=1 threads=1: tp=3: 4 KV heads of little can neither "
            "be "
            "divided by nor replicated over it");
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "tp=2,threads=2");
    refuse(&input, &f, ERR_NO,
            "no legal plan has tp=2 adp=1 threads=2: one stage takes 4 devices of one node or of "
            "whole nodes, and the largest node has 2; force another number");
    make_desk(&f, &input, 64 * MIB);
    f.kinds[0].pos = (struct pos){"desk.yaml", 6, 5};
    force(&input, &f, "threads=4");
    refuse(&input, &f, ERR_INPUT,
            "desk.yaml:6:5: no legal plan has threads=4: device kind core does not list it under "
            "threads; "
            "force another value or add it there");
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "tp=2,pp=2");
    refuse(&input, &f, ERR_NO,
            "no legal plan has dp=1 pp=2: that takes 2 groups of devices and the cluster has 1; "
            "force less");
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "pp=2,in_flight=3");
    refuse(&input, &f, ERR_NO,
            "no plan has in_flight=3: a pipeline of 2 stages takes 1 to 2 micro-batches");
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "layers=2+5");
    refuse(&input, &f, ERR_INPUT, "--force layers: the stages hold 7 layers in all; little has 6");
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "max_seqs=64,max_tokens=32");
    refuse(&input, &f, ERR_NO,
            "no plan has max_seqs=64 max_tokens=32: a step must have room for every sequence and 8 "
            "more "
            "tokens; raise max_tokens or lower max_seqs");
}

static void what_fits_nowhere_says_what_would(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    struct err err = {0};
    make_desk(&f, &input, 3 * MIB);
    assert_false(planner_run(&plan, &input, &f.arena, &err));
    assert_int_equal(err.kind, ERR_NO);
    assert_non_null(strstr(
            err.text, "little fits in no plan: the least memory that any legal one needs is "));
    assert_non_null(strstr(
            err.text, "threads=2, one sequence at a time) and a rank of kind core has 6.00 MiB"));
    /* The figure is the truth: with that much on every device there is a plan, with less there is none. */
    const char *share = strstr(err.text, "devices of ");
    assert_non_null(share);
    double mib = atof(share + strlen("devices of "));
    assert_true(mib > 3 && mib < 20);
    arena_free(&f.arena);
    make_desk(&f, &input, (int64_t)((mib + 0.1) * (double)MIB));
    fixture_plan(&plan, &input, &f);
    arena_free(&f.arena);
    make_desk(&f, &input, (int64_t)((mib - 0.1) * (double)MIB));
    memset(&err, 0, sizeof err);
    assert_false(planner_run(&plan, &input, &f.arena, &err));
    arena_free(&f.arena);
}

/* What one device cannot hold is split. */
static void memory_decides_when_it_must(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make_desk(&f, &input, 64 * MIB);
    fixture_plan(&plan, &input, &f);
    int64_t whole = plan.predicted.memory_bytes;
    arena_free(&f.arena);
    make_desk(&f, &input, 64 * MIB);
    force(&input, &f, "tp=1,pp=1,threads=1,dp=1,max_seqs=1,max_tokens=64");
    fixture_plan(&plan, &input, &f);
    int64_t alone = plan.predicted.memory_bytes;
    assert_true(whole > 0 && alone > 4 * MIB);
    arena_free(&f.arena);
    make_desk(&f, &input, alone - 4096);
    fixture_plan(&plan, &input, &f);
    assert_true(plan.n_ranks * plan.replicas[0].stages[0].threads == 2);
    assert_int_equal(plan.n_replicas, 1);
    assert_true(plan.predicted.memory_bytes <= (alone - 4096) * plan.replicas[0].stages[0].threads);
    arena_free(&f.arena);
}

/* A fast and a slow device: the fast one gets more layers. */
static void mixed_kinds_share_by_speed(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    memset(&f, 0, sizeof f);
    fixture_model(&f, 12, 0);
    fixture_kind(&f, "fast", 1, 64 * MIB, 3e10, 3e9);
    fixture_kind(&f, "slow", 1, 64 * MIB, 1e10, 1e9);
    fixture_requests(&f, 16, 40, 20);
    fixture_input(&input, &f);
    force(&input, &f, "pp=2,tp=1,dp=1,in_flight=2");
    fixture_plan(&plan, &input, &f);
    const struct plan_stage *stages = plan.replicas[0].stages;
    int fast = strcmp(stages[0].kind, "fast") == 0 ? 0 : 1;
    int layers[2];
    for (int s = 0; s < 2; s++)
        layers[s] = stages[s].end_layer - stages[s].first_layer;
    assert_string_equal(stages[1 - fast].kind, "slow");
    assert_true(layers[fast] >= 2 * layers[1 - fast]);
    arena_free(&f.arena);
}

static void objectives_pull_apart(void **unused)
{
    (void)unused;
    double tokens[2];
    double tpot[2];
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct planner_input input;
        struct plan plan;
        make_desk(&f, &input, 64 * MIB);
        input.objective = i == 0 ? OBJECTIVE_THROUGHPUT : OBJECTIVE_TPOT;
        fixture_plan(&plan, &input, &f);
        tokens[i] = plan.predicted.output_tokens_per_s;
        tpot[i] = plan.predicted.tpot_p50_us;
        assert_string_equal(plan.certificate.objective, i == 0 ? "output_tokens_per_s" : "tpot_us");
        arena_free(&f.arena);
    }
    assert_true(tokens[0] > 1.2 * tokens[1]);
    assert_true(tpot[1] < tpot[0] / 1.2);
}

/* A tight TPOT objective rules out the large batches that throughput alone would take. */
static void service_objectives_are_met_first(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan free_plan;
    struct plan plan;
    make_desk(&f, &input, 64 * MIB);
    fixture_plan(&free_plan, &input, &f);
    f.workload.slo.tpot_us = free_plan.predicted.tpot_p50_us * 0.7;
    fixture_plan(&plan, &input, &f);
    assert_true(plan.predicted.tpot_p50_us <= f.workload.slo.tpot_us);
    assert_true(plan.predicted.output_tokens_per_s < free_plan.predicted.output_tokens_per_s);
    assert_non_null(strstr(plan.binding, "service objectives"));
    f.workload.slo.tpot_us = 1e-3;
    fixture_plan(&plan, &input, &f);
    assert_non_null(strstr(plan.binding, "no simulated plan meets them"));
    arena_free(&f.arena);
}

static void a_time_limit_returns_a_plan_with_its_gap(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make_desk(&f, &input, 64 * MIB);
    input.time_limit_s = 1e-3;
    struct err err = {0};

    fixture_plan(&plan, &input, &f);
    assert_true(plan.certificate.bound >= plan.certificate.value);
    assert_true(plan_check(&plan, &f.model, &f.cluster, &err));
    arena_free(&f.arena);
}

static void wrong_inputs_are_refused(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    make_desk(&f, &input, 64 * MIB);
    f.requests.n = 0;
    refuse(&input, &f, ERR_INPUT, "workload steady has no requests: there is nothing to plan for");
    make_desk(&f, &input, 64 * MIB);
    f.items[3].prompt_len = 5000;
    refuse(&input, &f, ERR_NO,
            "workload steady has a sequence of 5020 tokens and little takes 4096 at most: clamp "
            "the lengths "
            "(trace.max_prompt, prompt.max) or use another model");
    make_desk(&f, &input, 64 * MIB);
    f.kinds[0].flops = 0;
    f.kinds[0].pos = (struct pos){"desk.yaml", 6, 5};
    refuse(&input, &f, ERR_INPUT,
            "desk.yaml:6:5: device kind core was not measured and states no flops and memory_rate: "
            "run "
            "`shardwright profile` there, or add both figures of its datasheet");
}

static void force_text_is_checked(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct plan_force out;
    static const struct {
        const char *text, *message;
    } bad[] = {
            {"tp", "--force tp: expected KEY=VALUE, as in tp=2,pp=2,layers=10+18"},
            {"tp=0", "--force tp=0: expected a whole number from 1 to 1048576"},
            {"tp=two", "--force tp=two: expected a whole number from 1 to 1048576"},
            {"thread=2", "--force thread=2: unknown key; did you mean threads?"},
            {"layers=3+x", "stage 1: --force layers=x: expected a whole number from 1 to 1048576"},
            {"pp=3,layers=1+2", "--force pp=3 with 2 stages in layers: they must agree"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        assert_false(plan_force_parse(&out, bad[i].text, &arena, &err));
        assert_int_equal(err.kind, ERR_INPUT);
        assert_string_equal(err.text, bad[i].message);
    }
    struct err err = {0};
    assert_true(plan_force_parse(&out,
            "tp=2,pp=2,layers=10+18,dp=3,ep=4,adp=5,threads=6,max_seqs=8,max_tokens=256,in_flight="
            "2,"
            "kv_blocks=99",
            &arena, &err));
    assert_int_equal(out.tp, 2);
    assert_int_equal(out.attention_dp, 5);
    assert_int_equal(out.n_layers, 2);
    assert_int_equal(out.layers[1], 18);
    assert_int_equal(out.kv_blocks, 99);
    arena_free(&arena);
}

/* Each way to spoil a good plan is noticed. */
static void the_checker_notices(void **unused)
{
    (void)unused;
    for (int way = 0; way < 14; way++) {
        struct fixture f;
        struct planner_input input;
        struct plan plan;
        struct err err = {0};
        make_desk(&f, &input, 64 * MIB);
        force(&input, &f, "pp=2,max_seqs=4,max_tokens=64");
        fixture_plan(&plan, &input, &f);
        struct plan_replica *replica = &plan.replicas[0];
        struct plan_stage *second = &replica->stages[1];
        int *ranks = (int *)(uintptr_t)second->ranks;
        switch (way) {
        case 0:
            second->first_layer++;
            break;
        case 1:
            second->end_layer--;
            break;
        case 2:
            second->end_layer++;
            break;
        case 3:
            ranks[0] = 0;
            break;
        case 4:
            ranks[0] = 2;
            break;
        case 5:
            plan.n_ranks++;
            break;
        case 6:
            second->tp = 2;
            break;
        case 7:
            second->threads = 2;
            break;
        case 8:
            second->kind = "gpu";
            break;
        case 9:
            replica->kv_blocks = INT64_C(1) << 50;
            break;
        case 10:
            replica->kv_blocks = 1;
            break;
        case 11:
            replica->in_flight = 3;
            break;
        case 12:
            plan.predicted.ttft_p50_us = (double)NAN;
            break;
        case 13:
            replica->max_tokens = 1 << 20;
            break;
        default:
            break;
        }
        assert_false(plan_check(&plan, &f.model, &f.cluster, &err));
        assert_true(err.text[0] != 0);
        arena_free(&f.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(a_plan_has_figures_proof_and_reasons),
            cmocka_unit_test(same_inputs_same_bytes),
            cmocka_unit_test(forced_plans_come_out_as_asked),
            cmocka_unit_test(forced_illegal_plans_hear_the_rule),
            cmocka_unit_test(what_fits_nowhere_says_what_would),
            cmocka_unit_test(memory_decides_when_it_must),
            cmocka_unit_test(mixed_kinds_share_by_speed),
            cmocka_unit_test(objectives_pull_apart),
            cmocka_unit_test(service_objectives_are_met_first),
            cmocka_unit_test(a_time_limit_returns_a_plan_with_its_gap),
            cmocka_unit_test(wrong_inputs_are_refused),
            cmocka_unit_test(force_text_is_checked),
            cmocka_unit_test(the_checker_notices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
