/*
 * experts_pricing - which contents of a device are worth most at given prices: the question behind the bound
 * of experts_bound.c. Prices are those of the relaxed program X6, X7 of docs/ilp.md.
 */
#ifndef PLANNER_EXPERTS_PRICING_H
#define PLANNER_EXPERTS_PRICING_H

#include "planner/experts_state.h"

#define EXPERTS_GRID        4096
#define EXPERTS_MOST_BLOCKS 32

/* r replicas or more, up to the first count of the next block. */
struct experts_block {
    int first, last;
    int grid;     /* the load of one share with `last` replicas, rounded down */
    double load;  /* of one share with `first` replicas */
    double worth; /* at the present prices; <= 0 is never taken */
};

struct experts_blocks {
    struct experts_block block[EXPERTS_MOST_BLOCKS];
    int n;
};

struct experts_item {
    int expert, replicas;
};

struct experts_content {
    const struct experts_item *items;
    int n;
};

struct experts_pricing {
    const struct experts_problem *problem;
    struct arena *arena;
    double cap; /* T */
    int most;   /* replicas in all */
    struct experts_blocks *blocks;
    struct experts_content *patterns;
    int64_t n_patterns, cap_patterns;
    double *price;  /* n_experts, then that of a slot: patterns are looked for at these */
    double *master; /* ... of the last program: what is worth at most 1 there is not kept */
    double *best;   /* (slots + 1) * (EXPERTS_GRID + 1) */
    uint8_t *taken; /* n_experts * slots * (EXPERTS_GRID + 1): block + 1, 0 = none */
};

/* Room for everything but the patterns; false when the table would be too large. */
bool experts_pricing_init(
        struct experts_pricing *b, const struct experts_state *s, struct arena *arena);
/* Sets the cap, forgets the patterns and begins with one for each expert; false when even the least
 * numbers of replicas are too many. */
bool experts_pricing_start(struct experts_pricing *b, double cap);
void experts_pricing_add(struct experts_pricing *b, const struct experts_item *items, int n);
/* Looks at price; patterns that master does not know are added. Returns the worth of the best one, or a
 * little more. */
double experts_pricing_look(struct experts_pricing *b);

#endif
