/*
 * columns_inside - the inside of planner/columns.h: columns.c generates patterns, columns_whole.c finds whole
 * numbers of them and closes the gap.
 */
#ifndef PLANNER_COLUMNS_INSIDE_H
#define PLANNER_COLUMNS_INSIDE_H

#include "planner/columns.h"
#include "planner/master.h"
#include "planner/pools.h"

/* Finer than this, sums of doubles decide. */
#define COLUMNS_FINEST 1e-9

/* Weights of devices and what they prove (C15). */
struct columns_proof {
    double weight[INSTANCE_KINDS];
    double least[ROLE_DECODE + 1]; /* no pattern of a role has a smaller ratio for these weights */
    double bound;
};

/* What the devices of a rest can do at most, by weights: whoever serves requests in a role takes at least so much
 * for each. It holds for rests within these devices. */
struct columns_cut {
    double weight[INSTANCE_KINDS], within[INSTANCE_KINDS];
    double least[ROLE_DECODE + 1]; /* 0 = nothing is known of the role */
    /* The same for patterns of a role that serve at most small_rate each. */
    double small[ROLE_DECODE + 1], small_rate[ROLE_DECODE + 1];
    double one[ROLE_DECODE + 1]; /* what a pattern of the role weighs at least */
};

struct solver {
    const struct instance *instance;
    const struct columns_options *options;
    struct columns_result *out;
    struct pricing *pricing;
    struct master master;
    struct master_prices prices;
    struct arena *arena, round; /* round: what one round forgets */
    int64_t deadline_ns;
    struct columns_proof proof; /* the best bound of the linear program so far */
    double bound;               /* proof.bound, or what whole numbers add to it */
    bool pooled;                /* pools may matter, and are known: */
    struct pools pools;
    struct columns_cut *cuts; /* of all rounds, and of rests (C22) */
    int n_cuts;
};

bool columns_late(const struct solver *s);
/* The gap that will do in the end. */
double columns_enough(const struct solver *s);
double columns_gap(const struct solver *s, double value, double bound);
/* The value that a bound must come to so that the gap is no larger than that. */
double columns_goal(const struct solver *s, double value);
/* Weights of so many devices become positive: at least a little of what all are worth on average. */
void columns_floor_weights(double *weight, const double *devices, int n_kinds);
/* What devices are worth, at least a little each, and for INSTANCE_PRICE what they cost, too. */
void columns_weights(double *weight, const struct solver *s);

/* Patterns that have joined since count nothing: whole->counts is as long as the list again. */
void columns_count_all(struct solver *s, struct master_whole *whole);
/* Whole numbers of replicas over the known patterns: rounded down and filled up, then the program, to its end if its bound is
 * wanted, too. */
MUST_CHECK bool columns_round(
        struct solver *s, struct master_whole *whole, bool prove, struct err *err);
/* Closes the gap of whole numbers as far as is asked for (columns_close.c); what is proven goes to s->bound. */
MUST_CHECK bool columns_close(struct solver *s, struct master_whole *whole, struct err *err);

/* Whether separate pools are possible: C19 to C22 are for them. */
bool columns_pooled(const struct solver *s);
/* s->pools for the weights of s->proof (C19). */
void columns_find_pools(struct solver *s);
/* The program knows all patterns of a role that matter, but for the slack. */
void columns_list_pools(struct solver *s, int role, double slack_frac);

/* Runs a query; its patterns join the program. Returns how many are new. */
int columns_ask(struct pricing_answer *out, struct solver *s, const struct pricing_query *query);

void columns_add_cut(struct solver *s, const struct columns_cut *cut);
/*
 * C22: looks for solutions that serve *aim or more. All decode and whole replicas that matter and serve more than the small
 * rate of their role are known, but for the slack. The best solution that was met is in *whole. *proven: no solution
 * serves more than *aim, which has been raised to what is left open and to what the gap of *whole allows.
 */
struct columns_split_ask {
    double slack_frac;
    double small_rate[ROLE_DECODE
                      + 1]; /* patterns that serve no more need not be known; 0 = all are */
    int looks;              /* for solutions only: rests that are rounded; 0 = all, for a proof */
    int64_t effort;         /* labels for what matters on a rest */
};
MUST_CHECK bool columns_split(struct solver *s, struct master_whole *whole,
        const struct columns_split_ask *ask, double *aim, bool *proven, struct err *err);

#endif
