/* What sharding each op of a layer for itself would save in the stage that sets the pace. */
#include <math.h>

#include "planner/block_layer.h"
#include "planner/explain.h"

bool explain_sharding(struct plan *plan, const struct finalist *chosen, const struct solve *solve,
        struct arena *arena, struct err *err)
{
    struct arena scratch = {0};
    struct block_sharding found;
    const struct simulate_result *sim = &chosen->sim;
    int busiest = 0;
    for (int s = 1; s < sim->n_stages; s++)
        if (sim->stages[s].busy_frac > sim->stages[busiest].busy_frac)
            busiest = s;
    /* Stages are counted through the replicas. */
    int r = 0;
    int at = busiest;
    while (r + 1 < plan->n_replicas && at >= plan->replicas[r].n_stages)
        at -= plan->replicas[r++].n_stages;
    const struct plan_replica *replica = &plan->replicas[r];
    const struct plan_stage *stage = &replica->stages[at];
    int kind;
    struct split split = cost_plan_split(plan, replica, stage, solve->input->cluster, &kind);
    struct piece piece = {stage->first_layer, stage->end_layer};
    int64_t seqs = (replica->max_seqs + stage->attention_dp - 1) / stage->attention_dp;
    const struct step_shape shape = {.tokens = seqs,
            .group_tokens = seqs * stage->attention_dp,
            .decode_batch = seqs,
            .decode_kv_tokens =
                    seqs * (int64_t)ceil(solve->demand.prompt + solve->demand.output / 2),
            .logits_rows = seqs};
    int64_t room = solve->input->cluster->kinds[kind].memory_bytes * stage->threads
                   - stage->weight_bytes - stage->kv_bytes - stage->work_bytes;
    room = room > 0 ? room / (piece.end_layer - piece.first_layer) : 0;
    const struct block_stage question = {solve->costs, kind, split, piece, &shape, room};
    bool ok = block_shard_layers(&found, &question, &scratch, err);
    if (ok && found.known && replica->role != ROLE_PREFILL)
        plan->why.sharding = (struct plan_sharding){.replica = r,
                .stage = at,
                .executed_us = found.executed_us,
                .best_us = found.best_us,
                .ways = arena_strdup(arena, found.ways),
                .runs = found.best_us >= found.executed_us * (1 - 1e-6)};
    arena_free(&scratch);
    return ok;
}
