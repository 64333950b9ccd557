/* Imported tables answer for steps: on the grid, in its holes, between, outside, and for ops cut otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "core/arena.h"
#include "planner/imported.h"
#include "planner/lookup.h"

struct world {
    struct arena arena;
    struct profile profile;
    int64_t room;
    struct lookup *lookup;
};

static void put(struct world *w, const struct op *op, double us)
{
    if (w->profile.n == w->room) {
        w->profile.points = arena_grow(
                &w->arena, w->profile.points, w->room, w->room * 2 + 64, sizeof *w->profile.points);
        w->room = w->room * 2 + 64;
    }
    const double none = (double)NAN;
    w->profile.points[w->profile.n++] = (struct profile_point){
            .op = *op, .cost_us = us, .lo_us = none, .hi_us = none, .source = COST_IMPORTED};
}

static void finish(struct world *w)
{
    struct err err = {0};
    assert_true(profile_finish(&w->profile, &err));
    w->lookup = lookup_open(&w->profile, &err);
    assert_non_null(w->lookup);
}

static void close_world(struct world *w)
{
    lookup_close(w->lookup);
    arena_free(&w->arena);
}

static struct op gemm(int64_t m, int64_t n, int64_t k)
{
    return (struct op){.kind = OP_GEMM, .dtype = DTYPE_BF16, .degree = 1, .dim = {m, n, k}};
}

/* A device with 3 us to launch, 900 TFLOP/s and 4 TB/s that add up. */
static double truth(const struct op *op)
{
    return 3 + op_flop(op) / 9e8 + op_bytes(op) / 4e6;
}

static bool hole(int64_t m, int64_t n, int64_t k)
{
    return (m == 64 && n == 2048 && k == 1024) || (n == 1024 && k == 2048);
}

static void fill_gemm(struct world *w)
{
    for (int64_t m = 1; m <= 4096; m *= 2)
        for (int64_t n = 512; n <= 8192; n *= 2)
            for (int64_t k = 512; k <= 8192; k *= 2) {
                struct op op = gemm(m, n, k);
                if (!hole(m, n, k))
                    put(w, &op, truth(&op));
            }
}

static struct cost ask(const struct world *w, struct op op)
{
    op.busy = 8; /* as a step of a full host asks */
    struct cost cost = lookup_cost(w->lookup, &op);
    assert_true(cost.lo_us <= cost.us && cost.us <= cost.hi_us);
    return cost;
}

static void assert_near(double found, double expected, double frac)
{
    if (!(fabs(found - expected) <= frac * fabs(expected)))
        fail_msg("found %.9g, expected %.9g within %g", found, expected, frac);
}

static void rows_are_served_as_they_are(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    fill_gemm(&w);
    finish(&w);
    struct op op = gemm(128, 1024, 512);
    struct cost cost = ask(&w, op);
    assert_int_equal(cost.source, COST_IMPORTED);
    assert_true(cost.us == truth(&op));
    assert_true(lookup_has_imported(w.lookup, OP_GEMM));
    assert_false(lookup_has_imported(w.lookup, OP_MOE));
    assert_true(lookup_has_ceilings(w.lookup));
    close_world(&w);
}

static void holes_and_what_lies_between(void **unused)
{
    (void)unused;
    static const struct {
        int64_t m, n, k;
        double frac;
    } cases[] = {{64, 2048, 1024, 0.02}, {16, 1024, 2048, 0.03}, {1024, 1024, 2048, 0.03},
            {37, 1280, 3000, 0.06}, {3000, 6000, 7168, 0.06}, {100, 2048, 1024, 0.05}};
    struct world w = {.room = 0};
    fill_gemm(&w);
    finish(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct op op = gemm(cases[i].m, cases[i].n, cases[i].k);
        struct cost cost = ask(&w, op);
        assert_int_equal(cost.source, COST_INTERPOLATED);
        assert_near(cost.us, truth(&op), cases[i].frac);
        assert_true(cost.hi_us > cost.us);
    }
    close_world(&w);
}

static void outside_is_said(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    fill_gemm(&w);
    finish(&w);
    struct op op = gemm(512, 65536, 4096);
    struct cost cost = ask(&w, op);
    assert_int_equal(cost.source, COST_ESTIMATED);
    assert_near(cost.us, truth(&op), 0.15);
    /* Never quicker than anything that was measured. */
    assert_true(cost.us >= op_flop(&op) / 9e8);
    close_world(&w);
}

