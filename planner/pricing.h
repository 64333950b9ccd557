/*
 * pricing - the patterns that are worth most for what their devices cost: the subproblem of column
 * generation (docs/ilp.md, C12 to C15).
 *
 * Every kind of device has a weight, in requests a second. A pattern's ratio is
 *
 *     weight . devices / requests_per_s:
 *
 * what its devices could do elsewhere for what it does here. It is found by labels over the boundaries
 * between layers, extended stage by stage; a label dies when another one of the same stage count and
 * boundary is nowhere worse, or when a lower bound of every completion is above the limit asked for.
 */
#ifndef PLANNER_PRICING_H
#define PLANNER_PRICING_H

#include "planner/instance.h"

struct pricing; /* hidden: it owns prices, labels and bounds that do not depend on weights */

MUST_CHECK struct pricing *pricing_open(const struct instance *instance, struct err *err);
void pricing_close(struct pricing *pricing);
const struct price_table *pricing_table(const struct pricing *pricing);

struct pricing_query {
    int role;             /* enum replica_role */
    const double *weight; /* of a device of each kind, above 0 */
    double below;         /* only patterns with a smaller ratio */
    double spread; /* also those within this factor of the best one found, e.g. 1.05; at least 1 */
    /* Instead of ratios: every pattern with requests_per_s - weight . devices >= -loss that no other
     * beats in devices and rate. below and spread are then not used. */
    bool all;
    double loss;
    /* With all: left out is also what another pattern beats that serves less by up to this share. */
    double slack_frac;
    const struct pattern
            *known; /* with all: what is known already; only what none of these beats */
    int n_known;
    /* What a pattern may weigh, by its rate in steps, rounded up; the last entry holds for all higher rates. NULL = any
     * weight. Never falls. */
    const double *allowed;
    int n_allowed;
    double steps_per_rate;
    const int64_t *devices; /* of each kind, at most what there are; NULL = all of them */
    /* Higher rates are no better than this one; 0 = they are. Without `all`, limits with which no pattern serves as little
     * are left out. */
    double most_rate;
    double least_rate;   /* with all: patterns that serve less are left out */
    int64_t effort;      /* labels that may be spent; 0 = as many as it takes */
    int64_t deadline_ns; /* of clock_now_ns; 0 = none */
};

struct pricing_answer {
    struct pattern *items; /* in the arena: by limits; with all, in the order found */
    int n;
    double least; /* no pattern of the role has a smaller ratio; HUGE_VAL when there is none at all */
    bool complete; /* false: labels or time ran out, and items may lack some; least is a bound even so */
    int64_t labels;
};

/* Something to begin with: the best even split of every kind and configuration over all limits. */
void pricing_guess(struct pricing_answer *out, struct pricing *pricing,
        const struct pricing_query *query, struct arena *arena);

/* No pattern of a role on these devices (NULL = all there are) weighs less; HUGE_VAL when there is none. */
double pricing_lightest(
        struct pricing *pricing, int role, const double *weight, const int64_t *devices);

void pricing_run(struct pricing_answer *out, struct pricing *pricing,
        const struct pricing_query *query, struct arena *arena);

#endif
