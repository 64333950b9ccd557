/* The simulator against queueing theory, separate pools by hand, refusals, stand-ins; and stage_cost against
 * whole steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "planner/stage_cost.h"

#include "planner_scene.h"

enum {
    LAYERS = SCENE_LAYERS
};

/* Replicas of one rank and one stage. */
static void make_scene(struct scene *s, int n_replicas, int max_seqs)
{
    static const int layers[] = {LAYERS};
    scene_open(s, n_replicas, layers, 1);
    for (int r = 0; r < n_replicas; r++) {
        s->replicas[r].max_seqs = max_seqs;
        s->replicas[r].max_tokens = 128;
    }
}

static void make_requests(struct scene *s, int64_t n, int64_t prompt, int64_t output)
{
    s->f.requests = (struct requests){.items = ARENA_NEW(&s->f.arena, struct request, n), .n = n};
    for (int64_t i = 0; i < n; i++)
        s->f.requests.items[i] = (struct request){.prompt_len = prompt, .output_len = output};
}

/* Gaps are exponential. */
static void arrive(struct scene *s, uint64_t seed, double mean_gap_ns)
{
    double at_ns = 0;
    for (int64_t i = 0; i < s->f.requests.n; i++) {
        at_ns -= mean_gap_ns * log(1 - random_unit(seed, (uint64_t)i));
        s->f.requests.items[i].arrival_ns = llround(at_ns);
    }
}

/* Waiting of the requests of a priority, in nanoseconds. */
static double mean_wait(const struct scene *s, const struct simulate_result *r, int priority)
{
    double sum = 0;
    double n = 0;
    for (int64_t i = 0; i < s->f.requests.n; i++) {
        const struct request *request = &s->f.requests.items[i];
        if (request->priority != priority)
            continue;
        sum += (double)(r->requests[i].begin_ns - request->arrival_ns);
        n++;
    }
    return sum / n;
}

static void expect_within(double found, double wanted, double frac)
{
    if (!(fabs(found / wanted - 1) < frac))
        fail_msg("found %g, expected %g within %g %%", found, wanted, frac * 100);
}

/* One sequence at a time and one step a request: Poisson arrivals, one server. Pollaczek and Khinchine: a request
 * waits arrival rate * E[S^2] / (2 (1 - load)); with one service time S, load * S / (2 (1 - load)). */
static void waiting_is_that_of_a_single_server(void **unused)
{
    (void)unused;
    static const double loads[] = {0.3, 0.5};
    static const int64_t enough[] = {150000, 300000};
    for (int two_points = 0; two_points < 2; two_points++)
        for (int l = 0; l < 2; l++) {
            struct scene s;
            struct simulate_result r;
            make_scene(&s, 1, 1);
            make_requests(&s, enough[l], 5, 1);
            for (int64_t i = 0; i < s.f.requests.n && two_points; i++)
                if (random_unit(99, (uint64_t)i) < 0.25)
                    s.f.requests.items[i].prompt_len = 120;
            double first = 0;
            double second = 0;
            double a = (double)scene_prefill_ns(&s, 0, 5);
            double b = (double)scene_prefill_ns(&s, 0, 120);
            for (int64_t i = 0; i < s.f.requests.n; i++) {
                double service = s.f.requests.items[i].prompt_len == 5 ? a : b;
                first += service / (double)s.f.requests.n;
                second += service * service / (double)s.f.requests.n;
            }
            arrive(&s, 7 + (uint64_t)l, first / loads[l]);
            int64_t last_ns = s.f.requests.items[s.f.requests.n - 1].arrival_ns;
            double per_ns = (double)s.f.requests.n / (double)last_ns;
            scene_simulate(&r, &s, 0);
            assert_int_equal(r.finished, s.f.requests.n);
            expect_within(mean_wait(&s, &r, 0), per_ns * second / (2 * (1 - per_ns * first)), 0.02);
            scene_close(&s);
        }
}

/* Cobham: the urgent wait R / (1 - u), the others R / ((1 - u)(1 - load)), where u is the load of the urgent and R =
 * arrival rate * S^2 / 2 what is left of the service under way. */
static void priorities_wait_as_cobham_says(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    make_scene(&s, 1, 1);
    make_requests(&s, 200000, 5, 1);
    double urgent = 0;
    for (int64_t i = 0; i < s.f.requests.n; i++) {
        s.f.requests.items[i].priority = random_unit(5, (uint64_t)i) < 0.4;
        urgent += s.f.requests.items[i].priority;
    }
    double service = (double)scene_prefill_ns(&s, 0, 5);
    arrive(&s, 21, service / 0.5);
    double per_ns =
            (double)s.f.requests.n / (double)s.f.requests.items[s.f.requests.n - 1].arrival_ns;
    scene_simulate(&r, &s, 0);
    double load = per_ns * service;
    double u = load * urgent / (double)s.f.requests.n;
    double rest = per_ns * service * service / 2;
    expect_within(mean_wait(&s, &r, 1), rest / (1 - u), 0.02);
    expect_within(mean_wait(&s, &r, 0), rest / ((1 - u) * (1 - load)), 0.02);
    scene_close(&s);
}

