#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/ranks.h"

/* Of one rank; tests/mpi/ranks asks the same of several. */
static void alone(void **state)
{
    (void)state;
    struct err err = {0};
    struct ranks *ranks = ranks_open(NULL, NULL, &err);
    assert_non_null(ranks);
    assert_int_equal(ranks_rank(ranks), 0);
    assert_int_equal(ranks_count(ranks), 1);
    int value = 7, out = 0;
    ranks_barrier(ranks);
    ranks_broadcast(ranks, &value, sizeof value, 0);
    assert_int_equal(value, 7);
    ranks_gather(ranks, &value, sizeof value, &out, 0);
    assert_int_equal(out, 7);
    assert_true(ranks_max(ranks, 2.5) == 2.5);
    assert_true(ranks_agree(ranks, true, &err));
    err_set(&err, ERR_INPUT, "mine");
    assert_false(ranks_agree(ranks, false, &err));
    assert_string_equal(err.text, "mine");
    ranks_close(ranks);
}

static void the_library_is_named(void **state)
{
    (void)state;
    assert_true(strlen(ranks_mpi_version()) >= 4);
    assert_null(strchr(ranks_mpi_version(), '\n'));
}

static void a_missing_launcher_is_reported(void **state)
{
    (void)state;
    struct err err = {0};
    char *before = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    char program[] = "x", *argv[] = {program, NULL};
    int status = 0;
    bool started = ranks_launch(2, argv, &status, &err);
    setenv("PATH", before, 1);
    free(before);
    assert_false(started);
    assert_int_equal(err.kind, ERR_ENV);
    assert_memory_equal(err.text, "2 ranks are needed, but ", 24);
    assert_non_null(strstr(err.text, "install "));
}

static int64_t ticks;
static int64_t fake_clock(void)
{
    return ticks += 5;
}

static void the_clock_is_replaceable(void **state)
{
    (void)state;
    clock_replace(fake_clock);
    int64_t first = clock_now_ns();
    int64_t second = clock_now_ns();
    clock_replace(NULL);
    assert_int_equal(second - first, 5);
    int64_t now = clock_now_ns();
    clock_sleep_ns(1000);
    assert_true(clock_now_ns() - now >= 1000);
    assert_true(clock_wall_s() > 1600000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(alone),
            cmocka_unit_test(the_library_is_named),
            cmocka_unit_test(a_missing_launcher_is_reported),
            cmocka_unit_test(the_clock_is_replaceable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
