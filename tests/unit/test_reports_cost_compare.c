/* What counts as slower: not noise, not one shape, but a kind that agrees. */
#include "reports/cost_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

enum {
    SHAPES = 64
};

struct pair {
    struct arena arena;
    struct profile_point before[SHAPES], after[SHAPES];
    struct profile a, b;
    struct cost_comparison all;
};

/* Repeatable, even between -1 and 1. */
static double wobble(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}

/* Shapes of 100 us within 1 %, after that times `ratio` for the first `changed` of them. */
static void compare(struct pair *pair, double ratio, int changed, double noise)
{
    struct err err = {0};
    for (int i = 0; i < SHAPES; i++) {
        for (int side = 0; side < 2; side++) {
            struct profile_point *point = side ? &pair->after[i] : &pair->before[i];
            double us = 100 * (1 + noise * wobble((uint64_t)(2 * i + side)))
                        * (side && i < changed ? ratio : 1);
            *point = (struct profile_point){
                    .op = {.kind = OP_GEMM, .degree = 1, .busy = 1, .dim = {i + 1, 512, 512}},
                    .cost_us = us,
                    .lo_us = us * 0.99,
                    .hi_us = us * 1.01};
        }
    }
    pair->a = (struct profile){.points = pair->before, .n = SHAPES};
    pair->b = (struct profile){.points = pair->after, .n = SHAPES};
    assert_true(profile_finish(&pair->a, &err) && profile_finish(&pair->b, &err));
    cost_compare(&pair->all, &pair->a, &pair->b, 0.02, &pair->arena);
    assert_int_equal(pair->all.n, SHAPES);
    assert_int_equal(pair->all.n_kinds, 1);
}

static void noise_alone_is_not_slower(void **unused)
{
    (void)unused;
    struct pair pair = {0};
    compare(&pair, 1, 0, 0.05);
    assert_true(pair.all.kinds[0].slower > 0); /* by chance, and as many are quicker */
    assert_false(pair.all.worse);
    arena_free(&pair.arena);
}

static void a_kind_that_got_slower_is_found(void **unused)
{
    (void)unused;
    struct pair pair = {0};
    compare(&pair, 1.08, SHAPES, 0.02);
    assert_true(pair.all.worse && pair.all.kinds[0].worse);
    assert_true(fabs(pair.all.kinds[0].ratio - 1.08) < 0.02);
    assert_true(pair.all.kinds[0].lo > 1.02 && pair.all.kinds[0].hi < 1.12);
    arena_free(&pair.arena);
}

/* An eighth of the shapes does not move the median; that none of the others got quicker tells. */
static void some_shapes_of_a_kind_are_found(void **unused)
{
    (void)unused;
    struct pair pair = {0};
    compare(&pair, 1.3, SHAPES / 8, 0.005);
    assert_int_equal(pair.all.kinds[0].slower, SHAPES / 8);
    assert_int_equal(pair.all.kinds[0].quicker, 0);
    assert_true(fabs(pair.all.kinds[0].p - pow(0.5, SHAPES / 8.0)) < 1e-9);
    assert_true(pair.all.worse);
    assert_true(pair.all.shapes[0].ratio > 1.28 && pair.all.shapes[0].direction == 1);
    arena_free(&pair.arena);
}

static void quicker_is_not_slower(void **unused)
{
    (void)unused;
    struct pair pair = {0};
    compare(&pair, 0.8, SHAPES, 0.02);
    assert_int_equal(pair.all.kinds[0].quicker, SHAPES);
    assert_false(pair.all.worse);
    arena_free(&pair.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(noise_alone_is_not_slower),
            cmocka_unit_test(a_kind_that_got_slower_is_found),
            cmocka_unit_test(some_shapes_of_a_kind_are_found),
            cmocka_unit_test(quicker_is_not_slower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
