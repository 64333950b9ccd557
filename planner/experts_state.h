/*
 * experts_state - a placement while it is being worked on, and the steps of experts_place.
 */
#ifndef PLANNER_EXPERTS_STATE_H
#define PLANNER_EXPERTS_STATE_H

#include "planner/experts.h"

struct experts_state {
    const struct experts_problem *problem;
    int *slot;     /* n_devices * slots, the first used[d] of a device are taken */
    int *used;     /* per device */
    int *replicas; /* per expert */
    double *load;  /* per device */
    bool *holds;   /* n_devices * n_experts */
    bool *had;     /* the same of the current map; NULL without one */
    int total;     /* replicas in all */
    int most;      /* ... allowed */
    int moved;     /* replicas that the current map does not have */
    int budget;    /* ... allowed */
};

void experts_state_init(
        struct experts_state *s, const struct experts_problem *problem, struct arena *arena);
void experts_state_copy(struct experts_state *to, const struct experts_state *from);
void experts_state_clear(struct experts_state *s);
/* One replica more or less on a device; the loads of all holders follow. */
void experts_state_add(struct experts_state *s, int device, int expert);
void experts_state_drop(struct experts_state *s, int device, int expert);
double experts_state_max(const struct experts_state *s, int *device);
/* Fills the state from slots as experts_map has them. */
void experts_state_load(struct experts_state *s, const int *slot);
/* 1 when the current map does not have this replica. */
int experts_copy(const struct experts_state *s, int device, int expert);

/* experts_greedy.c: spare slots go one by one to the largest share, then shares go, largest first, to the least
 * loaded device with room: the rule of DeepSeek's expert-parallelism load balancer. False when it ends with a
 * share that no device with room may hold. */
bool experts_greedy(struct experts_state *s);
/* The same packing for given numbers of replicas. */
bool experts_pack(struct experts_state *s, const int *replicas);
/* As few replicas as bring every share to at most cap, and then as the greedy rule up to `most`; false when
 * that takes more. */
bool experts_replicate(const struct experts_problem *problem, double cap, int most, int *replicas);

/* experts_improve.c: moves, swaps and splits until the fullest device cannot be relieved. */
void experts_descend(struct experts_state *s);
/* Descends from shaken copies of s until the deadline or until at most `enough`; keeps the best in s. */
void experts_shake(
        struct experts_state *s, double enough, int64_t deadline_ns, struct arena *arena);

/* experts_nodes.c: hands the devices' contents round so that nodes are even and replicas lie in unlike nodes, or, with
 * a current map, so that the fewest experts move. */
void experts_arrange(struct experts_state *s, struct arena *arena);
double experts_node_max(const struct experts_state *s);
double experts_home_frac(const struct experts_state *s);

struct experts_bound {
    double value;
    const char *proof;
    int64_t programs, nodes;
};
/* experts_room.c: bounds that need no program; `found` is a load that some placement reaches. */
void experts_simple_bound(struct experts_bound *bound, const struct experts_problem *problem,
        int most, double found, struct arena *arena);
/* Numbers of replicas that leave the most slots of use under a cap, replicas being dearer the larger `which`
 * (0 to 10) is; false when they are too many. */
bool experts_room_replicas(const struct experts_problem *problem, int most, double cap, int which,
        int *replicas, struct arena *arena);
/* experts_exact.c: all patterns in one program, where they are few; a better placement goes into s. */
MUST_CHECK bool experts_exact(struct experts_state *s, struct experts_bound *bound,
        int64_t deadline_ns, struct arena *arena, struct err *err);
/* experts_bound.c: raises the bound, by column generation, towards the load of s; at most until `enough`. */
MUST_CHECK bool experts_raise_bound(const struct experts_state *s, struct experts_bound *bound,
        double enough, int64_t deadline_ns, struct arena *arena, struct err *err);

#endif
