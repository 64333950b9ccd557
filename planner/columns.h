/*
 * columns - which patterns, and how many of each: the whole cluster, by column generation.
 *
 * A linear master program over the patterns known so far gives every kind of device a price; planner/
 * pricing.h finds patterns that are worth more than their devices cost; when there are none, the linear
 * optimum is proven, and with it a bound for whole numbers of replicas. A rounded solution, an integer
 * program over the patterns and, while the gap is larger than asked for, all patterns that could still
 * matter close it. docs/ilp.md, C8 to C15.
 */
#ifndef PLANNER_COLUMNS_H
#define PLANNER_COLUMNS_H

#include "planner/pricing.h"

struct columns_options {
    double gap_frac; /* good enough; 0 = prove the optimum */
    /* Good enough once the integer program is solved, if larger: the last bit is not worth listing all that matters (C14). */
    double close_frac;
    double time_limit_s;   /* 0 = none; the incumbent and its bound are returned */
    const char *export_lp; /* write the last integer program there, or NULL */
    bool relax_only;       /* the linear program and its bound: no replicas are chosen */
};

struct columns_pick {
    struct pattern pattern;
    int64_t count;
};

struct columns_result {
    bool feasible; /* picks are a solution */
    bool proven;   /* the bound holds within gap_frac, or nothing is feasible for certain */
    struct columns_pick *picks; /* by role, then pattern_compare */
    int n_picks;
    /* requests a second, or the price a second for INSTANCE_PRICE; bound is on the other side of value. Where a
     * demand cannot be met: the most requests a second that anything can serve. */
    double value, bound, gap_frac;
    double requests_per_s; /* where a demand cannot be met: the most that is known to be possible */
    double linear;         /* the bound of the linear program alone */
    double *device_worth; /* dual price of a device of each kind, requests a second (of price: price) */
    struct pattern *known; /* every pattern of the master program */
    int n_known;
    int64_t rounds, labels, programs, nodes;
    const char *trouble; /* a solver died on the way; NULL normally */
};

MUST_CHECK bool columns_solve(struct columns_result *out, const struct instance *instance,
        const struct columns_options *options, struct arena *arena, struct err *err);

/* Value and budgets of picks anew: requests a second that they serve together. False when they take more
 * devices than there are. */
bool columns_value(double *requests_per_s, const struct instance *instance,
        const struct columns_pick *picks, int n_picks);

#endif
