/* The program and the solver's process: answers, bounds, limits, death. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>

#include "planner/ilp.h"

static uint64_t state;

static int pick(int lo, int hi)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return lo + (int)((state >> 33) % (uint64_t)(hi - lo + 1));
}

/* A knapsack: maximise value, that is minimise its negative, under two weights. */
static void make_knapsack(struct ilp *ilp, int n, struct arena *arena)
{
    ilp_init(ilp, "knapsack", arena);
    int a = ilp_add_row(ilp, "weight_a", -HUGE_VAL, 3.0 * n);
    int b = ilp_add_row(ilp, "weight_b", -HUGE_VAL, 3.5 * n);
    for (int i = 0; i < n; i++) {
        struct ilp_col col = {.name = arena_printf(arena, "x_%d", i),
                .lo = 0,
                .hi = 1,
                .cost = -pick(5, 20),
                .integer = true};
        int c = ilp_add_col(ilp, &col);
        ilp_add_term(ilp, a, c, pick(1, 12));
        ilp_add_term(ilp, b, c, pick(1, 12));
    }
}

static double brute_force(const struct ilp *ilp)
{
    double best = 0;
    for (uint32_t bits = 0; bits < 1u << ilp->n_cols; bits++) {
        double x[32];
        for (int c = 0; c < ilp->n_cols; c++)
            x[c] = bits >> c & 1;
        if (ilp_violation(ilp, x) <= 1e-9 && ilp_value(ilp, x) < best)
            best = ilp_value(ilp, x);
    }
    return best;
}

static void equals_brute_force(void **unused)
{
    (void)unused;
    state = 3;
    for (int trial = 0; trial < 60; trial++) {
        struct arena arena = {0};
        struct err err = {0};
        struct ilp ilp;
        struct ilp_result r;
        struct ilp_result relaxed;
        make_knapsack(&ilp, pick(1, 11), &arena);
        assert_true(ilp_solve(&r, &ilp, &(struct ilp_limits){0}, &arena, &err));
        assert_int_equal(r.status, ILP_OPTIMAL);
        assert_null(r.trouble);
        assert_true(fabs(r.value - brute_force(&ilp)) < 1e-6);
        assert_true(fabs(ilp_value(&ilp, r.x) - r.value) < 1e-6);
        assert_true(ilp_violation(&ilp, r.x) < 1e-6);
        /* The relaxation is a bound, and the solver reports the optimum as its own bound. */
        assert_true(ilp_solve(&relaxed, &ilp, &(struct ilp_limits){.relax = true}, &arena, &err));
        assert_true(relaxed.value <= r.value + 1e-6);
        assert_true(fabs(r.bound - r.value) < 1e-6);
        arena_free(&arena);
    }
}

static void infeasible_is_proven(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    struct ilp ilp;
    struct ilp_result r;
    ilp_init(&ilp, "odd", &arena);
    int row = ilp_add_row(&ilp, "even", 3, 3);
    struct ilp_col col = {.name = "x", .lo = 0, .hi = 9, .integer = true};
    ilp_add_term(&ilp, row, ilp_add_col(&ilp, &col), 2);
    assert_true(ilp_solve(&r, &ilp, &(struct ilp_limits){0}, &arena, &err));
    assert_int_equal(r.status, ILP_INFEASIBLE);
    assert_null(r.x);
    arena_free(&arena);
}

static void kill_it(void *self, int pid)
{
    (void)self;
    kill(pid, SIGKILL);
}

static void a_killed_solver_leaves_the_incumbent(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    struct ilp ilp;
    struct ilp_result r;
    state = 5;
    make_knapsack(&ilp, 40, &arena);
    double x[40] = {0};
    x[3] = 1;
    struct ilp_limits limits = {.incumbent = x, .started = kill_it};
    assert_true(ilp_solve(&r, &ilp, &limits, &arena, &err));
    assert_int_equal(r.status, ILP_FEASIBLE);
    assert_true(r.x[3] == 1);
    assert_true(r.value == ilp.cols[3].cost);
    assert_non_null(strstr(r.trouble, "killed by signal 9"));
    arena_free(&arena);
}

static void a_killed_solver_without_an_incumbent_is_an_error(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    struct ilp ilp;
    struct ilp_result r;
    state = 5;
    make_knapsack(&ilp, 40, &arena);
    struct ilp_limits limits = {.started = kill_it};
    assert_false(ilp_solve(&r, &ilp, &limits, &arena, &err));
    assert_int_equal(err.kind, ERR_ENV);
    assert_string_equal(err.text,
            "program knapsack (2 rows, 40 columns): the solver was killed by signal 9 (Killed); no "
            "solution was known by then: give it more time (--time-limit) or a smaller question "
            "(--force)");
    arena_free(&arena);
}

