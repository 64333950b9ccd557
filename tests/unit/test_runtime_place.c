/* Where a rank stands, who is busy beside it, and which plans are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/place.h"

/* Two replicas of two stages: tp 2, then tp 1. */
struct fixture {
    struct arena arena;
    struct model model;
    int ranks[6];
    struct plan_stage stages[4];
    struct plan_replica replicas[2];
    struct plan plan;
};

static void make(struct fixture *f)
{
    struct err err = {0};

    arena_free(&f->arena);
    memset(f, 0, sizeof *f);
    if (!model_read(&f->model, SOURCE_DIR "/models/tiny-llama.yaml", SOURCE_DIR, &f->arena, &err))
        fail_msg("%s", err.text);
    for (int r = 0; r < 6; r++)
        f->ranks[r] = r;
    for (int s = 0; s < 4; s++)
        f->stages[s] = (struct plan_stage){.first_layer = s % 2 ? 4 : 0,
                .end_layer = s % 2 ? f->model.n_layers : 4,
                .tp = s % 2 ? 1 : 2,
                .ep = 1,
                .attention_dp = 1,
                .threads = 1,
                .ranks = f->ranks + s / 2 * 3 + s % 2 * 2,
                .n_ranks = s % 2 ? 1 : 2,
                .pos = {"plan.yaml", 20 + s, 9}};
    for (int r = 0; r < 2; r++)
        f->replicas[r] = (struct plan_replica){.stages = f->stages + 2 * r,
                .n_stages = 2,
                .max_seqs = 4,
                .max_tokens = 16,
                .in_flight = 2,
                .kv_blocks = 8,
                .pos = {"plan.yaml", 10 + r, 5}};
    f->plan = (struct plan){.block_tokens = 4,
            .max_len = 32,
            .replicas = f->replicas,
            .n_replicas = 2,
            .n_ranks = 6};
}

