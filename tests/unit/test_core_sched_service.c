/* Priorities, deadlines, the bounded queue, the prefix cache and pools of their own for prefill and decode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "core/sched.h"

enum {
    MAX_REQUESTS = 64,
    MAX_HASHES = 4
};

struct fixture {
    struct request items[MAX_REQUESTS];
    struct requests requests;
    int64_t mine[MAX_REQUESTS];
    int64_t hashes[MAX_REQUESTS][MAX_HASHES];
};

static void make(struct fixture *f, int n, int64_t prompt, int64_t output)
{
    memset(f, 0, sizeof *f);
    for (int i = 0; i < n; i++) {
        f->items[i] = (struct request){.prompt_len = prompt, .output_len = output};
        f->mine[i] = i;
    }
    f->requests = (struct requests){.items = f->items, .n = n};
}

static struct sched *open_all(struct fixture *f, struct sched_limits limits)
{
    struct err err = {0};
    struct sched *s = sched_open(&limits, &f->requests, f->mine, f->requests.n, &err);

    if (!s)
        fail_msg("%s", err.text);
    return s;
}

/* One sequence at a time, a prompt in one chunk. */
static struct sched_limits narrow(void)
{
    return (struct sched_limits){.max_seqs = 1,
            .max_tokens = 64,
            .in_flight = 1,
            .n_pools = 1,
            .n_blocks = 100,
            .block_tokens = 4};
}

/* Runs step by step, one time unit each; the order in which requests began. */
static int run_order(struct sched *s, int64_t *order)
{
    struct sched_batch batch;
    int n = 0;

    for (int64_t now = 0; !sched_idle(s); now++) {
        assert_true(now < 1000);
        if (!sched_next(s, now, &batch))
            continue;
        for (int i = 0; i < batch.n_items; i++)
            if (!batch.items[i].decode && sched_produced(s, batch.items[i].request) == 0)
                order[n++] = batch.items[i].request;
        sched_done(s, &batch, now);
    }
    return n;
}

static void larger_priority_goes_first(void **state)
{
    struct fixture f;
    int64_t order[4];
    const int64_t want[] = {0, 3, 1, 2};
    (void)state;

    /* 0 begins alone; when it is done, 3 has come and goes ahead of 1 and 2. */
    make(&f, 4, 5, 3);
    f.items[1].arrival_ns = f.items[2].arrival_ns = f.items[3].arrival_ns = 1;
    f.items[3].priority = 2;
    struct sched *s = open_all(&f, narrow());
    assert_int_equal(run_order(s, order), 4);
    assert_memory_equal(order, want, sizeof want);
    sched_close(s);
}

static void the_lowest_priority_is_preempted(void **state)
{
    struct fixture f;
    int64_t order[2];
    (void)state;

    /* Both grow from 2 to 4 blocks, there are 5. By age request 1 would pay; it has the higher priority. */
    make(&f, 2, 7, 8);
    f.items[1].priority = 1;
    struct sched_limits limits = narrow();
    limits.max_seqs = 2;
    limits.n_blocks = 5;
    struct sched *s = open_all(&f, limits);
    run_order(s, order);
    assert_int_equal(sched_preemptions(s, 0), 1);
    assert_int_equal(sched_preemptions(s, 1), 0);
    sched_close(s);
}

static void the_earliest_deadline_goes_first(void **state)
{
    struct fixture f;
    int64_t order[4];
    const int64_t want[] = {2, 1, 0, 3};
    (void)state;

    make(&f, 4, 5, 1);
    f.items[1].deadline_ns = 50;
    f.items[2].deadline_ns = 40;
    struct sched *s = open_all(&f, narrow());
    assert_int_equal(run_order(s, order), 4);
    assert_memory_equal(order, want, sizeof want);
    sched_close(s);
}

static void what_has_not_begun_by_its_deadline_is_refused(void **state)
{
    struct fixture f;
    int64_t order[3];
    struct sched_stats stats;
    (void)state;

    /* Each takes 4 steps, at 0 to 3 and 4 to 7. Request 2 must begin before 4 and cannot: 1 is as urgent. */
    make(&f, 3, 5, 4);
    f.items[0].deadline_ns = 2; /* begins at 0, ends at 3: it is not cut short */
    f.items[1].deadline_ns = 3;
    f.items[2].deadline_ns = 9;
    struct sched *s = open_all(&f, narrow());
    assert_int_equal(run_order(s, order), 2);
    assert_int_equal(order[1], 2);
    assert_int_equal(sched_outcome(s, 0), SCHED_FINISHED);
    assert_int_equal(sched_outcome(s, 1), SCHED_REFUSED_LATE);
    assert_int_equal(sched_outcome(s, 2), SCHED_FINISHED);
    assert_int_equal(sched_take_refused(s), 1);
    assert_int_equal(sched_take_refused(s), -1);
    sched_stats(&stats, s);
    assert_int_equal(stats.refused_late, 1);
    assert_int_equal(stats.finished, 2);
    sched_close(s);
}

