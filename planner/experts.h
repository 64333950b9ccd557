/*
 * experts - which device holds which experts of a mixture-of-experts layer, some of them more than once,
 * so that the fullest device has as little to do as possible (docs/ilp.md, "Placement of experts").
 *
 * The model: an expert of load w that has r replicas brings w / r to each of the r devices that hold one;
 * no device holds two of the same expert. Loads are shares of the layer's work in any unit (tokens routed).
 */
#ifndef PLANNER_EXPERTS_H
#define PLANNER_EXPERTS_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

#define EXPERTS_EMPTY        (-1) /* a slot without an expert */
#define EXPERTS_ANY_MOVES    (-1)
#define EXPERTS_MOST         4096
#define EXPERTS_MOST_DEVICES 1024
#define EXPERTS_MOST_SLOTS   1024 /* of one device */

struct experts_problem {
    const double *load; /* n_experts, finite, not negative */
    int n_experts;
    int n_devices, slots; /* slots of each device */
    int replicas;         /* at most so many in all, originals included; 0 = every slot */
    int n_nodes;          /* equal, consecutive groups of devices; 0 = 1 */
    const int *current;   /* n_devices * slots experts or EXPERTS_EMPTY; NULL = no map yet */
    int moves; /* copies of experts that may be made against current; EXPERTS_ANY_MOVES */
};

struct experts_limits {
    double time_s;   /* 0 = 10 */
    double gap_frac; /* stop as soon as this is proven; 0 = go on until it is optimal */
};

struct experts_map {
    int *slot;       /* n_devices * slots; experts of a device ascend, EXPERTS_EMPTY at the end */
    int *replicas;   /* n_experts */
    double *load;    /* n_devices */
    double max_load; /* of the fullest device: the objective */
    double bound;    /* proven: no placement has less, however many experts move */
    double gap_frac; /* 1 - bound / max_load */
    double mean;     /* load of a device when all are alike */
    double greedy;   /* what the greedy rule reaches; HUGE_VAL where it finds no legal placement */
    const char *proof; /* which argument gave the bound */
    int64_t programs, nodes;
    int moved;            /* copies against current; 0 without one */
    double node_max_load; /* of the fullest node */
    double home_frac; /* of the load: has a replica in a node drawn at random (1 with one node) */
    double seconds;
};

/* ERR_NO: no placement exists (too few slots, or --moves too small to complete the current map). */
MUST_CHECK bool experts_place(struct experts_map *out, const struct experts_problem *problem,
        const struct experts_limits *limits, struct arena *arena, struct err *err);

/* Every expert is held, none twice by a device, limits are kept, figures agree. Knows nothing of how
 * the map was found. */
MUST_CHECK bool experts_check(
        const struct experts_problem *problem, const struct experts_map *map, struct err *err);

#endif
