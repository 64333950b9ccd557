/*
 * The whole cluster against brute force: every pattern by recursion, every multiset of patterns by dynamic
 * programming over what is left of each kind. Nothing of the solver is used but the instance's own prices.
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

enum {
    KINDS = 3,
    CONFIGS = 4,
    LIMITS = 5,
    LAYERS = 8,
    DEVICES = 8,
    STATES = 1000, /* products of (devices + 1) stay below */
    FRONT = 4000
};

/* A small random cluster with everything a price needs. */
struct world {
    struct instance in;
    struct instance_kind kinds[KINDS];
    struct instance_config configs[CONFIGS];
    struct instance_limits limits[LIMITS];
    int layer_class[LAYERS];
    double layer_us[KINDS][CONFIGS][LAYERS];
    double ends_us[KINDS][2];
    double batch[LIMITS];
    double memory[KINDS], layer_bytes[LAYERS], send_us;
};

static uint64_t state;

static double draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / 9007199254740992.0;
}

static int draw_int(int lo, int hi)
{
    return lo + (int)(draw() * (hi - lo + 1));
}

static void price(void *self, struct instance_price *out, int kind, int config, int limits,
        int first, int end)
{
    const struct world *w = self;
    double us = first == 0 ? w->ends_us[kind][0] : 0;
    double bytes = 0;
    us += end == w->in.n_layers ? w->ends_us[kind][1] : 0;
    for (int l = first; l < end; l++) {
        us += w->layer_us[kind][config][l];
        bytes += w->layer_bytes[l];
    }
    double each = bytes / w->configs[config].devices[kind];
    out->us = us * w->batch[limits];
    out->send_us = w->send_us * w->batch[limits];
    out->most_in_flight = (int)fmin(99, fmax(0, (w->memory[kind] - each) / (0.2 * each)));
}

/* Layers of two classes, as in models with dense and expert layers, or all different. */
static void make_layers(struct world *w, bool tight)
{
    bool uniform = draw() < 0.6;
    int dense = draw_int(0, w->in.n_layers);
    for (int l = 0; l < w->in.n_layers; l++) {
        w->layer_class[l] = l >= dense;
        w->layer_bytes[l] = uniform ? 1 + w->layer_class[l] : 0.5 + draw();
    }
    for (int k = 0; k < w->in.n_kinds; k++) {
        double speed = 0.5 + draw();
        double all = 0;
        for (int l = 0; l < w->in.n_layers; l++)
            all += w->layer_bytes[l];
        w->memory[k] = tight ? all * (0.15 + 0.8 * draw()) : all * 4;
        w->ends_us[k][0] = draw() * 3;
        w->ends_us[k][1] = draw() * 6;
        for (int c = 0; c < w->in.n_configs; c++) {
            double per[2] = {(4 + 6 * draw()) * speed, (4 + 9 * draw()) * speed};
            for (int l = 0; l < w->in.n_layers; l++)
                w->layer_us[k][c][l] =
                        (uniform ? per[w->layer_class[l]] : (2 + 10 * draw()) * speed)
                        / pow(w->configs[c].devices[k] > 0 ? w->configs[c].devices[k] : 1, 0.8);
        }
    }
    w->in.layer_class = uniform ? w->layer_class : NULL;
}

