/*
 * place - where this rank stands in the plan, and the groups of ranks it talks to.
 *
 * Replica group: the ranks of all stages in order, so rank 0 of it leads the replica. Stage group: the ranks
 * of one stage. Tensor group: the tp ranks of one attention-dp group of a stage.
 */
#ifndef RUNTIME_PLACE_H
#define RUNTIME_PLACE_H

#include "core/spec/expert_map.h"
#include "kernels/coll.h"
#include "models/graph.h"

struct place {
    const struct plan *plan;
    const struct plan_replica *replica_plan;
    const struct plan_stage *stage_plan;
    int rank; /* in the job */
    int replica, stage;
    int index;          /* in the stage */
    int group, tp_rank; /* attention-dp group; rank in it */
    int n_groups;
    int n_pools;                      /* of the replica: plan_pools */
    int first_pool, group_pools;      /* those of this group */
    int last_groups;                  /* attention-dp groups of the last stage */
    int max_rows;                     /* of this group in a step */
    int64_t kv_blocks;                /* of this group, over its pools */
    int ep_rank;                      /* which experts */
    int expert_tp, expert_tp_rank;    /* how each expert is split, and this rank's part */
    bool first, last;                 /* stage */
    bool leader;                      /* of the replica */
    int first_cpu;                    /* -1 = more threads than CPUs: not pinned */
    int host_threads;                 /* of all ranks of the host */
    const struct expert_map *experts; /* or NULL: each ep group has its part, in order */
    struct split split;
    struct piece piece;
    struct coll *replica_coll, *stage_coll, *tp_coll; /* may be one and the same */
    struct coll *job_coll; /* everybody; NULL where no replica hands caches over */
};

/* Checks the plan against the model and the job, with messages at the place in the plan. */
MUST_CHECK bool place_find(struct place *out, const struct plan *plan, const struct model *model,
        int rank, int n_ranks, struct err *err);
/* Experts as the map says; its devices are the ep groups of a stage, its layers the model's with experts. */
MUST_CHECK bool place_experts(struct place *place, const struct model *model,
        const struct expert_map *map, struct err *err);
/* What ep group `group` holds of a layer with experts in its slot; -1 = nothing. */
int place_expert(
        const struct place *place, const struct model *model, int layer, int group, int slot);

/* Opens the groups; all ranks of the job call it. */
MUST_CHECK bool place_connect(struct place *place, struct arena *arena, struct err *err);
void place_disconnect(struct place *place);

/* Rank in the replica group of a stage's rank. */
int place_in_replica(const struct place *place, int stage, int index);
/* Ranks of a machine of the plan that compute at once while stage `stage` of the replica does. */
int place_busy(const struct plan *plan, int replica, int stage, int machine);
/* Threads of all ranks on the host of `rank`. host_of: host of each rank, NULL = by the plan's machines. */
int place_host_threads(const struct plan *plan, int rank, const int *host_of);
/* Where a rank's CPUs begin among those of its host. -1 = more threads than CPUs: not pinned. */
int place_first_cpu(const struct plan *plan, int rank, const int *host_of);
/* Machines between two ranks that exchange: 2 when they are on different ones, else 0. For op.nodes. */
int place_apart(const struct plan *plan, int rank, int other);

#endif
