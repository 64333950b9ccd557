#include "profiler/trial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"

/* A source whose time stands still but for the samples that it hands out. */
struct fake {
    double (*next)(struct fake *fake);
    int taken, rounds, ends;
    int hit_every;       /* every n-th sample lost its CPU; 0 = none */
    int disturbed_first; /* so many rounds are disturbed */
    int most;            /* samples there are; 0 = no end */
    enum source_answer answer;
};

static int64_t fake_now;

static int64_t fake_clock(void)
{
    return fake_now;
}

static enum source_answer fake_begin(void *self, const struct op *op, struct err *err)
{
    struct fake *fake = self;
    (void)op;
    if (fake->answer == SOURCE_FAIL)
        err_set(err, ERR_BUG, "broken");
    return fake->answer;
}

static bool fake_sample(void *self, int n, struct batch *out)
{
    struct fake *fake = self;
    *out = (struct batch){.disturbed = fake->rounds++ < fake->disturbed_first};
    for (int i = 0; i < n && (fake->most == 0 || fake->taken < fake->most); i++) {
        double us = fake->next(fake);
        fake_now += (int64_t)(us * 1000);
        if (fake->hit_every > 0 && ++fake->taken % fake->hit_every == 0)
            out->hit_us[out->n_hit++] = us * 10;
        else
            out->us[out->n++] = us;
        fake->taken += fake->hit_every == 0;
    }
    return out->n + out->n_hit > 0;
}

static void fake_end(void *self)
{
    ((struct fake *)self)->ends++;
}

static double steady(struct fake *fake)
{
    return fake->taken % 2 ? 100.1 : 100;
}

static double noisy(struct fake *fake)
{
    return 100 + (fake->taken * 7919 % 101);
}

static double slow(struct fake *fake)
{
    return 200000 + (fake->taken * 7919 % 101) * 1000;
}

static double disturbed_then_steady(struct fake *fake)
{
    return fake->rounds <= fake->disturbed_first ? 500 : 100;
}

static enum source_answer run(
        struct trial_result *out, struct fake *fake, struct arena *arena, struct err *err)
{
    const struct op op = {.kind = OP_GEMM, .degree = 1, .busy = 1, .dim = {1, 2, 3}};
    struct source source = {fake, fake_begin, fake_sample, fake_end, fake_end, .cold = true};
    clock_replace(fake_clock);
    enum source_answer answer = trial_run(out, &source, &op, &trial_limits_default, arena, err);
    clock_replace(NULL);
    return answer;
}

static void steady_op_stops_at_its_interval(void **state)
{
    struct fake fake = {.next = steady};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_OK);
    assert_string_equal(result.point.stop, "interval");
    assert_in_range(result.point.samples, 5, 8);
    assert_true(result.point.cost_us >= 100 && result.point.cost_us <= 100.1);
    assert_true(result.point.lo_us >= 100 && result.point.hi_us <= 100.1);
    assert_true(result.point.cold);
    assert_int_equal(result.point.op.dim[2], 3);
    assert_int_equal(fake.ends, 1);
    arena_free(&arena);
}

static void noise_that_stays_stops_too(void **state)
{
    struct fake fake = {.next = noisy};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_OK);
    assert_string_equal(result.point.stop, "noise");
    assert_true(result.point.samples <= trial_limits_default.max_samples + 8);
    assert_true(result.point.hi_us > result.point.lo_us);
    arena_free(&arena);
}

static void slow_op_stops_at_its_budget_with_few_samples(void **state)
{
    struct fake fake = {.next = slow};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_OK);
    assert_string_equal(result.point.stop, "budget");
    assert_in_range(result.point.samples, 3, 5);
    arena_free(&arena);
}

static void samples_that_lost_their_cpu_do_not_count(void **state)
{
    struct fake fake = {.next = steady, .hit_every = 3};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_OK);
    assert_true(result.point.p99_us < 101);
    assert_false(result.disturbed);
    arena_free(&arena);
}

static void disturbed_rounds_are_measured_again(void **state)
{
    struct fake fake = {.next = disturbed_then_steady, .disturbed_first = 2};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_OK);
    assert_true(result.point.cost_us == 100);
    assert_true(result.point.p99_us == 100);
    arena_free(&arena);
}

static void samples_are_taken_as_they_come_when_nothing_else_can_be_had(void **state)
{
    struct fake fake = {.next = steady, .hit_every = 1};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_OK);
    assert_true(result.disturbed);
    assert_string_equal(result.point.stop, "budget");
    assert_true(result.point.samples >= 3);
    arena_free(&arena);
}

static void skip_and_failure_are_passed_on(void **state)
{
    struct fake fake = {.next = steady, .answer = SOURCE_SKIP};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_SKIP);
    assert_int_equal(err.kind, ERR_NONE);
    fake.answer = SOURCE_FAIL;
    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_FAIL);
    assert_string_equal(err.text, "broken");
    assert_int_equal(fake.ends, 0);
    arena_free(&arena);
}

static void a_source_that_runs_dry_gives_what_it_had(void **state)
{
    struct fake fake = {.next = noisy, .most = 4};
    struct trial_result result;
    struct arena arena = {0};
    struct err err = {0};
    (void)state;

    assert_int_equal(run(&result, &fake, &arena, &err), SOURCE_OK);
    assert_int_equal(result.point.samples, 4);
    assert_string_equal(result.point.stop, "budget");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steady_op_stops_at_its_interval),
            cmocka_unit_test(noise_that_stays_stops_too),
            cmocka_unit_test(slow_op_stops_at_its_budget_with_few_samples),
            cmocka_unit_test(samples_that_lost_their_cpu_do_not_count),
            cmocka_unit_test(disturbed_rounds_are_measured_again),
            cmocka_unit_test(samples_are_taken_as_they_come_when_nothing_else_can_be_had),
            cmocka_unit_test(skip_and_failure_are_passed_on),
            cmocka_unit_test(a_source_that_runs_dry_gives_what_it_had)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
