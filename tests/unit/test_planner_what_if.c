/* Clusters that do not exist, and measured costs that follow them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "core/spec/cluster_line.h"
#include "planner/what_if.h"
#include "planner/what_if_scale.h"
#include "planner/what_if_sweep.h"

struct world {
    struct arena arena;
    struct err err;
    struct what_if what;
    struct profile profile;
    struct profile_point points[6];
};

static struct profile_point point(struct op op, double us)
{
    return (struct profile_point){.op = op, .cost_us = us, .lo_us = us, .hi_us = us, .q3_us = us};
}

static struct op gemm(int64_t m, int64_t n, int64_t k)
{
    return (struct op){.kind = OP_GEMM, .dtype = DTYPE_BF16, .degree = 1, .dim = {m, n, k}};
}

/* Two kinds in a line; the H200 was measured: one op at the peak, one at the rate of memory, one that mostly
 * waits, and an exchange of three sizes. */
static void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    assert_true(cluster_read_file(&w->what.cluster, "4x8:a100+2x8:h200", &w->arena, &w->err));
    struct op big = gemm(4096, 4096, 4096);
    struct op thin = gemm(1, 4096, 4096);
    struct op tiny = gemm(1, 64, 64);
    w->points[0] = point(big, op_flop(&big) / 1e9);    /* 1e15 FLOP/s */
    w->points[1] = point(thin, op_bytes(&thin) / 4e6); /* 4 TB/s */
    w->points[2] = point(tiny, 5);
    for (int i = 0; i < 3; i++) {
        struct op op = {.kind = OP_ALL_REDUCE, .degree = 8, .dim = {1 << (10 + 10 * i)}};
        w->points[3 + i] = point(op, 10 + (double)op.dim[0] / 1e5);
    }
    w->profile =
            (struct profile){.points = w->points, .n = 6, .device = "h200", .peak_flops = 1e15};
    assert_true(profile_finish(&w->profile, &w->err));
    w->profile.digest = profile_digest(&w->profile, &w->arena);
    w->what.profiles = &w->profile;
    w->what.n_profiles = 1;
}

static void apply(struct world *w, const char *change)
{
    if (!what_if_apply(&w->what, change, &w->arena, &w->err))
        fail_msg("%s", w->err.text);
}

static double cost(const struct world *w, struct op op)
{
    const struct profile_point *p = profile_find(w->what.profiles, &op);
    assert_non_null(p);
    return p->cost_us;
}

static void figures_change(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    apply(&w, "h200.memory=2x");
    apply(&w, "a100-80.compute=1e15");
    apply(&w, "h200.count=32");
    apply(&w, "a100-80.count=0.5x");
    apply(&w, "h200.price=3.5");
    apply(&w, "b200.count=16");
    apply(&w, "link.ib.bandwidth=0.5x");
    const struct cluster *c = &w.what.cluster;
    assert_true(cluster_kind(c, "h200")->memory_bytes == INT64_C(282000000000));
    assert_true(cluster_kind(c, "a100-80")->flops == 1e15);
    assert_true(cluster_kind(c, "h200")->price_per_hour == 3.5);
    assert_int_equal(cluster_devices(c), 32 + 16 + 16);
    double rate;
    assert_non_null(cluster_best_link(c, "a100-80", false, &rate));
    assert_true(rate == 12.5e9);
    assert_non_null(cluster_best_link(c, "h200", false, &rate));
    assert_true(rate == 25e9);
    assert_true(cluster_check(c, &w.err));
    arena_free(&w.arena);
}

static void measured_costs_follow(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    const char *digest = w.profile.digest;
    double big = cost(&w, gemm(4096, 4096, 4096));
    double thin = cost(&w, gemm(1, 4096, 4096));
    apply(&w, "h200.compute=2x");
    assert_true(fabs(cost(&w, gemm(4096, 4096, 4096)) - big / 2) < 1e-9);
    assert_true(fabs(cost(&w, gemm(1, 4096, 4096)) - thin) < 1e-9);
    apply(&w, "h200.bandwidth=9.6TB/s"); /* twice its datasheet's */
    assert_true(fabs(cost(&w, gemm(1, 4096, 4096)) - thin / 2) < 1e-9);
    double tiny = cost(&w, gemm(1, 64, 64));
    assert_true(tiny > 4.99 && tiny < 5);
    assert_string_not_equal(w.what.profiles->digest, digest);
    /* The original is as it was. */
    assert_true(profile_find(&w.profile, &w.points[0].op)->cost_us > 0);
    assert_ptr_equal(w.profile.points, w.points);
    arena_free(&w.arena);
}

