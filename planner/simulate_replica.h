/*
 * simulate_replica - one replica of a plan, its requests, and the clock. Private to simulate.
 */
#ifndef PLANNER_SIMULATE_REPLICA_H
#define PLANNER_SIMULATE_REPLICA_H

#include "planner/simulate.h"
#include "planner/stage_cost.h"

/* What falls to a replica: its requests as they reach it, ascending, and which they are in the input. */
struct replica_load {
    struct request *items;
    int64_t *ids;
    int64_t n;
};

/* What a replica is to the simulator. */
struct replica_view {
    const struct plan_replica *replica;
    int index;           /* in the plan */
    struct split split;  /* of stage 0: the leader's */
    int kind;            /* of stage 0 */
    int n_groups;        /* attention-dp groups that are simulated; the others are like them */
    bool between_nodes;  /* its stages pass rows from node to node */
    int64_t block_bytes; /* of one KV block over all ranks of an attention-dp group */
    struct stage_cost **stages; /* opened by replica_open */
};

/* ERR_INPUT at a stage whose device kind the cluster lacks. */
MUST_CHECK bool replica_open(struct replica_view *out, const struct simulate_input *input,
        struct stage_costs *costs, int index, struct arena *arena, struct err *err);
/* Twice does no harm. */
void replica_close(struct replica_view *view);
/* Whether two replicas do the same work at the same speed. */
bool replica_alike(const struct replica_view *a, const struct replica_view *b);
/* Runs the load and fills in its requests' records, and the replica's entries of stages; busy_frac is still in
 * nanoseconds. */
MUST_CHECK bool replica_run(struct simulate_result *out, struct simulate_stage *stages,
        const struct replica_view *view, const struct simulate_input *input,
        const struct replica_load *load, struct err *err);

#endif
