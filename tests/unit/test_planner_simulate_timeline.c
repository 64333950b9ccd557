/*
 * The simulator against timelines worked out by hand, event by event: chunks of a prompt beside decodes, a cache that runs
 * dry, more stages than batches in flight, groups of attention dp, and caches that queue between pools. Only the time of
 * a step of given shape is the cost model's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "planner_scene.h"

enum {
    LAYERS = SCENE_LAYERS,
    PROMPT = 5
};

static void request(struct scene *s, int i, int64_t prompt, int64_t output)
{
    if (i == 0)
        fixture_requests(&s->f, 1, prompt, output);
    s->f.items[i] = (struct request){.prompt_len = prompt, .output_len = output};
    s->f.requests.n = i + 1;
}

static void simulate(struct simulate_result *out, struct scene *s)
{
    scene_simulate(out, s, 0);
    assert_int_equal(out->finished, s->f.requests.n);
}

/* A step of a stage: so many decodes that see kv tokens in all, and up to two chunks that end at their kv_len. */
static int64_t step_ns(struct scene *s, int stage, int64_t decodes, int64_t kv,
        const struct seq_shape *chunks, int n_chunks, int64_t yields)
{
    int64_t rows = decodes;
    for (int i = 0; i < n_chunks; i++)
        rows += chunks[i].q_len;
    struct step_shape shape = {.tokens = rows,
            .group_tokens = rows,
            .decode_batch = decodes,
            .decode_kv_tokens = kv,
            .prefill = chunks,
            .n_prefill = n_chunks,
            .logits_rows = yields};
    return scene_step_ns(s, stage, &shape);
}

/* Parts of a step are rounded apart: a nanosecond a step. */
static void expect(int64_t found_ns, int64_t wanted_ns, int64_t steps)
{
    if (llabs((long long)(found_ns - wanted_ns)) > steps)
        fail_msg("found %lld ns, expected %lld ns", (long long)found_ns, (long long)wanted_ns);
}

/* 64 rows a step: A's prompt of 5 and 59 of B's 150; then A decodes beside the next 63 of B, and beside the last 28. */
static void a_long_prompt_comes_in_chunks_beside_decodes(void **unused)
{
    (void)unused;
    static const int layers[] = {LAYERS};
    struct scene s;
    struct simulate_result out;
    scene_open(&s, 1, layers, 1);
    s.replicas[0].max_seqs = 2;
    request(&s, 0, PROMPT, 4);
    request(&s, 1, 150, 2);
    simulate(&out, &s);
    const struct seq_shape both[] = {{5, 5}, {59, 59}};
    int64_t t1 = step_ns(&s, 0, 0, 0, both, 2, 1);
    int64_t t2 = t1 + step_ns(&s, 0, 1, 6, &(struct seq_shape){63, 122}, 1, 1);
    int64_t t3 = t2 + step_ns(&s, 0, 1, 7, &(struct seq_shape){28, 150}, 1, 2);
    int64_t t4 = t3 + scene_decode_ns(&s, 0, 2, 8 + 151);
    assert_int_equal(out.steps, 4);
    expect(out.requests[0].first_token_ns, t1, 1);
    expect(out.requests[1].first_token_ns, t3, 3);
    expect(out.requests[0].finish_ns, t4, 4);
    expect(out.requests[1].finish_ns, t4, 4);
    assert_int_equal(out.requests[1].begin_ns, 0);
    scene_close(&s);
}

/*
 * Four blocks of 16 tokens for two sequences of 5 + 44. Both decode side by side until each holds 32 tokens; then the
 * older one takes the block of the younger, which begins anew with its 5 + 28 tokens when the older has ended.
 */
