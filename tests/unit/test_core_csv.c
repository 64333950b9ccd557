/* Fields with their places, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/csv.h"

static void rows_and_quotes(void **unused)
{
    (void)unused;
    char text[] = "\xef\xbb\xbf"
                  "a,b,c\r\n1,\"x,\"\"y\"\"\nz\",2.5\r\n\n,,\n7,8,9";
    struct err err = {0};
    struct csv csv;
    int64_t n;
    double x;
    assert_true(csv_open(&csv, text, (int64_t)sizeof text - 1, "t.csv", &err));
    assert_int_equal(csv.n_columns, 3);
    assert_int_equal(csv_column(&csv, "c"), 2);
    assert_int_equal(csv_column(&csv, "d"), -1);
    assert_true(csv_next(&csv, &err));
    assert_string_equal(csv.fields[1], "x,\"y\"\nz");
    assert_true(csv_int(&n, &csv, 0, 1, 9, &err) && n == 1);
    assert_true(csv_positive(&x, &csv, 2, &err) && x == 2.5);
    assert_true(csv_next(&csv, &err));
    assert_string_equal(csv.fields[0], "");
    assert_string_equal(csv.fields[2], "");
    assert_true(csv_next(&csv, &err));
    assert_int_equal(csv.row_line, 6);
    assert_int_equal(csv_pos(&csv, 1).column, 3);
    assert_string_equal(csv.fields[2], "9");
    assert_false(csv_next(&csv, &err));
    assert_int_equal(err.kind, ERR_NONE);
}

static void wrong_rows_are_refused_by_place(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {"", "t.csv:1:1: empty: expected a row of column names"},
            {"a,a\n", "t.csv:1:3: column \"a\" is there twice"},
            {"a,b\n1\n", "t.csv:2:1: the row ends after 1 fields, expected 2: b is missing"},
            {"a,b\n1,2,3\n", "t.csv:2:5: one field too many: expected 2"},
            {"a,b\n1,\"2\n", "t.csv:2:3: the quoted field does not end: expected a closing \""},
            {"a,b\n\"1\"x,2\n", "t.csv:2:1: text after a closing quote: expected a comma or the "
                                "end of the row"},
            {"a,b\n1,0\n", "t.csv:2:3: b is \"0\", expected a whole number from 1 to 9"},
            {"a,b\n1,-3\n", "t.csv:2:3: b is \"-3\", expected a whole number from 1 to 9"},
            {"a,b\n1,5x\n", "t.csv:2:3: b is \"5x\", expected a whole number from 1 to 9"},
            {"a,b\nnan,5\n", "t.csv:2:1: a is \"nan\", expected a number above 0"},
            {"a,b\n,5\n", "t.csv:2:1: a is \"\", expected a number above 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        struct err err = {0};
        struct csv csv;
        int64_t n;
        double x;
        strcpy(text, cases[i].text);
        bool ok = csv_open(&csv, text, (int64_t)strlen(text), "t.csv", &err) && csv_next(&csv, &err)
                  && csv_int(&n, &csv, 1, 1, 9, &err) && csv_positive(&x, &csv, 0, &err);
        assert_false(ok);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_string_equal(err.text, cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(rows_and_quotes),
            cmocka_unit_test(wrong_rows_are_refused_by_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