static void other_ops_take_the_products_figure(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    fill_gemm(&w);
    finish(&w);
    struct op product = gemm(64, 4096, 2048);
    struct op head = product;
    head.kind = OP_LM_HEAD;
    struct cost cost = ask(&w, head);
    assert_int_equal(cost.source, COST_DERIVED);
    assert_near(cost.us, truth(&product), 1e-9);
    struct op router = {
            .kind = OP_ROUTER, .dtype = DTYPE_BF16, .degree = 1, .dim = {64, 2048, 512, 8}};
    product = gemm(64, 512, 2048);
    cost = ask(&w, router);
    assert_int_equal(cost.source, COST_DERIVED);
    assert_near(cost.us, truth(&product), 1e-9);
    /* A type that is not there, from the one of its width. */
    struct op half = gemm(64, 4096, 2048);
    half.dtype = DTYPE_F16;
    assert_int_equal(ask(&w, half).source, COST_DERIVED);
    close_world(&w);
}

static struct op prefill(int64_t q, int64_t kv, int64_t heads)
{
    return (struct op){.kind = OP_ATTENTION_PREFILL,
            .dtype = DTYPE_BF16,
            .degree = 1,
            .dim = {q, kv, heads, 2, 128}};
}

/* Whole prompts were measured alone: a chunk costs what it adds to them. */
static void a_chunk_is_the_rest_of_its_prompt(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    for (int64_t q = 64; q <= 16384; q *= 2)
        for (int64_t heads = 4; heads <= 32; heads *= 2) {
            struct op op = prefill(q, q, heads);
            put(&w, &op, 5 + op_flop(&op) / 5e8);
        }
    finish(&w);
    struct op op = prefill(2048, 8192, 16);
    struct cost cost = ask(&w, op);
    assert_int_equal(cost.source, COST_DERIVED);
    assert_near(cost.us, 5 + op_flop(&op) / 5e8, 0.03);
    /* A small chunk is never cheaper than it is alone. */
    op = prefill(64, 8192, 16);
    struct op alone = prefill(64, 64, 16);
    assert_true(ask(&w, op).us >= 5 + op_flop(&alone) / 5e8);
    close_world(&w);
}

static struct op exchange(enum op_kind kind, enum dtype dtype, int degree, int64_t bytes, int via)
{
    return (struct op){.kind = kind, .dtype = dtype, .degree = degree, .dim = {bytes, via}};
}

static void exchanges(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    for (int degree = 2; degree <= 8; degree *= 2)
        for (int64_t bytes = 1024; bytes <= 1 << 24; bytes *= 4) {
            struct op gather = exchange(OP_ALL_GATHER, DTYPE_F16, degree, bytes, 0);
            put(&w, &gather, 5 * degree + (double)bytes / 1e4);
            gather.dtype = DTYPE_I8;
            put(&w, &gather, 5 * degree + (double)bytes / 1e4);
            struct op library = exchange(OP_ALL_REDUCE, DTYPE_F16, degree, bytes, 0);
            put(&w, &library, 20 + (double)bytes / 1e5);
            struct op own = exchange(OP_ALL_REDUCE, DTYPE_BF16, degree, bytes, 1);
            put(&w, &own, 5 + (double)bytes / 1e4);
        }
    finish(&w);
    /* f32 was not measured, bytes are bytes; linear between sizes. */
    struct cost cost = ask(&w, exchange(OP_ALL_GATHER, DTYPE_F32, 4, 3000, 0));
    assert_int_equal(cost.source, COST_INTERPOLATED);
    assert_near(cost.us, 20.3, 1e-9);
    cost = ask(&w, exchange(OP_ALL_GATHER, DTYPE_F32, 3, 4096, 0));
    assert_true(cost.us > 10.4 && cost.us < 20.5);
    assert_int_equal(
            ask(&w, exchange(OP_ALL_GATHER, DTYPE_F32, 16, 4096, 0)).source, COST_ESTIMATED);
    cost = ask(&w, exchange(OP_ALL_GATHER, DTYPE_F32, 2, 1 << 26, 0));
    assert_int_equal(cost.source, COST_ESTIMATED);
    assert_near(cost.us, 10 + (1 << 26) / 1e4, 1e-9);
    /* The quicker of both ways for a step; a key of a table is answered by its own row. */
    assert_near(ask(&w, exchange(OP_ALL_REDUCE, DTYPE_F32, 8, 4096, 0)).us, 5.4096, 1e-9);
    assert_near(ask(&w, exchange(OP_ALL_REDUCE, DTYPE_F32, 8, 1 << 24, 0)).us, 20 + (1 << 24) / 1e5,
            1e-9);
    struct op row = exchange(OP_ALL_REDUCE, DTYPE_F16, 8, 4096, 0);
    assert_near(lookup_cost(w.lookup, &row).us, 20.04096, 1e-9);
    close_world(&w);
}

