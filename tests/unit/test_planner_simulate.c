/* The simulator against timelines worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "planner_scene.h"

enum {
    LAYERS = SCENE_LAYERS
};

/* dp replicas with pp stages of one rank each, for two requests of 5 and 2 tokens. */
static void make_scene(struct scene *s, int dp, const int *layers, int pp, int in_flight)
{
    scene_open(s, dp, layers, pp);
    fixture_requests(&s->f, 2, 5, 2);
    for (int r = 0; r < dp; r++)
        s->replicas[r].in_flight = in_flight;
}

static void simulate(struct simulate_result *out, struct scene *s)
{
    scene_simulate(out, s, 0);
    assert_int_equal(out->finished, s->f.requests.n);
}

static int64_t send_ns(struct scene *s, int64_t rows)
{
    struct split split = scene_split(s, 0);
    return scene_ns(cost_send_us(s->costs, 0, &split, rows, false));
}

static int64_t return_ns(struct scene *s)
{
    struct op op = {.kind = OP_SEND_RECV, .dtype = DTYPE_F32, .degree = 2, .busy = 2, .dim = {4}};
    return scene_ns(cost_op(s->costs, 0, &op).us);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void one_rank_runs_step_after_step(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int layers[] = {LAYERS};
    make_scene(&s, 1, layers, 1, 1);
    s.f.requests.n = 1;
    s.f.items[0].output_len = 3;
    simulate(&r, &s);
    int64_t first = scene_prefill_ns(&s, 0, 5);
    assert_int_equal(r.requests[0].first_token_ns, first);
    assert_int_equal(r.requests[0].finish_ns,
            first + scene_decode_ns(&s, 0, 1, 6) + scene_decode_ns(&s, 0, 1, 7));
    assert_int_equal(r.steps, 3);
    assert_true(fabs(r.stages[0].busy_frac - 1) < 1e-9);
    assert_true(fabs(r.figures.output_tokens_per_s - 3 / ((double)r.requests[0].finish_ns * 1e-9))
                < 1e-6);
    assert_true(fabs(r.figures.tpot_p50_us - (double)(r.requests[0].finish_ns - first) * 1e-3 / 2)
                < 1e-6);
    scene_close(&s);
}

static void two_stages_with_two_in_flight_overlap(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int splits[][2] = {{2, 2}, {3, 1}, {1, 3}};
    for (int i = 0; i < 3; i++) {
        make_scene(&s, 1, splits[i], 2, 2);
        simulate(&r, &s);
        int64_t p0 = scene_prefill_ns(&s, 0, 5);
        int64_t p1 = scene_prefill_ns(&s, 1, 5);
        int64_t d0 = scene_decode_ns(&s, 0, 1, 6);
        int64_t d1 = scene_decode_ns(&s, 1, 1, 6);
        int64_t sp = send_ns(&s, 5);
        int64_t sd = send_ns(&s, 1);
        int64_t back = return_ns(&s);
        /* Both prompts go out at once; A's tokens come back while B is on its way. */
        int64_t a1 = p0 + sp + p1; /* stage 1 done with A's prompt */
        int64_t b1 = later(a1, 2 * p0 + sp) + p1;
        int64_t ta = later(2 * p0, a1 + back); /* the leader takes A's first token */
        int64_t a2 = later(ta + d0 + sd, b1) + d1;
        int64_t tb = later(ta + d0, b1 + back);
        int64_t b2 = later(tb + d0 + sd, a2) + d1;
        int64_t end_a = later(tb + d0, a2 + back);
        int64_t end_b = later(end_a, b2 + back);
        assert_int_equal(r.requests[0].first_token_ns, ta);
        assert_int_equal(r.requests[1].first_token_ns, tb);
        assert_int_equal(r.requests[0].finish_ns, end_a);
        assert_int_equal(r.requests[1].finish_ns, end_b);
        scene_close(&s);
    }
}

static void one_in_flight_takes_turns(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int layers[] = {2, 2};
    make_scene(&s, 1, layers, 2, 1);
    s.f.requests.n = 1;
    simulate(&r, &s);
    struct op op = {.kind = OP_SEND_RECV, .dtype = DTYPE_F32, .degree = 2, .busy = 1, .dim = {4}};
    int64_t back = scene_ns(cost_op(s.costs, 0, &op).us);
    int64_t first = scene_prefill_ns(&s, 0, 5) + send_ns(&s, 5) + scene_prefill_ns(&s, 1, 5) + back;
    assert_int_equal(r.requests[0].first_token_ns, first);
    assert_int_equal(r.requests[0].finish_ns, first + scene_decode_ns(&s, 0, 1, 6) + send_ns(&s, 1)
                                                      + scene_decode_ns(&s, 1, 1, 6) + back);
    scene_close(&s);
}

static void replicas_do_not_wait_for_each_other(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int layers[] = {LAYERS};
    make_scene(&s, 2, layers, 1, 1);
    simulate(&r, &s);
    int64_t end = scene_prefill_ns(&s, 0, 5) + scene_decode_ns(&s, 0, 1, 6);
    assert_int_equal(r.requests[0].finish_ns, end);
    assert_int_equal(r.requests[1].finish_ns, end);
    assert_int_equal(r.n_stages, 2);
    scene_close(&s);
}

static void a_late_request_is_waited_for(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int layers[] = {LAYERS};
    make_scene(&s, 1, layers, 1, 1);
    s.f.items[1].arrival_ns = INT64_C(5000000000);
    simulate(&r, &s);
    int64_t first = scene_prefill_ns(&s, 0, 5);
    assert_int_equal(r.requests[0].first_token_ns, first);
    assert_int_equal(r.requests[1].first_token_ns, INT64_C(5000000000) + first);
    assert_true(fabs(r.figures.ttft_p50_us - (double)first * 1e-3) < 1e-6);
    scene_close(&s);
}

static void sequences_that_step_together_share_a_step(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int layers[] = {LAYERS};
    make_scene(&s, 1, layers, 1, 1);
    s.replicas[0].max_seqs = 2;
    simulate(&r, &s);
    /* Both prompts fit into one step: 10 rows, two prefills. Then one decode step of two. */
    struct seq_shape seqs[2] = {{5, 5}, {5, 5}};
    struct step_shape shape = {
            .tokens = 10, .group_tokens = 10, .prefill = seqs, .n_prefill = 2, .logits_rows = 2};
    int64_t first = scene_step_ns(&s, 0, &shape);
    assert_true(llabs(r.requests[0].first_token_ns - first) <= 1);
    assert_true(llabs(r.requests[1].finish_ns - first - scene_decode_ns(&s, 0, 2, 12)) <= 1);
    assert_int_equal(r.steps, 2);
    scene_close(&s);
}

static void a_dry_cache_preempts_and_still_finishes(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int layers[] = {LAYERS};
    make_scene(&s, 1, layers, 1, 1);
    s.replicas[0].max_seqs = 2;
    s.replicas[0].kv_blocks = 4;
    s.f.items[0].output_len = s.f.items[1].output_len = 44;
    simulate(&r, &s);
    assert_true(r.preemptions > 0);
    scene_close(&s);
}

static void service_objectives_make_goodput(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int layers[] = {LAYERS};
    make_scene(&s, 1, layers, 1, 1);
    /* The second request waits for the first: only the first meets this. */
    s.f.workload.slo.ttft_us = (double)scene_prefill_ns(&s, 0, 5) * 1e-3 + 1;
    simulate(&r, &s);
    assert_true(fabs(r.figures.goodput_requests_per_s - r.figures.requests_per_s / 2) < 1e-9);
    scene_close(&s);
}

enum {
    MOST_OPS = 64
};

/* A tp 2 decode step whose ops all cost 100 us with quartiles `spread_us` apart. Fills in the op list.
 * With experts each rank holds half of them. */
static double tp_step_us(struct graph_op ops[MOST_OPS], int *n, int experts, double spread_us)
{
    struct fixture f = {0};
    struct err err = {0};
    struct profile_point points[MOST_OPS] = {0};
    struct profile profile = {.points = points};
    struct split split = {.tp = 2,
            .ep = experts > 0 ? 2 : 1,
            .attention_dp = 1,
            .threads = 1,
            .busy = 2,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16};
    struct step_shape shape = {.tokens = 4,
            .group_tokens = 4,
            .decode_batch = 4,
            .decode_kv_tokens = 64,
            .logits_rows = 4};
    struct step_cost cost;

    fixture_model(&f, LAYERS, experts);
    fixture_kind(&f, "core", 4, INT64_C(1) << 32, 5e10, 1e10);
    *n = graph_step(ops, MOST_OPS, &f.model, &split, (struct piece){0, LAYERS}, &shape);
    assert_true(*n > 0 && *n <= MOST_OPS);
    for (int i = 0; i < *n; i++)
        points[i] = (struct profile_point){.op = ops[i].op,
                .cost_us = 100,
                .lo_us = 100,
                .hi_us = 100,
                .q1_us = 100 - spread_us / 2,
                .q3_us = 100 + spread_us / 2};
    profile.n = *n;
    if (!profile_finish(&profile, &err))
        fail_msg("%s", err.text);
    struct cost_model *costs = cost_open(&f.model, &f.cluster, &profile, 1, &err);
    assert_non_null(costs);
    cost_piece(&cost, costs, 0, &split, (struct piece){0, LAYERS}, &shape);
    cost_close(costs);
    arena_free(&f.arena);
    return cost.us;
}

static void ranks_that_meet_wait_for_the_slowest(void **unused)
{
    (void)unused;
    struct graph_op ops[MOST_OPS];
    int n;
    double steady_us = tp_step_us(ops, &n, 0, 0), uneven_us = tp_step_us(ops, &n, 0, 26.98);
    double sum_us = 0, variance = 0, meetings = 0;

    for (int i = 0; i < n; i++) {
        sum_us += 100 * (double)ops[i].count;
        if (op_is_collective(ops[i].op.kind))
            meetings += (double)ops[i].count;
        else
            variance += (double)ops[i].count * 20 * 20; /* 26.98 us between quartiles: sd 20 us */
    }
    assert_true(meetings > 0);
    assert_true(fabs(steady_us - sum_us) < 1e-6);
    assert_true(fabs(uneven_us - sum_us - 0.5642 * sqrt(meetings * variance)) < 1e-3 * sum_us);
}

static void ranks_wait_for_the_one_with_more_rows(void **unused)
{
    (void)unused;
    struct graph_op ops[MOST_OPS];
    int n;
    double us = tp_step_us(ops, &n, 8, 0), sum_us = 0, variance = 0, meetings = 0;

    for (int i = 0; i < n; i++) {
        const struct op *op = &ops[i].op;
        sum_us += 100 * (double)ops[i].count;
        if (op_is_collective(op->kind))
            meetings += (double)ops[i].count;
        if (op->kind == OP_EXPERT_GEMM) /* half of the rows: relative variance 1 / rows drawn */
            variance += (double)ops[i].count * 100 * 100 / (double)(op->dim[0] * op->dim[5]);
    }
    assert_true(variance > 0);
    assert_true(fabs(us - sum_us - 0.5642 * sqrt(meetings * variance)) < 1e-3 * sum_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(one_rank_runs_step_after_step),
            cmocka_unit_test(two_stages_with_two_in_flight_overlap),
            cmocka_unit_test(one_in_flight_takes_turns),
            cmocka_unit_test(replicas_do_not_wait_for_each_other),
            cmocka_unit_test(a_late_request_is_waited_for),
            cmocka_unit_test(sequences_that_step_together_share_a_step),
            cmocka_unit_test(a_dry_cache_preempts_and_still_finishes),
            cmocka_unit_test(service_objectives_make_goodput),
            cmocka_unit_test(ranks_that_meet_wait_for_the_slowest),
            cmocka_unit_test(ranks_wait_for_the_one_with_more_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
