/*
 * A group of one, and threads that exchange through memory as ranks of one host do. Ranks: tests/mpi.
 */
#include "kernels/coll.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/coll_shm.h"

// NOLINTBEGIN(bugprone-suspicious-memory-comparison,bugprone-integer-division): bits are what is compared, values are whole

static struct coll *alone(void)
{
    struct err err = {0};
    int me = 3;
    struct coll *coll = coll_open(&me, 1, &(struct coll_options){.deterministic = true}, &err);
    assert_non_null(coll);
    assert_int_equal(coll_size(coll), 1);
    assert_int_equal(coll_rank(coll), 0);
    return coll;
}

static void a_group_of_one_keeps_its_data(void **state)
{
    (void)state;
    struct coll *coll = alone();
    float x[3] = {1, 2, 3}, y[3] = {0};
    const int64_t bytes[1] = {sizeof(x)};
    coll_barrier(coll);
    coll_all_reduce(coll, x, 3);
    coll_broadcast(coll, x, sizeof(x), 0);
    coll_all_gather(coll, x, y, sizeof(x));
    assert_memory_equal(x, y, sizeof(x));
    memset(y, 0, sizeof(y));
    coll_reduce_scatter(coll, x, y, 3);
    assert_memory_equal(x, y, sizeof(x));
    memset(y, 0, sizeof(y));
    coll_all_to_all(coll, x, bytes, y, bytes);
    assert_memory_equal(x, y, sizeof(x));
    coll_close(coll);
}

static void messages_to_oneself_are_found_by_tag(void **state)
{
    (void)state;
    struct coll *coll = alone();
    struct coll_request request = {0};
    int a = 1, b = 2, got = 0;
    assert_false(coll_probe(coll, 0, 7));
    coll_send(coll, &a, sizeof(a), 0, 7);
    coll_isend(coll, &b, sizeof(b), 0, 8, &request);
    assert_true(coll_test(coll, &request));
    coll_wait(coll, &request);
    assert_true(coll_probe(coll, 0, 8));
    coll_recv(coll, &got, sizeof(got), 0, 8);
    assert_int_equal(got, 2);
    coll_recv(coll, &got, sizeof(got), 0, 7);
    assert_int_equal(got, 1);
    assert_false(coll_probe(coll, 0, 7));
    coll_send(coll, &a, sizeof(a), 0, 9); /* left over: close frees it */
    coll_close(coll);
}

static void a_group_needs_a_member(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(coll_open(NULL, 0, &(struct coll_options){0}, &err));
    assert_int_equal(err.kind, ERR_BUG);
}

#define COUNT 70001

struct member {
    pthread_t thread;
    void **segments;
    int size, rank;
    int wrong;
};

static float *floats(int64_t n)
{
    return calloc((size_t)n, sizeof(float));
}

static int differs(float got, float expected)
{
    return memcmp(&got, &expected, sizeof(got)) != 0;
}

/* Sums of small whole numbers: exact in any order. */
static void exchange(struct member *m, struct shm *shm, int64_t count, int round)
{
    int n = m->size;
    float *mine = floats(count * n), *all = floats(count * n);
    for (int64_t i = 0; i < count * n; i++)
        mine[i] = (float)(m->rank + i % 100 + round);
    shm_all_gather(shm, mine, all, count * 4);
    for (int64_t i = 0; i < count * n; i++)
        m->wrong += differs(all[i], (float)(i / count + i % count % 100 + round));
    shm_reduce_scatter(shm, mine, all, count);
    for (int64_t i = 0; i < count; i++)
        m->wrong += differs(
                all[i], (float)(n * (n - 1) / 2 + n * ((i + m->rank * count) % 100 + round)));
    shm_all_reduce(shm, mine, count);
    for (int64_t i = 0; i < count; i++)
        m->wrong += differs(mine[i], (float)(n * (n - 1) / 2 + n * (i % 100 + round)));
    all[0] = m->rank == round % n ? (float)round : 0;
    shm_broadcast(shm, all, 4, round % n);
    m->wrong += differs(all[0], (float)round);
    free(mine);
    free(all);
}

static void *member_run(void *arg)
{
    struct member *m = arg;
    struct err err = {0};
    struct shm *shm = shm_create(m->segments, m->size, m->rank, true, &err);
    if (!shm)
        abort();
    for (int round = 0; round < 20; round++) {
        exchange(m, shm, 1 + round, round);
        shm_barrier(shm);
        exchange(m, shm, round % 10 ? 1000 : COUNT, round);
    }
    shm_destroy(shm);
    return NULL;
}

static void ranks_yield_when_threads_are_more_than_cpus(void **state)
{
    static const struct {
        int threads, ranks, cpus;
        bool crowded;
    } cases[] = {
            {2, 2, 2, false},
            {2, 1, 2, false},
            {4, 2, 2, true}, /* no more ranks than CPUs, each with two threads */
            {4, 2, 4, false},
            {5, 2, 4, true},
            {0, 2, 2, false}, /* not told: one thread for each rank */
            {0, 3, 2, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(
                coll_crowded(cases[i].threads, cases[i].ranks, cases[i].cpus), cases[i].crowded);
}

static void members_exchange_through_memory(void **state)
{
    (void)state;
    for (int size = 2; size <= 5; size++) {
        struct member members[5];
        void *segments[5];
        for (int i = 0; i < size; i++) {
            assert_int_equal(posix_memalign(&segments[i], 4096, (size_t)shm_segment_bytes()), 0);
            memset(segments[i], 0, (size_t)shm_segment_bytes());
        }
        for (int i = 0; i < size; i++) {
            members[i] = (struct member){.segments = segments, .size = size, .rank = i};
            assert_int_equal(pthread_create(&members[i].thread, NULL, member_run, &members[i]), 0);
        }
        for (int i = 0; i < size; i++) {
            pthread_join(members[i].thread, NULL);
            assert_int_equal(members[i].wrong, 0);
        }
        for (int i = 0; i < size; i++)
            free(segments[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(a_group_of_one_keeps_its_data),
            cmocka_unit_test(messages_to_oneself_are_found_by_tag),
            cmocka_unit_test(a_group_needs_a_member),
            cmocka_unit_test(ranks_yield_when_threads_are_more_than_cpus),
            cmocka_unit_test(members_exchange_through_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
// NOLINTEND(bugprone-suspicious-memory-comparison,bugprone-integer-division)
