/*
 * Plans of the fixture's model put together by hand, for the simulator, and what their steps take by the cost model.
 * Include after cmocka.
 */
#ifndef TESTS_UNIT_PLANNER_SCENE_H
#define TESTS_UNIT_PLANNER_SCENE_H

#include <math.h>
#include <string.h>

#include "planner/simulate.h"

#include "planner_fixture.h"

enum {
    SCENE_LAYERS = 4,
    SCENE_REPLICAS = 8,
    SCENE_STAGES = 3
};

struct scene {
    struct fixture f;
    struct plan plan;
    struct plan_replica replicas[SCENE_REPLICAS];
    struct plan_stage stages[SCENE_REPLICAS][SCENE_STAGES];
    int ranks[SCENE_REPLICAS * SCENE_STAGES];
    struct cost_model *costs;
};

/* Equal replicas of one sequence at a time; layers of each stage, on one device each. */
static inline void scene_open(struct scene *s, int n_replicas, const int *layers, int n_stages)
{
    struct err err = {0};
    memset(s, 0, sizeof *s);
    fixture_model(&s->f, SCENE_LAYERS, 0);
    fixture_kind(&s->f, "core", SCENE_REPLICAS * SCENE_STAGES, INT64_C(1) << 32, 5e10, 1e10);
    s->plan = (struct plan){.model = "little",
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .block_tokens = 16,
            .max_len = 256,
            .replicas = s->replicas,
            .n_replicas = n_replicas};
    for (int r = 0; r < n_replicas; r++) {
        int at = 0;
        s->replicas[r] = (struct plan_replica){.stages = s->stages[r],
                .n_stages = n_stages,
                .max_seqs = 1,
                .max_tokens = 64,
                .in_flight = 1,
                .kv_blocks = 64};
        for (int i = 0; i < n_stages; i++) {
            int rank = s->plan.n_ranks++;
            s->ranks[rank] = rank;
            s->stages[r][i] = (struct plan_stage){.first_layer = at,
                    .end_layer = at + layers[i],
                    .tp = 1,
                    .ep = 1,
                    .attention_dp = 1,
                    .threads = 1,
                    .kind = "core",
                    .ranks = &s->ranks[rank],
                    .n_ranks = 1};
            at += layers[i];
        }
    }
    s->costs = cost_open(&s->f.model, &s->f.cluster, NULL, 0, &err);
    assert_non_null(s->costs);
}

static inline void scene_close(struct scene *s)
{
    cost_close(s->costs);
    arena_free(&s->f.arena);
}

/* most_requests: of which replicas stand for others, 0 = all are simulated. */
static inline void scene_simulate(
        struct simulate_result *out, struct scene *s, int64_t most_requests)
{
    struct err err = {0};
    struct simulate_input input = {
            &s->plan, &s->f.workload, &s->f.requests, s->costs, most_requests};
    if (!simulate_run(out, &input, &s->f.arena, &err))
        fail_msg("%s", err.text);
}

static inline int64_t scene_ns(double us)
{
    return llround(us * 1e3);
}

/* Of a stage of the first replica, as everything below. */
static inline struct split scene_split(const struct scene *s, int stage)
{
    int kind;
    return cost_plan_split(&s->plan, &s->replicas[0], &s->stages[0][stage], &s->f.cluster, &kind);
}

static inline int64_t scene_step_ns(
        const struct scene *s, int stage, const struct step_shape *shape)
{
    const struct plan_stage *at = &s->stages[0][stage];
    struct split split = scene_split(s, stage);
    struct step_cost cost;
    cost_piece(&cost, s->costs, 0, &split, (struct piece){at->first_layer, at->end_layer}, shape);
    return scene_ns(cost.us);
}

static inline int64_t scene_prefill_ns(const struct scene *s, int stage, int64_t len)
{
    struct seq_shape seq = {len, len};
    return scene_step_ns(s, stage,
            &(struct step_shape){.tokens = len,
                    .group_tokens = len,
                    .prefill = &seq,
                    .n_prefill = 1,
                    .logits_rows = 1});
}

/* kv: tokens that all sequences of the batch see together. */
static inline int64_t scene_decode_ns(const struct scene *s, int stage, int64_t batch, int64_t kv)
{
    return scene_step_ns(s, stage,
            &(struct step_shape){.tokens = batch,
                    .group_tokens = batch,
                    .decode_batch = batch,
                    .decode_kv_tokens = kv,
                    .logits_rows = batch});
}

#endif
