#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/coll_nccl.h"
#include "tests/fakes/fake_nccl.h"

static struct fake_nccl *nccl;
static int polls_until_idle;

static bool poll_stream(void *self, bool *idle, struct err *err)
{
    (void)self;
    if (polls_until_idle < 0)
        return err_set(err, ERR_ENV, "the stream broke");
    *idle = polls_until_idle == 0;
    if (polls_until_idle > 0)
        polls_until_idle--;
    return true;
}

static float scratch;

static struct coll *try_open(double timeout_s, struct err *err)
{
    struct coll_nccl_group group = {.rank = 0, .n = 1, .timeout_s = timeout_s};
    struct coll_nccl_stream stream = {.scratch = &scratch, .poll = poll_stream};
    if (!coll_nccl_id(group.id, err))
        return NULL;
    return coll_nccl_open_on(&stream, &group, err);
}

static int reset(void **state)
{
    (void)state;
    *nccl = (struct fake_nccl){0};
    polls_until_idle = 0;
    return 0;
}

static void every_operation_is_passed_on(void **state)
{
    (void)state;
    struct err err = {0};
    nccl->pending = 5; /* joining takes a while */
    struct coll *coll = try_open(10, &err);
    assert_non_null(coll);
    assert_string_equal(coll_nccl_version(), "2.29.3");
    float data[2] = {1, 2}, out[2] = {0};
    coll_all_reduce(coll, data, 2);
    nccl->pending = 3;
    coll_all_gather(coll, data, out, sizeof data);
    assert_true(out[1] == 2);
    coll_reduce_scatter(coll, data, out, 1);
    coll_broadcast(coll, data, sizeof data, 0);
    int64_t bytes[1] = {sizeof data};
    memset(out, 0, sizeof out);
    coll_all_to_all(coll, data, bytes, out, bytes);
    assert_true(out[0] == 1);
    struct coll_request request = {0};
    polls_until_idle = 2;
    coll_isend(coll, data, 4, 0, 1, &request);
    assert_false(coll_test(coll, &request));
    coll_wait(coll, &request);
    assert_true(coll_test(coll, &request));
    coll_recv(coll, out, 4, 0, 1);
    polls_until_idle = 3;
    coll_barrier(coll);
    assert_int_equal(polls_until_idle, 0);
    assert_true(coll_nccl_check(coll, &err));
    coll_close(coll);
    assert_int_equal(nccl->destroyed, 1);
    assert_int_equal(nccl->aborted, 0);
}

static void joining_gives_up(void **state)
{
    (void)state;
    struct err err = {0};
    nccl->pending = 1L << 40;
    assert_null(try_open(0.05, &err));
    assert_int_equal(err.kind, ERR_ENV);
    assert_string_equal(err.text,
            "NCCL, rank 0 of 1: joining took longer than 0.05 s: another rank is gone or cut off");
    assert_int_equal(nccl->aborted, 1);
}

static void waiting_gives_up_and_the_rest_does_nothing(void **state)
{
    (void)state;
    struct err err = {0};
    struct coll *coll = try_open(0.05, &err);
    polls_until_idle = 1 << 30;
    coll_barrier(coll);
    assert_int_equal(nccl->aborted, 1);
    int calls = nccl->calls;
    coll_all_reduce(coll, &scratch, 1);
    coll_barrier(coll);
    assert_int_equal(nccl->calls, calls);
    assert_false(coll_nccl_check(coll, &err));
    assert_non_null(strstr(err.text, "waiting took longer than 0.05 s"));
    coll_close(coll);
    assert_int_equal(nccl->destroyed, 0);
}

static void errors_of_others_are_noticed(void **state)
{
    (void)state;
    struct err err = {0};
    struct coll *coll = try_open(10, &err);
    polls_until_idle = 1 << 30;
    nccl->error = true;
    coll_all_reduce(coll, &scratch, 1);
    assert_false(coll_nccl_check(coll, &err));
    assert_string_equal(err.text, "NCCL, rank 0 of 1: all_reduce: system error");
    coll_close(coll);
    reset(NULL);
    err_clear(&err);
    coll = try_open(10, &err);
    nccl->error = true; /* while nothing was called */
    assert_false(coll_nccl_check(coll, &err));
    assert_string_equal(err.text, "NCCL, rank 0 of 1: checking: system error");
    coll_close(coll);
}

static void a_broken_stream_ends_the_group(void **state)
{
    (void)state;
    struct err err = {0};
    struct coll *coll = try_open(10, &err);
    polls_until_idle = -1;
    coll_barrier(coll);
    assert_false(coll_nccl_check(coll, &err));
    assert_string_equal(err.text, "the stream broke");
    coll_close(coll);
}

static void aborting(void **state)
{
    (void)state;
    struct err err = {0};
    struct coll *coll = try_open(10, &err);
    coll_nccl_abort(coll);
    assert_int_equal(nccl->aborted, 1);
    assert_false(coll_nccl_check(coll, &err));
    assert_string_equal(err.text, "NCCL, rank 0 of 1: aborted");
    coll_close(coll);
}

int main(void)
{
    void *handle = dlopen(FAKE, RTLD_NOW | RTLD_LOCAL);
    nccl = handle == NULL ? NULL : dlsym(handle, "fake");
    if (nccl == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup(every_operation_is_passed_on, reset),
            cmocka_unit_test_setup(joining_gives_up, reset),
            cmocka_unit_test_setup(waiting_gives_up_and_the_rest_does_nothing, reset),
            cmocka_unit_test_setup(errors_of_others_are_noticed, reset),
            cmocka_unit_test_setup(a_broken_stream_ends_the_group, reset),
            cmocka_unit_test_setup(aborting, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
