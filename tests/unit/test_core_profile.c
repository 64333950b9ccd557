#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "core/spec/profile.h"

static struct profile_point point(int64_t m)
{
    return (struct profile_point){
            .op = {OP_GEMM, DTYPE_BF16, 1, 1, {m, 16, 32}}, .cost_us = (double)m};
}

static void points_are_found_after_finishing(void **state)
{
    (void)state;
    struct err err = {0};
    struct profile_point points[200];
    for (int i = 0; i < 200; i++)
        points[i] = point((i * 37) % 200);
    struct profile profile = {.points = points, .n = 200};
    assert_true(profile_finish(&profile, &err));
    for (int64_t m = 0; m < 200; m++) {
        struct profile_point key = point(m);
        const struct profile_point *found = profile_find(&profile, &key.op);
        assert_non_null(found);
        assert_true(found->cost_us == (double)m);
    }
    struct profile_point none = point(200);
    assert_null(profile_find(&profile, &none.op));
}

static void an_empty_profile_finds_nothing(void **state)
{
    (void)state;
    struct err err = {0};
    struct profile profile = {0};
    struct profile_point key = point(1);
    assert_true(profile_finish(&profile, &err));
    assert_null(profile_find(&profile, &key.op));
}

static void two_points_for_one_op_are_a_bug(void **state)
{
    (void)state;
    struct err err = {0};
    struct profile_point points[] = {point(3), point(1), point(3)};
    struct profile profile = {.points = points, .n = 3};
    assert_false(profile_finish(&profile, &err));
    assert_int_equal(err.kind, ERR_BUG);
    assert_string_equal(
            err.text, "the profile has two points for gemm bf16 m=3 n=16 k=32 threads=1 busy=1");
}

static void the_digest_sees_every_cost(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct profile_point points[] = {point(1), point(2)};
    struct profile profile = {.points = points, .n = 2};
    const char *first = profile_digest(&profile, &arena);
    assert_int_equal(strlen(first), 16);
    assert_string_equal(profile_digest(&profile, &arena), first);
    points[1].cost_us = nextafter(points[1].cost_us, 3);
    assert_string_not_equal(profile_digest(&profile, &arena), first);
    profile.n = 1;
    assert_string_not_equal(profile_digest(&profile, &arena), first);
    arena_free(&arena);
}

static void random_numbers_repeat_and_spread(void **state)
{
    (void)state;
    double mean = 0, square = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = random_unit(1, i);
        assert_true(u >= 0 && u < 1);
        assert_in_range(random_below(1, i, 7), 0, 6);
        mean += u / 100000;
        square += u * u / 100000;
    }
    assert_true(fabs(mean - 0.5) < 0.005 && fabs(square - 1.0 / 3) < 0.005);
    assert_true(random_u64(1, 2) == random_u64(1, 2));
    assert_true(random_u64(1, 2) != random_u64(2, 1));
    /* pinned: traces and weights of older versions stay the same */
    assert_true(random_u64(0, 0) == 0xa706dd2f4d197e6f);
    assert_true(random_u64(42, 7) == 0x40dd2b9196388fc1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(points_are_found_after_finishing),
            cmocka_unit_test(an_empty_profile_finds_nothing),
            cmocka_unit_test(two_points_for_one_op_are_a_bug),
            cmocka_unit_test(the_digest_sees_every_cost),
            cmocka_unit_test(random_numbers_repeat_and_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