static void a_full_queue_refuses_the_newest(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    struct sched_stats stats;
    (void)state;

    /* 0 runs, 1 and 2 wait, 3 and 4 are too many. 5 comes when 1 has begun. */
    make(&f, 6, 5, 1);
    f.items[5].arrival_ns = 1;
    struct sched_limits limits = narrow();
    limits.max_queue = 2;
    struct sched *s = open_all(&f, limits);
    assert_true(sched_next(s, 0, &batch));
    assert_int_equal(sched_take_refused(s), 4);
    assert_int_equal(sched_take_refused(s), 3);
    assert_int_equal(sched_take_refused(s), -1);
    sched_done(s, &batch, 1);
    assert_true(sched_next(s, 1, &batch));
    sched_done(s, &batch, 2);
    assert_int_equal(sched_outcome(s, 5), SCHED_PENDING);
    for (int64_t now = 2; !sched_idle(s); now++) {
        assert_true(sched_next(s, now, &batch));
        sched_done(s, &batch, now);
    }
    assert_int_equal(sched_outcome(s, 5), SCHED_FINISHED);
    sched_stats(&stats, s);
    assert_int_equal(stats.finished, 4);
    assert_int_equal(stats.refused_full, 2);
    assert_int_equal(stats.most_waiting, 2);
    sched_close(s);
}

/* Prompts of 20 tokens, hashes over 8 of them, blocks of 4. */
static void share_prefix(struct fixture *f, int request, int64_t a, int64_t b, int64_t c)
{
    const int64_t hashes[] = {a, b, c};

    memcpy(f->hashes[request], hashes, sizeof hashes);
    f->items[request].prefix_hash = f->hashes[request];
    f->items[request].n_prefix_hash = 3;
    f->requests.hash_tokens = 8;
}

static void prompts_that_begin_alike_share_blocks(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    int n0, n1, n2;
    (void)state;

    make(&f, 3, 20, 4);
    share_prefix(&f, 0, 7, 8, 9);
    share_prefix(&f, 1, 7, 8, 10); /* 16 tokens as 0: 4 blocks */
    share_prefix(&f, 2, 7, 8, 9);  /* all 20 as 0, and the last block is computed again */
    f.items[1].arrival_ns = f.items[2].arrival_ns = 1;
    struct sched_limits limits = narrow();
    limits.max_seqs = 3;
    limits.prefix_cache = true;
    struct sched *s = open_all(&f, limits);
    assert_true(sched_next(s, 0, &batch));
    assert_int_equal(batch.items[0].n_tokens, 20);
    sched_done(s, &batch, 1);
    assert_true(sched_next(s, 1, &batch));
    assert_int_equal(batch.n_items, 3);
    assert_int_equal(batch.items[1].start, 16);
    assert_int_equal(batch.items[1].n_tokens, 4);
    assert_int_equal(batch.items[2].start, 16);
    assert_int_equal(batch.items[2].n_tokens, 4);
    assert_int_equal(sched_reused(s, 1), 16);
    const int32_t *b0 = sched_blocks(s, 0, &n0);
    const int32_t *b1 = sched_blocks(s, 1, &n1), *b2 = sched_blocks(s, 2, &n2);
    assert_memory_equal(b0, b1, 4 * sizeof *b0);
    assert_memory_equal(b0, b2, 4 * sizeof *b0);
    assert_int_not_equal(b0[4], b1[4]);
    assert_int_not_equal(b0[4], b2[4]);
    sched_done(s, &batch, 2);
    sched_close(s);
}

static void a_block_is_not_shared_before_its_batch_is_done(void **state)
{
    struct fixture f;
    struct sched_batch first, second;
    (void)state;

    make(&f, 2, 20, 2);
    share_prefix(&f, 0, 7, 8, 9);
    share_prefix(&f, 1, 7, 8, 9);
    f.items[1].arrival_ns = 1;
    struct sched_limits limits = narrow();
    limits.in_flight = 2;
    limits.prefix_cache = true;
    struct sched *s = open_all(&f, limits);
    assert_true(sched_next(s, 0, &first));
    assert_true(sched_next(s, 1, &second));
    assert_int_equal(second.items[0].start, 0);
    sched_done(s, &first, 2);
    sched_done(s, &second, 3);
    sched_close(s);
}

static void an_equal_block_behind_another_prefix_is_another(void **state)
{
    struct fixture f;
    int64_t order[2];
    (void)state;

    make(&f, 2, 20, 1);
    share_prefix(&f, 0, 7, 8, 9);
    share_prefix(&f, 1, 6, 8, 9);
    struct sched_limits limits = narrow();
    limits.prefix_cache = true;
    struct sched *s = open_all(&f, limits);
    assert_int_equal(run_order(s, order), 2);
    assert_int_equal(sched_reused(s, 1), 0);
    sched_close(s);
}