static void too_little_memory_ends_the_solver_not_us(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    struct ilp ilp;
    struct ilp_result r;
    state = 5;
    make_knapsack(&ilp, 20000, &arena);
    struct ilp_limits limits = {.memory_bytes = 1 << 20};
    assert_false(ilp_solve(&r, &ilp, &limits, &arena, &err));
    assert_int_equal(err.kind, ERR_ENV);
    assert_non_null(strstr(err.text, "memory limit"));
    arena_free(&arena);
}

/* Market split: tiny, and out of reach of branch and bound. */
static void make_hard(struct ilp *ilp, struct arena *arena)
{
    ilp_init(ilp, "market_split", arena);
    state = 17;
    int slack[6];
    int row[6];
    double sum[6] = {0};
    for (int r = 0; r < 6; r++)
        row[r] = ilp_add_row(ilp, arena_printf(arena, "split_%d", r), 0, 0);
    for (int c = 0; c < 50; c++) {
        struct ilp_col col = {
                .name = arena_printf(arena, "x_%d", c), .lo = 0, .hi = 1, .integer = true};
        int at = ilp_add_col(ilp, &col);
        for (int r = 0; r < 6; r++) {
            double a = pick(0, 99);
            sum[r] += a;
            ilp_add_term(ilp, row[r], at, a);
        }
    }
    for (int r = 0; r < 6; r++) {
        ilp->rows[row[r]].lo = ilp->rows[row[r]].hi = floor(sum[r] / 2);
        struct ilp_col over = {
                .name = arena_printf(arena, "over_%d", r), .lo = 0, .hi = HUGE_VAL, .cost = 1};
        struct ilp_col under = {
                .name = arena_printf(arena, "under_%d", r), .lo = 0, .hi = HUGE_VAL, .cost = 1};
        slack[r] = ilp_add_col(ilp, &over);
        ilp_add_term(ilp, row[r], slack[r], -1);
        ilp_add_term(ilp, row[r], ilp_add_col(ilp, &under), 1);
    }
}

static void a_time_limit_returns_what_is_known(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct err err = {0};
    struct ilp ilp;
    struct ilp_result r;
    make_hard(&ilp, &arena);
    struct ilp_limits limits = {.time_s = 0.3};
    assert_true(ilp_solve(&r, &ilp, &limits, &arena, &err));
    assert_true(r.status == ILP_FEASIBLE || r.status == ILP_UNKNOWN);
    assert_true(r.bound >= -1e-9);
    if (r.status == ILP_FEASIBLE) {
        assert_true(r.bound <= r.value + 1e-9);
        assert_true(ilp_violation(&ilp, r.x) < 1e-6);
    }
    assert_true(r.seconds < 20);
    arena_free(&arena);
}

static void lp_text_names_rows_and_columns(void **unused)
{
    (void)unused;
    struct arena arena = {0};
    struct ilp ilp;
    ilp_init(&ilp, "small", &arena);
    int flow = ilp_add_row(&ilp, "flow", 1, 1);
    int band = ilp_add_row(&ilp, "band", 2, 5);
    struct ilp_col x = {.name = "x", .lo = 0, .hi = 1, .cost = 2.5, .integer = true};
    struct ilp_col y = {.name = "y", .lo = -HUGE_VAL, .hi = HUGE_VAL, .cost = -1};
    int cx = ilp_add_col(&ilp, &x);
    int cy = ilp_add_col(&ilp, &y);
    ilp_add_term(&ilp, band, cy, 3);
    ilp_add_term(&ilp, flow, cx, 1);
    ilp_add_term(&ilp, flow, cy, -2);
    assert_string_equal(ilp_write_lp(&ilp),
            "\\ small\nMinimize\n cost: + 2.5 x - 1 y\nSubject To\n flow: + 1 x - 2 y = 1\n"
            " band_lo: + 3 y >= 2\n band: + 3 y <= 5\nBounds\n 0 <= x <= 1\n y free\nGenerals\n "
            "x\nEnd\n");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(equals_brute_force),
            cmocka_unit_test(infeasible_is_proven),
            cmocka_unit_test(a_killed_solver_leaves_the_incumbent),
            cmocka_unit_test(a_killed_solver_without_an_incumbent_is_an_error),
            cmocka_unit_test(too_little_memory_ends_the_solver_not_us),
            cmocka_unit_test(a_time_limit_returns_what_is_known),
            cmocka_unit_test(lp_text_names_rows_and_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
