/*
 * The whole cluster against every plan there is: sequences of stages by recursion, and again by dynamic programming, and
 * all ways to put them together (tests/oracle). SHARDWRIGHT_INSTANCES sets how many random clusters of each sort.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "planner/columns.h"
#include "tests/oracle/oracle.h"
#include "tests/oracle/worlds.h"

static int count_of(const char *name, int def)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : def;
}

static void solve(struct columns_result *out, const struct world *w,
        const struct columns_options *options, struct arena *arena)
{
    struct err err = {0};
    if (!columns_solve(out, &w->in, options, arena, &err))
        fail_msg("%s", err.text);
    const char *wrong = oracle_judge(&w->in, out);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

/* How many instances of each class were compared. */
struct classes {
    int kinds[WORLD_KINDS + 1];
    int dense, experts, uneven, tight, slo, infeasible;
};

static void count(struct classes *c, const struct world *w, const struct oracle_answer *answer)
{
    c->kinds[w->in.n_kinds]++;
    c->dense += !w->experts && !w->uneven;
    c->experts += w->experts;
    c->uneven += w->uneven;
    c->tight += w->tight;
    c->slo += w->slo;
    c->infeasible += !answer->feasible;
}

static void show(const struct classes *c, int n, const char *what)
{
    printf("%d random clusters%s equal brute force: %d, %d, %d of 1, 2, 3 kinds; layers alike %d, "
           "of two classes %d, all different %d; tight memory %d, service objectives %d; "
           "infeasible %d\n",
            n, what, c->kinds[1], c->kinds[2], c->kinds[3], c->dense, c->experts, c->uneven,
            c->tight, c->slo, c->infeasible);
    /* No class may vanish unseen. */
    if (n >= 100) {
        assert_true(c->kinds[1] > 0 && c->kinds[2] > 0 && c->kinds[3] > 0);
        assert_true(c->dense > 0 && c->experts > 0 && c->uneven > 0);
        assert_true(c->tight > 0 && c->slo > 0 && c->infeasible > 0);
    }
}

static bool close_to(double found, double expected, double frac)
{
    return fabs(found - expected) <= frac * fabs(expected);
}

/* No replica serves whole requests: those that did take prompts and outputs in turn. */
static void separate(struct world *w)
{
    int next = ROLE_PREFILL;
    for (int l = 0; l < w->in.n_limits; l++)
        if (w->limits[l].role == ROLE_MIXED) {
            w->limits[l].role = next;
            next = next == ROLE_PREFILL ? ROLE_DECODE : ROLE_PREFILL;
        }
}

enum sort {
    WHOLE,
    POOLS,
    POOLS_ALONE
};

static void compare(struct classes *classes, uint64_t seed, enum sort sort, bool priced)
{
    struct world w;
    struct arena arena = {0};
    bool pools = sort != WHOLE;
    const struct world_size size = {
            WORLD_LAYERS, pools ? 5 : WORLD_DEVICES, WORLD_LIMITS, .pools = pools};
    world_make(&w, seed, &size);
    if (sort == POOLS_ALONE)
        separate(&w);
    struct oracle_answer brute, dynamic;
    oracle_brute(&brute, &w.in);
    if (priced) {
        w.in.objective = INSTANCE_PRICE;
        w.in.demand = brute.most > 0 ? brute.most * (0.3 + 0.8 * world_draw(&w)) : 1;
        oracle_brute(&brute, &w.in);
    }
    oracle_dynamic(&dynamic, &w.in);
    assert_true(brute.done && dynamic.done);
    if (brute.feasible != dynamic.feasible || !close_to(dynamic.value, brute.value, 1e-12))
        fail_msg("seed %d: dynamic program %.17g, brute force %.17g", (int)seed, dynamic.value,
                brute.value);
    struct columns_result out;
    solve(&out, &w, &(struct columns_options){0}, &arena);
    if (!close_to(out.value, brute.value, 1e-9) || !out.proven || out.feasible != brute.feasible)
        fail_msg("seed %d: %.12g, expected %.12g (bound %.12g, feasible %d, proven %d, %lld "
                 "patterns)",
                (int)seed, out.value, brute.value, out.bound, out.feasible, out.proven,
                (long long)brute.patterns);
    double rate;
    assert_true(columns_value(&rate, &w.in, out.picks, out.n_picks));
    if (out.feasible)
        assert_true(close_to(rate, out.requests_per_s, 1e-9));
    else if (priced) /* what can be served instead */
        assert_true(out.requests_per_s <= brute.most * (1 + 1e-9)
                    && out.bound >= brute.most * (1 - 1e-9));
    count(classes, &w, &brute);
    arena_free(&arena);
}

static void equals_brute_force(void **unused)
{
    (void)unused;
    struct classes classes = {0};
    int n = count_of("SHARDWRIGHT_INSTANCES", 1500);
    for (int i = 0; i < n; i++)
        compare(&classes, (uint64_t)i, WHOLE, false);
    show(&classes, n, "");
}

