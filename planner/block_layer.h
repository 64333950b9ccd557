/*
 * block_layer - the layers of a stage as blocks (planner/block.h): which ways a tensor-parallel group of tp ranks
 * has for each op of a layer, and what the best of them would save over the one that the runtime executes.
 *
 *   heads, columns   a rank's share of the rows or columns of weights; what follows gets parts that are added
 *   whole            every rank does all of it, with whole weights
 *   own rows         each rank does its share of the rows, with whole weights (norms: none to speak of)
 *
 * Costs are those of the cost model, waiting for the slowest rank left out. Layers with latent attention are not
 * known; experts stay as they are executed. Nothing here is emitted: the runtime executes one way of each.
 */
#ifndef PLANNER_BLOCK_LAYER_H
#define PLANNER_BLOCK_LAYER_H

#include "planner/block.h"
#include "planner/cost.h"

struct block_sharding {
    bool known;                  /* false: latent attention, or one rank */
    double executed_us, best_us; /* of the attention and dense MLPs of all layers of the piece */
    const char *ways;            /* of the best, in the layers there are most of */
};

/* A step of decodes on the layers of a stage. */
struct block_stage {
    struct cost_model *costs;
    int kind;
    struct split split;
    struct piece piece;
    const struct step_shape *shape;
    int64_t room_bytes; /* of a rank, that whole weights of each layer may take besides */
};

MUST_CHECK bool block_shard_layers(struct block_sharding *out, const struct block_stage *stage,
        struct arena *arena, struct err *err);

#endif
