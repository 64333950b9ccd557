/* The meter: ops by shape and kind, shapes beyond the table, steps beyond the list, memory that is there. */

/* Which pages are in memory is a BSD call. */
#define _DEFAULT_SOURCE // NOLINT(bugprone-reserved-identifier): glibc looks for it

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/meter.h"

static int64_t now_ns;

static int64_t fake_clock(void)
{
    return now_ns;
}

static int replace_clock(void **state)
{
    (void)state;
    now_ns = 1000;
    clock_replace(fake_clock);
    return 0;
}

static int restore_clock(void **state)
{
    (void)state;
    clock_replace(NULL);
    return 0;
}

static void open_meter(struct meter *meter, int64_t steps)
{
    struct err err = {0};

    if (!meter_open(meter, steps, 0, &err))
        fail_msg("%s", err.text);
    meter_reset(meter);
}

static void test_op_lasts_from_the_end_of_the_one_before(void **state)
{
    struct meter meter;
    struct op gemm = {OP_GEMM, DTYPE_BF16, 1, 1, {8, 16, 32}},
              norm = {OP_RMSNORM, DTYPE_F32, 1, 1, {8}};
    (void)state;

    open_meter(&meter, 1);
    now_ns += 5; /* not metered */
    meter_mark(&meter);
    now_ns += 10;
    meter_op(&meter, &gemm);
    now_ns += 3;
    meter_op(&meter, &norm);
    now_ns += 20;
    meter_op(&meter, &gemm);
    assert_int_equal(meter.kind_ns[OP_GEMM], 30);
    assert_int_equal(meter.kind_count[OP_GEMM], 2);
    assert_int_equal(meter.kind_ns[OP_RMSNORM], 3);
    meter_finish(&meter);
    assert_int_equal(meter.n_uses, 2);
    assert_int_equal(op_compare(&meter.uses[0].op, &gemm), 0);
    assert_int_equal(meter.uses[0].count, 2);
    assert_int_equal(meter.uses[0].ns, 30);
    meter_close(&meter);
}

static void test_shapes_beyond_the_table_count_by_kind(void **state)
{
    struct meter meter;
    int64_t kept = 0;
    (void)state;

    open_meter(&meter, 1);
    for (int64_t i = 0; i < 40000; i++) {
        now_ns += 2;
        meter_op(&meter, &(struct op){OP_ATTENTION_DECODE, DTYPE_F32, 1, 1, {1, i, 8, 4, 16}});
    }
    assert_int_equal(meter.kind_count[OP_ATTENTION_DECODE], 40000);
    assert_int_equal(meter.kind_ns[OP_ATTENTION_DECODE], 80000);
    meter_finish(&meter);
    for (int64_t i = 0; i < meter.n_uses; i++) {
        kept += meter.uses[i].count;
        assert_true(i == 0 || op_compare(&meter.uses[i - 1].op, &meter.uses[i].op) < 0);
    }
    assert_true(kept > 10000 && kept < 40000);
    assert_int_equal(kept + meter.lost_count[OP_ATTENTION_DECODE], 40000);
    assert_int_equal(meter.lost_ns[OP_ATTENTION_DECODE], 2 * (40000 - kept));
    meter_close(&meter);
}

static void test_steps_beyond_the_list_are_counted(void **state)
{
    struct meter meter;
    (void)state;

    open_meter(&meter, 2);
    for (int i = 0; i < 5; i++)
        meter_step(&meter, &(struct run_step){.step = i, .busy_ns = 10, .wait_ns = 1});
    assert_int_equal(meter.n_steps, 5);
    assert_int_equal(meter.busy_ns, 50);
    assert_int_equal(meter.wait_ns, 5);
    assert_int_equal(meter.steps[1].step, 1);
    meter_reset(&meter);
    assert_int_equal(meter.n_steps, 0);
    assert_int_equal(meter.busy_ns, 0);
    meter_close(&meter);
}

/* Whole pages of [memory, memory + bytes) that are not in memory. */
static int64_t absent_pages(const void *memory, int64_t bytes)
{
    int64_t page = sysconf(_SC_PAGESIZE), absent = 0;
    uintptr_t first = ((uintptr_t)memory + (uintptr_t)page - 1) / (uintptr_t)page;
    int64_t n = (int64_t)(((uintptr_t)memory + (uintptr_t)bytes) / (uintptr_t)page - first);
    unsigned char *there = calloc((size_t)n + 1, 1);

    assert_non_null(there);
    /* An address is a number here, rounded to a page. */
    void *at = (void *)(first * (uintptr_t)page); // NOLINT(performance-no-int-to-ptr)
    assert_int_equal(mincore(at, (size_t)(n * page), there), 0);
    for (int64_t i = 0; i < n; i++)
        absent += !(there[i] & 1);
    free(there);
    return absent;
}

static void test_steps_find_their_memory_touched(void **state)
{
    const int64_t steps = 1 << 15, events = 1 << 15;
    struct meter meter;
    struct err err = {0};
    (void)state;

    assert_true(meter_open(&meter, steps, events, &err));
    assert_int_equal(absent_pages(meter.steps, steps * (int64_t)sizeof *meter.steps), 0);
    assert_int_equal(absent_pages(meter.events, events * (int64_t)sizeof *meter.events), 0);
    meter_close(&meter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_op_lasts_from_the_end_of_the_one_before),
            cmocka_unit_test(test_shapes_beyond_the_table_count_by_kind),
            cmocka_unit_test(test_steps_beyond_the_list_are_counted),
            cmocka_unit_test(test_steps_find_their_memory_touched),
    };
    return cmocka_run_group_tests(tests, replace_clock, restore_clock);
}
