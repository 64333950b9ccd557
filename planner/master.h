/*
 * master - the program that chooses among known patterns: C8 to C11 of docs/ilp.md.
 *
 * Internal to planner/columns.c: a growing list of patterns, its linear relaxation with the prices of
 * devices, and its solution in whole numbers.
 */
#ifndef PLANNER_MASTER_H
#define PLANNER_MASTER_H

#include "planner/columns.h"

struct master {
    const struct instance *instance;
    enum instance_objective
            objective; /* that of the instance, or INSTANCE_THROUGHPUT on the way there */
    struct arena *arena;
    struct pattern *items;
    int n;
    const char *export_lp;
    int64_t programs, nodes;
    const char *trouble;
};

/* False when the pattern is known. */
bool master_add(struct master *master, const struct pattern *pattern);

/* The linear relaxation. Figures are per request a second, devices and prices as in the instance. */
struct master_prices {
    bool feasible;
    double value;
    double *count; /* of each pattern known by then */
    int n;
    double device[INSTANCE_KINDS]; /* what one more device is worth, at least 0 */
    double worth[ROLE_DECODE + 1]; /* of a request a second by a pattern of each role */
};
MUST_CHECK bool master_relax(
        struct master_prices *out, struct master *master, struct arena *arena, struct err *err);

/* Whole numbers. counts holds a solution on entry when `known`, and the best one on return. */
struct master_whole {
    bool known;
    double *counts; /* n */
    double value, bound;
    bool proven; /* within gap_frac */
};
struct master_limits {
    double gap_frac; /* good enough */
    double time_s;   /* 0 = none */
    int64_t nodes;   /* of the search tree; 0 = as many as it takes */
};
MUST_CHECK bool master_solve(struct master_whole *whole, struct master *master,
        const struct master_limits *limits, struct err *err);

/* Requests a second and price of counts. */
double master_served(const struct master *master, const double *counts);
double master_cost(const struct master *master, const double *counts);

#endif
