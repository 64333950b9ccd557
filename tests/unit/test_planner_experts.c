/* Placement of experts against brute force, its own checker, and the greedy rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "core/random.h"
#include "planner/experts_state.h"

/* SHARDWRIGHT_INSTANCES makes it fewer: programs of a sanitizer are slow. */
static uint64_t seeds_of(uint64_t def)
{
    const char *text = getenv("SHARDWRIGHT_INSTANCES");
    uint64_t wanted = text != NULL ? strtoull(text, NULL, 10) : def;
    return wanted < def ? wanted : def;
}

struct brute {
    const struct experts_problem *problem;
    int moves; /* EXPERTS_ANY_MOVES */
    int subset[8];
    double best;
};

static bool had(const struct experts_problem *p, int device, int expert)
{
    for (int i = 0; i < p->slots; i++)
        if (p->current[device * p->slots + i] == expert)
            return true;
    return false;
}

static void judge(struct brute *b)
{
    const struct experts_problem *p = b->problem;
    int replicas[8] = {0};
    int total = 0;
    int moved = 0;
    for (int d = 0; d < p->n_devices; d++)
        for (int e = 0; e < p->n_experts; e++)
            if (b->subset[d] >> e & 1) {
                replicas[e]++;
                total++;
                moved += p->current != NULL && !had(p, d, e);
            }
    if ((p->replicas > 0 && total > p->replicas) || (b->moves >= 0 && moved > b->moves))
        return;
    double most = 0;
    for (int d = 0; d < p->n_devices; d++) {
        double load = 0;
        for (int e = 0; e < p->n_experts; e++) {
            if (replicas[e] == 0)
                return;
            if (b->subset[d] >> e & 1)
                load += p->load[e] / replicas[e];
        }
        most = fmax(most, load);
    }
    b->best = fmin(b->best, most);
}

/* Every set of at most `slots` experts on every device. */
static void try_devices(struct brute *b, int device)
{
    const struct experts_problem *p = b->problem;
    if (device == p->n_devices) {
        judge(b);
        return;
    }
    for (int set = 0; set < 1 << p->n_experts; set++) {
        if (__builtin_popcount((unsigned)set) > p->slots)
            continue;
        b->subset[device] = set;
        try_devices(b, device + 1);
    }
}

static double brute_force(const struct experts_problem *p, int moves)
{
    struct brute b = {.problem = p, .moves = moves, .best = HUGE_VAL};
    try_devices(&b, 0);
    return b.best;
}

static int pick(uint64_t seed, uint64_t n, int lo, int hi)
{
    return lo + (int)random_below(seed, n, hi - lo + 1);
}

/* Skewed loads; now and then equal ones and none at all. */
static struct experts_problem random_problem(uint64_t seed, double *load)
{
    struct experts_problem p = {.load = load, .moves = EXPERTS_ANY_MOVES};
    p.n_experts = pick(seed, 0, 2, 5);
    p.n_devices = pick(seed, 1, 2, p.n_experts == 5 ? 3 : 4);
    p.slots = pick(seed, 2, (p.n_experts + p.n_devices - 1) / p.n_devices, 3);
    if (pick(seed, 3, 0, 2) == 0)
        p.replicas = pick(seed, 4, p.n_experts, p.n_devices * p.slots);
    bool ties = pick(seed, 5, 0, 3) == 0;
    for (int e = 0; e < p.n_experts; e++)
        load[e] = ties ? pick(seed, 10 + (uint64_t)e, 0, 3)
                       : exp(3 * random_unit(seed, 10 + (uint64_t)e));
    return p;
}

static void equals_brute_force(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= seeds_of(150); seed++) {
        double load[8];
        struct experts_problem p = random_problem(seed, load);
        struct experts_limits limits = {.time_s = 5};
        struct experts_map map;
        struct arena arena = {0};
        struct err err = {0};
        double best = brute_force(&p, EXPERTS_ANY_MOVES);
        if (!experts_place(&map, &p, &limits, &arena, &err))
            fail_msg("seed %d: %s", (int)seed, err.text);
        if (fabs(map.max_load - best) > 1e-9 * (1 + best)
                || fabs(map.bound - best) > 2e-6 * (1 + best))
            fail_msg("seed %d: found %.9g, bound %.9g, brute force %.9g", (int)seed, map.max_load,
                    map.bound, best);
        arena_free(&arena);
    }
}

