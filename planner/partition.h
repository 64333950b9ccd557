/*
 * partition - layers -> stages of one replica: arcs and bisection, as in docs/ilp.md.
 *
 * An arc is "layers [first, end) on one group of devices of a kind". The caller lists those that are
 * legal and fit in memory, with what they cost; a partition is a path of n_stages arcs over all layers
 * that uses no more groups of a kind than there are. Its pace is
 *
 *     T = max( the slowest stage, (all stages and transfers) / in_flight ),
 *
 * the time between two micro-batches when in_flight of them share the pipeline. The program finds the
 * smallest T and proves it.
 */
#ifndef PLANNER_PARTITION_H
#define PLANNER_PARTITION_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

struct partition_arc {
    int kind, first, end;
    double us;      /* of the stage */
    double send_us; /* to hand its output on; 0 where it is the last */
};

struct partition_problem {
    const char *name;
    int n_layers, n_stages, n_kinds, in_flight;
    const int *budget; /* groups of each kind */
    const struct partition_arc *arcs;
    int n_arcs;
    double time_limit_s;   /* of everything; 0 = none */
    const char *export_lp; /* write the last program there, or NULL */
};

struct partition_result {
    bool feasible;             /* a partition is known */
    bool proven;               /* value is the optimum, or infeasibility is certain */
    int *arcs;                 /* n_stages indices, in order of layers */
    double value_us, bound_us; /* T and its proven lower bound */
    int64_t programs, nodes;
    const char *trouble; /* the solver died on the way; NULL normally */
};

/* T of a partition. */
double partition_pace(const struct partition_problem *problem, const int *arcs);
/* A good partition without a solver, exact for one kind whose costs grow with the layers; feasible is
 * false when it found none, which proves nothing. bound_us is the simple one: the mean stage. */
void partition_guess(
        struct partition_result *out, const struct partition_problem *problem, struct arena *arena);
/* The best partition, with proof. A time limit or a dead solver leaves the best known and the bound. */
MUST_CHECK bool partition_solve(struct partition_result *out,
        const struct partition_problem *problem, struct arena *arena, struct err *err);

#endif