static void equals_brute_force_with_pools(void **unused)
{
    (void)unused;
    struct classes classes = {0};
    int n = count_of("SHARDWRIGHT_INSTANCES", 300);
    for (int i = 0; i < n; i++)
        compare(&classes, (uint64_t)i + 100000, POOLS, false);
    /* A replica for prompts fits beside none for decoding: no plan, not one that serves nothing. */
    compare(&(struct classes){0}, 100301, POOLS, false);
    show(&classes, n, " with pools");
}

/* Nothing but prefill and decode replicas: few devices, so that the linear program is far off (C19, C20). */
static void equals_brute_force_with_pools_alone(void **unused)
{
    (void)unused;
    struct classes classes = {0};
    int n = count_of("SHARDWRIGHT_INSTANCES", 200);
    for (int i = 0; i < n; i++)
        compare(&classes, (uint64_t)i + 600000, POOLS_ALONE, false);
    show(&classes, n, " with pools alone");
}

static void least_price_equals_brute_force(void **unused)
{
    (void)unused;
    struct classes classes = {0};
    int n = count_of("SHARDWRIGHT_INSTANCES", 300);
    for (int i = 0; i < n; i++)
        compare(&classes, (uint64_t)i + 200000, i % 3 == 0 ? POOLS : WHOLE, true);
    show(&classes, n, " at the least price");
}

/* With a gap allowed fewer patterns are looked at; what is claimed holds all the same. */
static void stays_within_the_gap_asked_for(void **unused)
{
    (void)unused;
    int n = count_of("SHARDWRIGHT_INSTANCES", 150);
    for (int i = 0; i < n; i++) {
        struct world w;
        struct arena arena = {0};
        struct columns_result out;
        struct oracle_answer brute;
        const struct columns_options options = {.gap_frac = i % 2 == 0 ? 0.03 : 5e-4};
        bool pools = i % 3 == 0;
        const struct world_size size = {
                WORLD_LAYERS, pools ? 5 : WORLD_DEVICES, WORLD_LIMITS, .pools = pools};
        world_make(&w, (uint64_t)i + 500000, &size);
        oracle_brute(&brute, &w.in);
        solve(&out, &w, &options, &arena);
        if (out.value > brute.value * (1 + 1e-9) || out.bound < brute.value * (1 - 1e-9)
                || !out.proven || out.gap_frac > options.gap_frac * (1 + 1e-9))
            fail_msg("seed %d: %.12g, bound %.12g, gap %g of %g, proven %d, expected %.12g", i,
                    out.value, out.bound, out.gap_frac, options.gap_frac, out.proven, brute.value);
        arena_free(&arena);
    }
}

/* The last integer program, as another solver reads and solves it. True when there was one. */
static bool ask_cbc(uint64_t seed)
{
    struct world w;
    struct arena arena = {0};
    struct columns_result out;
    char path[] = "/tmp/shardwright-lp-XXXXXX";
    fclose(fdopen(mkstemp(path), "w"));
    char *lp = arena_printf(&arena, "%s.lp", path);
    const struct world_size size = {WORLD_LAYERS, WORLD_DEVICES, WORLD_LIMITS, seed % 2 == 0};
    world_make(&w, seed + 300000, &size);
    solve(&out, &w, &(struct columns_options){.export_lp = lp}, &arena);
    if (out.feasible) {
        double value = (double)NAN;
        char *command = arena_printf(
                &arena, "cbc %s -ratio 0 -solve -solution %s -quit >/dev/null", lp, path);
        assert_int_equal(system(command), 0);
        FILE *in = fopen(path, "r");
        assert_non_null(in);
        assert_int_equal(fscanf(in, "Optimal - objective value %lf", &value), 1);
        fclose(in);
        if (!close_to(-value, out.value, 1e-6)) /* cbc prints eight decimals */
            fail_msg("seed %d: cbc says %.9g, expected %.9g", (int)seed, -value, out.value);
    }
    remove(path);
    remove(lp);
    arena_free(&arena);
    return out.feasible;
}

static void another_solver_agrees(void **unused)
{
    (void)unused;
    if (system("cbc -quit >/dev/null 2>&1") != 0) {
        print_message("cbc is not installed: scripts/setup --tests\n");
        skip();
    }
    int agreed = 0;
    for (uint64_t seed = 0; agreed < 60; seed++)
        agreed += ask_cbc(seed);
    printf("cbc finds the same optimum for %d exported programs\n", agreed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(equals_brute_force),
            cmocka_unit_test(equals_brute_force_with_pools),
            cmocka_unit_test(equals_brute_force_with_pools_alone),
            cmocka_unit_test(least_price_equals_brute_force),
            cmocka_unit_test(stays_within_the_gap_asked_for),
            cmocka_unit_test(another_solver_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
