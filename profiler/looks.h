/*
 * looks - points that are measured in several short looks, apart in time.
 *
 * A core whose neighbour works is slower for seconds, with neither stolen time nor a slow clock to show for it. One
 * look sees one state of the machine; the mean over looks is what a run that goes through its states takes.
 */
#ifndef PROFILER_LOOKS_H
#define PROFILER_LOOKS_H

#include "profiler/trial.h"

enum {
    LOOKS = 3
};

/* What earlier looks at a point gave. Zero: none yet. */
struct looked {
    struct profile_point point;
    double *samples; /* of all looks, one after the other */
    bool disturbed;  /* in every look */
};

/* Joins a further look: the cost is the mean of the looks' medians, their interval spans those of all looks, the
 * spread is that of all samples. */
void looks_add(struct looked *to, const struct trial_result *look, struct arena *arena);

#endif
