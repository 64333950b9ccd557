/* The outer search against brute force over every configuration and every partition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/arcs.h"
#include "planner/estimate.h"
#include "planner/search.h"

#include "planner_fixture.h"

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

/* Everything a search needs, random. */
static void make_world(struct fixture *f, struct planner_input *input)
{
    memset(f, 0, sizeof *f);
    fixture_model(f, pick(2, 5), uniform(0, 1) < 0.4 ? 4 : 0);
    for (int l = 0; l < f->model.n_layers; l++) {
        /* Uneven: some layers dense among experts, some with a window. */
        if (f->model.moe.n > 0 && uniform(0, 1) < 0.4)
            f->layers[l].moe = false;
        if (uniform(0, 1) < 0.3) {
            f->layers[l].attention = ATTENTION_WINDOW;
            f->layers[l].window = 32;
        }
    }
    int n_kinds = pick(1, 2);
    for (int k = 0; k < n_kinds; k++) {
        int64_t memory = (int64_t)uniform(2e6, 3e7);
        fixture_kind(f, k == 0 ? "fast" : "slow", pick(1, 3), memory, uniform(1e10, 1e11),
                uniform(2e9, 2e10));
    }
    fixture_requests(f, pick(1, 12), pick(8, 100), pick(1, 40));
    *input = (struct planner_input){.model = &f->model,
            .cluster = &f->cluster,
            .workload = &f->workload,
            .requests = &f->requests,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .objective = pick(0, 2)};
}

struct brute {
    const struct config *config;
    struct arcs *arcs;
    const struct fixture *f;
    int left[3];
    double best_pace;
};

static void try_stages(struct brute *b, int at, int stage, double worst, double sum)
{
    const struct config *config = b->config;
    int n_layers = b->f->model.n_layers;
    if (stage == config->pp) {
        if (at == n_layers)
            b->best_pace = fmin(b->best_pace, fmax(worst, sum / config->in_flight));
        return;
    }
    for (int k = 0; k < b->f->cluster.n_kinds; k++)
        for (int end = at + 1; end <= n_layers && b->left[k] > 0; end++) {
            struct arc_price price = arcs_price(b->arcs, config, k, (struct piece){at, end});
            if (price.fixed_bytes + config->kv_blocks * price.block_bytes
                    > arcs_capacity(b->arcs, config, k))
                continue;
            double send = end == n_layers ? 0 : arcs_send_us(b->arcs, config, k);
            b->left[k]--;
            try_stages(b, end, stage + 1, fmax(worst, price.us), sum + price.us + send);
            b->left[k]++;
        }
}

static double brute_force(const struct search_input *in, struct arcs *arcs, const struct fixture *f)
{
    double best = -HUGE_VAL;
    for (int64_t i = 0; i < in->n_configs; i++) {
        struct brute b = {.config = &in->configs[i], .arcs = arcs, .f = f, .best_pace = HUGE_VAL};
        for (int k = 0; k < f->cluster.n_kinds; k++)
            b.left[k] = b.config->layout->budget[k] / b.config->dp;
        try_stages(&b, 0, 0, 0, 0);
        if (isinf(b.best_pace))
            continue;
        struct estimate estimate;
        estimate_of(&estimate, in->input, in->demand, b.config, b.best_pace);
        best = fmax(best, estimate.score);
    }
    return best;
}

static void equals_brute_force_on_random_worlds(void **unused)
{
    (void)unused;
    int fits = 0;
    int nothing = 0;
    state = 99;
    for (int trial = 0; trial < 120; trial++) {
        struct fixture f;
        struct planner_input input;
        struct err err = {0};
        struct demand demand;
        struct layout *layouts;
        struct config_list configs;
        int n_layouts;
        make_world(&f, &input);
        demand_of(&demand, &f.requests);
        struct cost_model *costs = cost_open(&f.model, &f.cluster, NULL, 0, &err);
        assert_non_null(costs);
        assert_true(space_layouts(&layouts, &n_layouts, &input, &f.arena, &err));
        assert_true(space_configs(&configs, layouts, n_layouts, &input, &demand, &f.arena, &err));
        struct search_input in = {&input, costs, &demand, configs.items, configs.n, pick(1, 4)};
        struct search_result found;
        if (!search_run(&found, &in, &f.arena, &err))
            fail_msg("%s", err.text);
        struct arcs *arcs = arcs_open(costs, &demand, &err);
        double best = brute_force(&in, arcs, &f);
        assert_true(found.complete);
        if (isinf(best)) {
            nothing++;
            assert_int_equal(found.n, 0);
        } else {
            fits++;
            assert_true(found.n > 0);
            if (fabs(found.best - best) > 1e-9 * fabs(best))
                fail_msg("trial %d: found %.12g, brute force %.12g", trial, found.best, best);
            assert_true(found.bound >= found.best - 1e-9 * fabs(best));
            assert_true(found.bound <= best + 1e-9 * fabs(best));
            assert_true(found.items[0].proven);
        }
        arcs_close(arcs);
        cost_close(costs);
        arena_free(&f.arena);
    }
    assert_true(fits > 60);
    assert_true(nothing > 3);
}

/* Pieces that look alike are priced once: the price of each must be what it costs alone. */
static void alike_pieces_cost_the_same(void **unused)
{
    (void)unused;
    state = 5;
    for (int trial = 0; trial < 20; trial++) {
        struct fixture f;
        struct planner_input input;
        struct err err = {0};
        struct demand demand;
        struct layout *layouts;
        struct config_list configs;
        int n_layouts;
        make_world(&f, &input);
        demand_of(&demand, &f.requests);
        struct cost_model *costs = cost_open(&f.model, &f.cluster, NULL, 0, &err);
        assert_non_null(costs);
        assert_true(space_layouts(&layouts, &n_layouts, &input, &f.arena, &err));
        assert_true(space_configs(&configs, layouts, n_layouts, &input, &demand, &f.arena, &err));
        struct arcs *shared = arcs_open(costs, &demand, &err);
        for (int i = 0; i < 12; i++) {
            const struct config *config = &configs.items[pick(0, (int)configs.n - 1)];
            for (int first = 0; first < f.model.n_layers; first++)
                for (int end = first + 1; end <= f.model.n_layers; end++) {
                    struct arcs *alone = arcs_open(costs, &demand, &err);
                    struct piece piece = {first, end};
                    struct arc_price a = arcs_price(shared, config, 0, piece);
                    struct arc_price b = arcs_price(alone, config, 0, piece);
                    assert_true(fabs(a.us - b.us) <= 1e-9 * b.us);
                    assert_int_equal(a.fixed_bytes, b.fixed_bytes);
                    assert_int_equal(a.block_bytes, b.block_bytes);
                    arcs_close(alone);
                }
        }
        arcs_close(shared);
        cost_close(costs);
        arena_free(&f.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(alike_pieces_cost_the_same),
            cmocka_unit_test(equals_brute_force_on_random_worlds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
