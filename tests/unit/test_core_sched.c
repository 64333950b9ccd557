/* The scheduler: order, budgets, exact block accounting, preemption, and the same batches every time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/sched.h"

#define MAX_REQUESTS 64

struct fixture {
    struct request items[MAX_REQUESTS];
    struct requests requests;
    int64_t mine[MAX_REQUESTS];
};

static void make(struct fixture *f, int n, int64_t prompt, int64_t output)
{
    memset(f, 0, sizeof *f);
    for (int i = 0; i < n; i++) {
        f->items[i] = (struct request){.prompt_len = prompt, .output_len = output};
        f->mine[i] = i;
    }
    f->requests = (struct requests){f->items, n};
}

static struct sched *open_all(struct fixture *f, struct sched_limits limits)
{
    struct err err = {0};
    struct sched *s = sched_open(&limits, &f->requests, f->mine, f->requests.n, &err);

    if (!s)
        fail_msg("%s", err.text);
    return s;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void test_first_come_first_served(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    (void)state;

    make(&f, 3, 10, 2);
    f.items[2].arrival_ns = 100;
    struct sched *s = open_all(&f, (struct sched_limits){2, 64, 1, 1, 100, 4});
    assert_true(sched_next(s, 0, &batch));
    assert_int_equal(batch.n_items, 2);
    assert_int_equal(batch.items[0].request, 0);
    assert_int_equal(batch.items[1].request, 1);
    assert_true(batch.items[0].samples && !batch.items[0].decode);
    assert_int_equal(sched_wake_ns(s, 0), 100);
    assert_false(sched_next(s, 0, &batch)); /* one in flight is the limit */
    sched_done(s, &batch, 10);
    sched_close(s);
}

static void test_prompt_is_cut_at_the_token_budget(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    const int want[] = {8, 8, 4};
    (void)state;

    make(&f, 1, 20, 3);
    struct sched *s = open_all(&f, (struct sched_limits){4, 8, 1, 1, 100, 4});
    for (int i = 0; i < 3; i++) {
        assert_true(sched_next(s, 0, &batch));
        assert_int_equal(batch.n_items, 1);
        assert_int_equal(batch.items[0].start, 8 * i);
        assert_int_equal(batch.items[0].n_tokens, want[i]);
        assert_int_equal(batch.items[0].samples, i == 2);
        sched_done(s, &batch, 0);
    }
    assert_int_equal(sched_produced(s, 0), 1);
    for (int i = 0; i < 2; i++) {
        assert_true(sched_next(s, 0, &batch));
        assert_true(batch.items[0].decode && batch.items[0].samples);
        assert_int_equal(batch.items[0].start, 20 + i);
        sched_done(s, &batch, 0);
    }
    assert_true(sched_idle(s));
    assert_false(sched_next(s, 0, &batch));
    sched_close(s);
}

static void test_decodes_come_before_prefill_and_share_the_budget(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    (void)state;

    make(&f, 2, 4, 8);
    f.items[1].prompt_len = 40;
    f.items[1].arrival_ns = 5;
    struct sched *s = open_all(&f, (struct sched_limits){4, 8, 1, 1, 100, 4});
    assert_true(sched_next(s, 0, &batch));
    sched_done(s, &batch, 1);
    assert_true(sched_next(s, 5, &batch));
    assert_int_equal(batch.n_items, 2);
    assert_true(batch.items[0].decode);
    assert_int_equal(batch.items[1].n_tokens, 7);
    sched_done(s, &batch, 6);
    sched_close(s);
}

static void test_blocks_are_taken_as_the_sequence_grows(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    int n;
    (void)state;

    make(&f, 1, 7, 4);
    struct sched *s = open_all(&f, (struct sched_limits){1, 64, 1, 1, 3, 4});
    const int want[] = {2, 2, 3, 3}; /* 7, 8, 9, 10 tokens in the cache */
    for (int i = 0; i < 4; i++) {
        assert_true(sched_next(s, 0, &batch));
        assert_non_null(sched_blocks(s, 0, &n));
        assert_int_equal(n, want[i]);
        sched_done(s, &batch, 0);
    }
    assert_true(sched_idle(s));
    assert_null(sched_blocks(s, 0, &n));
    assert_int_equal(n, 0);
    sched_close(s);
}

