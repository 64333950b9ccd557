#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/dev_cuda.h"

static const char **failure;
static const struct algorithm *told;
static int *n_told;

static void memory_ops_and_times(void **state)
{
    (void)state;
    struct err err = {0};
    struct arena arena = {0};
    assert_string_equal(dev_cuda_describe(&arena), "1 x fake, 80.0 GiB, compute 9.0");
    struct dev_cuda *dev = dev_cuda_open(0, &err);
    assert_non_null(dev);
    char in[] = "abc", out[4] = "";
    void *memory = dev_cuda_alloc(dev, sizeof in, &err);
    assert_true(dev_cuda_upload(dev, memory, in, sizeof in, &err));
    assert_true(dev_cuda_download(dev, out, memory, sizeof out, &err));
    assert_string_equal(out, "abc");
    struct op op = {OP_RMSNORM, DTYPE_F32, 1, 1, {1, 8}};
    struct op_args args = {0};
    bool idle = false;
    double us = 0;
    assert_true(dev_cuda_time_begin(dev, &err));
    assert_true(dev_cuda_run(dev, &op, &args, &err));
    assert_true(dev_cuda_poll(dev, &idle, &err) && !idle);
    assert_true(dev_cuda_time_end(dev, &us, &err) && us == 1);
    assert_true(dev_cuda_synchronize(dev, &err));
    assert_non_null(dev_cuda_stream(dev));
    dev_cuda_free(dev, memory);
    dev_cuda_close(dev);
    arena_free(&arena);
}

static struct dev *open_gpu(void)
{
    struct err err = {0};
    struct dev *dev =
            dev_host_open(&(struct dev_options){.threads = 1, .first_cpu = -1, .gpu = true}, &err);
    if (dev == NULL)
        fail_msg("%s", err.text);
    return dev;
}

static void a_device_reaches_memory_of_a_gpu(void **state)
{
    (void)state;
    struct err err = {0};
    struct dev *dev = open_gpu();
    const float rows[6] = {1, 2, 3, 4, 5, 6};
    const int32_t wanted[2] = {2, 0};
    float out[4] = {0};
    float *memory = dev_alloc(dev, sizeof rows, &err), *to = dev_alloc(dev, sizeof out, &err);
    int32_t *at = dev_alloc(dev, sizeof wanted, &err);
    assert_true(dev_remote(dev));
    assert_int_equal(dev_allocated(dev), sizeof rows + sizeof out + sizeof wanted);
    dev_write(dev, memory, rows, sizeof rows);
    dev_write(dev, at, wanted, sizeof wanted);
    dev_gather(dev, to, memory, at, 2, 2);
    dev_add(dev, to, to, 4);
    dev_read(dev, out, to, sizeof out);
    assert_true(out[0] == 10 && out[1] == 12 && out[2] == 2 && out[3] == 4);
    dev_record(dev);
    struct dev_graph *graph = dev_recorded(dev);
    assert_non_null(graph);
    dev_replay(dev, graph);
    dev_forget(dev, graph);
    dev_free(dev, to);
    assert_true(dev_finish(dev, &err));
    dev_close(dev);
}

static void the_first_failure_of_a_gpu_stays(void **state)
{
    (void)state;
    struct err err = {0};
    struct dev *dev = open_gpu();
    struct op op = {OP_RMSNORM, DTYPE_F32, 1, 1, {1, 8}};
    struct op_args args = {0};
    float value = 1;
    float *memory = dev_alloc(dev, sizeof value, &err);
    *failure = "an illegal address";
    op_run(dev, &op, &args);
    *failure = "not asked any more";
    op_run(dev, &op, &args);
    dev_read(dev, &value, memory, sizeof value);
    assert_true(value == 0);
    assert_false(dev_finish(dev, &err));
    assert_int_equal(err.kind, ERR_ENV);
    assert_string_equal(
            err.text, "rmsnorm f32 m=1 n=8 residual=0 threads=1 busy=1: GPU: an illegal address");
    *failure = NULL;
    dev_close(dev);
}

