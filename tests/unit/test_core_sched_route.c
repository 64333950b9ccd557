/* Who serves what: by the work that replicas have left, the same for everybody who asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "core/random.h"
#include "core/sched_route.h"

enum {
    MAX_REPLICAS = 6
};

static void equal_work_follows_speed(void **state)
{
    (void)state;
    static const int even[] = {0, 1, 0, 1, 0, 1, 0, 1};
    static const int fast[] = {0, 0, 1, 0, 0, 1, 0, 0};
    static const double speeds[][2] = {{1, 1}, {2.1, 1}, {0, 0}};
    static const int *const want[] = {even, fast, even};

    for (int c = 0; c < 3; c++) {
        struct router *router = router_open(speeds[c], 2);
        for (int i = 0; i < 8; i++)
            assert_int_equal(router_pick(router, 0, 1), want[c][i]);
        router_close(router);
    }
}

static void long_requests_are_balanced_by_short_ones(void **state)
{
    (void)state;
    struct router *router = router_open((const double[]){1, 1}, 2);
    static const double work[] = {100, 30, 30, 30, 30, 30};
    static const int want[] = {0, 1, 1, 1, 1, 0}; /* at last 100 against 120 */

    for (int i = 0; i < 6; i++)
        assert_int_equal(router_pick(router, 0, work[i]), want[i]);
    router_close(router);
}

static void work_is_forgotten_as_time_goes_by(void **state)
{
    (void)state;
    struct router *router = router_open((const double[]){1, 1}, 2);

    assert_int_equal(router_pick(router, 0, 100), 0);
    assert_int_equal(router_pick(router, 50, 20), 1);
    assert_int_equal(router_pick(router, 60, 20), 1);  /* 10 left there, 40 at the other */
    assert_int_equal(router_pick(router, 200, 20), 1); /* both idle: 1 since 90, 0 since 100 */
    assert_int_equal(router_pick(router, 200, 20), 0);
    router_close(router);
}

/* The rule of the header, without heaps. */
static int pick_plainly(double *free_ns, const double *speed, int n, double now, double work)
{
    int best = -1;
    double best_done = 0;

    for (int r = 0; r < n; r++) {
        double done = fmax(free_ns[r], now) + work / speed[r];
        if (best < 0 || done < best_done || (done == best_done && free_ns[r] < free_ns[best])) {
            best = r;
            best_done = done;
        }
    }
    free_ns[best] = best_done;
    return best;
}

static void heaps_pick_what_the_rule_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        double speed[MAX_REPLICAS], free_ns[MAX_REPLICAS] = {0};
        int n = 1 + (int)random_below(seed, 0, MAX_REPLICAS);
        int64_t now = 0;

        for (int r = 0; r < n; r++)
            speed[r] = 1 + (double)random_below(seed, 1 + (uint64_t)r, 2);
        struct router *router = router_open(speed, n);
        for (uint64_t i = 0; i < 200; i++) {
            double work = 1 + (double)random_below(seed, 1000 + i, 20);
            now += random_below(seed, 2000 + i, 12);
            assert_int_equal(router_pick(router, now, work),
                    pick_plainly(free_ns, speed, n, (double)now, work));
        }
        router_close(router);
    }
}

/* A decode step of a whole replica and a prompt step of a prefill replica say nothing of each other. */
static void replicas_get_what_they_say_beside_pools(void **state)
{
    (void)state;
    enum {
        N = 1000
    };
    struct plan_stage stage = {.step_us = 10};
    struct plan_replica replicas[4] = {{.role = ROLE_MIXED, .requests_per_s = 3},
            {.role = ROLE_PREFILL, .requests_per_s = 6},
            {.role = ROLE_PREFILL, .requests_per_s = 1}, {.role = ROLE_DECODE}};
    struct request items[N];
    int taken[4] = {0};
    int route[N];
    for (int r = 0; r < 4; r++) {
        replicas[r].stages = &stage;
        replicas[r].n_stages = replicas[r].in_flight = 1;
        replicas[r].max_seqs = replicas[r].max_tokens = 1 << 2 * r;
    }
    for (int i = 0; i < N; i++)
        items[i] = (struct request){
                .arrival_ns = i * INT64_C(100000000), .prompt_len = 400, .output_len = 100};
    const struct requests requests = {.items = items, .n = N};
    const struct plan plan = {.replicas = replicas, .n_replicas = 4};
    route_requests(route, &requests, &plan);
    for (int i = 0; i < N; i++)
        taken[route[i]]++;
    assert_in_range(taken[0], 290, 310);
    assert_in_range(taken[1], 590, 610);
    assert_in_range(taken[2], 90, 110);
    assert_int_equal(taken[3], 0);
}

static void decode_replicas_get_no_prompts(void **state)
{
    (void)state;
    struct plan_stage stage[3] = {{.step_us = 10}, {.step_us = 10}, {.step_us = 10}};
    struct plan_replica replicas[3] = {
            {.role = ROLE_DECODE,
                    .stages = &stage[0],
                    .n_stages = 1,
                    .max_seqs = 4,
                    .in_flight = 1},
            {.role = ROLE_PREFILL,
                    .stages = &stage[1],
                    .n_stages = 1,
                    .max_seqs = 4,
                    .in_flight = 1},
            {.role = ROLE_PREFILL,
                    .stages = &stage[2],
                    .n_stages = 1,
                    .max_seqs = 4,
                    .in_flight = 1},
    };
    struct plan plan = {.replicas = replicas, .n_replicas = 3};
    struct request items[4] = {{.prompt_len = 10, .output_len = 1000},
            {.prompt_len = 30, .output_len = 1}, {.prompt_len = 10, .output_len = 1},
            {.prompt_len = 10, .output_len = 1}};
    struct requests requests = {.items = items, .n = 4};
    static const int want[] = {1, 2, 1, 1};
    int out[4];

    route_requests(out, &requests, &plan);
    assert_memory_equal(out, want, sizeof want);
}

static void speed_is_that_of_the_slowest_stage_or_of_the_round(void **state)
{
    (void)state;
    struct plan_stage stages[2] = {{.step_us = 10}, {.step_us = 30}};
    struct plan_replica replica = {.stages = stages, .n_stages = 2, .max_seqs = 8, .in_flight = 2};

    assert_true(fabs(route_speed(&replica) - 8 / 30e3) < 1e-12);
    replica.in_flight = 1;
    assert_true(fabs(route_speed(&replica) - 8 / 40e3) < 1e-12);
    stages[0].step_us = 0;
    assert_true(route_speed(&replica) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(equal_work_follows_speed),
            cmocka_unit_test(long_requests_are_balanced_by_short_ones),
            cmocka_unit_test(work_is_forgotten_as_time_goes_by),
            cmocka_unit_test(heaps_pick_what_the_rule_says),
            cmocka_unit_test(replicas_get_what_they_say_beside_pools),
            cmocka_unit_test(decode_replicas_get_no_prompts),
            cmocka_unit_test(speed_is_that_of_the_slowest_stage_or_of_the_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
