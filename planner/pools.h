/*
 * pools - what pools of whole replicas weigh at least for what they serve (docs/ilp.md, C19 and C20).
 *
 * Devices have weights. Linear programs let a fraction of a replica serve a fraction of its rate; here the least weight
 * of patterns of a role that serve a rate together goes up in steps of whole replicas. Which patterns there are may not
 * be known yet: a line and the lightest pattern bound the steps from below until all that matter are listed. Rates are
 * looked at in `step`s, rounded so that what is said to be impossible is.
 */
#ifndef PLANNER_POOLS_H
#define PLANNER_POOLS_H

#include "planner/instance.h"

enum {
    POOLS_STEPS = 1024
};

struct pools {
    double budget;                  /* weight of all devices */
    double step;                    /* requests a second */
    double one[ROLE_DECODE + 1];    /* the lightest pattern of a role weighs at least this */
    double ratio[ROLE_DECODE + 1];  /* ... and at least this much for a request a second */
    double *least[ROLE_DECODE + 1]; /* of a role, for so many steps together; 0 for none of them */
};

/* No solution serves more than most. Every role weighs nothing so far. */
void pools_init(struct pools *pools, double budget, double most, struct arena *arena);
/* No pattern of a role has a smaller ratio of weight to rate, none weighs less than `one`. HUGE_VAL = there is none.
 * Lists are forgotten. */
void pools_line(struct pools *pools, int role, double ratio, double one);
/* These are all patterns of the role that can matter, but that each may serve more by the share `slack_frac`. What
 * matters depends on the value that is to be beaten: a list is for one aim, and for higher ones. */
struct pools_item {
    double weight, rate;
};
void pools_list(struct pools *pools, int role, const struct pools_item *items, int n,
        double slack_frac, struct arena *arena);

/* No solution serves more than this. */
double pools_bound(const struct pools *pools);
/*
 * C20: what a pattern of a role may weigh in a solution that serves `aim` or more, by the steps that it serves itself
 * (POOLS_STEPS + 1 of them; rates rounded up); below 0: it may not be there. Returns the most that its role ever
 * serves in such solutions: a pattern that serves more is no better than one that serves this.
 */
double pools_allow(double *allowed, const struct pools *pools, int role, double aim);

#endif
