/*
 * lookup - what an op of any size costs, from the sizes that were measured. Never extrapolates in
 * silence: the source says how the figure came about.
 */
#ifndef PLANNER_LOOKUP_H
#define PLANNER_LOOKUP_H

#include "core/spec/profile.h"

struct cost {
    double us, lo_us, hi_us;
    enum cost_source source;
};

struct lookup; /* an index over a profile, which must outlive it */
MUST_CHECK struct lookup *lookup_open(const struct profile *profile, struct err *err);
void lookup_close(struct lookup *lookup);
/* Exact, else interpolated, else a roofline figure (estimated). Memoises: not for several threads. */
struct cost lookup_cost(struct lookup *lookup, const struct op *op);

#endif