static int64_t cache_ns(struct scene *s)
{
    struct split split = scene_split(s, 0);
    int64_t bytes = graph_kv_block_bytes(&s->f.model, &split, (struct piece){0, LAYERS}, 16);
    return llround(
            s->replicas[0].kv_latency_us * 1e3 + (double)bytes / s->replicas[0].kv_rate * 1e9);
}

/* Both prompts come at 0 and are computed one after the other; a cache is one block. Its transfer takes x, longer
 * than the two steps that a request decodes, so the decode replica has one request at a time. */
static void pools_hand_caches_over(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    make_scene(&s, 2, 1);
    s.replicas[0].role = ROLE_PREFILL;
    s.replicas[0].kv_rate = 1e6;
    s.replicas[0].kv_latency_us = 300;
    s.replicas[1].role = ROLE_DECODE;
    s.replicas[1].max_seqs = 4;
    make_requests(&s, 3, 5, 3);
    s.f.requests.items[2].arrival_ns = INT64_C(60000000000);
    s.f.requests.items[2].output_len = 1; /* ends where it began */
    scene_simulate(&r, &s, 0);
    int64_t p = scene_prefill_ns(&s, 0, 5);
    int64_t x = cache_ns(&s);
    int64_t d = scene_decode_ns(&s, 0, 1, 6) + scene_decode_ns(&s, 0, 1, 7);
    assert_true(x > d && x > p);
    assert_int_equal(r.requests[0].first_token_ns, p + x); /* the transfer is in TTFT */
    assert_int_equal(r.requests[0].decode_ns, p + x);
    assert_int_equal(r.requests[0].finish_ns, p + x + d);
    assert_int_equal(r.requests[1].begin_ns, p);
    assert_int_equal(r.requests[1].first_token_ns, p + 2 * x);
    assert_int_equal(r.requests[1].decode_ns, p + 2 * x); /* the link was busy until p + x */
    assert_int_equal(r.requests[1].finish_ns, p + 2 * x + d);
    assert_int_equal(r.requests[2].finish_ns, INT64_C(60000000000) + p);
    assert_int_equal(r.requests[2].decode_replica, -1);
    assert_int_equal(r.finished, 3);
    assert_int_equal(r.steps, 3 + 4);
    scene_close(&s);
}

static void a_known_prefix_is_not_computed_again(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result r;
    static const int64_t hashes[] = {1, 2};
    make_scene(&s, 1, 1);
    s.plan.prefix_cache = true;
    make_requests(&s, 2, 40, 1);
    for (int i = 0; i < 2; i++) {
        s.f.requests.items[i].prefix_hash = hashes;
        s.f.requests.items[i].n_prefix_hash = 1;
    }
    scene_simulate(&r, &s, 0);
    /* The second computes the 8 tokens behind the two full blocks of 16. */
    struct seq_shape seq = {8, 40};
    int64_t rest = scene_step_ns(&s, 0,
            &(struct step_shape){.tokens = 8,
                    .group_tokens = 8,
                    .prefill = &seq,
                    .n_prefill = 1,
                    .logits_rows = 1});
    assert_int_equal(r.requests[0].finish_ns, scene_prefill_ns(&s, 0, 40));
    assert_int_equal(r.requests[1].finish_ns, scene_prefill_ns(&s, 0, 40) + rest);
    assert_int_equal(r.reused_tokens, 32);
    assert_int_equal(r.requests[1].reused_tokens, 32);
    scene_close(&s);
}

/* Mixed lengths, priorities, deadlines and a short queue, at about twice what the replicas can do. */
static void make_rush(struct scene *s, uint64_t seed)
{
    make_requests(s, 3000, 1, 1);
    for (int64_t i = 0; i < s->f.requests.n; i++) {
        struct request *request = &s->f.requests.items[i];
        request->prompt_len = 1 + random_below(seed, 3 * (uint64_t)i, 200);
        request->output_len = 1 + random_below(seed, 3 * (uint64_t)i + 1, 40);
        request->priority = (int)random_below(seed, 3 * (uint64_t)i + 2, 3);
    }
    arrive(s, seed + 1, 2e6);
    for (int64_t i = 0; i < s->f.requests.n; i += 3)
        s->f.requests.items[i].deadline_ns = s->f.requests.items[i].arrival_ns + 50000000;
    s->f.workload.admission.max_queue = 20;
}

