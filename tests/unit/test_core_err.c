#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/err.h"

static void first_failure_wins(void **state)
{
    (void)state;
    struct err err = {0};
    assert_false(err_set(&err, ERR_NO, "first %d", 1));
    assert_false(err_set(&err, ERR_BUG, "second"));
    assert_int_equal(err.kind, ERR_NO);
    assert_string_equal(err.text, "first 1");
    err_clear(&err);
    assert_int_equal(err.kind, ERR_NONE);
    assert_string_equal(err.text, "");
}

static void places_come_in_front(void **state)
{
    (void)state;
    static const struct {
        struct pos pos;
        const char *text;
    } cases[] = {{{"a.yaml", 4, 8}, "a.yaml:4:8: bad"}, {{"a.yaml", 4, 0}, "a.yaml:4: bad"},
            {{"a.yaml", 0, 0}, "a.yaml: bad"}, {{NULL, 0, 0}, "bad"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        assert_false(err_at(&err, cases[i].pos, "bad"));
        assert_string_equal(err.text, cases[i].text);
        assert_int_equal(err.kind, ERR_INPUT);
    }
}

static void context_goes_in_front(void **state)
{
    (void)state;
    struct err err = {0};
    err_set(&err, ERR_ENV, "disk full");
    assert_false(err_context(&err, "writing %s", "plan"));
    assert_string_equal(err.text, "writing plan: disk full");
    assert_int_equal(err.kind, ERR_ENV);
}

static void long_messages_are_cut_not_overrun(void **state)
{
    (void)state;
    struct err err = {0};
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&err, ERR_INPUT, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    err_context(&err, "here");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "here: xxx", 9);
    err_context(&err, "%s", text);
    assert_memory_equal(err.text, "here: xxx", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(first_failure_wins),
            cmocka_unit_test(places_come_in_front),
            cmocka_unit_test(context_goes_in_front),
            cmocka_unit_test(long_messages_are_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