static void make_world(struct world *w, uint64_t seed, bool pools)
{
    state = seed * 7919 + 1;
    memset(w, 0, sizeof *w);
    w->in = (struct instance){.name = "random",
            .n_layers = draw_int(2, LAYERS),
            .kinds = w->kinds,
            .n_kinds = draw_int(1, KINDS),
            .configs = w->configs,
            .n_configs = draw_int(1, CONFIGS),
            .limits = w->limits,
            .n_limits = draw_int(1, LIMITS),
            .price = price,
            .self = w};
    int devices = pools ? 5 : DEVICES;
    for (int k = 0; k < w->in.n_kinds; k++) {
        w->kinds[k] = (struct instance_kind){.name = (const char *[]){"a", "b", "c"}[k],
                .devices = draw_int(1, devices - (w->in.n_kinds - 1 - k)),
                .price = 1 + draw()};
        devices -= (int)w->kinds[k].devices;
    }
    for (int c = 0; c < w->in.n_configs; c++) {
        w->configs[c].name = (const char *[]){"tp=1", "tp=2", "tp=3", "tp=4"}[c];
        for (int k = 0; k < w->in.n_kinds; k++)
            w->configs[c].devices[k] = draw() < 0.9 ? c + 1 : 0;
    }
    w->send_us = draw() < 0.3 ? 0 : 2 * draw();
    make_layers(w, draw() < 0.5);
    bool slo = draw() < 0.5;
    for (int l = 0; l < w->in.n_limits; l++) {
        w->batch[l] = 0.6 + 0.4 * (l + 1);
        w->limits[l] = (struct instance_limits){.name = "limits",
                .role = pools ? draw_int(0, 2) : ROLE_MIXED,
                .requests = (0.1 + 0.1 * draw()) * (l + 1),
                .round_cap_us = slo ? 10 + 90 * draw() : HUGE_VAL};
    }
}

/* ---- the other way: everything there is ---- */

struct front {
    double rate[ROLE_DECODE + 1];
};

struct brute {
    const struct world *w;
    int n_states, step[KINDS];
    double best[ROLE_DECODE + 1][STATES]; /* of one pattern, by the devices it takes */
    struct pattern_stage stages[LAYERS];
    int64_t patterns;
};

static int state_of(const struct brute *b, const int *devices)
{
    int at = 0;
    for (int k = 0; k < b->w->in.n_kinds; k++)
        at += devices[k] * b->step[k];
    return at;
}

static void judge(struct brute *b, int n_stages, int limits, const int *devices)
{
    const struct world *w = b->w;
    for (int in_flight = 1; in_flight <= n_stages; in_flight += n_stages > 1 ? n_stages - 1 : 1) {
        double slowest = 0, sum = 0;
        bool fits = true;
        for (int s = 0; s < n_stages; s++) {
            const struct pattern_stage *at = &b->stages[s];
            struct instance_price p = {0};
            price((void *)(uintptr_t)w, &p, at->kind, at->config, limits, at->first, at->end);
            fits = fits && p.most_in_flight >= in_flight;
            slowest = fmax(slowest, p.us);
            sum += p.us + (at->end < w->in.n_layers ? p.send_us : 0);
        }
        double pace = fmax(slowest, sum / in_flight);
        if (!fits || pace * in_flight > w->limits[limits].round_cap_us)
            continue;
        b->patterns++;
        double *best = &b->best[w->limits[limits].role][state_of(b, devices)];
        *best = fmax(*best, w->limits[limits].requests / pace * 1e6);
    }
}

static void place(struct brute *b, int n_stages, int first, int limits, int *devices)
{
    const struct world *w = b->w;
    if (first == w->in.n_layers) {
        judge(b, n_stages, limits, devices);
        return;
    }
    for (int k = 0; k < w->in.n_kinds; k++)
        for (int c = 0; c < w->in.n_configs; c++) {
            int takes = w->configs[c].devices[k];
            if (takes == 0 || devices[k] + takes > w->kinds[k].devices)
                continue;
            devices[k] += takes;
            for (int end = first + 1; end <= w->in.n_layers; end++) {
                b->stages[n_stages] = (struct pattern_stage){k, c, first, end};
                place(b, n_stages + 1, end, limits, devices);
            }
            devices[k] -= takes;
        }
}

static double whole(const struct front *f)
{
    return f->rate[ROLE_MIXED] + fmin(f->rate[ROLE_PREFILL], f->rate[ROLE_DECODE]);
}

static bool worse(const struct front *a, const struct front *b)
{
    return a->rate[0] <= b->rate[0] && a->rate[1] <= b->rate[1] && a->rate[2] <= b->rate[2];
}

static void add_front(struct front *list, int *n, const struct front *f)
{
    int kept = 0;
    for (int i = 0; i < *n; i++) {
        if (worse(f, &list[i]))
            return;
        if (!worse(&list[i], f))
            list[kept++] = list[i];
    }
    assert_true(kept < FRONT);
    list[kept++] = *f;
    *n = kept;
}