static void test_youngest_is_preempted_and_recomputed(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    (void)state;

    make(&f, 2, 7, 8); /* 2 blocks each at first, 4 in the end; the pool has 5 */
    struct sched *s = open_all(&f, (struct sched_limits){2, 64, 1, 1, 5, 4});
    bool recomputed = false;
    for (int step = 0; step < 100 && !sched_idle(s); step++) {
        assert_true(sched_next(s, 0, &batch));
        for (int i = 0; i < batch.n_items; i++) {
            const struct sched_item *item = &batch.items[i];

            if (item->request == 1 && !item->decode && sched_produced(s, 1) > 0) {
                recomputed = true;
                assert_int_equal(item->start, 0);
                assert_int_equal(item->n_tokens, 7 + sched_produced(s, 1));
                assert_true(item->samples);
            }
        }
        sched_done(s, &batch, 0);
    }
    assert_true(sched_idle(s));
    assert_true(recomputed);
    assert_int_equal(sched_preemptions(s, 0), 0);
    assert_int_equal(sched_preemptions(s, 1), 1);
    sched_close(s);
}

static void test_decodes_are_shared_among_batches_in_flight(void **state)
{
    struct fixture f;
    struct sched_batch a, b, c;
    (void)state;

    make(&f, 6, 2, 10);
    struct sched *s = open_all(&f, (struct sched_limits){8, 64, 2, 1, 100, 4});
    assert_true(sched_next(s, 0, &a));
    assert_int_equal(a.n_items, 6);
    assert_false(sched_next(s, 0, &b));
    sched_done(s, &a, 0);
    assert_true(sched_next(s, 0, &a));
    assert_true(sched_next(s, 0, &b));
    assert_false(sched_next(s, 0, &c));
    assert_int_equal(a.n_items, 3);
    assert_int_equal(b.n_items, 3);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            assert_int_not_equal(a.items[i].request, b.items[j].request);
    sched_done(s, &a, 0);
    sched_done(s, &b, 0);
    sched_close(s);
}

static void test_pools_are_filled_evenly_and_kept(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    (void)state;

    make(&f, 4, 3, 5);
    struct sched *s = open_all(&f, (struct sched_limits){4, 64, 1, 2, 10, 4});
    while (!sched_idle(s)) {
        assert_true(sched_next(s, 0, &batch));
        assert_int_equal(batch.n_items, 4);
        for (int i = 0; i < 4; i++)
            assert_int_equal(batch.items[i].pool, batch.items[i].request % 2);
        for (int i = 1; i < 4; i++)
            assert_true(batch.items[i - 1].pool <= batch.items[i].pool);
        sched_done(s, &batch, 0);
    }
    sched_close(s);
}

static void test_stop_ends_a_request_early(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    (void)state;

    make(&f, 1, 3, 50);
    struct sched *s = open_all(&f, (struct sched_limits){1, 64, 1, 1, 20, 4});
    assert_true(sched_next(s, 0, &batch));
    sched_stop(s, 0);
    sched_done(s, &batch, 0);
    assert_true(sched_idle(s));
    assert_int_equal(sched_produced(s, 0), 1);
    sched_close(s);
}

static void test_request_that_never_fits_is_refused(void **state)
{
    struct fixture f;
    struct err err = {0};
    (void)state;

    make(&f, 1, 30, 11);
    assert_null(
            sched_open(&(struct sched_limits){1, 64, 1, 1, 10, 4}, &f.requests, f.mine, 1, &err));
    assert_int_equal(err.kind, ERR_NO);
    assert_string_equal(err.text,
            "request 0 needs 11 KV blocks (30 + 11 tokens, 4 a block), a pool "
            "has 10: raise kv_blocks or leave the request out");
    err_clear(&err);
    assert_null(
            sched_open(&(struct sched_limits){1, 0, 1, 1, 10, 4}, &f.requests, f.mine, 1, &err));
    assert_int_equal(err.kind, ERR_INPUT);
}

/* What must hold for any batch of any run. */
static void check_batch(const struct sched *s, const struct sched_limits *limits,
        const struct sched_batch *batch, const bool *out)
{
    int tokens[8] = {0};

    assert_true(batch->n_items >= 1 && batch->n_items <= limits->max_seqs);
    for (int i = 0; i < batch->n_items; i++) {
        const struct sched_item *item = &batch->items[i];
        int n;
        const int32_t *blocks = sched_blocks(s, item->request, &n);

        assert_non_null(blocks);
        assert_false(out[item->request]);
        assert_true(n * limits->block_tokens >= item->start + item->n_tokens);
        assert_true(item->n_tokens >= 1);
        for (int b = 0; b < n; b++)
            assert_true(blocks[b] >= 0 && blocks[b] < limits->n_blocks);
        tokens[item->pool] += item->n_tokens;
        if (i > 0 && batch->items[i - 1].pool == item->pool)
            assert_true(batch->items[i - 1].decode || !item->decode);
    }
    for (int p = 0; p < limits->n_pools; p++)
        assert_true(tokens[p] <= limits->max_tokens);
}

