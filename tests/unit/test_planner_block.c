/* Sharding inside a block, held against every combination of ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/block.h"
#include "planner/block_layer.h"

#include "planner_fixture.h"

static uint64_t seed = 1;

static int draw(int n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (int)((seed >> 33) % (uint64_t)n);
}

/* Ops in order, an edge from each to the next and some over several; some pairs of ways cannot follow. */
static void make(struct block *b, int n_ops, bool memory)
{
    memset(b, 0, sizeof *b);
    b->n_ops = n_ops;
    int64_t least = 0;
    for (int o = 0; o < n_ops; o++) {
        int64_t smallest = INT64_MAX;
        b->ops[o].n_ways = 1 + draw(3);
        for (int s = 0; s < b->ops[o].n_ways; s++) {
            b->ops[o].ways[s] = (struct block_way){"", draw(100), draw(1000)};
            if (b->ops[o].ways[s].bytes < smallest)
                smallest = b->ops[o].ways[s].bytes;
        }
        least += smallest;
    }
    b->most_bytes = memory ? least + draw(800) : 0;
    for (int o = 1; o < n_ops; o++)
        for (int from = o - 1; from >= 0; from--) {
            if (from < o - 1 && (draw(3) > 0 || b->n_edges >= BLOCK_EDGES - n_ops))
                continue;
            struct block_edge *edge = &b->edges[b->n_edges++];
            edge->from = from;
            edge->to = o;
            for (int s = 0; s < BLOCK_WAYS; s++)
                for (int t = 0; t < BLOCK_WAYS; t++)
                    edge->us[s][t] = draw(8) == 0 ? HUGE_VAL : draw(60);
        }
}

static double brute(const struct block *b, const int *fixed)
{
    int way[BLOCK_OPS] = {0};
    double best = HUGE_VAL;
    for (;;) {
        bool allowed = true;
        for (int o = 0; o < b->n_ops && fixed != NULL; o++)
            allowed = allowed && (fixed[o] < 0 || fixed[o] == way[o]);
        if (allowed)
            best = fmin(best, block_value(b, way));
        int o = 0;
        while (o < b->n_ops && ++way[o] == b->ops[o].n_ways)
            way[o++] = 0;
        if (o == b->n_ops)
            return best;
    }
}

static void the_program_finds_the_best_of_all(void **unused)
{
    (void)unused;
    int feasible = 0;
    int infeasible = 0;
    for (int i = 0; i < 120; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct block b;
        struct block_answer answer;
        make(&b, 2 + draw(6), i % 2 != 0);
        assert_true(block_solve(&answer, &b, NULL, &arena, &err));
        double best = brute(&b, NULL);
        assert_int_equal(answer.feasible, !isinf(best));
        if (answer.feasible)
            assert_true(fabs(answer.us - best) < 1e-6);
        feasible += answer.feasible;
        infeasible += !answer.feasible;
        arena_free(&arena);
    }
    assert_true(feasible > 20 && infeasible > 0);
}

/* Blocks in a row: the exit of one is the entry of the next, as in one long block. */
static void chained_blocks_are_one_long_one(void **unused)
{
    (void)unused;
    for (int i = 0; i < 8; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct block b;
        struct block row;
        do
            make(&b, 4, false);
        while (b.ops[0].n_ways < 2);
        b.ops[3] = b.ops[0];
        for (int s = 0; s < b.ops[0].n_ways; s++)
            b.ops[0].ways[s].us = 0; /* counted where it is left */
        int n = b.ops[0].n_ways;
        double table[BLOCK_WAYS * BLOCK_WAYS];
        double three[BLOCK_WAYS * BLOCK_WAYS];
        assert_true(block_table(table, &b, 0, 3, &arena, &err));
        block_power(three, table, n, 3, &arena);
        row = b;
        for (int copy = 1; copy < 3; copy++) {
            for (int o = 1; o < 4; o++)
                row.ops[row.n_ops++] = b.ops[o];
            for (int e = 0; e < b.n_edges && row.n_edges < BLOCK_EDGES; e++) {
                row.edges[row.n_edges] = b.edges[e];
                row.edges[row.n_edges].from += 3 * copy;
                row.edges[row.n_edges++].to += 3 * copy;
            }
        }
        for (int s = 0; s < n; s++)
            for (int t = 0; t < n; t++) {
                int fixed[BLOCK_OPS];
                for (int o = 0; o < row.n_ops; o++)
                    fixed[o] = o == 0 ? s : o == row.n_ops - 1 ? t : -1;
                double best = brute(&row, fixed);
                assert_true(isinf(best) ? isinf(three[s * n + t])
                                        : fabs(three[s * n + t] - best) < 1e-6);
            }
        arena_free(&arena);
    }
}