static void a_dry_cache_makes_the_younger_begin_anew(void **unused)
{
    (void)unused;
    static const int layers[] = {LAYERS};
    struct scene s;
    struct simulate_result out;
    scene_open(&s, 1, layers, 1);
    s.replicas[0].max_seqs = 2;
    s.replicas[0].kv_blocks = 4;
    request(&s, 0, PROMPT, 44);
    request(&s, 1, PROMPT, 44);
    simulate(&out, &s);
    const struct seq_shape both[] = {{5, 5}, {5, 5}};
    int64_t first = step_ns(&s, 0, 0, 0, both, 2, 2);
    int64_t at = first;
    for (int kv = 6; kv <= 32; kv++)
        at += scene_decode_ns(&s, 0, 2, 2 * kv);
    for (int kv = 33; kv <= 48; kv++)
        at += scene_decode_ns(&s, 0, 1, kv);
    expect(out.requests[0].first_token_ns, first, 1);
    expect(out.requests[1].first_token_ns, first, 1);
    expect(out.requests[0].finish_ns, at, 44);
    at += scene_prefill_ns(&s, 0, 33);
    for (int kv = 34; kv <= 48; kv++)
        at += scene_decode_ns(&s, 0, 1, kv);
    expect(out.requests[1].finish_ns, at, 60);
    assert_int_equal(out.steps, 1 + 27 + 16 + 1 + 15);
    assert_int_equal(out.preemptions, 1);
    assert_int_equal(out.requests[0].preemptions, 0);
    assert_int_equal(out.requests[1].preemptions, 1);
    scene_close(&s);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* One prompt through three stages, from the moment the leader begins it; the times at which stages are free follow. */
static int64_t through_stages(struct scene *s, int64_t now, int64_t free_ns[SCENE_STAGES])
{
    struct split split = scene_split(s, 0);
    struct op op = {
            .kind = OP_SEND_RECV, .dtype = DTYPE_F32, .degree = 2, .busy = split.busy, .dim = {4}};
    int64_t send = scene_ns(cost_send_us(s->costs, 0, &split, PROMPT, false));
    int64_t arrives = now;
    for (int i = 0; i < SCENE_STAGES; i++) {
        free_ns[i] = later(arrives, free_ns[i]) + scene_prefill_ns(s, i, PROMPT);
        arrives = free_ns[i] + (i + 1 < SCENE_STAGES ? send : 0);
    }
    return arrives + scene_ns(cost_op(s->costs, 0, &op).us);
}

/* Four prompts of one token each, two of them in flight over three stages: the third waits for the first result. */
static void a_pipeline_has_as_many_slots_as_batches_in_flight(void **unused)
{
    (void)unused;
    static const int layers[][SCENE_STAGES] = {{2, 1, 1}, {1, 2, 1}, {1, 1, 2}};
    for (int way = 0; way < 3; way++) {
        struct scene s;
        struct simulate_result out;
        scene_open(&s, 1, layers[way], SCENE_STAGES);
        s.replicas[0].in_flight = 2;
        for (int i = 0; i < 4; i++)
            request(&s, i, PROMPT, 1);
        simulate(&out, &s);
        int64_t free_ns[SCENE_STAGES] = {0};
        int64_t a = through_stages(&s, 0, free_ns);
        int64_t b = through_stages(&s, free_ns[0], free_ns);
        int64_t took_a =
                later(free_ns[0], a); /* the leader is busy with B's first stage until then */
        int64_t c = through_stages(&s, took_a, free_ns);
        int64_t took_b = later(free_ns[0], b);
        int64_t d = through_stages(&s, took_b, free_ns);
        int64_t took_c = later(free_ns[0], c);
        assert_int_equal(out.requests[0].finish_ns, took_a);
        assert_int_equal(out.requests[2].begin_ns, took_a);
        assert_int_equal(out.requests[1].finish_ns, took_b);
        assert_int_equal(out.requests[3].begin_ns, took_b);
        assert_int_equal(out.requests[2].finish_ns, took_c);
        assert_int_equal(out.requests[3].finish_ns, later(took_c, d));
        scene_close(&s);
    }
}

/* Two groups of attention dp, a sequence in each: a step takes what the slower group takes, and ranks hear of the batch. */
static void groups_wait_for_the_slower_one(void **unused)
{
    (void)unused;
    static const int layers[] = {LAYERS};
    static const int ranks[] = {0, 1};
    struct scene s;
    struct simulate_result out;
    scene_open(&s, 1, layers, 1);
    s.stages[0][0].attention_dp = 2;
    s.stages[0][0].n_ranks = 2;
    s.stages[0][0].ranks = ranks;
    s.plan.n_ranks = 2;
    s.replicas[0].max_seqs = 2;
    request(&s, 0, 12, 1);
    request(&s, 1, 50, 1);
    simulate(&out, &s);
    struct seq_shape seqs[] = {{12, 12}, {50, 50}};
    struct split split = scene_split(&s, 0);
    double slowest = 0;
    for (int g = 0; g < 2; g++) {
        struct step_shape shape = {.tokens = seqs[g].q_len,
                .group_tokens = 62,
                .prefill = &seqs[g],
                .n_prefill = 1,
                .logits_rows = 1};
        struct step_cost cost;
        cost_piece(&cost, s.costs, 0, &split, (struct piece){0, LAYERS}, &shape);
        slowest = fmax(slowest, cost.us);
    }
    /* The message (runtime/batch.h): 32 bytes, 48 an item, 4 for each of 62 tokens and of 1 + 4 blocks. */
    struct op op = {.kind = OP_SEND_RECV,
            .dtype = DTYPE_F32,
            .degree = 2,
            .busy = split.busy,
            .dim = {32 + 48 * 2 + 4 * (62 + 5)}};
    int64_t wanted = scene_ns(slowest + cost_op(s.costs, 0, &op).us);
    expect(out.requests[0].finish_ns, wanted, 1);
    expect(out.requests[1].finish_ns, wanted, 1);
    assert_int_equal(out.steps, 1);
    scene_close(&s);
}

/*
 * Two prefill replicas, each with its own link, feed one decode replica that takes one sequence at a time. Prompts of 40
 * fill three blocks. Both caches arrive together, the second waits for the first to end; a third request follows the
 * first on its link.
 */
static void caches_queue_for_the_link_and_for_the_decoder(void **unused)
{
    (void)unused;
    static const int layers[] = {LAYERS};
    struct scene s;
    struct simulate_result out;
    scene_open(&s, 3, layers, 1);
    for (int r = 0; r < 2; r++) {
        s.replicas[r].role = ROLE_PREFILL;
        s.replicas[r].kv_rate = 2e8;
        s.replicas[r].kv_latency_us = 50;
    }
    s.replicas[2].role = ROLE_DECODE;
    for (int i = 0; i < 3; i++)
        request(&s, i, 40, 3);
    simulate(&out, &s);
    struct split split = scene_split(&s, 0);
    int64_t block = graph_kv_block_bytes(&s.f.model, &split, (struct piece){0, LAYERS}, 16);
    int64_t x = scene_ns(50 + (double)(3 * block) / 2e8 * 1e6);
    int64_t p = scene_prefill_ns(&s, 0, 40);
    int64_t d = scene_decode_ns(&s, 0, 1, 41) + scene_decode_ns(&s, 0, 1, 42);
    const struct simulate_request *r = out.requests;
    assert_int_equal(r[0].replica, r[2].replica);
    assert_int_not_equal(r[0].replica, r[1].replica);
    assert_int_equal(r[2].begin_ns, p);
    assert_int_equal(r[0].decode_ns, p + x);
    assert_int_equal(r[1].decode_ns, p + x);
    int64_t third = later(2 * p, p + x) + x;
    assert_int_equal(r[2].decode_ns, third);
    assert_int_equal(r[2].first_token_ns, third); /* the answer comes from where it is decoded */
    assert_int_equal(r[0].finish_ns, p + x + d);
    assert_int_equal(r[1].finish_ns, p + x + 2 * d);
    assert_int_equal(r[2].finish_ns, later(p + x + 2 * d, third) + d);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(a_long_prompt_comes_in_chunks_beside_decodes),
            cmocka_unit_test(a_dry_cache_makes_the_younger_begin_anew),
            cmocka_unit_test(a_pipeline_has_as_many_slots_as_batches_in_flight),
            cmocka_unit_test(groups_wait_for_the_slower_one),
            cmocka_unit_test(caches_queue_for_the_link_and_for_the_decoder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
