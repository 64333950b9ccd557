#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/shardwright-test-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    int64_t size = 300000;
    char *text = arena_alloc(&arena, size + 1), *back = NULL;
    memset(text, 'a', (size_t)size);
    text[1000] = '\0';
    int64_t len = 0;
    assert_true(file_write(in_dir("a"), text, size, &err));
    assert_true(file_read(&back, &len, in_dir("a"), &arena, &err));
    assert_int_equal(len, size);
    assert_memory_equal(back, text, size);
    assert_int_equal(back[size], '\0');
    assert_true(file_write(in_dir("a"), "", 0, &err));
    assert_true(file_read(&back, &len, in_dir("a"), &arena, &err));
    assert_int_equal(len, 0);
    arena_free(&arena);
}

static void nothing_stays_beside(void **state)
{
    (void)state;
    struct err err = {0};
    char command[160];
    assert_true(file_write(in_dir("only"), "x", 1, &err));
    snprintf(command, sizeof command, "test \"$(ls '%s' | grep -c only)\" = 1", dir);
    assert_int_equal(system(command), 0);
}

static void a_full_disk_is_reported(void **state)
{
    (void)state;
    struct err err = {0};
    char text[8192] = "";
    assert_false(file_write("/dev/full", text, sizeof text, &err));
    assert_int_equal(err.kind, ERR_ENV);
    assert_string_equal(err.text,
            "/dev/full: cannot write: No space left on device; free some space or write elsewhere");
}

static bool leftovers(void)
{
    char command[160];
    snprintf(command, sizeof command, "ls '%s' | grep -q new-", dir);
    return system(command) == 0;
}

/* The size limit of the process stands for a disk that fills up halfway. */
static void a_failed_write_keeps_the_old_file(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    char *back = NULL, *large = arena_alloc(&arena, 1 << 20);
    int64_t len = 0;
    assert_true(file_write(in_dir("kept"), "old", 3, &err));
    struct rlimit before, small = {.rlim_cur = 65536};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool written = file_write(in_dir("kept"), large, 1 << 20, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(written);
    assert_int_equal(err.kind, ERR_ENV);
    assert_false(leftovers());
    err_clear(&err);
    assert_true(file_read(&back, &len, in_dir("kept"), &arena, &err));
    assert_string_equal(back, "old");
    arena_free(&arena);
}

static void a_directory_is_not_replaced(void **state)
{
    (void)state;
    struct err err = {0};
    assert_true(file_make_dirs(in_dir("blocked/x"), &err));
    assert_false(file_write(in_dir("blocked"), "new", 3, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    assert_false(leftovers());
}

static void missing_and_unreadable(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    char *text = NULL;
    int64_t len = 0;
    assert_false(file_read(&text, &len, "/nowhere/x", &arena, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    assert_string_equal(
            err.text, "/nowhere/x: cannot open: No such file or directory; check the name");
    err_clear(&err);
    assert_false(file_read(&text, &len, "/tmp", &arena, &err));
    assert_string_equal(err.text, "/tmp: cannot read: Is a directory; give a file");
    err_clear(&err);
    assert_false(file_write("/nowhere/x", "", 0, &err));
    assert_string_equal(
            err.text, "/nowhere/x: cannot create: No such file or directory; check the name");
    if (geteuid() != 0) { /* root reads everything */
        err_clear(&err);
        assert_true(file_write(in_dir("secret"), "x", 1, &err));
        chmod(in_dir("secret"), 0);
        assert_false(file_read(&text, &len, in_dir("secret"), &arena, &err));
        assert_non_null(strstr(err.text, "check its permissions"));
    }
    arena_free(&arena);
}

static void directories(void **state)
{
    (void)state;
    struct err err = {0};
    assert_true(file_make_dirs(in_dir("a1/b/c"), &err));
    assert_true(file_make_dirs(in_dir("a1/b/c"), &err));
    assert_true(file_make_dirs(in_dir("a1//d/"), &err));
    assert_true(file_write(in_dir("a1/b/c/f"), "x", 1, &err));
    assert_false(file_make_dirs(in_dir("a1/b/c/f/g"), &err));
    err_clear(&err);
    assert_false(file_make_dirs(in_dir("a1/b/c/f"), &err));
    assert_non_null(strstr(err.text, "is not a directory"));
}

static void names_beside(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_string_equal(file_beside("/a/b.yaml", "t.csv", &arena), "/a/t.csv");
    assert_string_equal(file_beside("b.yaml", "t.csv", &arena), "t.csv");
    assert_string_equal(file_beside("/a/b.yaml", "/x/t.csv", &arena), "/x/t.csv");
    assert_string_equal(file_beside("/b.yaml", "t.csv", &arena), "/t.csv");
    assert_string_equal(file_data_dir("/given", &arena), "/given");
    assert_non_null(file_data_dir(NULL, &arena));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(what_is_written_is_read),
            cmocka_unit_test(nothing_stays_beside),
            cmocka_unit_test(a_full_disk_is_reported),
            cmocka_unit_test(a_failed_write_keeps_the_old_file),
            cmocka_unit_test(a_directory_is_not_replaced),
            cmocka_unit_test(missing_and_unreadable),
            cmocka_unit_test(directories),
            cmocka_unit_test(names_beside),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
