/*
 * plan_layouts - every way to lay a model's plan out over a number of ranks: replicas of stages, each of a split
 * that graph_legal allows on deterministic devices. What a plan has besides, limits and layers, is not in it.
 */
#ifndef TESTS_MPI_PLAN_LAYOUTS_H
#define TESTS_MPI_PLAN_LAYOUTS_H

#include "core/spec/expert_map.h"
#include "models/graph.h"

enum {
    LAYOUT_RANKS = 16,
    LAYOUT_STAGES = 4
};

struct shape {
    int tp, adp, ep;
};

/* For each replica its stages. */
struct layout {
    struct shape stages[LAYOUT_RANKS][LAYOUT_STAGES];
    int n_stages[LAYOUT_RANKS], n_replicas;
};

struct layouts {
    struct layout *items; /* to be freed */
    int64_t n, cap;
};

/* Replicas do not grow from first to last, so that no plan comes twice in another order. */
void layouts_find(struct layouts *out, const struct model *model, int n_ranks);
/* The ep that all stages of all replicas have; 0 = they differ. */
int layout_ep(const struct layout *layout);
/* An expert map for ep groups: parts in another order on every layer, and on all devices but the first the expert after theirs once more. */
void layout_place_experts(
        struct expert_map *map, const struct model *model, int ep, struct arena *arena);
/* Ranks of a stage. */
int layout_ranks(const struct shape *shape);

#endif