/* No block belongs to two sequences of a pool. */
static void check_blocks(
        const struct sched *s, const struct fixture *f, const int *pool_of, int n_pools)
{
    for (int p = 0; p < n_pools; p++) {
        bool used[256] = {false};

        for (int64_t r = 0; r < f->requests.n; r++) {
            int n;
            const int32_t *blocks = sched_blocks(s, r, &n);

            for (int b = 0; pool_of[r] == p && b < n; b++) {
                assert_false(used[blocks[b]]);
                used[blocks[b]] = true;
            }
        }
    }
}

static uint64_t mix(uint64_t digest, int64_t value)
{
    return (digest ^ (uint64_t)value) * 1099511628211u;
}

/* Runs everything with batches that come back in order, as a pipeline does; returns a digest of it all. */
static uint64_t run_random(uint64_t seed, int *preemptions)
{
    struct fixture f;
    uint64_t random = seed, digest = 14695981039346656037u;
    bool out[MAX_REQUESTS] = {false};
    int pool_of[MAX_REQUESTS];
    int64_t expect[MAX_REQUESTS] = {0};
    struct sched_batch flying[4];
    int n_flying = 0;

    make(&f, 1 + (int)(next_random(&random) % MAX_REQUESTS), 1, 1);
    int64_t arrival = 0;
    for (int i = 0; i < f.requests.n; i++) {
        arrival += (int64_t)(next_random(&random) % 8);
        f.items[i].arrival_ns = arrival;
        f.items[i].prompt_len = 1 + (int64_t)(next_random(&random) % 40);
        f.items[i].output_len = 1 + (int64_t)(next_random(&random) % 30);
        pool_of[i] = -1;
    }
    struct sched_limits limits = {
            .max_seqs = 1 + (int)(next_random(&random) % 12),
            .max_tokens = 1 + (int)(next_random(&random) % 48),
            .in_flight = 1 + (int)(next_random(&random) % 4),
            .n_pools = 1 + (int)(next_random(&random) % 3),
            .n_blocks = 18 + (int64_t)(next_random(&random) % 40),
            .block_tokens = 4,
    };
    struct sched *s = open_all(&f, limits);
    int64_t now = 0;
    for (int guard = 0; !sched_idle(s); guard++) {
        assert_true(guard < 100000);
        if (sched_next(s, now, &flying[n_flying])) {
            struct sched_batch *batch = &flying[n_flying++];

            check_batch(s, &limits, batch, out);
            for (int i = 0; i < batch->n_items; i++) {
                struct sched_item item = batch->items[i];

                if (pool_of[item.request] < 0)
                    pool_of[item.request] = item.pool;
                assert_int_equal(pool_of[item.request], item.pool);
                out[item.request] = true;
                assert_true(item.start == expect[item.request] || item.start == 0);
                expect[item.request] = item.start + item.n_tokens;
                digest = mix(digest, item.request * 1000003 + item.start * 101 + item.n_tokens);
            }
            check_blocks(s, &f, pool_of, limits.n_pools);
            assert_true(n_flying <= limits.in_flight);
            if (next_random(&random) % 2)
                continue;
        } else if (n_flying == 0) { /* never stuck: there is something to wait for */
            assert_true(sched_wake_ns(s, now) != INT64_MAX);
            now = sched_wake_ns(s, now);
            continue;
        }
        now += 1 + (int64_t)(next_random(&random) % 3);
        for (int i = 0; i < flying[0].n_items; i++)
            out[flying[0].items[i].request] = false;
        sched_done(s, &flying[0], now);
        n_flying--;
        memmove(flying, flying + 1, sizeof flying[0] * (size_t)n_flying);
    }
    for (int i = 0; i < f.requests.n; i++) {
        assert_int_equal(sched_produced(s, i), f.items[i].output_len);
        *preemptions += sched_preemptions(s, i);
    }
    sched_close(s);
    return digest;
}

static void test_random_runs_keep_every_rule_and_repeat(void **state)
{
    int preemptions = 0, again = 0;
    (void)state;

    for (uint64_t seed = 1; seed <= 2000; seed++)
        assert_true(run_random(seed, &preemptions) == run_random(seed, &again));
    assert_int_equal(preemptions, again);
    assert_true(preemptions > 1000); /* the rules were tried under pressure */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_first_come_first_served),
            cmocka_unit_test(test_prompt_is_cut_at_the_token_budget),
            cmocka_unit_test(test_decodes_come_before_prefill_and_share_the_budget),
            cmocka_unit_test(test_blocks_are_taken_as_the_sequence_grows),
            cmocka_unit_test(test_youngest_is_preempted_and_recomputed),
            cmocka_unit_test(test_decodes_are_shared_among_batches_in_flight),
            cmocka_unit_test(test_pools_are_filled_evenly_and_kept),
            cmocka_unit_test(test_stop_ends_a_request_early),
            cmocka_unit_test(test_request_that_never_fits_is_refused),
            cmocka_unit_test(test_random_runs_keep_every_rule_and_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