/* The width of a held-out interval covers what it promises. */
static void intervals_cover(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    uint64_t state = 1;
    int covered = 0;
    int n = 0;
    for (int64_t m = 1; m <= 4096; m *= 2)
        for (int64_t n_cols = 512; n_cols <= 8192; n_cols *= 2)
            for (int64_t k = 512; k <= 8192; k *= 2) {
                struct op op = gemm(m, n_cols, k);
                state = state * 6364136223846793005u + 1442695040888963407u;
                double noise = ((double)(state >> 33) / 2147483648.0 - 0.5) * 0.2;
                if ((state >> 20) % 5 != 0)
                    put(&w, &op, truth(&op) * (1 + noise));
            }
    finish(&w);
    for (int64_t m = 1; m <= 4096; m *= 2)
        for (int64_t n_cols = 512; n_cols <= 8192; n_cols *= 2)
            for (int64_t k = 512; k <= 8192; k *= 2) {
                struct op op = gemm(m, n_cols, k);
                struct cost cost = ask(&w, op);
                if (cost.source != COST_INTERPOLATED)
                    continue;
                n++;
                covered += cost.lo_us <= truth(&op) && truth(&op) <= cost.hi_us;
            }
    assert_true(n > 30);
    assert_true(covered > 0.9 * n);
    close_world(&w);
}

static struct op experts(int64_t m, int64_t local, int64_t skew)
{
    return (struct op){.kind = OP_MOE,
            .dtype = DTYPE_F8_BLOCK,
            .degree = 1,
            .dim = {m, 1024, 512, local, 64, 4, skew}};
}

/* A row that is called even but is not does not make expert parallelism dear; a key gets its own row. */
static void even_routing_takes_no_longer_than_a_skewed_one(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    for (int64_t m = 1; m <= 4096; m *= 2)
        for (int64_t local = 8; local <= 64; local *= 8) {
            struct op even = experts(m, local, 0);
            struct op skewed = experts(m, local, 120);
            put(&w, &even, 10 + (double)m * (local == 64 ? 1 : 0.9));
            put(&w, &skewed, 10 + (double)m * (local == 64 ? 2 : 0.3));
        }
    finish(&w);
    struct op op = experts(1024, 8, 0);
    op.dtype = DTYPE_F8; /* the tables have the other type of 8 bits */
    struct cost cost = ask(&w, op);
    assert_near(cost.us, 10 + 0.3 * 1024, 1e-9);
    assert_int_equal(cost.source, COST_DERIVED);
    /* All experts: a skewed routing may leave some alone. Few rows: likewise. */
    assert_near(ask(&w, experts(1024, 64, 0)).us, 10 + 1024, 1e-9);
    assert_near(ask(&w, experts(16, 8, 0)).us, 10 + 0.9 * 16, 1e-9);
    op = experts(1024, 8, 0);
    assert_near(lookup_cost(w.lookup, &op).us, 10 + 0.9 * 1024, 1e-9);
    close_world(&w);
}

/* A type that the tables lack is the one of its width, which is no estimate. */
static void types_of_one_width_stand_in(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    for (int64_t m = 1; m <= 64; m *= 2)
        for (int d = 0; d < 2; d++) {
            struct op op = {.kind = OP_MLA_MODULE_DECODE,
                    .dtype = d ? DTYPE_F8_BLOCK : DTYPE_BF16,
                    .degree = 1,
                    .dim = {m, 4096, 16, 7168, 1536, 512, 8}};
            put(&w, &op, d ? 50 + (double)m : 90 + (double)m);
        }
    finish(&w);
    struct op op = {.kind = OP_MLA_MODULE_DECODE,
            .dtype = DTYPE_F8,
            .degree = 1,
            .dim = {8, 4096, 16, 7168, 1536, 512, 8}};
    struct cost cost = ask(&w, op);
    assert_near(cost.us, 58, 1e-9);
    assert_int_equal(cost.source, COST_DERIVED);
    close_world(&w);
}

/* A layer of experts: launching and sorting, then each expert's own. */
static double experts_truth(int64_t m, int64_t width, int64_t local)
{
    return 40 + 0.02 * (double)m + (double)local * (double)width * (0.004 + 2e-6 * (double)m);
}

static struct op layer(int64_t m, int64_t width, int64_t local)
{
    return (struct op){.kind = OP_MOE,
            .dtype = DTYPE_BF16,
            .degree = 1,
            .dim = {m, 4096, width, local, 128, 8, 120}};
}

