#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profiler/source_cupti.h"

static void overlapping_kernels_are_busy_once(void **state)
{
    (void)state;
    struct cupti_span spans[] = {
            {5000, 8000}, {1000, 4000}, {2000, 3000}, {3500, 4500}, {8000, 8000}};
    struct cupti_window w;
    cupti_window_of(&w, spans, 5);
    assert_int_equal(w.kernels, 5);
    assert_true(w.busy_us == 6.5 && w.sum_us == 8);
    assert_true(w.first_ns == 1000 && w.last_ns == 8000);
}

static void lost_spans_are_counted_apart(void **state)
{
    (void)state;
    struct cupti_span spans[] = {{0, 0}, {5000, 4000}, {1000, 2000}};
    struct cupti_window w;
    cupti_window_of(&w, spans, 3);
    assert_true(w.kernels == 1 && w.lost == 2 && w.busy_us == 1);
    cupti_window_of(&w, spans, 0);
    assert_true(w.kernels == 0 && w.busy_us == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(overlapping_kernels_are_busy_once),
            cmocka_unit_test(lost_spans_are_counted_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