static void open_layer(struct fixture *f, struct cost_model **costs, double link)
{
    struct err err = {0};
    memset(f, 0, sizeof *f);
    fixture_model(f, 6, 0);
    fixture_kind(f, "gpu", 4, INT64_C(1) << 30, 5e10, 1e10);
    f->links[0].rate = link;
    *costs = cost_open(&f->model, &f->cluster, NULL, 0, &err);
    assert_non_null(*costs);
}

static const struct split four = {.tp = 4,
        .ep = 1,
        .attention_dp = 1,
        .threads = 1,
        .busy = 4,
        .dtype = DTYPE_BF16,
        .kv_dtype = DTYPE_BF16};

static bool shard(struct block_sharding *found, struct cost_model *costs,
        const struct step_shape *shape, int64_t room_bytes, struct arena *arena)
{
    struct err err = {0};
    const struct block_stage stage = {costs, 0, four, {0, 6}, shape, room_bytes};
    return block_shard_layers(found, &stage, arena, &err);
}

/* What the runtime executes costs here what the steps of a plan cost. */
static void the_executed_ways_cost_what_a_step_does(void **unused)
{
    (void)unused;
    struct fixture f;
    struct cost_model *costs;
    open_layer(&f, &costs, 5e9);
    for (int64_t seqs = 4; seqs <= 256; seqs *= 4) {
        struct block_sharding found;
        const struct step_shape shape = {.tokens = seqs,
                .group_tokens = seqs,
                .decode_batch = seqs,
                .decode_kv_tokens = seqs * 100,
                .logits_rows = seqs};
        struct step_cost two;
        struct step_cost three;
        struct cost_meetings meetings;
        cost_part(&two, &meetings, costs, 0, &four, (struct piece){1, 3}, &shape);
        cost_part(&three, &meetings, costs, 0, &four, (struct piece){1, 4}, &shape);
        assert_true(shard(&found, costs, &shape, 0, &f.arena));
        assert_true(fabs(found.executed_us - 6 * (three.us - two.us)) < 1e-6 * found.executed_us);
        assert_true(found.best_us <= found.executed_us * (1 + 1e-9));
        arena_free(&f.arena);
    }
    cost_close(costs);
}

/* Four rows, whose products are as long as reading the weights: exchanges that cost nothing leave them split; endless
 * ones, and room for whole weights, leave each rank its own row, and nothing is exchanged but rows at the end. */
static void slow_links_are_left_idle(void **unused)
{
    (void)unused;
    for (int slow = 0; slow < 2; slow++) {
        struct fixture f;
        struct cost_model *costs;
        struct block_sharding found;
        struct err err = {0};
        const struct step_shape shape = {.tokens = 4,
                .group_tokens = 4,
                .decode_batch = 4,
                .decode_kv_tokens = 400,
                .logits_rows = 4};
        open_layer(&f, &costs, slow ? 1e5 : 1e15);
        f.links[0].latency_us = slow ? 1e5 : 0;
        cost_close(costs);
        costs = cost_open(&f.model, &f.cluster, NULL, 0, &err);
        assert_true(shard(&found, costs, &shape, INT64_C(1) << 40, &f.arena));
        assert_true((strstr(found.ways, "qkv of own rows") != NULL) == (slow != 0));
        if (slow)
            assert_true(found.best_us < 0.2 * found.executed_us);
        /* No room: whole weights do not fit, and qkv stays split. */
        assert_true(shard(&found, costs, &shape, 0, &f.arena));
        assert_null(strstr(found.ways, "qkv of own rows"));
        cost_close(costs);
        arena_free(&f.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(the_program_finds_the_best_of_all),
            cmocka_unit_test(chained_blocks_are_one_long_one),
            cmocka_unit_test(the_executed_ways_cost_what_a_step_does),
            cmocka_unit_test(slow_links_are_left_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
