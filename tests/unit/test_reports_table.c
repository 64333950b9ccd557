/* What people read (three digits, units, quotes) and what programs read (all digits). */
#include "reports/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reports/compare.h"
#include "reports/emit_csv.h"

static void test_numbers_have_three_digits(void **state)
{
    static const struct {
        double number;
        const char *shown;
    } cases[] = {{0, "0"}, {1, "1.00"}, {9.994, "9.99"}, {9.996, "10.0"}, {99.96, "100"},
            {1234.4, "1,234"}, {1234567, "1,234,567"}, {-12345, "-12,345"}, {0.00456, "0.00456"},
            {0.99951, "1.00"}, {1e-9, "1.00e-09"}};
    struct arena arena = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(number_show(cases[i].number, &arena), cases[i].shown);
    assert_string_equal(number_show((double)NAN, &arena), "");
    assert_string_equal(number_show((double)INFINITY, &arena), "");
    arena_free(&arena);
}

static void test_cells_follow_the_unit_of_their_column(void **state)
{
    static const struct {
        enum unit unit;
        double number;
        const char *shown;
    } cases[] = {{UNIT_US, 12345, "12.3"}, {UNIT_BYTES, 3 << 20, "3.00"},
            {UNIT_FRAC, 0.1234, "12.3"}, {UNIT_ERROR, -0.05, "-5.0"}, {UNIT_ERROR, 0.05, "+5.0"},
            {UNIT_COUNT, 1234567, "1,234,567"}, {UNIT_ID, 1234567, "1234567"},
            {UNIT_SHORT, 12.345, "12.3"}};
    struct arena arena = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct cell cell = cell_number(cases[i].number);
        assert_string_equal(cell_show(&cell, cases[i].unit, &arena), cases[i].shown);
    }
    assert_string_equal(figure_show(2500, "us", &arena), "2.50 ms");
    assert_string_equal(figure_show(7, "count", &arena), "7");
    assert_string_equal(figure_show(41.25, "tokens/s", &arena), "41.2 tokens/s");
    assert_string_equal(figure_show(0.123, "frac", &arena), "12.3 %");
    arena_free(&arena);
}

static void test_csv_quotes_and_keeps_all_digits(void **state)
{
    static const struct column columns[] = {{"name", "Name", UNIT_TEXT}, {"x", NULL, UNIT_US}};
    struct arena arena = {0};
    struct table table = TABLE("t", "T.", columns, &arena);
    struct text csv = {.arena = &arena};
    const double numbers[] = {0.1, 1.0 / 3, 1e15 + 0.5, 5e-324};
    const char *names[] = {"plain", "a,b", "say \"x\"", "two\nlines"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct cell *row = table_row(&table);
        row[0] = cell_text(names[i]);
        row[1] = cell_number(numbers[i]);
    }
    table_row(&table);
    csv_add(&csv, &table);
    csv_add(&csv, &(struct table){.columns = columns, .n_columns = 2});
    assert_string_equal(csv.data, "name,x\r\nplain,0.1\r\n\"a,b\",0.3333333333333333\r\n"
                                  "\"say \"\"x\"\"\",1000000000000000.5\r\n\"two\nlines\","
                                  "4.94065645841247e-324\r\n,\r\n");
    arena_free(&arena);
}

static void test_html_leaves_no_markup_and_no_control(void **state)
{
    struct arena arena = {0};
    struct text text = {.arena = &arena};
    (void)state;
    text_html(&text, "<a href=\"x\" b='y'>&\x01\n</a>");
    assert_string_equal(
            text.data, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\xef\xbf\xbd\n&lt;/a&gt;");
    text_html(&text, NULL);
    arena_free(&arena);
}

static void test_error_is_predicted_over_measured(void **state)
{
    (void)state;
    assert_true(fabs(compare_error(110, 100) - 0.1) < 1e-12);
    assert_true(fabs(compare_error(80, 100) + 0.2) < 1e-12);
    assert_true(isnan(compare_error(0, 100)) && isnan(compare_error(100, 0)));
    assert_true(isnan(compare_error((double)NAN, 1)));
}

/* Three finished runs of a plan the planner chose, two of a forced one, one that failed. */
static void test_plans_count_by_their_medians(void **state)
{
    struct arena arena = {0};
    struct run_row rows[6] = {{0}};
    const double measured[] = {100, 90, 110, 120, 122, 500};
    (void)state;
    for (int i = 0; i < 6; i++) {
        const bool forced = i == 3 || i == 4;
        rows[i] = (struct run_row){.id = 6 - i,
                .plan_id = forced ? 2 : 1,
                .model = "m",
                .workload = "w",
                .status = i == 5 ? "failed" : "done",
                .measured = {.output_tokens_per_s = measured[i]},
                .plan = {.certificate = {.forced = forced},
                        .predicted = {.output_tokens_per_s = 110}}};
    }
    struct comparison *all = NULL;
    assert_int_equal(compare_runs(&all, rows, 6, &arena), 1);
    assert_int_equal(all->n_plans, 2);
    assert_int_equal(all->n_runs, 6);
    assert_int_equal(all->n_finished, 5);
    assert_true(all->best->measured.output_tokens_per_s == 121);
    assert_true(all->chosen->measured.output_tokens_per_s == 100);
    assert_true(all->chosen->tokens_lo == 90 && all->chosen->tokens_hi == 110);
    assert_true(fabs(all->regret_frac - (1 - 100.0 / 121)) < 1e-12);
    assert_true(fabs(all->throughput_error - (0.1 + 11.0 / 121) / 2) < 1e-12);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_numbers_have_three_digits),
            cmocka_unit_test(test_cells_follow_the_unit_of_their_column),
            cmocka_unit_test(test_csv_quotes_and_keeps_all_digits),
            cmocka_unit_test(test_html_leaves_no_markup_and_no_control),
            cmocka_unit_test(test_error_is_predicted_over_measured),
            cmocka_unit_test(test_plans_count_by_their_medians),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
