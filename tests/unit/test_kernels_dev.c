#include "kernels/dev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct dev *open_dev(int threads)
{
    struct err err = {0};
    struct dev_options options = {.threads = threads, .first_cpu = 0, .isa = ISA_PORTABLE};
    struct dev *dev = dev_host_open(&options, &err);
    if (!dev)
        fail_msg("%s", err.text);
    return dev;
}

static void memory_is_zero_aligned_and_counted(void **state)
{
    (void)state;
    struct err err = {0};
    struct dev *dev = open_dev(1);
    static const int64_t sizes[] = {0, 1, 63, 4096, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};
    int64_t total = 0;
    for (int i = 0; i < 7; i++) {
        char *p = dev_alloc(dev, sizes[i], &err);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (sizes[i] >= 2 << 20 ? 2 << 20 : 64), 0);
        for (int64_t j = 0; j < sizes[i]; j++)
            assert_int_equal(p[j], 0);
        memset(p, 1, (size_t)sizes[i]);
        total += sizes[i];
        assert_int_equal(dev_allocated(dev), total);
        if (i % 2) {
            dev_free(dev, p);
            total -= sizes[i];
        }
    }
    assert_int_equal(dev_allocated(dev), total);
    dev_close(dev);
}

static void too_much_memory_is_refused(void **state)
{
    (void)state;
    struct dev *dev = open_dev(1);
    static const int64_t sizes[] = {INT64_MAX, INT64_C(1) << 60, INT64_C(1) << 46};
    for (int i = 0; i < 3; i++) {
        struct err err = {0};
        assert_null(dev_alloc(dev, sizes[i], &err));
        assert_int_equal(err.kind, ERR_ENV);
        assert_non_null(strstr(err.text, "are available"));
    }
    assert_int_equal(dev_allocated(dev), 0);
    dev_close(dev);
}

static void an_isa_is_chosen_by_name(void **state)
{
    (void)state;
    struct err err = {0};
    struct dev_options options = {.threads = 1, .first_cpu = -1};
    setenv("SHARDWRIGHT_ISA", "portable", 1);
    struct dev *dev = dev_host_open(&options, &err);
    assert_non_null(dev);
    assert_int_equal(dev_isa(dev), ISA_PORTABLE);
    dev_close(dev);
    setenv("SHARDWRIGHT_ISA", "avx3", 1);
    assert_null(dev_host_open(&options, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    assert_string_equal(
            err.text, "SHARDWRIGHT_ISA is \"avx3\", expected auto, portable, avx2 or avx512");
    unsetenv("SHARDWRIGHT_ISA");
}

static void a_device_needs_a_thread(void **state)
{
    (void)state;
    struct err err = {0};
    struct dev_options options = {.threads = 0, .first_cpu = -1};
    assert_null(dev_host_open(&options, &err));
    assert_int_equal(err.kind, ERR_INPUT);
}

struct count {
    int done[8];
    int parts;
};

static void count_part(void *arg, int part, int parts)
{
    struct count *count = arg;
    count->done[part]++;
    if (part == 0)
        count->parts = parts;
}

/* More threads than CPUs too, and with pauses in which they fall asleep. */
static void every_part_runs_once_a_job(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 8; threads *= 2) {
        struct dev *dev = open_dev(threads);
        struct count count = {{0}, 0};
        for (int job = 0; job < 300; job++) {
            dev_parallel(dev, count_part, &count);
            if (job % 50 == 0)
                nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
        }
        for (int part = 0; part < threads; part++)
            assert_int_equal(count.done[part], 300);
        assert_int_equal(count.parts, threads);
        dev_close(dev);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(memory_is_zero_aligned_and_counted),
            cmocka_unit_test(too_much_memory_is_refused),
            cmocka_unit_test(an_isa_is_chosen_by_name),
            cmocka_unit_test(a_device_needs_a_thread),
            cmocka_unit_test(every_part_runs_once_a_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
