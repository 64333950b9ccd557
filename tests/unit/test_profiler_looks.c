#include "profiler/looks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct trial_result look_of(double *samples, int n, bool disturbed, struct arena *arena)
{
    struct trial_result look = {.point = {.op = {.kind = OP_GEMM}, .looks = 1, .stop = "noise"},
            .samples = samples,
            .disturbed = disturbed};
    trial_summarise(&look.point, samples, n, arena);
    return look;
}

static void one_look_stays_what_it_is(void **state)
{
    struct arena arena = {0};
    struct looked looked = {0};
    (void)state;

    struct trial_result look = look_of((double[]){3, 1, 2}, 3, false, &arena);
    looks_add(&looked, &look, &arena);
    assert_int_equal(looked.point.looks, 1);
    assert_true(looked.point.cost_us == look.point.cost_us);
    assert_int_equal(looked.point.samples, 3);
    assert_true(looked.samples[0] == 3 && looked.samples[2] == 2);
    arena_free(&arena);
}

/* Each look counts alike, however many samples it took. */
static void the_cost_is_the_mean_of_looks(void **state)
{
    struct arena arena = {0};
    struct looked looked = {0};
    (void)state;

    struct trial_result quiet = look_of((double[]){10, 10, 10}, 3, false, &arena);
    struct trial_result slow = look_of((double[]){19, 18, 17, 18, 18, 18}, 6, false, &arena);
    struct trial_result last = look_of((double[]){11, 11}, 2, false, &arena);
    looks_add(&looked, &quiet, &arena);
    looks_add(&looked, &slow, &arena);
    assert_true(looked.point.cost_us == 14);
    looks_add(&looked, &last, &arena);
    assert_int_equal(looked.point.looks, 3);
    assert_true(looked.point.cost_us == 13);
    assert_int_equal(looked.point.samples, 11);
    assert_true(looked.samples[3] == 19 && looked.samples[10] == 11);
    assert_true(looked.point.lo_us == 10);
    assert_true(looked.point.hi_us == slow.point.hi_us);
    assert_true(looked.point.min_us == 10);
    assert_int_equal(looked.point.op.kind, OP_GEMM);
    arena_free(&arena);
}

static void disturbed_is_what_no_look_had_in_peace(void **state)
{
    struct arena arena = {0};
    struct looked looked = {0}, never = {0};
    (void)state;

    struct trial_result hit = look_of((double[]){9, 9}, 2, true, &arena);
    struct trial_result peace = look_of((double[]){5, 5}, 2, false, &arena);
    looks_add(&looked, &hit, &arena);
    assert_true(looked.disturbed);
    looks_add(&looked, &peace, &arena);
    assert_false(looked.disturbed);
    looks_add(&looked, &hit, &arena);
    assert_false(looked.disturbed);
    looks_add(&never, &hit, &arena);
    looks_add(&never, &hit, &arena);
    assert_true(never.disturbed);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_look_stays_what_it_is),
            cmocka_unit_test(the_cost_is_the_mean_of_looks),
            cmocka_unit_test(disturbed_is_what_no_look_had_in_peace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
