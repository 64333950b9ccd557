/*
 * Clusters of up to 64 devices of 4 kinds and models of 61 to 126 layers against the dynamic program, and partitions of one
 * replica likewise. Where the solver is asked for the optimum and proves it the two are equal; the oracle's always lies
 * between incumbent and bound, and the gap is printed. A tenth of SHARDWRIGHT_INSTANCES sets how many of each.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/random.h"
#include "tests/oracle/oracle.h"

enum {
    KINDS = 4,
    CONFIGS = 2,
    LIMITS = 2,
    LAYERS = 126
};

#define GAP 5e-4 /* good enough for three kinds and more; fewer are solved to the end */

static int count_of(int def)
{
    const char *text = getenv("SHARDWRIGHT_INSTANCES");
    return text != NULL ? (atoi(text) + 9) / 10 : def;
}

/* A fleet and a large model: every layer as its sum up to it. */
struct fleet {
    struct instance in;
    struct instance_kind kinds[KINDS];
    struct instance_config configs[CONFIGS];
    struct instance_limits limits[LIMITS];
    int layer_class[LAYERS];
    double layer_us[KINDS][LAYERS + 1], layer_gb[LAYERS + 1]; /* sums of the layers before */
    double ends_us[KINDS][2], memory_gb[KINDS];
    double batch[LIMITS], flight_gb[LIMITS]; /* of a layer and micro-batch */
    double send_us;
    uint64_t seed, drawn;
};

static double draw(struct fleet *f, double lo, double hi)
{
    return lo + (hi - lo) * random_unit(f->seed, f->drawn++);
}

static int pick(struct fleet *f, int lo, int hi)
{
    return lo + (int)random_below(f->seed, f->drawn++, hi - lo + 1);
}

static void price(void *self, struct instance_price *out, int kind, int config, int limits,
        int first, int end)
{
    const struct fleet *f = self;
    double tp = f->configs[config].devices[kind];
    double us = f->layer_us[kind][end] - f->layer_us[kind][first];
    us += first == 0 ? f->ends_us[kind][0] : 0;
    us += end == f->in.n_layers ? f->ends_us[kind][1] : 0;
    double left_gb = f->memory_gb[kind] - (f->layer_gb[end] - f->layer_gb[first]) / tp;
    out->us = us * f->batch[limits] * pow(tp, -0.85);
    out->send_us = f->send_us * f->batch[limits];
    out->most_in_flight =
            (int)fmin(99, fmax(0, left_gb * tp / (f->flight_gb[limits] * (end - first))));
}

/* What one layer is: 80 or 126 alike, or 3 dense before 58 with experts; costs alike or all different. */
static void make_layers(struct fleet *f, int shape, bool uneven)
{
    static const int layers[3] = {80, 126, 61};
    f->in.n_layers = layers[shape];
    for (int l = 0; l < f->in.n_layers; l++) {
        bool experts = shape == 2 && l >= 3;
        double gb = shape == 0 ? 1.75 : shape == 1 ? 6.4 : experts ? 11.4 : 1.2;
        double size = (experts ? 1.4 : 1) * (shape == 1 ? 2.2 : 1);
        f->layer_class[l] = experts;
        f->layer_gb[l + 1] = f->layer_gb[l] + gb * (uneven ? draw(f, 0.8, 1.2) : 1);
        for (int k = 0; k < f->in.n_kinds; k++) {
            static const double speed[KINDS] = {100, 137, 219, 61};
            f->layer_us[k][l + 1] =
                    f->layer_us[k][l] + speed[k] * size * (uneven ? draw(f, 0.5, 1.5) : 1);
        }
    }
    f->in.layer_class = uneven ? NULL : f->layer_class;
}

static void make_fleet(struct fleet *f, uint64_t seed)
{
    static const char *const names[KINDS] = {"h200", "h100", "a100", "b200"};
    static const double memory_gb[KINDS] = {141, 80, 80, 180};
    memset(f, 0, sizeof *f);
    f->seed = seed;
    f->in = (struct instance){.name = "fleet",
            .n_kinds = 1 + (int)(seed % KINDS),
            .kinds = f->kinds,
            .configs = f->configs,
            .n_configs = CONFIGS,
            .limits = f->limits,
            .n_limits = LIMITS,
            .price = price,
            .self = f};
    for (int k = 0; k < f->in.n_kinds; k++) {
        f->kinds[k] = (struct instance_kind){.name = names[k], .devices = 4 * pick(f, 2, 4)};
        f->memory_gb[k] = memory_gb[k];
        f->ends_us[k][0] = draw(f, 5, 30);
        f->ends_us[k][1] = draw(f, 100, 300);
        for (int c = 0; c < CONFIGS; c++)
            f->configs[c].devices[k] = 4 << c;
    }
    f->configs[0].name = "tp=4";
    f->configs[1].name = "tp=8";
    f->in.max_stages = 8;
    f->send_us = draw(f, 0, 40);
    make_layers(f, (int)(seed / KINDS % 3), seed / 12 % 2 == 1);
    bool slo = pick(f, 0, 1) == 1;
    for (int l = 0; l < LIMITS; l++) {
        f->batch[l] = 0.5 + l;
        f->flight_gb[l] = 0.3 * (l + 1);
        f->limits[l] = (struct instance_limits){.name = "limits",
                .requests = (l + 1) * draw(f, 0.8, 1.2),
                .round_cap_us = slo ? draw(f, 8e3, 3e4) * (f->in.n_layers / 80.0) : HUGE_VAL};
    }
}

/* Answers of the planner, proven or not, beside the dynamic program's. */
struct tally {
    int clusters, proven;
    double most_gap;
};

