/* Lookup: exact, interpolated, estimated, and never in silence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "core/arena.h"
#include "planner/lookup.h"

struct world {
    struct arena arena;
    struct profile profile;
    struct profile_point points[256];
    struct lookup *lookup;
};

static void put(struct world *w, enum op_kind kind, int degree, int busy, int64_t d0, int64_t d1,
        int64_t d2, double us)
{
    w->points[w->profile.n++] = (struct profile_point){.op = {.kind = kind,
                                                               .dtype = DTYPE_BF16,
                                                               .degree = degree,
                                                               .busy = busy,
                                                               .dim = {d0, d1, d2}},
            .cost_us = us,
            .lo_us = us * 0.99,
            .hi_us = us * 1.02,
            .samples = 9,
            .source = COST_MEASURED};
}

static struct op op_of(enum op_kind kind, int degree, int busy, int64_t d0, int64_t d1, int64_t d2)
{
    return (struct op){
            .kind = kind, .dtype = DTYPE_BF16, .degree = degree, .busy = busy, .dim = {d0, d1, d2}};
}

static void finish(struct world *w, const struct lookup_device *device)
{
    struct err err = {0};
    w->profile.points = w->points;
    assert_true(profile_finish(&w->profile, &err));
    w->lookup = lookup_open_device(&w->profile, device, &err);
    assert_non_null(w->lookup);
}

static void close_world(struct world *w)
{
    lookup_close(w->lookup);
    arena_free(&w->arena);
}

static void assert_near(double found, double expected, double frac)
{
    if (!(fabs(found - expected) <= frac * fabs(expected)))
        fail_msg("found %.9g, expected %.9g within %g", found, expected, frac);
}

static void exact_points_are_measured(void **unused)
{
    (void)unused;
    struct world w = {0};
    put(&w, OP_GEMM, 1, 1, 8, 1024, 1024, 100);
    put(&w, OP_GEMM, 1, 1, 16, 1024, 1024, 120);
    finish(&w, NULL);
    struct op op = op_of(OP_GEMM, 1, 1, 8, 1024, 1024);
    for (int again = 0; again < 2; again++) {
        struct cost cost = lookup_cost(w.lookup, &op);
        assert_int_equal(cost.source, COST_MEASURED);
        assert_true(cost.us == 100);
        assert_near(cost.lo_us, 99, 1e-12);
        assert_near(cost.hi_us, 102, 1e-12);
    }
    close_world(&w);
}

/* time ~ m^p is met exactly by log time over log m. */
static void gemm_is_joined_in_logs(void **unused)
{
    (void)unused;
    struct world w = {0};
    for (int64_t m = 1; m <= 64; m *= 4)
        put(&w, OP_GEMM, 1, 1, m, 512, 512, 10 * pow((double)m, 0.7));
    finish(&w, NULL);
    for (int64_t m = 1; m <= 64; m++) {
        struct op op = op_of(OP_GEMM, 1, 1, m, 512, 512);
        struct cost cost = lookup_cost(w.lookup, &op);
        assert_near(cost.us, 10 * pow((double)m, 0.7), 1e-9);
        assert_true(cost.lo_us < cost.us && cost.us < cost.hi_us);
        assert_true(cost.source == COST_INTERPOLATED || cost.source == COST_MEASURED);
    }
    close_world(&w);
}

static void elementwise_and_collectives_are_linear(void **unused)
{
    (void)unused;
    struct world w = {0};
    put(&w, OP_RMSNORM, 1, 1, 10, 512, 1, 15);
    put(&w, OP_RMSNORM, 1, 1, 110, 512, 1, 115);
    put(&w, OP_ALL_REDUCE, 2, 2, 1000, 0, 0, 5);
    put(&w, OP_ALL_REDUCE, 2, 2, 9000, 0, 0, 45);
    finish(&w, NULL);
    struct op norm = op_of(OP_RMSNORM, 1, 1, 60, 512, 1);
    assert_near(lookup_cost(w.lookup, &norm).us, 65, 1e-9);
    struct op reduce = op_of(OP_ALL_REDUCE, 2, 2, 5000, 0, 0);
    assert_near(lookup_cost(w.lookup, &reduce).us, 25, 1e-9);
    /* Below its smallest size a collective is latency: never less than measured there. */
    struct op tiny = op_of(OP_ALL_REDUCE, 2, 2, 8, 0, 0);
    struct cost cost = lookup_cost(w.lookup, &tiny);
    assert_near(cost.us, 5, 1e-9);
    assert_int_equal(cost.source, COST_ESTIMATED);
    /* Above the largest, by bytes. */
    struct op large = op_of(OP_ALL_REDUCE, 2, 2, 18000, 0, 0);
    cost = lookup_cost(w.lookup, &large);
    assert_near(cost.us, 90, 1e-9);
    assert_int_equal(cost.source, COST_ESTIMATED);
    close_world(&w);
}