/* Most requests a second with at most the devices of each state; the least price for the demand. */
static double brute_force(
        struct brute *b, const struct world *w, double demand, double *least_price)
{
    static struct front *fronts[STATES];
    static int n_front[STATES];
    memset(b, 0, sizeof *b);
    b->w = w;
    b->n_states = 1;
    for (int k = 0; k < w->in.n_kinds; k++) {
        b->step[k] = b->n_states;
        b->n_states *= (int)w->kinds[k].devices + 1;
    }
    int devices[KINDS] = {0};
    for (int l = 0; l < w->in.n_limits; l++)
        place(b, 0, 0, l, devices);
    double most = 0;
    *least_price = HUGE_VAL;
    for (int at = 0; at < b->n_states; at++) {
        fronts[at] = calloc(FRONT, sizeof(struct front));
        n_front[at] = 0;
        add_front(fronts[at], &n_front[at], &(struct front){{0, 0, 0}});
        for (int one = 1; one <= at; one++) {
            bool inside = true;
            double price_of = 0;
            for (int k = 0; k < w->in.n_kinds; k++) {
                int size = (int)w->kinds[k].devices + 1;
                inside = inside && one / b->step[k] % size <= at / b->step[k] % size;
                price_of += at / b->step[k] % size * w->kinds[k].price;
            }
            (void)price_of;
            for (int role = 0; inside && role <= ROLE_DECODE; role++)
                for (int i = 0; b->best[role][one] > 0 && i < n_front[at - one]; i++) {
                    struct front next = fronts[at - one][i];
                    next.rate[role] += b->best[role][one];
                    add_front(fronts[at], &n_front[at], &next);
                }
        }
        double price_of = 0;
        for (int k = 0; k < w->in.n_kinds; k++)
            price_of += at / b->step[k] % ((int)w->kinds[k].devices + 1) * w->kinds[k].price;
        for (int i = 0; i < n_front[at]; i++) {
            most = fmax(most, whole(&fronts[at][i]));
            if (whole(&fronts[at][i]) >= demand * (1 - 1e-9))
                *least_price = fmin(*least_price, price_of);
        }
    }
    for (int at = 0; at < b->n_states; at++)
        free(fronts[at]);
    return most;
}

static int count_of(const char *name, int def)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : def;
}

static void solve(struct columns_result *out, const struct world *w, struct arena *arena)
{
    struct err err = {0};
    struct columns_options options = {0};
    if (!columns_solve(out, &w->in, &options, arena, &err))
        fail_msg("%s", err.text);
}

static void compare(uint64_t seed, bool pools, bool priced)
{
    static struct brute b;
    struct world w;
    struct arena arena = {0};
    make_world(&w, seed, pools);
    double unused;
    double most = brute_force(&b, &w, HUGE_VAL, &unused);
    double expected = most;
    if (priced) {
        w.in.objective = INSTANCE_PRICE;
        w.in.demand = most > 0 ? most * (0.3 + 0.7 * draw()) : 1;
        brute_force(&b, &w, w.in.demand, &expected);
        if (isinf(expected))
            expected = 0;
    }
    struct columns_result out;
    solve(&out, &w, &arena);
    if (fabs(out.value - expected) > 1e-7 * expected || !out.proven)
        fail_msg("seed %d%s%s: %.12g, expected %.12g (bound %.12g, proven %d, %lld patterns)",
                (int)seed, pools ? " pools" : "", priced ? " priced" : "", out.value, expected,
                out.bound, out.proven, (long long)b.patterns);
    double rate;
    assert_true(columns_value(&rate, &w.in, out.picks, out.n_picks));
    assert_true(fabs(rate - out.requests_per_s) <= 1e-9 * rate);
    arena_free(&arena);
}

static void equals_brute_force(void **unused)
{
    (void)unused;
    int n = count_of("SHARDWRIGHT_INSTANCES", 700);
    for (int i = 0; i < n; i++)
        compare((uint64_t)i, false, false);
    printf("%d random clusters equal brute force\n", n);
}

