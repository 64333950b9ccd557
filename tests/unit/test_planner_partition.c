/* The partition program against brute force and an exact dynamic program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "planner/ilp.h"
#include "planner/partition.h"

static uint64_t state;

static double uniform(double lo, double hi)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return lo + (hi - lo) * (double)(state >> 11) / 9007199254740992.0;
}

static int pick(int lo, int hi)
{
    return lo + (int)uniform(0, hi - lo + 0.999999);
}

/* A random instance: uneven layers, kinds of different speed and memory, ends that cost extra. */
static void make_instance(
        struct partition_problem *p, int n_layers, int n_kinds, struct arena *arena)
{
    double *layer = ARENA_NEW(arena, double, n_layers);
    double *bytes = ARENA_NEW(arena, double, n_layers);
    for (int l = 0; l < n_layers; l++) {
        layer[l] = uniform(1, 10);
        bytes[l] = uniform(1, 3);
    }
    bool equal = uniform(0, 1) < 0.3; /* ties everywhere */
    int *budget = ARENA_NEW(arena, int, n_kinds);
    struct partition_arc *arcs = ARENA_NEW(
            arena, struct partition_arc, (int64_t)n_kinds * n_layers * (n_layers + 1) / 2);
    int n = 0;
    for (int k = 0; k < n_kinds; k++) {
        double speed = uniform(0.5, 2);
        double memory = uniform(2, 3.0 * n_layers);
        budget[k] = pick(0, n_layers);
        for (int first = 0; first < n_layers; first++) {
            double us = uniform(0, 0.5);
            double held = 0;
            for (int end = first + 1; end <= n_layers; end++) {
                us += equal ? 4 : layer[end - 1];
                held += bytes[end - 1];
                double extra = (first == 0 ? 0.7 : 0) + (end == n_layers ? 2.5 : 0);
                if (held <= memory)
                    arcs[n++] = (struct partition_arc){k, first, end,
                            equal ? us * speed : (us + extra) * speed,
                            end == n_layers ? 0 : uniform(0, 0.3)};
            }
        }
    }
    *p = (struct partition_problem){.name = "random",
            .n_layers = n_layers,
            .n_kinds = n_kinds,
            .budget = budget,
            .arcs = arcs,
            .n_arcs = n};
    p->n_stages = pick(1, n_layers < 5 ? n_layers : 5);
    p->in_flight = pick(1, p->n_stages);
}

/* Every path, by recursion. */
static void brute(
        const struct partition_problem *p, int at, int stage, int *left, int *path, double *best)
{
    if (stage == p->n_stages) {
        if (at == p->n_layers)
            *best = fmin(*best, partition_pace(p, path));
        return;
    }
    for (int i = 0; i < p->n_arcs; i++) {
        if (p->arcs[i].first != at || left[p->arcs[i].kind] == 0)
            continue;
        left[p->arcs[i].kind]--;
        path[stage] = i;
        brute(p, p->arcs[i].end, stage + 1, left, path, best);
        left[p->arcs[i].kind]++;
    }
}

static double brute_force(const struct partition_problem *p, struct arena *arena)
{
    int *left = ARENA_NEW(arena, int, p->n_kinds);
    int *path = ARENA_NEW(arena, int, p->n_stages);
    double best = HUGE_VAL;
    memcpy(left, p->budget, sizeof *left * (size_t)p->n_kinds);
    brute(p, 0, 0, left, path, &best);
    return best;
}

static void assert_legal(const struct partition_problem *p, const struct partition_result *r)
{
    int used[8] = {0};
    int at = 0;
    for (int s = 0; s < p->n_stages; s++) {
        const struct partition_arc *arc = &p->arcs[r->arcs[s]];
        assert_int_equal(arc->first, at);
        at = arc->end;
        used[arc->kind]++;
    }
    assert_int_equal(at, p->n_layers);
    for (int k = 0; k < p->n_kinds; k++)
        assert_true(used[k] <= p->budget[k]);
}

static void equals_brute_force_on_random_instances(void **unused)
{
    (void)unused;
    int infeasible = 0;
    state = 7;
    for (int trial = 0; trial < 300; trial++) {
        struct arena arena = {0};
        struct err err = {0};
        struct partition_problem p;
        struct partition_result r;
        make_instance(&p, pick(1, 7), pick(1, 3), &arena);
        double best = brute_force(&p, &arena);
        assert_true(partition_solve(&r, &p, &arena, &err));
        assert_true(r.proven);
        assert_int_equal(r.feasible, isfinite(best));
        if (r.feasible) {
            assert_legal(&p, &r);
            assert_true(fabs(r.value_us - best) <= 1e-9 * best);
            assert_true(fabs(r.bound_us - r.value_us) <= 1e-9 * best);
        } else {
            infeasible++;
            assert_true(isinf(r.bound_us));
        }
        struct partition_result guess;
        partition_guess(&guess, &p, &arena);
        if (guess.feasible) {
            assert_legal(&p, &guess);
            assert_true(guess.value_us >= best * (1 - 1e-9));
        }
        /* The simple bound holds. */
        if (r.feasible)
            assert_true(guess.bound_us <= best * (1 + 1e-9));
        arena_free(&arena);
    }
    assert_in_range(infeasible, 5, 200);
}

