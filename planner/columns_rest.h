/*
 * columns_rest - what prefill and whole replicas can do on the devices that a choice of replicas leaves (docs/ilp.md,
 * C22): a linear program with column generation, and where that is not enough an integer program over what matters there.
 *
 * Internal to planner/columns_split.c, which walks through the choices.
 */
#ifndef PLANNER_COLUMNS_REST_H
#define PLANNER_COLUMNS_REST_H

#include "planner/columns_inside.h"

/* Sums of doubles: what is over by this share may be rounding. */
#define REST_ROUNDING 1e-9

struct split_item {
    int pattern; /* of the master */
    double rate;
};

struct split {
    struct solver *s;
    struct master_whole *whole;
    double aim; /* nothing that serves more is known to be impossible */
    double slack_frac;
    /* Decode and whole replicas that serve no more are no items: the program of a rest has them. */
    double small_rate[ROLE_DECODE + 1];
    struct split_item *items; /* whole replicas, then decode replicas, the fastest first */
    int n_items, n_whole;
    int looks;      /* rests to be rounded, without a proof; 0 = a proof is wanted */
    int looked;     /* ... that were priced for that */
    int listed;     /* rests on which a proof has listed what matters */
    int64_t effort; /* labels for what matters on a rest */
    int *path;      /* patterns of the branch */
    int n_path;
    int64_t nodes;
    bool open; /* ended without an answer */
    struct err *err;
};

/* What a branch leaves, and the requests a second that its replicas take. */
struct rest {
    double devices[INSTANCE_KINDS];
    double whole, decode;
    int next; /* item */
};

static inline const struct pattern *rest_pattern(const struct split *sp, int i)
{
    return &sp->s->master.items[i];
}

static inline int rest_role(const struct split *sp, int i)
{
    return sp->s->instance->limits[rest_pattern(sp, i)->limits].role;
}

bool rest_fits(const struct split *sp, const struct pattern *pattern, const double *devices);
/* What decode replicas may take in all if those that were left out are there: more by the slack. */
double rest_taken(const struct split *sp, const struct rest *rest);
/* What a rest has to serve beside the whole replicas of its branch. */
double rest_needed(const struct split *sp, const struct rest *rest);
/* The most that a rest can serve by the ratios of a cut: prefill as far as the decode replicas of the branch take it, then
 * whole replicas, or prefill and more decode replicas. more: items may come, too. */
double rest_most(
        const struct split *sp, const struct columns_cut *cut, const struct rest *rest, bool more);
/* The items of a branch and no more: what can the others do beside them? Less than the aim, a solution that is taken, an
 * aim that is raised, or sp->open. False: an error, sp->err. */
bool rest_judge(struct split *sp, const struct rest *rest);

#endif