static void the_least_recently_used_block_is_evicted(void **state)
{
    struct fixture f;
    int64_t order[4];
    struct sched_stats stats;
    (void)state;

    /* A prompt takes 5 blocks, and there are 12: 0 and 1 leave 10 behind, 2 takes the other 2 and evicts 3. */
    make(&f, 4, 20, 1);
    share_prefix(&f, 0, 1, 1, 1);
    share_prefix(&f, 1, 2, 2, 2);
    share_prefix(&f, 2, 3, 3, 3);
    share_prefix(&f, 3, 1, 1, 1);
    struct sched_limits limits = narrow();
    limits.n_blocks = 12;
    limits.prefix_cache = true;
    struct sched *s = open_all(&f, limits);
    assert_int_equal(run_order(s, order), 4);
    sched_stats(&stats, s);
    /* The oldest are 0's, and of those the last ones went first: 8 tokens remain. */
    assert_int_equal(sched_reused(s, 3), 8);
    assert_true(stats.evicted_blocks >= 3);
    sched_close(s);
}

static void a_preempted_prompt_comes_back_from_the_cache(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    bool shorter = false;
    (void)state;

    make(&f, 2, 7, 8); /* as in test_youngest_is_preempted_and_recomputed */
    for (int i = 0; i < 2; i++)
        share_prefix(&f, i, 5 + i, 0, 0);
    struct sched_limits limits = narrow();
    limits.max_seqs = 2;
    limits.n_blocks = 5;
    limits.prefix_cache = true;
    struct sched *s = open_all(&f, limits);
    for (int64_t now = 0; !sched_idle(s); now++) {
        assert_true(now < 100);
        assert_true(sched_next(s, now, &batch));
        for (int i = 0; i < batch.n_items; i++)
            if (!batch.items[i].decode && sched_produced(s, batch.items[i].request) > 0)
                shorter = batch.items[i].start == 4; /* its one full block was still there */
        sched_done(s, &batch, now);
    }
    assert_int_equal(sched_preemptions(s, 1), 1);
    assert_true(shorter);
    sched_close(s);
}

static void prefill_ends_with_the_first_token_and_decode_begins_there(void **state)
{
    struct fixture f;
    struct sched_batch batch;
    int n;
    (void)state;

    make(&f, 1, 10, 4);
    struct sched_limits limits = narrow();
    limits.role = SCHED_PREFILL;
    struct sched *s = open_all(&f, limits);
    assert_true(sched_next(s, 0, &batch));
    assert_int_equal(batch.items[0].n_tokens, 10);
    sched_done(s, &batch, 1);
    assert_true(sched_idle(s));
    assert_int_equal(sched_produced(s, 0), 1);
    sched_close(s);

    limits.role = SCHED_DECODE;
    s = open_all(&f, limits);
    assert_int_equal(sched_produced(s, 0), 1);
    for (int i = 0; i < 3; i++) {
        assert_true(sched_next(s, 0, &batch));
        assert_int_equal(batch.n_items, 1);
        assert_true(batch.items[0].decode && batch.items[0].samples);
        assert_int_equal(batch.items[0].start, 10 + i);
        assert_non_null(sched_blocks(s, 0, &n));
        assert_int_equal(n, 3 + (10 + i >= 12));
        sched_done(s, &batch, 0);
    }
    assert_true(sched_idle(s));
    assert_int_equal(sched_produced(s, 0), 4);
    sched_close(s);
}

/* Blocks of a pool that are in some table, each counted once. */
static int distinct_blocks(
        const struct sched *s, const struct fixture *f, const int *pool_of, int p)
{
    bool used[128] = {false};
    int n = 0, distinct = 0;

    for (int64_t r = 0; r < f->requests.n; r++) {
        const int32_t *blocks = sched_blocks(s, r, &n);

        for (int b = 0; pool_of[r] == p && b < n; b++) {
            distinct += !used[blocks[b]];
            used[blocks[b]] = true;
        }
    }
    return distinct;
}

static void draw_requests(struct fixture *f, uint64_t seed)
{
    int64_t arrival = 0;

    make(f, 1 + (int)random_below(seed, 0, MAX_REQUESTS), 1, 1);
    for (int i = 0; i < f->requests.n; i++) {
        uint64_t own = random_u64(seed, 100 + (uint64_t)i);
        struct request *r = &f->items[i];

        arrival += random_below(own, 0, 8);
        *r = (struct request){.arrival_ns = arrival,
                .prompt_len = 1 + random_below(own, 1, 24),
                .output_len = 1 + random_below(own, 2, 20),
                .priority = (int)random_below(own, 3, 3)};
        if (random_below(own, 4, 3) == 0)
            r->deadline_ns = arrival + 1 + random_below(own, 5, 40);
        share_prefix(
                f, i, random_below(own, 6, 2), random_below(own, 7, 2), random_below(own, 8, 2));
    }
}

