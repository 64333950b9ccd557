/* Steady arrivals: the rate that the planner finds is kept up, and not by far below what could be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/pace.h"

#include "planner_fixture.h"

struct world {
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    struct cost_model *costs;
};

static void make(struct world *w, int n_experts, double ttft_us, double tpot_us)
{
    struct err err = {0};
    memset(w, 0, sizeof *w);
    fixture_model(&w->f, 6, n_experts);
    fixture_kind(&w->f, "gpu", 4, INT64_C(24) << 20, 5e10, 1e10);
    w->f.nodes[0].count = 2;
    w->f.kinds[0].type = DEVICE_CUDA;
    w->f.kinds[0].n_threads = 0;
    fixture_requests(&w->f, 3, 40, 20);
    w->f.workload.arrival.process = ARRIVAL_STEADY;
    w->f.workload.slo.ttft_us = ttft_us;
    w->f.workload.slo.tpot_us = tpot_us;
    w->f.requests.unpaced = true;
    w->input = (struct planner_input){.model = &w->f.model,
            .cluster = &w->f.cluster,
            .workload = &w->f.workload,
            .requests = &w->f.requests,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .reproducible = true};
    if (!planner_run(&w->plan, &w->input, &w->f.arena, &err))
        fail_msg("%s", err.text);
    w->costs = cost_open(&w->f.model, &w->f.cluster, NULL, 0, &err);
    assert_non_null(w->costs);
}

static void close_world(struct world *w)
{
    cost_close(w->costs);
    arena_free(&w->f.arena);
}

/* So many requests evenly at a rate, all replicas simulated, every request counted. */
static struct simulate_result offer(struct world *w, int64_t n, double per_s)
{
    struct err err = {0};
    struct simulate_result result;
    struct requests requests = {.items = ARENA_NEW(&w->f.arena, struct request, n), .n = n};
    for (int64_t i = 0; i < n; i++) {
        requests.items[i] = w->f.items[0];
        requests.items[i].arrival_ns = llround((double)i / per_s * 1e9);
    }
    struct simulate_input sim = {&w->plan, &w->f.workload, &requests, w->costs, 0};
    assert_true(simulate_run(&result, &sim, &w->f.arena, &err));
    return result;
}

static void the_rate_is_kept_up(void **unused)
{
    (void)unused;
    struct world w;
    make(&w, 0, 0, 0);
    const struct plan_figures *f = &w.plan.predicted;
    assert_true(fabs(f->output_tokens_per_s / (f->requests_per_s * 20) - 1) < 0.03);
    assert_non_null(strstr(w.plan.arrivals, "the most that the plan keeps up with"));
    /* In a long run nobody waits longer and longer; at half as much again they do. */
    double few = offer(&w, 4000, f->requests_per_s).ttft_us.p99;
    double many = offer(&w, 16000, f->requests_per_s).ttft_us.p99;
    assert_true(many < 2 * few);
    few = offer(&w, 4000, 1.5 * f->requests_per_s).ttft_us.p99;
    many = offer(&w, 16000, 1.5 * f->requests_per_s).ttft_us.p99;
    assert_true(many > 3 * few);
    close_world(&w);
}

static void objectives_are_met_at_the_rate(void **unused)
{
    (void)unused;
    struct world free;
    struct world bound;
    make(&free, 0, 0, 0);
    double tpot_us = 0.6 * free.plan.predicted.tpot_p50_us;
    make(&bound, 0, 20 * tpot_us, tpot_us);
    const struct plan_figures *f = &bound.plan.predicted;
    assert_true(f->tpot_p50_us <= tpot_us);
    assert_true(f->ttft_p50_us <= 20 * tpot_us);
    assert_true(f->requests_per_s < free.plan.predicted.requests_per_s);
    assert_true(offer(&bound, 4000, f->requests_per_s).good_frac >= 0.9);
    assert_non_null(strstr(bound.plan.arrivals, "the most at which the objectives are met"));
    close_world(&free);
    close_world(&bound);
}

static void the_number_of_requests_does_not_matter(void **unused)
{
    (void)unused;
    struct world w;
    make(&w, 0, 0, 0);
    double three = w.plan.predicted.requests_per_s;
    struct err err = {0};
    for (int i = 3; i < FIXTURE_REQUESTS; i++)
        w.f.items[i] = w.f.items[0];
    w.f.requests.n = FIXTURE_REQUESTS;
    assert_true(planner_run(&w.plan, &w.input, &w.f.arena, &err));
    assert_true(w.plan.predicted.requests_per_s == three);
    close_world(&w);
}

/* A plan of `times` as many replicas as that of the world, at a rate that it keeps up with. */
static struct simulate_result pace_times(struct world *w, int times, double per_s)
{
    struct err err = {0};
    struct simulate_result result;
    struct plan plan = w->plan;
    plan.n_replicas *= times;
    plan.replicas = ARENA_NEW(&w->f.arena, struct plan_replica, plan.n_replicas);
    for (int r = 0; r < plan.n_replicas; r++)
        plan.replicas[r] = w->plan.replicas[r % w->plan.n_replicas];
    const struct pace_range range = {.most = per_s * times};
    w->f.requests.unpaced = true;
    assert_true(pace_simulate(&result, &plan, &w->input, w->costs, range, &w->f.arena, &err));
    assert_true(result.figures.requests_per_s == range.most);
    int n_stages = 0;
    for (int r = 0; r < plan.n_replicas; r++)
        n_stages += plan.replicas[r].n_stages;
    assert_int_equal(result.n_stages, n_stages);
    return result;
}

static void near(double a, double b, double frac)
{
    if (!(fabs(a - b) <= frac * fabs(b)))
        fail_msg("%g and %g differ by more than %g", a, b, frac);
}

/* Few replicas of each sort stand for all: figures are those of a plan that is simulated whole, times as many. */
static void a_few_stand_for_many(void **unused)
{
    (void)unused;
    static const char *const forced[] = {
            "", "prefill.tp=1,decode.tp=2", "prefill.tp=2,decode.tp=1,decode.adp=2"};
    for (int i = 0; i < 3; i++) {
        struct world w;
        struct err err = {0};
        make(&w, i == 2 ? 8 : 0, 0, 0);
        w.input.serving = i > 0 ? SERVING_DISAGGREGATED : SERVING_AGGREGATED;
        assert_true(plan_force_parse(&w.input.force, forced[i], &w.f.arena, &err));
        if (!planner_run(&w.plan, &w.input, &w.f.arena, &err))
            fail_msg("%s", err.text);
        double per_s = 0.8 * w.plan.predicted.requests_per_s;
        const struct simulate_result one = pace_times(&w, 1, per_s);
        const struct simulate_result many = pace_times(&w, 7, per_s);
        near(many.figures.output_tokens_per_s, 7 * one.figures.output_tokens_per_s, 0.02);
        near(many.figures.tpot_p50_us, one.figures.tpot_p50_us, 0.02);
        near(many.figures.ttft_p50_us, one.figures.ttft_p50_us, 0.03);
        near(many.settled_per_s, 7 * one.settled_per_s, 0.02);
        close_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(the_rate_is_kept_up),
            cmocka_unit_test(objectives_are_met_at_the_rate),
            cmocka_unit_test(the_number_of_requests_does_not_matter),
            cmocka_unit_test(a_few_stand_for_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