/* f[stages][end]: the smallest possible slowest stage; exact for one kind with every stage in flight. */
static double dynamic_program(const struct partition_problem *p, struct arena *arena)
{
    int side = p->n_layers + 1;
    double *now = ARENA_NEW(arena, double, side);
    double *next = ARENA_NEW(arena, double, side);
    for (int l = 0; l < side; l++)
        now[l] = l == 0 ? 0 : HUGE_VAL;
    for (int s = 0; s < p->n_stages; s++) {
        for (int l = 0; l < side; l++)
            next[l] = HUGE_VAL;
        for (int i = 0; i < p->n_arcs; i++) {
            const struct partition_arc *arc = &p->arcs[i];
            next[arc->end] = fmin(next[arc->end], fmax(now[arc->first], arc->us));
        }
        memcpy(now, next, sizeof *now * (size_t)side);
    }
    return now[p->n_layers];
}

static void equals_a_dynamic_program_on_medium_instances(void **unused)
{
    (void)unused;
    state = 11;
    for (int trial = 0; trial < 12; trial++) {
        struct arena arena = {0};
        struct err err = {0};
        struct partition_problem p;
        struct partition_result r;
        make_instance(&p, pick(20, 40), 1, &arena);
        p.n_stages = pick(2, 9);
        p.in_flight = p.n_stages;
        for (int i = 0; i < p.n_arcs; i++)
            ((struct partition_arc *)(uintptr_t)p.arcs)[i].send_us = 0;
        ((int *)(uintptr_t)p.budget)[0] = p.n_stages;
        double best = dynamic_program(&p, &arena);
        assert_true(partition_solve(&r, &p, &arena, &err));
        assert_true(r.proven);
        assert_int_equal(r.feasible, isfinite(best));
        if (r.feasible)
            assert_true(fabs(r.value_us - best) <= 1e-9 * best);
        arena_free(&arena);
    }
}

/* 80 layers, 16 stages, four kinds of device: the size of the largest models. */
static void make_large(struct partition_problem *p, struct arena *arena)
{
    static const double speed[4] = {1, 1.3, 2.1, 3};
    static const int budget[4] = {8, 8, 16, 32};
    struct partition_arc *arcs = ARENA_NEW(arena, struct partition_arc, 4 * 80 * 81 / 2);
    int n = 0;
    for (int k = 0; k < 4; k++)
        for (int first = 0; first < 80; first++)
            for (int end = first + 1; end <= 80 && end - first <= 30; end++)
                arcs[n++] = (struct partition_arc){k, first, end,
                        speed[k]
                                * (100.0 * (end - first) + (first == 0 ? 20 : 0)
                                        + (end == 80 ? 90 : 0)),
                        end == 80 ? 0 : 15};
    *p = (struct partition_problem){.name = "large",
            .n_layers = 80,
            .n_stages = 16,
            .n_kinds = 4,
            .in_flight = 16,
            .budget = budget,
            .arcs = arcs,
            .n_arcs = n};
}

static void proves_eighty_layers_on_four_kinds(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    struct partition_problem p;
    struct partition_result r;
    make_large(&p, &arena);
    assert_true(partition_solve(&r, &p, &arena, &err));
    assert_true(r.feasible);
    assert_true(r.proven);
    assert_legal(&p, &r);
    /* By hand: 8 stages each of the two fastest kinds. A cap of 600 lets the fast kind hold 6 layers and
     * the second 4, in all 80; the first stage then is too slow by its embedding, whatever kind has it
     * (620 or 546), the last one by its head. */
    assert_true(r.value_us >= 600);
    assert_true(r.value_us <= 700);
    arena_free(&arena);
}

static void a_time_limit_leaves_the_incumbent_and_a_bound(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    struct partition_problem p;
    struct partition_result r;
    struct partition_result exact;
    make_large(&p, &arena);
    assert_true(partition_solve(&exact, &p, &arena, &err));
    p.time_limit_s = 1e-6;
    assert_true(partition_solve(&r, &p, &arena, &err));
    assert_true(r.feasible);
    assert_false(r.proven);
    assert_legal(&p, &r);
    assert_true(r.value_us >= exact.value_us * (1 - 1e-9));
    assert_true(r.bound_us <= exact.value_us * (1 + 1e-9));
    assert_true(r.bound_us > 0);
    arena_free(&arena);
}

static void no_arcs_is_infeasible(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    const int budget = 4;
    struct partition_problem p = {.name = "none",
            .n_layers = 4,
            .n_stages = 2,
            .n_kinds = 1,
            .in_flight = 2,
            .budget = &budget};
    struct partition_result r;
    assert_true(partition_solve(&r, &p, &arena, &err));
    assert_false(r.feasible);
    assert_true(r.proven);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(equals_brute_force_on_random_instances),
            cmocka_unit_test(equals_a_dynamic_program_on_medium_instances),
            cmocka_unit_test(proves_eighty_layers_on_four_kinds),
            cmocka_unit_test(a_time_limit_leaves_the_incumbent_and_a_bound),
            cmocka_unit_test(no_arcs_is_infeasible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