/* Random limits with everything on: every request ends once, nobody holds what others write. */
static void run_random(uint64_t seed, struct sched_stats *sum)
{
    struct fixture f;
    int pool_of[MAX_REQUESTS], n_refused = 0;
    struct sched_batch flying[3];
    int n_flying = 0;
    struct sched_stats stats;

    draw_requests(&f, seed);
    for (int i = 0; i < MAX_REQUESTS; i++)
        pool_of[i] = -1;
    struct sched_limits limits = {.max_seqs = 1 + (int)random_below(seed, 1, 8),
            .max_tokens = 1 + (int)random_below(seed, 2, 48),
            .in_flight = 1 + (int)random_below(seed, 3, 3),
            .n_pools = 1 + (int)random_below(seed, 4, 2),
            .n_blocks = 12 + random_below(seed, 5, 30),
            .block_tokens = 4,
            .prefix_cache = true,
            .max_queue = random_below(seed, 6, 10)};
    struct sched *s = open_all(&f, limits);
    for (int64_t now = 0, guard = 0; !sched_idle(s); guard++) {
        assert_true(guard < 100000);
        if (sched_next(s, now, &flying[n_flying])) {
            for (int i = 0; i < flying[n_flying].n_items; i++) {
                struct sched_item *item = &flying[n_flying].items[i];
                int n;

                pool_of[item->request] = item->pool;
                assert_non_null(sched_blocks(s, item->request, &n));
                assert_true(n * 4 >= item->start + item->n_tokens);
            }
            for (int p = 0; p < limits.n_pools; p++)
                assert_true(distinct_blocks(s, &f, pool_of, p) <= limits.n_blocks);
            n_flying++;
        } else if (n_flying == 0) {
            if (sched_idle(s))
                break; /* the last ones were refused */
            assert_true(sched_wake_ns(s, now) != INT64_MAX);
            now = sched_wake_ns(s, now);
            continue;
        }
        sched_stats(&stats, s);
        assert_true(limits.max_queue == 0 || stats.waiting <= limits.max_queue);
        if (n_flying < limits.in_flight && random_below(seed, 1000 + (uint64_t)guard, 2))
            continue;
        now += 1 + random_below(seed, 2000 + (uint64_t)guard, 3);
        sched_done(s, &flying[0], now);
        n_flying--;
        memmove(flying, flying + 1, sizeof flying[0] * (size_t)n_flying);
    }
    while (sched_take_refused(s) >= 0)
        n_refused++;
    sched_stats(&stats, s);
    for (int i = 0; i < f.requests.n; i++) {
        bool finished = sched_outcome(s, i) == SCHED_FINISHED;

        assert_int_not_equal(sched_outcome(s, i), SCHED_PENDING);
        assert_int_equal(sched_produced(s, i), finished ? f.items[i].output_len : 0);
    }
    assert_int_equal(n_refused, stats.refused_full + stats.refused_late);
    assert_int_equal(stats.finished + n_refused, f.requests.n);
    sum->refused_full += stats.refused_full;
    sum->refused_late += stats.refused_late;
    sum->preemptions += stats.preemptions;
    sum->reused_tokens += stats.reused_tokens;
    sum->evicted_blocks += stats.evicted_blocks;
    sched_close(s);
}

static void everything_at_once_loses_nobody(void **state)
{
    struct sched_stats sum = {0};
    (void)state;

    for (uint64_t seed = 1; seed <= 2000; seed++)
        run_random(seed, &sum);
    /* Every feature was under pressure. */
    assert_true(sum.refused_full > 100 && sum.refused_late > 100 && sum.preemptions > 100);
    assert_true(sum.reused_tokens > 10000 && sum.evicted_blocks > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(larger_priority_goes_first),
            cmocka_unit_test(the_lowest_priority_is_preempted),
            cmocka_unit_test(the_earliest_deadline_goes_first),
            cmocka_unit_test(what_has_not_begun_by_its_deadline_is_refused),
            cmocka_unit_test(a_full_queue_refuses_the_newest),
            cmocka_unit_test(prompts_that_begin_alike_share_blocks),
            cmocka_unit_test(a_block_is_not_shared_before_its_batch_is_done),
            cmocka_unit_test(an_equal_block_behind_another_prefix_is_another),
            cmocka_unit_test(the_least_recently_used_block_is_evicted),
            cmocka_unit_test(a_preempted_prompt_comes_back_from_the_cache),
            cmocka_unit_test(prefill_ends_with_the_first_token_and_decode_begins_there),
            cmocka_unit_test(everything_at_once_loses_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