static void exchanges_follow_their_link(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct op op = {.kind = OP_ALL_REDUCE, .degree = 8, .dim = {1 << 30}};
    double before = cost(&w, op);
    apply(&w, "link.ib.bandwidth=0.5x"); /* between machines: this exchange is inside one */
    assert_true(cost(&w, op) == before);
    apply(&w, "link.nvlink.bandwidth=0.5x");
    assert_true(cost(&w, op) > 1.99 * before && cost(&w, op) < 2.01 * before);
    op.dim[0] = 1 << 10;
    assert_true(cost(&w, op) < 11);
    arena_free(&w.arena);
}

static void undone_changes_leave_the_costs(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    double big = cost(&w, gemm(4096, 4096, 4096));
    double tiny = cost(&w, gemm(1, 64, 64));
    apply(&w, "h200.compute=2x");
    apply(&w, "h200.compute=0.5x");
    assert_true(fabs(cost(&w, gemm(4096, 4096, 4096)) / big - 1) < 1e-9);
    assert_true(fabs(cost(&w, gemm(1, 64, 64)) / tiny - 1) < 1e-3);
    arena_free(&w.arena);
}

static void bad_changes_are_refused(void **state)
{
    (void)state;
#define EXPECTED "; expected for example h200.memory=2x, h200.count=16 or link.ib.bandwidth=50GB/s"
    static const struct {
        const char *change, *message;
    } cases[] = {
            {"h200.memory", "--what-if h200.memory: found no =" EXPECTED},
            {"h200=2x", "--what-if h200=2x: found no name and what of it changes, with a dot "
                        "between" EXPECTED},
            {"h200.memroy=2x", "--what-if h200.memroy=2x: found \"memroy\", did you mean "
                               "\"memory\"?" EXPECTED},
            {"h20x.memory=2x", "--what-if h20x.memory=2x: no kind is named \"h20x\", did you mean "
                               "\"h200\"?" EXPECTED},
            {"b200.memory=2x", "--what-if b200.memory=2x: the cluster has no b200: say first how "
                               "many, b200.count=8" EXPECTED},
            {"h200.count=12", "--what-if h200.count=12: that is no whole number of the cluster's "
                              "machines" EXPECTED},
            {"h200.memory=0x",
                    "--what-if h200.memory=0x: the factor is out of range, expected more "
                    "than 0, at most 1000000" EXPECTED},
            {"link.nvlnk.bandwidth=2x", "--what-if link.nvlnk.bandwidth=2x: no link is named "
                                        "\"nvlnk\", did you mean \"nvlink\"?" EXPECTED},
            {"link.ib.memory=2x",
                    "--what-if link.ib.memory=2x: a link has bandwidth and latency" EXPECTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        open_world(&w);
        assert_false(what_if_apply(&w.what, cases[i].change, &w.arena, &w.err));
        assert_int_equal(w.err.kind, ERR_INPUT);
        assert_string_equal(w.err.text, cases[i].message);
        arena_free(&w.arena);
    }
}

static void ranges_are_even_by_ratio(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct what_if_sweep s;
    assert_true(what_if_sweep_read(&s, "h200.memory=0.5x..4x/4", &arena, &err));
    assert_int_equal(s.n_values, 4);
    assert_true(s.factor && s.values[1] == 1 && s.values[3] == 4);
    assert_string_equal(what_if_sweep_change(&s, 0, &arena), "h200.memory=0.5x");
    assert_true(what_if_sweep_read(&s, "h200.count=1..4", &arena, &err));
    assert_int_equal(s.n_values, 4);
    assert_string_equal(what_if_sweep_change(&s, 2, &arena), "h200.count=3");
    assert_false(what_if_sweep_read(&s, "h200.memory=4x..2x", &arena, &err));
    assert_string_equal(err.text,
            "--sweep h200.memory=4x..2x: expected two values above 0, the smaller one first");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(figures_change),
            cmocka_unit_test(measured_costs_follow),
            cmocka_unit_test(exchanges_follow_their_link),
            cmocka_unit_test(undone_changes_leave_the_costs),
            cmocka_unit_test(bad_changes_are_refused),
            cmocka_unit_test(ranges_are_even_by_ratio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
