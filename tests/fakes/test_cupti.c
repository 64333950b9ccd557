#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "profiler/source_cupti.h"
#include "tests/fakes/fake_cupti.h"

static struct fake_cupti *fake_state;

static int reset(void **state)
{
    (void)state;
    source_cupti_close();
    *fake_state = (struct fake_cupti){
            .n = 3, .start_ns = {3000, 1000, 5000}, .end_ns = {4000, 2000, 9000}};
    return 0;
}

static void must_begin(void)
{
    struct err err = {0};
    if (!source_cupti_open(&err) || !source_cupti_begin(&err))
        fail_msg("%s", err.text);
}

static void records_of_several_buffers_are_added(void **state)
{
    (void)state;
    struct err err = {0};
    struct cupti_window w;
    must_begin();
    assert_true(source_cupti_end(&w, &err));
    assert_int_equal(w.kernels, 3);
    assert_true(w.busy_us == 6 && w.sum_us == 6 && w.first_ns == 1000 && w.last_ns == 9000);
    must_begin(); /* a second window starts empty */
    fake_state->n = 1;
    assert_true(source_cupti_end(&w, &err));
    assert_int_equal(w.kernels, 1);
}

static void copies_are_not_kernels(void **state)
{
    (void)state;
    struct err err = {0};
    struct cupti_window w;
    fake_state->other_kind = true;
    must_begin();
    assert_true(source_cupti_end(&w, &err));
    assert_int_equal(w.kernels, 0);
}

static void lost_times_are_not_zero_times(void **state)
{
    (void)state;
    struct err err = {0};
    struct cupti_window w;
    fake_state->start_ns[1] = fake_state->end_ns[1] = 0;
    must_begin();
    assert_false(source_cupti_end(&w, &err));
    assert_int_equal(err.kind, ERR_INCONCLUSIVE);
    assert_true(w.kernels == 2 && w.lost == 1);
}

static void dropped_records_are_told(void **state)
{
    (void)state;
    struct err err = {0};
    struct cupti_window w;
    must_begin();
    fake_state->dropped = 4;
    assert_false(source_cupti_end(&w, &err));
    assert_string_equal(
            err.text, "CUPTI lost the times of 0 kernels and dropped 4; measure fewer at once");
}

static void failing_to_start_is_told(void **state)
{
    (void)state;
    struct err err = {0};
    fake_state->fail_start = true;
    assert_false(source_cupti_open(&err));
    assert_string_equal(err.text, "CUPTI: starting: CUPTI_ERROR_NOT_INITIALIZED");
    err_clear(&err);
    assert_false(source_cupti_begin(&err));
    assert_int_equal(err.kind, ERR_BUG);
}

int main(void)
{
    void *handle = dlopen(FAKE, RTLD_NOW | RTLD_LOCAL);
    fake_state = handle == NULL ? NULL : dlsym(handle, "fake");
    if (fake_state == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup(records_of_several_buffers_are_added, reset),
            cmocka_unit_test_setup(copies_are_not_kernels, reset),
            cmocka_unit_test_setup(lost_times_are_not_zero_times, reset),
            cmocka_unit_test_setup(dropped_records_are_told, reset),
            cmocka_unit_test_setup(failing_to_start_is_told, reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_cupti_close();
    return failed;
}