static void equals_brute_force_with_pools(void **unused)
{
    (void)unused;
    int n = count_of("SHARDWRIGHT_INSTANCES", 200);
    for (int i = 0; i < n; i++)
        compare((uint64_t)i + 100000, true, false);
    printf("%d random clusters with pools equal brute force\n", n);
}

static void least_price_equals_brute_force(void **unused)
{
    (void)unused;
    int n = count_of("SHARDWRIGHT_INSTANCES", 100);
    for (int i = 0; i < n; i++)
        compare((uint64_t)i + 200000, i % 3 == 0, true);
    printf("%d random clusters at the least price equal brute force\n", n);
}

/* The last integer program, as another solver reads and solves it. */
static void another_solver_agrees(void **unused)
{
    (void)unused;
    if (system("cbc -quit >/dev/null 2>&1") != 0) {
        print_message("cbc is not installed: scripts/setup --tests\n");
        skip();
    }
    for (int i = 0; i < 12; i++) {
        struct world w;
        struct arena arena = {0};
        struct err err = {0};
        struct columns_result out;
        char path[] = "/tmp/shardwright-lp-XXXXXX";
        fclose(fdopen(mkstemp(path), "w"));
        char *lp = arena_printf(&arena, "%s.lp", path);
        make_world(&w, (uint64_t)i + 300000, i % 2 == 0);
        struct columns_options options = {.export_lp = lp};
        if (!columns_solve(&out, &w.in, &options, &arena, &err))
            fail_msg("%s", err.text);
        char *command =
                arena_printf(&arena, "cbc %s -solve -solution %s -quit >/dev/null", lp, path);
        double value = (double)NAN;
        if (out.feasible) {
            assert_int_equal(system(command), 0);
            FILE *in = fopen(path, "r");
            assert_non_null(in);
            assert_int_equal(fscanf(in, "Optimal - objective value %lf", &value), 1);
            fclose(in);
            if (fabs(-value - out.value) > 1e-6 * out.value)
                fail_msg("seed %d: cbc says %.9g, expected %.9g", i, -value, out.value);
        }
        remove(path);
        remove(lp);
        arena_free(&arena);
    }
}

/* One device more never hurts; times twice as long halve the answer; the order of limits changes nothing. */
static void answers_move_as_they_must(void **unused)
{
    (void)unused;
    int n = count_of("SHARDWRIGHT_INSTANCES", 30);
    for (int i = 0; i < n; i++) {
        struct world w;
        struct arena arena = {0};
        struct columns_result base, more, slow, turned;
        make_world(&w, (uint64_t)i + 400000, false);
        solve(&base, &w, &arena);
        w.kinds[i % w.in.n_kinds].devices++;
        solve(&more, &w, &arena);
        w.kinds[i % w.in.n_kinds].devices--;
        assert_true(more.value >= base.value * (1 - 1e-7));
        for (int l = 0; l < w.in.n_limits; l++) {
            w.batch[l] *= 2;
            w.limits[l].round_cap_us *= 2;
        }
        solve(&slow, &w, &arena);
        if (fabs(2 * slow.value - base.value) > 1e-7 * base.value)
            fail_msg("seed %d: %.9g at half the speed of %.9g", i, slow.value, base.value);
        for (int l = 0; l < w.in.n_limits / 2; l++) {
            struct instance_limits swap = w.limits[l];
            double batch = w.batch[l];
            w.limits[l] = w.limits[w.in.n_limits - 1 - l];
            w.batch[l] = w.batch[w.in.n_limits - 1 - l];
            w.limits[w.in.n_limits - 1 - l] = swap;
            w.batch[w.in.n_limits - 1 - l] = batch;
        }
        solve(&turned, &w, &arena);
        assert_true(fabs(turned.value - slow.value) <= 1e-7 * slow.value);
        arena_free(&arena);
    }
    printf("%d random clusters move as they must\n", n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(equals_brute_force),
            cmocka_unit_test(equals_brute_force_with_pools),
            cmocka_unit_test(least_price_equals_brute_force),
            cmocka_unit_test(another_solver_agrees),
            cmocka_unit_test(answers_move_as_they_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
