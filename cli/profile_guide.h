/*
 * profile_guide - which sizes to measure next, for `profile --target-error`: those where the measured points predict
 * each other worst, weighted by their share of a step's time.
 *
 * Error: every measured point is left out with its row and column of the site and predicted from the rest
 * (planner/fit_width.h). Shares: profiler/points.h. docs/method.md, "Until an error".
 */
#ifndef CLI_PROFILE_GUIDE_H
#define CLI_PROFILE_GUIDE_H

#include "core/spec/profile.h"
#include "profiler/profiler.h"

struct profile_guide_kind {
    enum op_kind kind;
    int64_t n;           /* points that others predict */
    double share, error; /* of the steps; weighted mean of the absolute errors */
};

/* Zero-initialise; target and arena are the caller's. */
struct profile_guide {
    double target; /* fraction */
    struct arena *arena;
    struct profile_point *points; /* as measured so far, in no order; one per op */
    int *tries;                   /* how often each was proposed */
    int64_t n, room;
    /* After the last question: */
    bool reached;
    double error; /* weighted mean over all kinds; NaN = nothing could be told */
    struct profile_guide_kind kinds[OP_KIND_COUNT]; /* largest part of the error first */
    int n_kinds;
};

/* What is known already, and every point that is measured. A point of the same op replaces the old one. */
void profile_guide_add(struct profile_guide *guide, const struct profile_point *point);
/* profile_request.next. */
int64_t profile_guide_next(void *self, struct op *out, int64_t most, const struct points *points);

#endif
