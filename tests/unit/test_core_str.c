#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "core/str.h"

static void bytes_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {{"80GiB", 80LL << 30}, {"512MiB", 512LL << 20}, {"1.5GB", 1500000000},
            {"4096B", 4096}, {"0", 0}, {"0B", 0}, {"1 KiB", 1024}, {"1kB", 1000},
            {"7PiB", 7LL << 50}, {"9223372036854775807B", INT64_MAX},
            {"9007199254740993B", 9007199254740993}, {"0.5KiB", 512}, {"1e3B", 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        int64_t bytes = -1;
        assert_true(str_to_bytes(&bytes, cases[i].text, &err));
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void bad_bytes_say_what_was_found(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {"80", "found \"80\" without a unit, expected a size such as 80GiB, 512MiB, 1.5GB or "
                   "4096B"},
            {"80Gib",
                    "found \"80Gib\" with the unknown unit \"Gib\", expected a size such as 80GiB, "
                    "512MiB, 1.5GB or 4096B"},
            {"-1GiB", "found \"-1GiB\", a size cannot be negative"},
            {"8388608TiB", "found \"8388608TiB\", a size must be under 8EiB"},
            {"9223372036854775808B", "found \"9223372036854775808B\", a size must be under 8EiB"},
            {"1e30B", "found \"1e30B\", a size must be under 8EiB"},
            {"", "found \"\", expected a size such as 80GiB, 512MiB, 1.5GB or 4096B"},
            {"GiB", "found \"GiB\", expected a size such as 80GiB, 512MiB, 1.5GB or 4096B"},
            {"nan", "found \"nan\", expected a size such as 80GiB, 512MiB, 1.5GB or 4096B"},
            {"0x10B", "found \"0x10B\" with the unknown unit \"x10B\", expected a size such as "
                      "80GiB, "
                      "512MiB, 1.5GB or 4096B"},
            {"1e999B", "found \"1e999B\", expected a size such as 80GiB, 512MiB, 1.5GB or 4096B"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        int64_t bytes = 0;
        assert_false(str_to_bytes(&bytes, cases[i].text, &err));
        assert_int_equal(err.kind, ERR_INPUT);
        assert_string_equal(err.text, cases[i].message);
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double us;
    } good[] = {{"2.5ms", 2500}, {"10us", 10}, {"3s", 3e6}, {"90min", 5.4e9}, {"2h", 7.2e9},
            {"100ns", 0.1}, {"0", 0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err err = {0};
        double us = -1;
        assert_true(str_to_us(&us, good[i].text, &err));
        assert_true(us == good[i].us);
    }
    static const char *const bad[] = {"5", "5 m", "-1s", "inf", "s", "1d", "1e400s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        double us = -1;
        assert_false(str_to_us(&us, bad[i], &err));
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void rates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double rate;
    } good[] = {{"400Gbit/s", 5e10}, {"25GB/s", 2.5e10}, {"3.35TB/s", 3.35e12},
            {"10MiB/s", 10485760}, {"0", 0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err err = {0};
        double rate = -1;
        assert_true(str_to_bytes_per_s(&rate, good[i].text, &err));
        assert_true(fabs(rate - good[i].rate) <= 1e-15 * good[i].rate);
    }
    static const char *const bad[] = {"5", "25GB", "-1GB/s", "25Gb/s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        double rate = -1;
        assert_false(str_to_bytes_per_s(&rate, bad[i], &err));
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void plain_numbers(void **state)
{
    (void)state;
    struct err err = {0};
    int64_t i = 0;
    double d = 0;
    assert_true(str_to_i64(&i, "-9223372036854775808", &err));
    assert_true(i == INT64_MIN);
    assert_true(str_to_double(&d, "-1.5e-3", &err));
    assert_true(d == -1.5e-3);
    static const char *const bad[] = {"", " 1", "1 ", "1.5", "0x1", "9223372036854775808", "one"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        err_clear(&err);
        assert_false(str_to_i64(&i, bad[k], &err));
    }
    static const char *const bad_real[] = {"", "nan", "inf", "1e999", "0x1p3", "1,5", "1.5x"};
    for (size_t k = 0; k < sizeof bad_real / sizeof *bad_real; k++) {
        err_clear(&err);
        assert_false(str_to_double(&d, bad_real[k], &err));
    }
}

/* Whatever is written reads back as the same value: sizes, durations, rates and numbers. */
static void what_is_written_reads_back(void **state)
{
    (void)state;
    char buf[32];
    for (uint64_t i = 0; i < 20000; i++) {
        struct err err = {0};
        int64_t bytes = (int64_t)(random_u64(1, i) >> (1 + i % 63)), bytes_back = -1;
        assert_true(str_to_bytes(&bytes_back, str_from_bytes(buf, bytes), &err));
        assert_true(bytes == bytes_back);
        double value = exp(60 * random_unit(2, i) - 20), back = -1;
        if (i % 3 == 0)
            value = nearbyint(value);
        assert_true(str_to_us(&back, str_from_us(buf, value), &err));
        assert_true(value == back);
        assert_true(str_to_bytes_per_s(&back, str_from_bytes_per_s(buf, value), &err));
        assert_true(value == back);
        assert_true(str_to_double(&back, str_from_double(buf, -value), &err));
        assert_true(value == -back);
    }
}

static void short_forms_are_chosen(void **state)
{
    (void)state;
    char buf[32];
    assert_string_equal(str_from_bytes(buf, 80LL << 30), "80GiB");
    assert_string_equal(str_from_bytes(buf, 3000000), "3MB");
    assert_string_equal(str_from_bytes(buf, 12345), "12345B");
    assert_string_equal(str_from_bytes(buf, 0), "0");
    assert_string_equal(str_from_us(buf, 2500), "2.5ms");
    assert_string_equal(str_from_us(buf, 0.05), "50ns");
    assert_string_equal(str_from_us(buf, 3e6), "3s");
    assert_string_equal(str_from_bytes_per_s(buf, 2.5e10), "25GB/s");
    assert_string_equal(str_from_double(buf, 250000), "250000");
    assert_string_equal(str_from_double(buf, 0.1), "0.1");
}

static void shown_to_people(void **state)
{
    (void)state;
    char buf[32];
    assert_string_equal(str_show_bytes(buf, 1.234 * 0x1p30), "1.23 GiB");
    assert_string_equal(str_show_bytes(buf, 512), "512 B");
    assert_string_equal(str_show_bytes(buf, 0), "0 B");
    assert_string_equal(str_show_us(buf, 45600), "45.6 ms");
    assert_string_equal(str_show_us(buf, 0.25), "250 ns");
    assert_string_equal(str_show_us(buf, 999.9), "1.00 ms");
    assert_string_equal(str_show_us(buf, 0), "0 us");
    assert_string_equal(str_show_bytes_per_s(buf, 63541666667), "63.5 GB/s");
    assert_string_equal(str_show_bytes_per_s(buf, 999700), "1.00 MB/s");
    assert_string_equal(str_show_bytes_per_s(buf, 12), "12 B/s");
    assert_string_equal(str_show_bytes_per_s(buf, 0), "0 B/s");
}

static void nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"prompt", "output", "arrival", "requests"};
    assert_string_equal(str_nearest("promt", names, 4), "prompt");
    assert_string_equal(str_nearest("ouptut", names, 4), "output");
    assert_string_equal(str_nearest("Requests", names, 4), "requests");
    assert_null(str_nearest("zzzzzz", names, 4));
    assert_null(str_nearest("", names, 4));
    char text[300];
    memset(text, 'p', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_null(str_nearest(text, names, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(bytes_are_read_exactly),
            cmocka_unit_test(bad_bytes_say_what_was_found),
            cmocka_unit_test(durations),
            cmocka_unit_test(rates),
            cmocka_unit_test(plain_numbers),
            cmocka_unit_test(what_is_written_reads_back),
            cmocka_unit_test(short_forms_are_chosen),
            cmocka_unit_test(shown_to_people),
            cmocka_unit_test(nearest_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