/* Only those of this device, driver and library are told; what was timed comes back once. */
static void algorithms_are_told_and_collected(void **state)
{
    (void)state;
    static const struct algorithm_site sites[] = {{"fake", "fakeLt 1.0.0", 13000},
            {"fake", "fakeLt 1.0.0", 12999}, {"fake", "fakeLt 1.0.1", 13000},
            {"fake 2", "fakeLt 1.0.0", 13000}};
    struct arena arena = {0};
    struct err err = {0};
    struct algorithm_book book = {.arena = &arena};
    for (int i = 0; i < 4; i++)
        algorithm_note(&book, &sites[i], &(struct algorithm){.shape = {.m = 100 + i}});
    book.n_known = book.n;
    struct dev_options options = {.threads = 1, .first_cpu = -1, .gpu = true, .algorithms = &book};
    struct op op = {OP_RMSNORM, DTYPE_F32, 1, 1, {1, 8}};
    struct op_args args = {0};
    for (int turn = 0; turn < 2; turn++) {
        *n_told = 0;
        struct dev *dev = dev_host_open(&options, &err);
        assert_non_null(dev);
        assert_int_equal(*n_told, turn == 0 ? 1 : 3);
        assert_int_equal(told[0].shape.m, 100);
        op_run(dev, &op, &args);
        op_run(dev, &op, &args);
        dev_close(dev);
        assert_int_equal(book.n, 6);
        assert_int_equal(book.items[5].algorithm.shape.m, 2);
        assert_true(algorithm_same_site(&book.items[5].site, &sites[0]));
    }
    /* Another choice for a shape that was read goes behind, to be stored; one for a new shape takes its place. */
    struct algorithm other = {.shape = {.m = 100}, .bytes = {7}};
    algorithm_note(&book, &sites[0], &other);
    assert_int_equal(book.n, 7);
    other.shape.m = 2;
    algorithm_note(&book, &sites[0], &other);
    assert_int_equal(book.n, 7);
    assert_int_equal(book.items[5].algorithm.bytes[0], 7);
    *failure = "the driver is gone";
    assert_null(dev_host_open(&options, &err));
    arena_free(&arena);
}

static void a_gpu_that_is_not_there(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(dev_cuda_open(1, &err));
    assert_int_equal(err.kind, ERR_ENV);
    assert_string_equal(err.text, "GPU 1 was asked for, but there are 1");
}

static void failures_name_what_was_wanted(void **state)
{
    (void)state;
    struct err err = {0};
    int n = 0;
    *failure = "driver too old";
    assert_false(dev_cuda_count(&n, &err));
    assert_string_equal(
            err.text, "no NVIDIA driver that can be used (driver too old): install or update it");
    err_clear(&err);
    struct dev_cuda *dev = dev_cuda_open(0, &err);
    *failure = "out of memory";
    assert_null(dev_cuda_alloc(dev, 1 << 30, &err));
    assert_int_equal(err.kind, ERR_ENV);
    assert_string_equal(err.text, "1.00 GiB of GPU memory: out of memory");
    err_clear(&err);
    struct op op = {OP_SAMPLE, DTYPE_F32, 1, 1, {1, 8}};
    struct op_args args = {0};
    *failure = "not built";
    assert_false(dev_cuda_run(dev, &op, &args, &err));
    assert_string_equal(err.text, "sample f32 m=1 vocab=8 threads=1 busy=1: GPU: not built");
    err_clear(&err);
    *failure = "lost";
    assert_false(dev_cuda_synchronize(dev, &err));
    dev_cuda_close(dev);
}

int main(void)
{
    void *handle =
            dlopen(FAKE, RTLD_NOW | RTLD_LOCAL); /* the same instance that dev_cuda.c opens */
    failure = handle == NULL ? NULL : dlsym(handle, "fake_failure");
    told = handle == NULL ? NULL : dlsym(handle, "fake_told");
    n_told = handle == NULL ? NULL : dlsym(handle, "fake_n_told");
    if (failure == NULL || told == NULL || n_told == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(memory_ops_and_times),
            cmocka_unit_test(a_device_reaches_memory_of_a_gpu),
            cmocka_unit_test(the_first_failure_of_a_gpu_stays),
            cmocka_unit_test(algorithms_are_told_and_collected),
            cmocka_unit_test(a_gpu_that_is_not_there),
            cmocka_unit_test(failures_name_what_was_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
