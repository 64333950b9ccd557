/* Which sizes are asked for: those that the others predict badly, again or in between, until all is well. */
#include "cli/profile_guide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "profiler/points.h"

enum {
    SIZES = 8,
    MOST = 8
};

struct scene {
    struct arena arena;
    struct want wants[2 * SIZES];
    struct points points;
    struct profile_guide guide;
    struct op asked[MOST];
};

static struct op gemm(int64_t m)
{
    return (struct op){
            .kind = OP_GEMM, .dtype = DTYPE_BF16, .degree = 1, .busy = 1, .dim = {m, 512, 512}};
}

static void put(struct scene *s, int64_t m, double us, double half_width)
{
    struct profile_point point = {.op = gemm(m),
            .cost_us = us,
            .lo_us = us * (1 - half_width),
            .hi_us = us * (1 + half_width)};
    profile_guide_add(&s->guide, &point);
}

/* Powers of two are measured and cost 10 us a row; 3/2 of them are in the grid too. */
static void begin(struct scene *s, double target)
{
    *s = (struct scene){.guide = {.target = target}};
    s->guide.arena = &s->arena;
    for (int i = 0; i < SIZES; i++) {
        s->wants[s->points.n++] = (struct want){gemm(2 << i), 0, 0.5};
        s->wants[s->points.n++] = (struct want){gemm(3 << i), 2, 0.5};
        put(s, 2 << i, 10.0 * (2 << i), 0.01);
    }
    s->points.items = s->wants;
}

static int64_t ask(struct scene *s)
{
    return profile_guide_next(&s->guide, s->asked, MOST, &s->points);
}

static bool asks_for(const struct scene *s, int64_t n, int64_t m)
{
    for (int64_t i = 0; i < n; i++)
        if (s->asked[i].dim[0] == m)
            return true;
    return false;
}

static void nothing_where_all_agree(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 0.03);
    assert_int_equal(ask(&s), 0);
    assert_true(s.guide.reached && s.guide.error < 1e-9);
    assert_int_equal(s.guide.n_kinds, 1);
    assert_int_equal(s.guide.kinds[0].n, SIZES - 2); /* the ends have nothing on one side */
    arena_free(&s.arena);
}

static void a_noisy_point_is_measured_again(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 0.03);
    put(&s, 32, 500, 0.5);
    int64_t n = ask(&s);
    assert_true(n > 0 && asks_for(&s, n, 32));
    assert_false(s.guide.reached);
    put(&s, 32, 320, 0.01);
    assert_int_equal(ask(&s), 0);
    assert_true(s.guide.reached);
    arena_free(&s.arena);
}

static void a_sure_point_gets_neighbours(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 0.03);
    put(&s, 32, 500, 0.01);
    int64_t n = ask(&s);
    assert_false(asks_for(&s, n, 32));
    assert_true(asks_for(&s, n, 24) || asks_for(&s, n, 48));
    for (int64_t i = 0; i < n; i++)
        assert_true(s.asked[i].dim[0] % 3 == 0); /* of the grid, as long as it has any */
    arena_free(&s.arena);
}

static void beyond_the_grid_gaps_are_halved(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 0.01);
    for (int i = 0; i < SIZES; i++)
        put(&s, 3 << i, 10.0 * (3 << i), 0.001);
    put(&s, 32, 500, 0.001);
    int64_t n = ask(&s);
    assert_true(n > 0);
    for (int64_t i = 0; i < n; i++) {
        int64_t m = s.asked[i].dim[0];
        assert_false((m & (m - 1)) == 0 || (m % 3 == 0 && (m / 3 & (m / 3 - 1)) == 0));
    }
    arena_free(&s.arena);
}

/* Whatever the figures, it comes to an end. */
static void gives_up_in_the_end(void **unused)
{
    (void)unused;
    struct scene s;
    begin(&s, 1e-6);
    put(&s, 32, 500, 0.2);
    int64_t rounds = 0, n;
    for (; (n = ask(&s)) > 0 && rounds < 1000; rounds++)
        for (int64_t i = 0; i < n; i++)
            put(&s, s.asked[i].dim[0],
                    10.0 * (double)s.asked[i].dim[0] * (1 + 0.3 * sin((double)(rounds + i))), 0.2);
    assert_true(rounds < 1000);
    assert_false(s.guide.reached);
    arena_free(&s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(nothing_where_all_agree),
            cmocka_unit_test(a_noisy_point_is_measured_again),
            cmocka_unit_test(a_sure_point_gets_neighbours),
            cmocka_unit_test(beyond_the_grid_gaps_are_halved),
            cmocka_unit_test(gives_up_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
