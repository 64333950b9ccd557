/*
 * The engine executes exactly the ops that graph_step lists, and holds exactly the bytes that graph says.
 * Without an argument as one rank; `test_runtime_engine N` starts itself as N ranks (tests/mpi).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/ranks.h"
#include "runtime/engine.h"
#include "tests/mpi/start_ranks.h"

enum {
    MAX_SEQS = 6,
    MAX_TOKENS = 24,
    BLOCKS = 64,
    BLOCK_TOKENS = 4,
    STEPS = 25,
    MAX_OPS = 256
};

static struct ranks *ranks;

struct layout {
    const char *name;
    int tp, ep, attention_dp, threads;
    bool deterministic, pipeline, moe_only;
};

static const struct layout layouts_1[] = {
        {"one", 1, 1, 1, 1},
        {"threads", 1, 1, 1, 2},
        {"deterministic", 1, 1, 1, 2, .deterministic = true},
};
static const struct layout layouts_2[] = {
        {"tp", 2, 1, 1, 1},
        {"tp deterministic", 2, 1, 1, 1, .deterministic = true},
        {"pp", 1, 1, 1, 1, .pipeline = true},
        {"tp ep", 2, 2, 1, 1, .moe_only = true},
        {"tp ep deterministic", 2, 2, 1, 1, .deterministic = true, .moe_only = true},
        {"attention-dp ep", 1, 2, 2, 1, .moe_only = true},
};
static const struct layout layouts_4[] = {
        {"tp pp", 2, 1, 1, 1, .pipeline = true},
        {"expert tp", 4, 2, 1, 1, .moe_only = true},
        {"expert tp deterministic", 4, 2, 1, 1, .deterministic = true, .moe_only = true},
        {"attention-dp tp ep", 2, 4, 2, 1, .moe_only = true},
        {"attention-dp tp expert tp", 2, 2, 2, 1, .moe_only = true},
        {"attention-dp expert tp deterministic", 1, 2, 4, 1, .deterministic = true,
                .moe_only = true},
        {"attention-dp ep", 1, 4, 4, 1, .moe_only = true},
};

static uint64_t random_state;

static int random_below(int n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int)((random_state >> 33) % (uint64_t)n);
}

static void make_plan(struct plan *plan, struct plan_replica *replica, struct plan_stage stages[2],
        int all_ranks[8], const struct layout *layout, const struct model *model)
{
    int n = layout->tp * layout->attention_dp, half = model->n_layers / 2 + 1;

    for (int i = 0; i < 8; i++)
        all_ranks[i] = i;
    for (int s = 0; s < 2; s++)
        stages[s] = (struct plan_stage){.first_layer = s == 0 ? 0 : half,
                .end_layer = s == 0 && layout->pipeline ? half : model->n_layers,
                .tp = layout->tp,
                .ep = layout->ep,
                .attention_dp = layout->attention_dp,
                .threads = layout->threads,
                .ranks = all_ranks + s * n,
                .n_ranks = n};
    *replica = (struct plan_replica){.stages = stages,
            .n_stages = layout->pipeline ? 2 : 1,
            .max_seqs = MAX_SEQS,
            .max_tokens = MAX_TOKENS,
            .in_flight = 1,
            .kv_blocks = BLOCKS};
    *plan = (struct plan){.dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_F32,
            .block_tokens = BLOCK_TOKENS,
            .max_len = 64,
            .deterministic = layout->deterministic,
            .replicas = replica,
            .n_replicas = 1,
            .n_ranks = replica->n_stages * n};
}

/* Adds an item behind the others; block tables need only be valid. */
static void put_item(struct batch *batch, int pool, int start, int n_tokens, bool decode)
{
    struct batch_item *item = &batch->items[batch->head->n_items++];

    *item = (struct batch_item){.pool = pool,
            .start = start,
            .n_tokens = n_tokens,
            .n_blocks = (start + n_tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS,
            .decode = decode,
            .samples = decode || random_below(2)};
    batch->head->n_tokens += n_tokens;
    batch->head->n_blocks += item->n_blocks;
}

/* Some pools may be empty, but not all of them. */
static void random_batch(struct batch *batch, int n_pools, int64_t vocab)
{
    int left = MAX_SEQS, block = 0;

    *batch->head = (struct batch_head){0};
    batch_locate(batch);
    for (int pool = 0; pool < n_pools; pool++) {
        int tokens = MAX_TOKENS, decodes = random_below(3), prefills = random_below(2);

        if (pool == n_pools - 1 && left == MAX_SEQS && decodes + prefills == 0)
            prefills = 1;
        for (; decodes > 0 && left > 0; decodes--, left--, tokens--)
            put_item(batch, pool, 1 + random_below(40), 1, true);
        for (; prefills > 0 && left > 0 && tokens > 0; prefills--, left--) {
            int n = 1 + random_below(tokens);

            put_item(batch, pool, random_below(3) * 8, n, false);
            tokens -= n;
        }
    }
    batch_locate(batch);
    for (int t = 0; t < batch->head->n_tokens; t++)
        batch->tokens[t] = random_below((int)vocab);
    for (int b = 0; b < batch->head->n_blocks; b++)
        batch->blocks[b] = block++ % BLOCKS;
}

/* The step as the planner would describe it. */
static void shape_of(struct step_shape *shape, struct seq_shape prefill[MAX_SEQS],
        const struct batch *batch, int pool)
{
    *shape = (struct step_shape){.prefill = prefill, .group_tokens = batch->head->n_tokens};
    for (int i = 0; i < batch->head->n_items; i++) {
        const struct batch_item *item = &batch->items[i];

        if (item->pool != pool)
            continue;
        shape->tokens += item->n_tokens;
        shape->logits_rows += item->samples;
        if (item->decode) {
            shape->decode_batch++;
            shape->decode_kv_tokens += item->start + 1;
        } else {
            prefill[shape->n_prefill++] =
                    (struct seq_shape){item->n_tokens, item->start + item->n_tokens};
        }
    }
}

static void compare_ops(const struct meter *meter, const struct graph_op *want, int n)
{
    char a[200];

    for (int i = 0; i < n; i++) {
        int64_t found = 0;

        for (int64_t u = 0; u < meter->n_uses; u++)
            if (op_compare(&meter->uses[u].op, &want[i].op) == 0)
                found = meter->uses[u].count;
        if (found != want[i].count)
            fail_msg("%s: listed %lld times, executed %lld", op_show(a, &want[i].op),
                    (long long)want[i].count, (long long)found);
    }
    if (meter->n_uses != n)
        fail_msg("%d ops listed, %lld executed", n, (long long)meter->n_uses);
}

static void run_layout(const struct layout *layout, const struct model *model)
{
    struct arena arena = {0};
    struct err err = {0};
    struct plan plan;
    struct plan_replica replica;
    struct plan_stage stages[2];
    struct place place;
    struct meter meter = {0};
    struct engine engine;
    struct batch batch = {0};
    int all_ranks[8];
    const struct workload greedy = {0};
    struct weights *weights = weights_open_random(model, 1, DTYPE_BF16, &err);

    make_plan(&plan, &replica, stages, all_ranks, layout, model);
    if (!weights || !place_find(&place, &plan, model, ranks_rank(ranks), ranks_count(ranks), &err)
            || !place_connect(&place, &arena, &err))
        fail_msg("%s %s: %s", model->name, layout->name, err.text);
    struct dev *dev = dev_host_open(&(struct dev_options){.threads = layout->threads,
                                            .first_cpu = -1,
                                            .deterministic = layout->deterministic},
            &err);
    if (!dev || !meter_open(&meter, 8, 0, &err) || !batch_alloc(&batch, &place, &err)
            || !engine_open(&engine, &place,
                    &(struct engine_options){model, &greedy, weights, dev, &meter, false}, &arena,
                    &err))
        fail_msg("%s %s: %s", model->name, layout->name, err.text);
    assert_int_equal(engine.weights.bytes, graph_weight_bytes(model, &place.split, place.piece));
    assert_int_equal(engine.work_bytes,
            graph_work_bytes(model, &place.split, place.piece, MAX_SEQS, MAX_TOKENS));
    assert_int_equal(engine.cache.bytes,
            BLOCKS * graph_kv_block_bytes(model, &place.split, place.piece, BLOCK_TOKENS));
    assert_int_equal(
            dev_allocated(dev), engine.weights.bytes + engine.work_bytes + engine.cache.bytes);
    random_state = 7;
    for (int step = 0; step < STEPS; step++) {
        struct step_shape shape;
        struct seq_shape prefill[MAX_SEQS];
        struct graph_op want[MAX_OPS];

        random_batch(&batch, place.n_groups, model->vocab);
        shape_of(&shape, prefill, &batch, place.group);
        meter_reset(&meter);
        engine_prepare(&engine, &batch);
        engine_run(&engine);
        meter_finish(&meter);
        int n = graph_step(want, MAX_OPS, model, &place.split, place.piece, &shape);
        assert_true(n <= MAX_OPS);
        if (place.tp_rank == 0) /* the last of a group may have fewer rows to send */
            compare_ops(&meter, want, n);
    }
    engine_close(&engine);
    batch_free(&batch);
    meter_close(&meter);
    weights_close(weights);
    dev_close(dev);
    place_disconnect(&place);
    arena_free(&arena);
}

static void test_executed_ops_are_the_listed_ones(void **state)
{
    static const char *const names[] = {"tiny-llama", "tiny-qwen3", "tiny-qwen3-moe",
            "tiny-mixtral", "tiny-deepseek-v3", "tiny-gpt-oss"};
    const struct layout *layouts = layouts_1;
    int n = sizeof layouts_1 / sizeof layouts_1[0];
    (void)state;

    if (ranks_count(ranks) == 2) {
        layouts = layouts_2;
        n = sizeof layouts_2 / sizeof layouts_2[0];
    } else if (ranks_count(ranks) == 4) {
        layouts = layouts_4;
        n = sizeof layouts_4 / sizeof layouts_4[0];
    }
    for (size_t m = 0; m < sizeof names / sizeof names[0]; m++) {
        struct arena arena = {0};
        struct err err = {0};
        struct model model;

        if (!model_read(&model, arena_printf(&arena, "%s/models/%s.yaml", SOURCE_DIR, names[m]),
                    SOURCE_DIR, &arena, &err))
            fail_msg("%s", err.text);
        for (int i = 0; i < n; i++)
            if (model.moe.n > 0 || !layouts[i].moe_only)
                run_layout(&layouts[i], &model);
        arena_free(&arena);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_executed_ops_are_the_listed_ones)};
    struct err err = {0};

    if (argc == 2 && !ranks_launched())
        return start_ranks(atoi(argv[1]), argv);
    ranks = ranks_open(&argc, &argv, &err);
    if (!ranks) {
        fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    if (status != 0 && ranks_count(ranks) > 1)
        ranks_abort(ranks, 1); /* the others may wait for this one */
    ranks_close(ranks);
    return status;
}
