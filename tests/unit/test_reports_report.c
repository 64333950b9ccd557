/*
 * A made-up database through the stores, and the page and CSV files that come of it.
 *
 * With an argument it only writes that database and its report into the directory: the browser test
 * looks at what this program writes.
 */
#include "reports/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "tests/unit/report_sample.h"

static void make_report(const char *dir, const char *name, bool reproducible, struct arena *arena)
{
    struct err err = {0};
    struct db *db = db_open(arena_printf(arena, "%s/costs.db", dir), DB_READ, &err);
    must(db != NULL, &err);
    const struct report_options options = {.out_dir = arena_printf(arena, "%s/%s", dir, name),
            .title = "Made up: </script><script>alert(1)</script>",
            .reproducible = reproducible};
    struct report_summary summary;
    must(report_write(&summary, db, &options, arena, &err), &err);
    db_close(db);
}

static char *slurp(const char *path, struct arena *arena)
{
    struct err err = {0};
    char *text = NULL;
    int64_t len = 0;
    must(file_read(&text, &len, path, arena, &err), &err);
    return text;
}

struct fixture {
    struct arena arena;
    char dir[64];
    char *html;
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct err err = {0};
    snprintf(fixture.dir, sizeof fixture.dir, "/tmp/test_reports.XXXXXX");
    if (mkdtemp(fixture.dir) == NULL)
        return -1;
    make_database(arena_printf(&fixture.arena, "%s/costs.db", fixture.dir), &err);
    make_report(fixture.dir, "report", true, &fixture.arena);
    fixture.html = slurp(
            arena_printf(&fixture.arena, "%s/report/report.html", fixture.dir), &fixture.arena);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    const char *argv = arena_printf(&fixture->arena, "rm -rf '%s'", fixture->dir);
    const int rc = system(argv); /* NOLINT(cert-env33-c): the path is our own mkdtemp's */
    arena_free(&fixture->arena);
    return rc;
}

static void test_page_quotes_what_the_database_says(void **state)
{
    const struct fixture *fixture = *state;
    assert_null(strstr(fixture->html, "alert(1)</script>"));
    assert_null(strstr(fixture->html, "<b>qwen3"));
    assert_non_null(strstr(fixture->html, "&lt;b&gt;qwen3-0.6b&lt;/b&gt;, chat &lt;small&gt;"));
    assert_null(strstr(fixture->html, "{{"));
}

static void test_page_fetches_nothing(void **state)
{
    const struct fixture *fixture = *state;
    assert_null(strstr(fixture->html, " src="));
    assert_null(strstr(fixture->html, "@import"));
    assert_null(strstr(fixture->html, "url("));
    assert_non_null(strstr(fixture->html, "default-src 'none'"));
}

static void test_same_database_gives_the_same_bytes(void **state)
{
    struct fixture *fixture = *state;
    make_report(fixture->dir, "again", true, &fixture->arena);
    const char *files[] = {"report.html", "predicted.csv", "runs.csv", "costs.csv", "steps.csv"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *a = slurp(arena_printf(&fixture->arena, "%s/report/%s", fixture->dir, files[i]),
                &fixture->arena);
        const char *b = slurp(arena_printf(&fixture->arena, "%s/again/%s", fixture->dir, files[i]),
                &fixture->arena);
        assert_string_equal(a, b);
    }
    make_report(fixture->dir, "dated", false, &fixture->arena);
    const char *dated = slurp(
            arena_printf(&fixture->arena, "%s/dated/runs.csv", fixture->dir), &fixture->arena);
    const char *undated = slurp(
            arena_printf(&fixture->arena, "%s/report/runs.csv", fixture->dir), &fixture->arena);
    assert_true(strlen(dated) >= strlen(undated) + 15 * strlen("2026-11-22 04:00:00"));
}

static void test_csv_has_every_request_of_each_newest_run(void **state)
{
    struct fixture *fixture = *state;
    const char *at = slurp(
            arena_printf(&fixture->arena, "%s/report/requests.csv", fixture->dir), &fixture->arena);
    int lines = 0;
    for (; (at = strstr(at, "\r\n")) != NULL; at += 2)
        lines++;
    assert_int_equal(lines, 1 + 7 * 48);
}

static void test_unfinished_runs_count_nowhere(void **state)
{
    const struct fixture *fixture = *state;
    assert_non_null(strstr(fixture->html, "1 of 11 runs did not finish"));
}

static void test_database_without_runs_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};
    struct db *db =
            db_open(arena_printf(&fixture->arena, "%s/empty.db", fixture->dir), DB_WRITE, &err);
    must(db != NULL, &err);
    const struct report_options options = {.out_dir = fixture->dir};
    struct report_summary summary;
    assert_false(report_write(&summary, db, &options, &fixture->arena, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "there is no run to report"));
    db_close(db);
}

static void test_full_disk_is_reported(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};
    struct db *db =
            db_open(arena_printf(&fixture->arena, "%s/costs.db", fixture->dir), DB_READ, &err);
    must(db != NULL, &err);
    const struct report_options options = {.out_dir = "/dev/full/report"};
    struct report_summary summary;
    assert_false(report_write(&summary, db, &options, &fixture->arena, &err));
    assert_true(err.kind == ERR_ENV || err.kind == ERR_INPUT);
    db_close(db);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        struct arena arena = {0};
        struct err err = {0};
        make_database(arena_printf(&arena, "%s/costs.db", argv[1]), &err);
        make_report(argv[1], "report", false, &arena);
        arena_free(&arena);
        return 0;
    }
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_page_quotes_what_the_database_says),
            cmocka_unit_test(test_page_fetches_nothing),
            cmocka_unit_test(test_same_database_gives_the_same_bytes),
            cmocka_unit_test(test_csv_has_every_request_of_each_newest_run),
            cmocka_unit_test(test_unfinished_runs_count_nowhere),
            cmocka_unit_test(test_database_without_runs_is_refused),
            cmocka_unit_test(test_full_disk_is_reported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