static void put_attention(struct world *w, enum op_kind kind, int64_t a, int64_t b, double us)
{
    put(w, kind, 1, 1, a, b, 8, us);
    w->points[w->profile.n - 1].op.dim[3] = 4;
    w->points[w->profile.n - 1].op.dim[4] = 64;
}

static void decode_is_bilinear(void **unused)
{
    (void)unused;
    struct world w = {0};
    for (int64_t batch = 1; batch <= 16; batch *= 4)
        for (int64_t kv = 64; kv <= 1024; kv *= 4)
            put_attention(&w, OP_ATTENTION_DECODE, batch, kv,
                    3 + 0.5 * (double)batch + 0.01 * (double)(batch * kv));
    finish(&w, NULL);
    static const int64_t at[][2] = {{1, 64}, {2, 64}, {3, 100}, {9, 700}, {16, 1024}, {5, 256}};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        struct op op = op_of(OP_ATTENTION_DECODE, 1, 1, at[i][0], at[i][1], 8);
        op.dim[3] = 4;
        op.dim[4] = 64;
        double truth = 3 + 0.5 * (double)at[i][0] + 0.01 * (double)(at[i][0] * at[i][1]);
        assert_near(lookup_cost(w.lookup, &op).us, truth, 1e-9);
    }
    close_world(&w);
}

/* A profile that was cut short has rows of few lengths: the ones around it know more. */
static void rows_that_span_the_length_are_asked(void **unused)
{
    (void)unused;
    struct world w = {0};
    for (int64_t batch = 2; batch <= 8; batch *= 2)
        for (int64_t kv = 16; kv <= 1024; kv *= 2)
            put_attention(&w, OP_ATTENTION_DECODE, batch, kv,
                    30 + 0.5 * (double)batch + 0.01 * (double)(batch * kv));
    put_attention(&w, OP_ATTENTION_DECODE, 3, 512, 30 + 1.5 + 0.01 * 3 * 512);
    finish(&w, NULL);
    static const int64_t lengths[] = {16, 100, 512, 1024};
    for (int i = 0; i < 4; i++) {
        struct op op = op_of(OP_ATTENTION_DECODE, 1, 1, 3, lengths[i], 8);
        op.dim[3] = 4;
        op.dim[4] = 64;
        struct cost cost = lookup_cost(w.lookup, &op);
        assert_near(cost.us, 30 + 1.5 + 0.01 * 3 * (double)lengths[i], 1e-9);
        assert_int_equal(cost.source, lengths[i] == 512 ? COST_MEASURED : COST_INTERPOLATED);
    }
    close_world(&w);
}

