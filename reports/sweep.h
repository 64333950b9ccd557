/*
 * sweep - the best plan at every value of one thing that a cluster could have more or less of: a CSV table
 * and a page with its chart.
 */
#ifndef REPORTS_SWEEP_H
#define REPORTS_SWEEP_H

#include "core/err.h"
#include "core/spec/plan.h"

struct sweep_point {
    double value;
    const char *change;      /* "h200.memory=2x" */
    const struct plan *plan; /* NULL: nothing fits */
    const char *why;         /* ... and why; NULL with a plan */
    double price_per_hour;   /* of the devices that the plan uses; 0 = unknown */
};

struct sweep {
    const char *model, *cluster, *workload;
    const char *target; /* "h200.memory" */
    bool factor;        /* values are factors of what the cluster has */
    const struct sweep_point *points;
    int n_points;
};

/* DIR/sweep.csv and DIR/report.html. */
MUST_CHECK bool sweep_write(
        const struct sweep *sweep, const char *dir, struct arena *arena, struct err *err);

#endif