/* Small enough to be proven: value and bound are the optimum. */
static double optimum(const struct experts_problem *p, uint64_t seed)
{
    struct experts_limits limits = {.time_s = 5};
    struct experts_map map;
    struct arena arena = {0};
    struct err err = {0};
    if (!experts_place(&map, p, &limits, &arena, &err) || !experts_check(p, &map, &err))
        fail_msg("seed %d: %s", (int)seed, err.text);
    double value = map.max_load;
    if (fabs(map.bound - value) > 2e-6 * (1 + value))
        fail_msg("seed %d: %.9g, bound %.9g", (int)seed, value, map.bound);
    arena_free(&arena);
    return value;
}

/* Loads in another unit scale the answer; another order of experts changes nothing; a slot, a device or a replica
 * more, or a lighter expert, never hurts. */
static void placements_move_as_they_must(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1000 + seeds_of(300); seed++) {
        double load[8];
        double other[8];
        struct experts_problem p = random_problem(seed, load);
        double base = optimum(&p, seed);
        struct experts_problem q = p;
        q.load = other;
        for (int e = 0; e < p.n_experts; e++)
            other[e] = 3.7 * load[e];
        assert_true(fabs(optimum(&q, seed) - 3.7 * base) <= 1e-9 * (1 + base));
        int by = pick(seed, 90, 1, p.n_experts - 1);
        for (int e = 0; e < p.n_experts; e++)
            other[e] = load[(e + by) % p.n_experts];
        assert_true(fabs(optimum(&q, seed) - base) <= 1e-9 * (1 + base));
        memcpy(other, load, sizeof load);
        other[by] *= random_unit(seed, 91);
        assert_true(optimum(&q, seed) <= base + 1e-9 * (1 + base));
        q.load = load;
        q.slots++;
        assert_true(optimum(&q, seed) <= base + 1e-9 * (1 + base));
        q.slots = p.slots;
        q.n_devices++;
        assert_true(optimum(&q, seed) <= base + 1e-9 * (1 + base));
        q.n_devices = p.n_devices;
        q.replicas = p.replicas > 0 ? p.replicas + 1 : 0;
        assert_true(optimum(&q, seed) <= base + 1e-9 * (1 + base));
    }
}

/* The bound by counting, asked far above what is known to be possible. */
static void counting_never_exceeds_a_placement(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= seeds_of(400); seed++) {
        double load[64];
        struct experts_problem p = {.load = load, .moves = EXPERTS_ANY_MOVES};
        struct experts_limits limits = {.time_s = 0.01, .gap_frac = 0.2};
        struct experts_map map;
        struct experts_bound bound;
        struct arena arena = {0};
        struct err err = {0};
        p.n_experts = pick(seed, 0, 4, 64);
        p.n_devices = pick(seed, 1, 2, 24);
        p.slots = (p.n_experts + p.n_devices - 1) / p.n_devices + pick(seed, 2, 0, 2);
        p.replicas = pick(seed, 3, p.n_experts, p.n_devices * p.slots);
        double skew = 4 * random_unit(seed, 4);
        for (int e = 0; e < p.n_experts; e++)
            load[e] = exp(skew * random_unit(seed, 10 + (uint64_t)e));
        if (!experts_place(&map, &p, &limits, &arena, &err))
            fail_msg("seed %d: %s", (int)seed, err.text);
        experts_simple_bound(&bound, &p, p.replicas, 3 * map.max_load, &arena);
        if (bound.value > map.max_load * (1 + 1e-9))
            fail_msg("seed %d: bound %.9g, but %.9g is possible", (int)seed, bound.value,
                    map.max_load);
        arena_free(&arena);
    }
}

/* docs/ilp.md's example: the greedy rule reaches 232. */
static void eight_experts_are_proven(void **state)
{
    (void)state;
    const double load[] = {600, 560, 120, 120, 20, 10, 10, 10};
    struct experts_problem p = {
            .load = load, .n_experts = 8, .n_devices = 8, .slots = 2, .moves = EXPERTS_ANY_MOVES};
    struct experts_limits limits = {.time_s = 30};
    struct experts_map map;
    struct arena arena = {0};
    struct err err = {0};
    assert_true(experts_place(&map, &p, &limits, &arena, &err));
    assert_true(fabs(map.max_load - (560.0 / 3 + 10)) < 1e-9);
    assert_true(fabs(map.bound - map.max_load) < 1e-9);
    assert_true(fabs(map.greedy - 232) < 1e-9);
    arena_free(&arena);
}