static void compare(struct tally *tally, const struct fleet *f)
{
    struct arena arena = {0};
    struct err err = {0};
    struct oracle_answer best;
    struct columns_result out;
    clock_t began = clock();
    oracle_dynamic(&best, &f->in);
    clock_t between = clock();
    assert_true(best.done);
    /* No limit of time: what is found must not depend on what else the machine does. */
    const struct columns_options options = {.gap_frac = f->in.n_kinds < 3 ? 0 : GAP};
    if (!columns_solve(&out, &f->in, &options, &arena, &err))
        fail_msg("%s", err.text);
    const char *wrong = oracle_judge(&f->in, &out);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    clock_t ended = clock();
    int64_t devices = 0;
    for (int k = 0; k < f->in.n_kinds; k++)
        devices += f->kinds[k].devices;
    printf("%3d layers%s, %2d devices of %d kinds%s: %.6g, dynamic program %.6g, gap %.2g; "
           "%.1f s and %.1f s\n",
            f->in.n_layers, f->in.layer_class == NULL ? " all different" : "", (int)devices,
            f->in.n_kinds, isfinite(f->limits[0].round_cap_us) ? " with an objective" : "",
            out.value, best.value, out.gap_frac, (double)(ended - between) / CLOCKS_PER_SEC,
            (double)(between - began) / CLOCKS_PER_SEC);
    double slack = 1e-9 * best.value;
    double least = best.value * (1 - options.gap_frac) - slack;
    if (out.feasible != best.feasible || out.value > best.value + slack
            || out.bound < best.value - slack || (out.proven && out.value < least))
        fail_msg("seed %d: %.12g with bound %.12g (proven %d), dynamic program %.12g", (int)f->seed,
                out.value, out.bound, out.proven, best.value);
    tally->clusters++;
    tally->proven += out.proven;
    tally->most_gap = fmax(tally->most_gap, out.gap_frac);
    arena_free(&arena);
}

static void show(const struct tally *tally)
{
    printf("%d of %d clusters agree with a proof, largest gap %.2g\n", tally->proven,
            tally->clusters, tally->most_gap);
    assert_true(10 * tally->proven >= 9 * tally->clusters);
}

static void clusters_equal_the_dynamic_program(void **unused)
{
    (void)unused;
    struct tally tally = {0};
    int n = count_of(12);
    for (int i = 0; i < n; i++) {
        struct fleet f;
        make_fleet(&f, (uint64_t)i * 2 + (uint64_t)(i / 2) % 2); /* every class soon */
        compare(&tally, &f);
    }
    show(&tally);
}

/* 64 devices of 4 kinds, of every shape in turn. */
static void largest_clusters_equal_the_dynamic_program(void **unused)
{
    (void)unused;
    struct tally tally = {0};
    int n = count_of(2);
    for (int i = 0; i < n; i++) {
        struct fleet f;
        make_fleet(&f, (uint64_t)(i * 5 % 6 + i / 6 * 6) * KINDS + KINDS - 1);
        for (int k = 0; k < KINDS; k++)
            f.kinds[k].devices = 16;
        compare(&tally, &f);
    }
    show(&tally);
}

/* Groups of up to 4 kinds, 64 in all; costs of layers alike or all different. */
static void make_partition(
        struct partition_problem *p, struct fleet *f, uint64_t seed, struct arena *arena)
{
    make_fleet(f, seed);
    int *budget = ARENA_NEW(arena, int, KINDS);
    int layers = f->in.n_layers;
    struct partition_arc *arcs = ARENA_NEW(
            arena, struct partition_arc, (int64_t)f->in.n_kinds * layers * (layers + 1) / 2);
    int n = 0;
    p->n_stages = pick(f, 4, 16);
    for (int k = 0; k < f->in.n_kinds; k++) {
        budget[k] = pick(f, 1, 16);
        for (int first = 0; first < layers; first++)
            for (int end = first + 1; end <= layers; end++) {
                struct instance_price at;
                price(f, &at, k, 1, 0, first, end);
                if (at.most_in_flight >= p->n_stages)
                    arcs[n++] = (struct partition_arc){
                            k, first, end, at.us, end == layers ? 0 : at.send_us};
            }
    }
    *p = (struct partition_problem){.name = "fleet",
            .n_layers = layers,
            .n_stages = p->n_stages,
            .n_kinds = f->in.n_kinds,
            .in_flight = p->n_stages,
            .budget = budget,
            .arcs = arcs,
            .n_arcs = n};
}

static void partitions_equal_the_dynamic_program(void **unused)
{
    (void)unused;
    int n = count_of(8);
    int feasible = 0;
    for (int i = 0; i < n; i++) {
        struct fleet f;
        struct arena arena = {0};
        struct err err = {0};
        struct partition_problem p;
        struct partition_result r;
        make_partition(&p, &f, 1000 + (uint64_t)i * 3, &arena);
        double best = oracle_partition(&p);
        if (!partition_solve(&r, &p, &arena, &err))
            fail_msg("%s", err.text);
        assert_true(r.proven);
        assert_int_equal(r.feasible, isfinite(best));
        feasible += r.feasible;
        if (r.feasible && (fabs(r.value_us - best) > 1e-9 * best || r.bound_us > best * (1 + 1e-9)))
            fail_msg("instance %d: %.12g, bound %.12g, dynamic program %.12g", i, r.value_us,
                    r.bound_us, best);
        arena_free(&arena);
    }
    printf("%d partitions equal the dynamic program, %d of them feasible\n", n, feasible);
    if (n >= 8)
        assert_true(2 * feasible >= n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(clusters_equal_the_dynamic_program),
            cmocka_unit_test(largest_clusters_equal_the_dynamic_program),
            cmocka_unit_test(partitions_equal_the_dynamic_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