/* Repeatable, about normal, deviation 1. */
static double noise(uint64_t i)
{
    double sum = 0;
    for (int part = 0; part < 12; part++) {
        uint64_t z = (i * 12 + (uint64_t)part + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        sum += (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
    }
    return sum - 6;
}

/* Whatever the noise, about nine of ten sizes that were not measured lie within their intervals. */
static void intervals_hold_nine_of_ten(void **unused)
{
    (void)unused;
    static const double levels[] = {0.01, 0.05, 0.15};
    for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
        struct world w = {0};
        int held = 0;
        int asked = 0;
        double width = 0;
        for (int64_t site = 0; site < 12; site++)
            for (int64_t m = 2; m <= 4096; m *= 2)
                put(&w, OP_GEMM, 1, 1, m, 512 + site, 512,
                        3 * pow((double)m, 0.7) * exp(levels[l] * noise((uint64_t)w.profile.n)));
        finish(&w, NULL);
        for (int64_t site = 0; site < 12; site++)
            for (int64_t m = 3; m < 4096; m = m * 5 / 4 + 1) {
                if ((m & (m - 1)) == 0)
                    continue;
                struct op op = op_of(OP_GEMM, 1, 1, m, 512 + site, 512);
                struct cost cost = lookup_cost(w.lookup, &op);
                double truth = 3 * pow((double)m, 0.7)
                               * exp(levels[l] * noise((uint64_t)(100000 + site * 5000 + m)));
                assert_int_equal(cost.source, COST_INTERPOLATED);
                held += cost.lo_us <= truth && truth <= cost.hi_us;
                width += cost.hi_us / cost.us - 1;
                asked++;
            }
        double share = (double)held / asked;
        if (share < 0.84 || share > 0.96)
            fail_msg("noise %g: %.3f of %d held", levels[l], share, asked);
        /* Not by being wide: twice the deviation of truth and prediction at most. */
        assert_true(width / asked < 2.5 * levels[l]);
        close_world(&w);
    }
}

/* Work that grows with its arithmetic at a steady rate is met anywhere between and past the points. */
static void prefill_holds_utilisation(void **unused)
{
    (void)unused;
    struct world w = {0};
    static const int64_t len[] = {16, 64, 256};
    for (int q = 0; q < 3; q++)
        for (int kv = q; kv < 3; kv++) {
            put_attention(&w, OP_ATTENTION_PREFILL, len[q], len[kv], 1);
            struct profile_point *point = &w.points[w.profile.n - 1];
            point->cost_us = op_flop(&point->op) * 1e-4;
            point->lo_us = point->hi_us = point->cost_us;
        }
    finish(&w, NULL);
    static const int64_t at[][2] = {{16, 64}, {32, 32}, {100, 200}, {64, 100}, {200, 256}};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        struct op op = op_of(OP_ATTENTION_PREFILL, 1, 1, at[i][0], at[i][1], 8);
        op.dim[3] = 4;
        op.dim[4] = 64;
        assert_near(lookup_cost(w.lookup, &op).us, op_flop(&op) * 1e-4, 0.02);
    }
    close_world(&w);
}

static void outside_the_grid_is_said(void **unused)
{
    (void)unused;
    struct world w = {0};
    for (int64_t m = 1; m <= 64; m *= 2)
        put(&w, OP_GEMM, 1, 1, m, 512, 512, 20 + 2 * (double)m);
    finish(&w, NULL);
    struct op op = op_of(OP_GEMM, 1, 1, 640, 512, 512);
    struct cost cost = lookup_cost(w.lookup, &op);
    assert_int_equal(cost.source, COST_ESTIMATED);
    assert_true(cost.us > 5 * 148 && cost.us < 11 * 148);
    assert_true(cost.hi_us > 1.2 * cost.us);
    close_world(&w);
}

static void another_load_is_used_and_said(void **unused)
{
    (void)unused;
    struct world w = {0};
    put(&w, OP_GEMM, 1, 1, 8, 512, 512, 50);
    put(&w, OP_GEMM, 1, 4, 8, 512, 512, 90);
    finish(&w, NULL);
    struct op op = op_of(OP_GEMM, 1, 3, 8, 512, 512);
    struct cost cost = lookup_cost(w.lookup, &op);
    assert_near(cost.us, 90, 1e-9);
    assert_int_equal(cost.source, COST_ESTIMATED);
    close_world(&w);
}

/* A site that was not measured takes its utilisation from those around it. */
static void neighbouring_sites_help(void **unused)
{
    (void)unused;
    struct world w = {0};
    for (int64_t n = 512; n <= 4096; n *= 2)
        for (int64_t k = 512; k <= 4096; k *= 2)
            for (int64_t m = 1; m <= 16; m *= 4)
                put(&w, OP_GEMM, 1, 1, m, n, k,
                        2.0 * (double)(n * k) / 2e4); /* memory bound: 20 GB/s */
    finish(&w, NULL);
    struct op op = op_of(OP_GEMM, 1, 1, 2, 1536, 3000);
    struct cost cost = lookup_cost(w.lookup, &op);
    assert_int_equal(cost.source, COST_INTERPOLATED);
    assert_near(cost.us, 2.0 * 1536 * 3000 / 2e4, 0.05);
    assert_true(cost.hi_us > cost.us * 1.1);
    close_world(&w);
}