/* 256 experts with Zipf loads and 32 spare slots, which the greedy rule leaves 12 % uneven on 64 devices. */
static void many_experts_are_within_a_percent(void **state)
{
    (void)state;
    const double exponents[] = {0.8, 1.2};
    for (int devices = 32; devices <= 64; devices *= 2)
        for (int i = 0; i < 2; i++) {
            double load[256];
            for (int e = 0; e < 256; e++)
                load[e] = pow(e + 1, -exponents[i]);
            struct experts_problem p = {.load = load,
                    .n_experts = 256,
                    .n_devices = devices,
                    .slots = (288 + devices - 1) / devices,
                    .replicas = 288,
                    .n_nodes = devices / 8,
                    .moves = EXPERTS_ANY_MOVES};
            struct experts_limits limits = {.time_s = 10, .gap_frac = 0.009};
            struct experts_map map;
            struct arena arena = {0};
            struct err err = {0};
            assert_true(experts_place(&map, &p, &limits, &arena, &err));
            assert_true(map.gap_frac <= 0.01);
            assert_true(map.max_load <= map.greedy);
            assert_true(map.node_max_load <= 1.02 * map.mean * 8 * (map.max_load / map.mean));
            assert_true(map.home_frac > 1.0 / p.n_nodes);
            arena_free(&arena);
        }
}

static void a_budget_of_copies_is_kept(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= seeds_of(60); seed++) {
        double load[8];
        double new_load[8];
        struct experts_problem p = random_problem(seed, load);
        struct experts_limits limits = {.time_s = 0.2};
        struct experts_map old;
        struct experts_map map;
        struct arena arena = {0};
        struct err err = {0};
        assert_true(experts_place(&old, &p, &limits, &arena, &err));
        for (int e = 0; e < p.n_experts; e++)
            new_load[e] = load[p.n_experts - 1 - e];
        p.load = new_load;
        p.current = old.slot;
        double last = HUGE_VAL;
        for (p.moves = 0; p.moves <= 4; p.moves += 2) {
            double best = brute_force(&p, p.moves);
            if (!experts_place(&map, &p, &limits, &arena, &err))
                fail_msg("seed %d: %s", (int)seed, err.text);
            assert_true(map.moved <= p.moves);
            assert_true(map.max_load >= best * (1 - 1e-9));
            assert_true(map.bound <= best * (1 + 1e-9));
            assert_true(map.max_load <= last * 1.05 + 1e-9);
            last = fmin(last, map.max_load);
        }
        arena_free(&arena);
    }
}

static void same_loads_need_no_copies(void **state)
{
    (void)state;
    const double load[] = {600, 560, 120, 120, 20, 10, 10, 10};
    struct experts_problem p = {
            .load = load, .n_experts = 8, .n_devices = 8, .slots = 2, .moves = EXPERTS_ANY_MOVES};
    struct experts_limits limits = {.time_s = 30};
    struct experts_map old;
    struct experts_map map;
    struct arena arena = {0};
    struct err err = {0};
    assert_true(experts_place(&old, &p, &limits, &arena, &err));
    /* The same contents on other devices. */
    int *turned = ARENA_NEW(&arena, int, 16);
    for (int i = 0; i < 16; i++)
        turned[i] = old.slot[(i + 6) % 16];
    p.current = turned;
    assert_true(experts_place(&map, &p, &limits, &arena, &err));
    assert_int_equal(map.moved, 0);
    assert_true(fabs(map.max_load - old.max_load) < 1e-9);
    arena_free(&arena);
}

static void too_few_slots_are_refused(void **state)
{
    (void)state;
    const double load[] = {1, 2, 3, 4, 5};
    struct experts_problem p = {
            .load = load, .n_experts = 5, .n_devices = 2, .slots = 2, .moves = EXPERTS_ANY_MOVES};
    struct experts_limits limits = {0};
    struct experts_map map;
    struct arena arena = {0};
    struct err err = {0};
    assert_false(experts_place(&map, &p, &limits, &arena, &err));
    assert_int_equal(err.kind, ERR_NO);
    assert_string_equal(err.text, "5 experts need 5 slots, but 2 devices with 2 each may hold 4 "
                                  "replicas: take at least 3 "
                                  "slots, or 3 devices");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(equals_brute_force),
            cmocka_unit_test(placements_move_as_they_must),
            cmocka_unit_test(counting_never_exceeds_a_placement),
            cmocka_unit_test(eight_experts_are_proven),
            cmocka_unit_test(many_experts_are_within_a_percent),
            cmocka_unit_test(a_budget_of_copies_is_kept),
            cmocka_unit_test(same_loads_need_no_copies),
            cmocka_unit_test(too_few_slots_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
