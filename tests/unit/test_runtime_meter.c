/* The meter: ops by shape and kind, shapes beyond the table, steps beyond the list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_op_lasts_from_the_end_of_the_one_before),
            cmocka_unit_test(test_shapes_beyond_the_table_count_by_kind),
            cmocka_unit_test(test_steps_beyond_the_list_are_counted),
    };
    return cmocka_run_group_tests(tests, replace_clock, restore_clock);
}
