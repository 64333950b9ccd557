/* What the simulation refuses, and the plan that is taken instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/choose.h"

#include "planner_runs.h"

/* Requests in bursts of n: the mean is what the program sees, the burst is what the percentiles see. */
static void make(struct fixture *f, struct planner_input *input, int burst, double per_s)
{
    memset(f, 0, sizeof *f);
    fixture_model(f, 6, 0);
    fixture_kind(f, "gpu", 4, INT64_C(24) << 20, 5e10, 1e10);
    f->nodes[0].count = 2;
    fixture_accelerators(f);
    fixture_requests(f, FIXTURE_REQUESTS, 40, 20);
    for (int i = 0; i < f->requests.n; i++)
        f->items[i].arrival_ns = (int64_t)((double)(i / burst) * burst / per_s * 1e9);
    fixture_input(input, f);
}

/* Simulated anew: the share of requests that meet the objectives. */
static double met(const struct plan *plan, const struct planner_input *input, struct fixture *f)
{
    struct err err = {0};
    struct finalist finalist = {.plan = *plan};
    struct cost_model *costs = cost_open(input->model, input->cluster, NULL, 0, &err);
    assert_non_null(costs);
    assert_true(choose_simulate(&finalist, input, costs, &f->arena, &err));
    cost_close(costs);
    return finalist.met_frac;
}

static void a_plan_that_holds_takes_the_place_of_refused_ones(void **unused)
{
    (void)unused;
    int taken_over = 0;
    for (int burst = 4; burst <= FIXTURE_REQUESTS; burst *= 4)
        for (int us = 500; us <= 8000; us += us / 4) {
            struct fixture f;
            struct planner_input input;
            struct plan plan;
            struct err err = {0};
            make(&f, &input, burst, 400);
            for (int i = 0; i < f.requests.n; i += 3)
                f.items[i].prompt_len = 400; /* its prompt holds up the others' tokens */
            f.workload.slo.tpot_us = us;
            f.workload.slo.percentile = 0.99;
            if (!planner_run(&plan, &input, &f.arena, &err)) {
                assert_int_equal(err.kind, ERR_NO);
                assert_non_null(strstr(err.text, "no plan meets the service objectives (tpot "));
                arena_free(&f.arena);
                continue;
            }
            bool holds = met(&plan, &input, &f) >= 0.99 - 1e-12;
            for (int i = 0; i < plan.why.n_refused; i++) {
                const struct plan_refused *r = &plan.why.refused[i];
                assert_true(r->met_frac < 0.99);
                assert_non_null(
                        strstr(r->why, r->tpot_us > f.workload.slo.tpot_us ? "p99 of TPOT is "
                                                                           : "99 % are asked"));
                if (holds)
                    assert_true(r->output_tokens_per_s > plan.predicted.output_tokens_per_s);
            }
            /* When none holds, the chosen one is named among the refused. */
            if (!holds) {
                assert_true(plan.why.n_refused > 0);
                assert_string_equal(plan.why.refused[0].what, plan.name);
            }
            taken_over += holds && plan.why.n_refused > 0;
            arena_free(&f.arena);
        }
    assert_true(taken_over > 0);
}

/* Without service objectives nothing is refused, and looser ones never cost throughput. */
static void looser_objectives_never_hurt(void **unused)
{
    (void)unused;
    double before = 0;
    for (int ms = 8; ms <= 128; ms *= 4) {
        struct fixture f;
        struct planner_input input;
        struct plan plan;
        make(&f, &input, 4, 400);
        f.workload.slo.ttft_us = ms * 1e3;
        fixture_plan(&plan, &input, &f);
        if (met(&plan, &input, &f) >= 0.9 - 1e-12) {
            assert_true(plan.predicted.output_tokens_per_s >= before * (1 - 2e-3));
            before = plan.predicted.output_tokens_per_s;
        }
        f.workload.slo.ttft_us = 0;
        fixture_plan(&plan, &input, &f);
        assert_int_equal(plan.why.n_refused, 0);
        assert_true(plan.predicted.output_tokens_per_s >= before * (1 - 2e-3));
        arena_free(&f.arena);
    }
    assert_true(before > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(a_plan_that_holds_takes_the_place_of_refused_ones),
            cmocka_unit_test(looser_objectives_never_hurt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