/* Time is straight in experts and widths, past the measured ones too: utilisation is not. */
static void experts_count(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    for (int64_t m = 1; m <= 4096; m *= 2) {
        for (int64_t local = 8; local <= 128; local *= 2) {
            struct op op = layer(m, 1536, local);
            put(&w, &op, experts_truth(m, 1536, local));
        }
        for (int64_t width = 192; width <= 768; width *= 2) {
            struct op op = layer(m, width, 128);
            put(&w, &op, experts_truth(m, width, 128));
        }
    }
    finish(&w);
    for (int64_t m = 1; m <= 256; m *= 4) {
        assert_near(ask(&w, layer(m, 1536, 1)).us, experts_truth(m, 1536, 1), 1e-5);
        assert_near(ask(&w, layer(m, 1536, 24)).us, experts_truth(m, 1536, 24), 1e-5);
        assert_near(ask(&w, layer(m, 48, 128)).us, experts_truth(m, 48, 128), 1e-5);
        assert_near(ask(&w, layer(m, 512, 128)).us, experts_truth(m, 512, 128), 1e-5);
    }
    assert_int_equal(ask(&w, layer(64, 1536, 1)).source, COST_ESTIMATED);
    assert_int_equal(ask(&w, layer(64, 512, 128)).source, COST_INTERPOLATED);
    close_world(&w);
}

static struct op prompts(enum dtype dtype, int64_t q, int64_t n, int64_t heads)
{
    return (struct op){.kind = OP_ATTENTION_PREFILL,
            .dtype = dtype,
            .degree = 1,
            .dim = {q, q, heads, heads, 128, 0, n - 1}};
}

/* 12 heads meet the sizes of 8 and of 16 heads nowhere: those sites answer with what lies between theirs. */
static void heads_of_other_sizes(void **unused)
{
    (void)unused;
    struct world w = {.room = 0};
    for (int64_t q = 64; q <= 4096; q *= 2)
        for (int64_t n = 1; n <= 64; n *= 2) {
            static const int64_t heads[] = {8, 16, 12};
            for (int i = 0; i < 3; i++) {
                struct op op = prompts(i == 2 ? DTYPE_F8 : DTYPE_BF16, q, n, heads[i]);
                put(&w, &op, truth(&op) * (i == 2 ? 1.5 : 1));
            }
        }
    finish(&w);
    for (int64_t q = 64; q <= 4096; q *= 2) {
        struct op op = prompts(DTYPE_BF16, q, 4, 12);
        struct cost cost = ask(&w, op);
        assert_int_equal(cost.source, COST_INTERPOLATED);
        assert_near(cost.us, truth(&op), 0.03);
    }
    close_world(&w);
}

static void a_model_wants_its_part_of_the_tables(void **unused)
{
    (void)unused;
    unsigned wanted[OP_KIND_COUNT];
    struct model model = {.heads = 8};
    imported_wanted(wanted, &model, 1U << DTYPE_BF16);
    assert_true(wanted[OP_GEMM] == (1U << DTYPE_BF16 | 1U << DTYPE_F16));
    assert_true(wanted[OP_MOE] == 0 && wanted[OP_MLA_MODULE_DECODE] == 0);
    assert_true((wanted[OP_ATTENTION_DECODE] >> DTYPE_F8 & 1) != 0);
    model.mla.kv_rank = 512;
    model.moe.n = 8;
    imported_wanted(wanted, &model, 1U << DTYPE_F8);
    assert_true((wanted[OP_GEMM] >> DTYPE_BF16 & 1) != 0); /* what the device can do */
    assert_true((wanted[OP_MOE] >> DTYPE_F8_BLOCK & 1) != 0);
    assert_true((wanted[OP_MOE] >> DTYPE_BF16 & 1) == 0);
    assert_true(wanted[OP_ATTENTION_DECODE] == 0 && wanted[OP_MLA_MODULE_DECODE] != 0);
    assert_true((wanted[OP_ALL_REDUCE] >> DTYPE_F32 & 1) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(rows_are_served_as_they_are),
            cmocka_unit_test(holes_and_what_lies_between),
            cmocka_unit_test(outside_is_said),
            cmocka_unit_test(other_ops_take_the_products_figure),
            cmocka_unit_test(a_chunk_is_the_rest_of_its_prompt),
            cmocka_unit_test(exchanges),
            cmocka_unit_test(intervals_cover),
            cmocka_unit_test(even_routing_takes_no_longer_than_a_skewed_one),
            cmocka_unit_test(types_of_one_width_stand_in),
            cmocka_unit_test(experts_count),
            cmocka_unit_test(heads_of_other_sizes),
            cmocka_unit_test(a_model_wants_its_part_of_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
