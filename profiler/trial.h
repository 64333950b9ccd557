/*
 * trial - measure one op: repeat until stable, stop; the one place with that policy.
 *
 * Stops when the 95 % interval of the median is within 1 % of it ("interval"), when more samples have
 * ceased to narrow it ("noise"), or when the time is spent ("budget"). Samples during which the thread
 * lost its CPU are set aside and taken again; so are rounds with a slow clock or stolen time.
 */
#ifndef PROFILER_TRIAL_H
#define PROFILER_TRIAL_H

#include "core/spec/profile.h"
#include "profiler/source.h"

struct trial_limits {
    double half_width_frac; /* 0.01 */
    double budget_s;
    int min_samples;   /* before any stop but budget */
    int floor_samples; /* even when the budget is spent */
    int max_samples;
};
extern const struct trial_limits trial_limits_default;

struct trial_result {
    struct profile_point point;
    double *samples; /* point.samples of them, in order; in the arena */
    bool disturbed;  /* only disturbed samples could be had */
};

/* The figures of a point from samples, in microseconds and any order. */
void trial_summarise(
        struct profile_point *point, const double *samples, int n, struct arena *arena);
/* SKIP as the source says. */
MUST_CHECK enum source_answer trial_run(struct trial_result *out, const struct source *source,
        const struct op *op, const struct trial_limits *limits, struct arena *arena,
        struct err *err);

#endif