static void nothing_measured_is_a_roofline(void **unused)
{
    (void)unused;
    struct err err = {0};
    struct lookup_device device = {
            .flops = 1e11, .bytes_per_s = 1e10, .link_bytes_per_s = 1e9, .link_us = 10};
    struct lookup *lookup = lookup_open_device(NULL, &device, &err);
    assert_non_null(lookup);
    assert_true(lookup_has_ceilings(lookup));
    struct op op = op_of(OP_GEMM, 1, 1, 1, 1000, 1000);
    struct cost one = lookup_cost(lookup, &op);
    assert_int_equal(one.source, COST_ESTIMATED);
    assert_true(one.us >= op_bytes(&op) / 1e4);
    assert_true(one.us <= 2 * op_bytes(&op) / 1e4);
    op.degree = 2;
    assert_near(lookup_cost(lookup, &op).us, one.us / 2, 1e-9);
    /* An all-reduce over 4 moves 2 * 3/4 of its bytes over each link, after two rounds of latency. */
    struct op reduce = op_of(OP_ALL_REDUCE, 4, 4, 1000000, 0, 0);
    assert_near(lookup_cost(lookup, &reduce).us, 20 + 1500, 1e-9);
    lookup_close(lookup);

    lookup = lookup_open_device(NULL, NULL, &err);
    assert_false(lookup_has_ceilings(lookup));
    lookup_close(lookup);
}

static void no_rows_take_no_time(void **unused)
{
    (void)unused;
    struct world w = {0};
    put(&w, OP_GEMM, 1, 1, 8, 512, 512, 50);
    finish(&w, NULL);
    struct op op = op_of(OP_GEMM, 1, 1, 0, 512, 512);
    assert_true(lookup_cost(w.lookup, &op).us == 0);
    close_world(&w);
}

/* Whatever is asked, the answer is a positive number inside its interval. */
static void every_answer_is_a_number(void **unused)
{
    (void)unused;
    struct world w = {0};
    put(&w, OP_GEMM, 1, 1, 8, 512, 512, 50);
    put(&w, OP_ALL_REDUCE, 2, 2, 4096, 0, 0, 9);
    put_attention(&w, OP_ATTENTION_DECODE, 4, 128, 12);
    finish(&w, NULL);
    for (int kind = 0; kind < OP_KIND_COUNT; kind++)
        for (int degree = 1; degree <= 4; degree++)
            for (int64_t size = 1; size <= 1 << 20; size *= 32) {
                struct op op = op_of((enum op_kind)kind, degree, 2, size, 512, 64);
                op.dim[3] = 32;
                op.dim[4] = 8;
                op.dim[5] = 4;
                struct cost cost = lookup_cost(w.lookup, &op);
                assert_true(isfinite(cost.us) && cost.us > 0);
                assert_true(cost.lo_us <= cost.us && cost.us <= cost.hi_us);
            }
    close_world(&w);
}

/* A datasheet's rate for 8-bit types counts for their products alone. */
static void eight_bits_have_a_peak_of_their_own(void **unused)
{
    (void)unused;
    struct err err = {0};
    const struct lookup_device device = {.flops = 1e12, .flops_f8 = 2e12, .bytes_per_s = 1e13};
    struct lookup *lookup = lookup_open_device(NULL, &device, &err);
    assert_non_null(lookup);
    struct op op = {.kind = OP_GEMM, .dtype = DTYPE_BF16, .degree = 1, .dim = {4096, 4096, 4096}};
    double wide = lookup_roof_us(lookup, &op, NULL);
    assert_true(fabs(wide - 2 * 4096.0 * 4096 * 4096 / 1e6) < 1e-6 * wide);
    op.dtype = DTYPE_F8_BLOCK;
    assert_true(fabs(lookup_roof_us(lookup, &op, NULL) - wide / 2) < 1e-6 * wide);
    op = (struct op){.kind = OP_ATTENTION_PREFILL,
            .dtype = DTYPE_BF16,
            .degree = 1,
            .dim = {4096, 4096, 8, 8, 128}};
    wide = lookup_roof_us(lookup, &op, NULL);
    op.dtype = DTYPE_F8;
    assert_true(lookup_roof_us(lookup, &op, NULL) == wide);
    lookup_close(lookup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(exact_points_are_measured),
            cmocka_unit_test(gemm_is_joined_in_logs),
            cmocka_unit_test(elementwise_and_collectives_are_linear),
            cmocka_unit_test(decode_is_bilinear),
            cmocka_unit_test(rows_that_span_the_length_are_asked),
            cmocka_unit_test(intervals_hold_nine_of_ten),
            cmocka_unit_test(prefill_holds_utilisation),
            cmocka_unit_test(outside_the_grid_is_said),
            cmocka_unit_test(another_load_is_used_and_said),
            cmocka_unit_test(neighbouring_sites_help),
            cmocka_unit_test(nothing_measured_is_a_roofline),
            cmocka_unit_test(no_rows_take_no_time),
            cmocka_unit_test(every_answer_is_a_number),
            cmocka_unit_test(eight_bits_have_a_peak_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