static void check_refused(struct fixture *f, int n_ranks, const char *message)
{
    struct place place;
    struct err err = {0};

    assert_false(place_find(&place, &f->plan, &f->model, 0, n_ranks, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    assert_string_equal(err.text, message);
}

static void test_every_rank_finds_its_place(void **state)
{
    struct fixture f = {0};
    struct place p;
    struct err err = {0};
    (void)state;

    make(&f);
    assert_true(place_find(&p, &f.plan, &f.model, 4, 6, &err));
    assert_int_equal(p.replica, 1);
    assert_int_equal(p.stage, 0);
    assert_int_equal(p.tp_rank, 1);
    assert_true(p.first && !p.last && !p.leader);
    assert_int_equal(p.split.tp, 2);
    assert_true(place_find(&p, &f.plan, &f.model, 5, 6, &err));
    assert_true(p.last && !p.first);
    assert_int_equal(p.piece.first_layer, 4);
    assert_int_equal(place_in_replica(&p, 1, 0), 2);
    assert_true(place_find(&p, &f.plan, &f.model, 3, 6, &err));
    assert_true(p.leader);
    arena_free(&f.arena);
}

static void test_busy_counts_who_computes_at_once(void **state)
{
    struct fixture f = {0};
    (void)state;

    make(&f);
    assert_int_equal(place_busy(&f.plan, 0, 0, 0), 6);
    f.replicas[0].in_flight = f.replicas[1].in_flight = 1;
    assert_int_equal(place_busy(&f.plan, 0, 0, 0), 4);
    assert_int_equal(place_busy(&f.plan, 0, 1, 0), 2);
    f.plan.n_replicas = 1;
    assert_int_equal(place_busy(&f.plan, 0, 0, 0), 2);
    arena_free(&f.arena);
}

static void test_threads_of_a_host_are_those_of_all_its_ranks(void **state)
{
    static const int two_hosts[] = {0, 0, 1, 1, 1, 1};
    struct fixture f = {0};
    struct place p;
    struct err err = {0};
    (void)state;

    make(&f);
    f.stages[0].threads = 1000; /* ranks 0 and 1; more than any machine has CPUs */
    f.stages[2].threads = 3;    /* ranks 3 and 4 */
    assert_int_equal(place_host_threads(&f.plan, 5, NULL), 2000 + 1 + 6 + 1);
    assert_int_equal(place_host_threads(&f.plan, 1, two_hosts), 2000);
    assert_int_equal(place_host_threads(&f.plan, 2, two_hosts), 1 + 6 + 1);
    assert_int_equal(place_first_cpu(&f.plan, 1, two_hosts), -1);
    assert_true(place_find(&p, &f.plan, &f.model, 4, 6, &err));
    assert_int_equal(p.host_threads, 2008);
    arena_free(&f.arena);
}

/* One replica, groups of the first stage 2, of the second 1: that one serves both pools. */
static void test_a_group_serves_the_pools_of_stages_with_more_groups(void **state)
{
    struct fixture f = {0};
    struct place p;
    struct err err = {0};
    (void)state;

    make(&f);
    arena_free(&f.arena);
    if (!model_read(&f.model, SOURCE_DIR "/models/tiny-qwen3-moe.yaml", SOURCE_DIR, &f.arena, &err))
        fail_msg("%s", err.text);
    f.plan.n_replicas = 1;
    f.plan.n_ranks = 3;
    f.stages[0].tp = 1;
    f.stages[0].attention_dp = f.stages[0].ep = 2;
    f.stages[0].end_layer = f.stages[1].first_layer = 1;
    f.stages[1].end_layer = f.model.n_layers;
    assert_true(place_find(&p, &f.plan, &f.model, 1, 3, &err));
    assert_int_equal(p.n_pools, 2);
    assert_int_equal(p.first_pool, 1);
    assert_int_equal(p.group_pools, 1);
    assert_int_equal(p.last_groups, 1);
    assert_int_equal(p.max_rows, 16);
    assert_true(place_find(&p, &f.plan, &f.model, 2, 3, &err));
    assert_int_equal(p.first_pool, 0);
    assert_int_equal(p.group_pools, 2);
    assert_int_equal(p.max_rows, 32);
    assert_int_equal(p.kv_blocks, 16);
    arena_free(&f.arena);
}

/* Two groups, one expert in both; then maps of something else. */
static void test_experts_lie_where_the_map_says(void **state)
{
    static const int left[] = {0, 1, 2, 3, 7}, right[] = {4, 5, 6, 7};
    struct expert_device devices[2] = {{left, 5}, {right, 4}};
    struct expert_layer layers[4];
    struct expert_map map = {8, 5, layers, 4};
    struct fixture f = {0};
    struct place p;
    struct err err = {0};
    (void)state;

    make(&f);
    arena_free(&f.arena);
    if (!model_read(&f.model, SOURCE_DIR "/models/tiny-qwen3-moe.yaml", SOURCE_DIR, &f.arena, &err))
        fail_msg("%s", err.text);
    for (int l = 0; l < 4; l++)
        layers[l] = (struct expert_layer){
                .layer = l, .devices = devices, .n_devices = 2, .pos = {"map.yaml", 5 + l, 3}};
    f.plan.n_replicas = f.replicas[0].n_stages = f.replicas[0].in_flight = 1;
    f.plan.n_ranks = f.stages[0].ep = 2;
    f.stages[0].end_layer = f.model.n_layers;
    assert_true(place_find(&p, &f.plan, &f.model, 1, 2, &err));
    assert_int_equal(place_expert(&p, &f.model, 0, 1, 3), 7);
    assert_true(place_experts(&p, &f.model, &map, &err));
    assert_int_equal(p.split.expert_slots, 5);
    assert_int_equal(place_expert(&p, &f.model, 2, 0, 4), 7);
    assert_int_equal(place_expert(&p, &f.model, 2, 1, 3), 7);
    assert_int_equal(place_expert(&p, &f.model, 2, 1, 4), -1);
    layers[2].layer = 7;
    assert_false(place_experts(&p, &f.model, &map, &err));
    assert_string_equal(err.text, "map.yaml:7:3: found layer 7, expected 2: layers in order");
    map.n_layers = 3;
    err = (struct err){0};
    assert_false(place_experts(&p, &f.model, &map, &err));
    assert_string_equal(err.text,
            "map.yaml:5:3: the map has 3 layers of 8 experts, tiny-qwen3-moe has 4 of 8: place the "
            "experts of this model");
    map.n_layers = 4;
    err = (struct err){0};
    layers[2].layer = 2;
    layers[0].n_devices = 4;
    assert_false(place_experts(&p, &f.model, &map, &err));
    assert_string_equal(err.text,
            "plan.yaml:20:9: ep is 2, the expert map is for 4 devices: they must be equal on every "
            "stage");
    arena_free(&f.arena);
}

static void test_plans_that_cannot_run_are_refused(void **state)
{
    struct fixture f = {0};
    (void)state;

    make(&f);
    check_refused(&f, 4, "the plan is for 6 ranks, this job has 4");
    f.stages[1].first_layer = 5;
    check_refused(&f, 6, "plan.yaml:21:9: stage holds layers 5 to 6, expected it to start at 4");
    make(&f);
    f.stages[3].end_layer = 5;
    check_refused(&f, 6, "plan.yaml:23:9: the last stage ends at layer 5, tiny-llama has 6");
    make(&f);
    f.stages[2].tp = 1;
    check_refused(&f, 6, "plan.yaml:22:9: stage has 2 ranks, tp 1 x attention_dp 1 needs 1");
    make(&f);
    f.ranks[5] = 6;
    check_refused(&f, 6, "plan.yaml:23:9: rank 6 is not among the plan's 6 ranks");
    make(&f);
    f.ranks[5] = 0;
    check_refused(&f, 6, "plan.yaml:23:9: rank 0 stands in the plan twice");
    make(&f);
    f.stages[1].kv_dtype = STAGE_DTYPE_FIRST + DTYPE_F8;
    check_refused(&f, 6,
            "plan.yaml:21:9: the stage's KV cache has type f8, expected f32, bf16 or f16: the "
            "runtime executes no others, `shardwright simulate` does");
    make(&f);
    f.plan.dtype = DTYPE_F8_BLOCK;
    check_refused(&f, 6,
            "plan.yaml:20:9: the stage's weights have type f8_block, expected f32, bf16 or f16: "
            "the runtime executes no others, `shardwright simulate` does");
    make(&f);
    f.plan.mtp_layers = 1;
    check_refused(&f, 6,
            "the plan has memory for 1 multi-token-prediction layers, which the runtime does not "
            "execute: plan without --mtp");
    make(&f);
    f.replicas[1].in_flight = 3;
    check_refused(&f, 6, "plan.yaml:11:5: in_flight is 3, expected 1 to the 2 stages there are");
    make(&f);
    f.replicas[1].role = ROLE_DECODE;
    f.stages[2].attention_dp = 2;
    f.stages[2].tp = 1;
    check_refused(&f, 6,
            "plan.yaml:11:5: replica 1 has the role decode and 2 attention-dp groups, expected "
            "one: the runtime hands caches over to replicas of one group; `shardwright simulate` "
            "knows no limit");
    make(&f);
    f.plan.model_digest = "abc";
    f.model.digest = "def";
    check_refused(&f, 6,
            "the plan is for a model with digest abc, tiny-llama has def: plan again for this "
            "model");
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_every_rank_finds_its_place),
            cmocka_unit_test(test_busy_counts_who_computes_at_once),
            cmocka_unit_test(test_threads_of_a_host_are_those_of_all_its_ranks),
            cmocka_unit_test(test_a_group_serves_the_pools_of_stages_with_more_groups),
            cmocka_unit_test(test_experts_lie_where_the_map_says),
            cmocka_unit_test(test_plans_that_cannot_run_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