static void every_request_ends_once_or_is_refused(void **unused)
{
    (void)unused;
    static const int roles[2][3] = {
            {ROLE_MIXED, ROLE_MIXED, ROLE_MIXED}, {ROLE_PREFILL, ROLE_DECODE, ROLE_MIXED}};
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct scene s;
        struct simulate_result r, again;
        make_scene(&s, 3, 1 + (int)seed % 8);
        for (int i = 0; i < 3; i++)
            s.replicas[i].role = roles[seed % 2][i];
        make_rush(&s, seed);
        scene_simulate(&r, &s, 0);
        assert_int_equal(r.offered, s.f.requests.n);
        assert_int_equal(r.finished + r.refused_full + r.refused_late, r.offered);
        assert_true(r.refused_full > 0 && r.refused_late > 0);
        for (int64_t i = 0; i < s.f.requests.n; i++) {
            const struct simulate_request *one = &r.requests[i];
            bool finished = one->outcome == SCHED_FINISHED;
            assert_int_equal(finished, one->finish_ns >= 0);
            assert_int_equal(finished, one->begin_ns >= 0);
            assert_true(!finished
                        || (s.f.requests.items[i].arrival_ns <= one->begin_ns
                                && one->begin_ns < one->first_token_ns
                                && one->first_token_ns <= one->finish_ns));
        }
        scene_simulate(&again, &s, 0);
        assert_memory_equal(
                r.requests, again.requests, sizeof *r.requests * (size_t)s.f.requests.n);
        scene_close(&s);
    }
}

static void some_replicas_stand_for_the_others(void **unused)
{
    (void)unused;
    struct scene s;
    struct simulate_result all, some;
    make_scene(&s, 8, 4);
    make_requests(&s, 40000, 20, 8);
    double service_ns = (double)(scene_prefill_ns(&s, 0, 20) + 7 * scene_decode_ns(&s, 0, 1, 24));
    arrive(&s, 3, service_ns / 8);
    scene_simulate(&all, &s, 0);
    assert_false(all.sampled);
    scene_simulate(&some, &s, 10000);
    assert_true(some.sampled);
    assert_true(some.offered > 9000 && some.offered < 11000);
    expect_within(some.figures.requests_per_s, all.figures.requests_per_s, 0.01);
    expect_within(some.figures.output_tokens_per_s, all.figures.output_tokens_per_s, 0.01);
    expect_within(some.ttft_us.p50, all.ttft_us.p50, 0.03);
    expect_within(some.tpot_us.p90, all.tpot_us.p90, 0.03);
    expect_within(some.stages[7].busy_frac, all.stages[7].busy_frac, 0.05);
    scene_close(&s);
}

/* A step of random shape, priced in parts, against the same step priced whole. */
static void parts_add_up_to_steps(void **unused)
{
    (void)unused;
    struct scene s;
    make_scene(&s, 1, 1);
    struct split split = {.tp = 2,
            .ep = 1,
            .attention_dp = 1,
            .threads = 1,
            .busy = 2,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16};
    struct stage_costs *all = stage_costs_open(s.costs);
    struct stage_cost *head = stage_cost_open(all, 0, &split, (struct piece){0, 2});
    struct stage_cost *inner = stage_cost_open(all, 0, &split, (struct piece){1, 2});
    struct stage_cost *twin = stage_cost_open(all, 0, &split, (struct piece){2, 3});
    struct step_cost sum = {0}, total;
    assert_int_equal(stage_cost_table(inner), stage_cost_table(twin));
    assert_int_not_equal(stage_cost_table(inner), stage_cost_table(head));
    for (uint64_t i = 0; i < 16000; i++) { /* more prompts than a table remembers */
        struct seq_shape seq[2];
        struct step_shape shape = {.prefill = seq, .n_prefill = (int)random_below(1, 9 * i, 3)};
        shape.decode_batch = random_below(1, 9 * i + 1, 20) + (shape.n_prefill == 0);
        shape.decode_kv_tokens = shape.decode_batch * (1 + random_below(1, 9 * i + 2, 500));
        shape.tokens = shape.logits_rows = shape.decode_batch;
        for (int j = 0; j < shape.n_prefill; j++) {
            seq[j].q_len = 1 + random_below(1, 9 * i + 3 + 2 * (uint64_t)j, 200);
            seq[j].kv_len = seq[j].q_len + random_below(1, 9 * i + 4 + 2 * (uint64_t)j, 200);
            shape.tokens += seq[j].q_len;
        }
        shape.group_tokens = shape.tokens;
        struct step_cost whole;
        cost_piece(&whole, s.costs, 0, &split, (struct piece){0, 2}, &shape);
        double us = stage_cost_step(head, &shape, 1);
        expect_within(us, whole.us, 1e-9);
        step_cost_add(&sum, &whole, 1);
    }
    stage_cost_total(&total, head);
    expect_within(total.us, sum.us, 1e-9);
    expect_within(total.lo_us, sum.lo_us, 1e-9);
    expect_within(total.memory_us, sum.memory_us, 1e-9);
    for (int k = 0; k < OP_KIND_COUNT; k++)
        assert_true(fabs(total.kind_us[k] - sum.kind_us[k]) <= 1e-9 * sum.us);
    stage_cost_close(head);
    stage_cost_close(inner);
    stage_cost_close(twin);
    stage_costs_close(all);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(waiting_is_that_of_a_single_server),
            cmocka_unit_test(priorities_wait_as_cobham_says),
            cmocka_unit_test(pools_hand_caches_over),
            cmocka_unit_test(a_known_prefix_is_not_computed_again),
            cmocka_unit_test(every_request_ends_once_or_is_refused),
            cmocka_unit_test(some_replicas_stand_for_the_others),
            cmocka_unit_test(parts_add_up_to_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
