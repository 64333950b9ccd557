/*
 * block - how each op of a layer is sharded, the exchanges between unlike shards priced: B1 to B4 of docs/ilp.md.
 *
 * A block is ops in order and edges between them. Each op is done in one of its ways; an edge costs what its two
 * ends make of it. One program a block; blocks follow each other by min-plus products of their tables.
 */
#ifndef PLANNER_BLOCK_H
#define PLANNER_BLOCK_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

enum {
    BLOCK_OPS = 16,
    BLOCK_WAYS = 8,
    BLOCK_EDGES = 24
};

struct block_way {
    const char *name;
    double us;
    int64_t bytes; /* of weights on a rank */
};

struct block_op {
    const char *name;
    struct block_way ways[BLOCK_WAYS];
    int n_ways;
};

struct block_edge {
    int from, to;                      /* ops */
    double us[BLOCK_WAYS][BLOCK_WAYS]; /* by their ways; HUGE_VAL = cannot follow */
};

struct block {
    struct block_op ops[BLOCK_OPS];
    int n_ops;
    struct block_edge edges[BLOCK_EDGES];
    int n_edges;
    int64_t most_bytes; /* of all ops together; 0 = any number */
};

struct block_answer {
    bool feasible;
    double us;
    int way[BLOCK_OPS];
};

/* The ways of least time. fixed: a way for each op, -1 = free; NULL = all are. */
MUST_CHECK bool block_solve(struct block_answer *out, const struct block *block, const int *fixed,
        struct arena *arena, struct err *err);
/* What given ways take; HUGE_VAL when they cannot follow or are too large. */
double block_value(const struct block *block, const int *way);
/* The least time from every way of op `entry` to every way of op `exit`, rows by entry; both have n ways. */
MUST_CHECK bool block_table(double *out, const struct block *block, int entry, int exit,
        struct arena *arena, struct err *err);
/* out = a then b, over n states; out may be neither. */
void block_join(double *out, const double *a, const double *b, int n);
/* out = the same table so many times in a row, by doubling; times >= 1. */
void block_power(double *out, const double *table, int n, int64_t times, struct arena *arena);

#endif
