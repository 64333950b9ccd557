/*
 * profiler - measures what the models and layouts need and the given profile lacks.
 *
 * Runs as a collective over the ranks of the job. Points go to the sink on rank 0 as soon as they are
 * measured, so that a killed run loses nothing; a second call with what it stored measures nothing.
 */
#ifndef PROFILER_PROFILER_H
#define PROFILER_PROFILER_H

#include "core/ranks.h"
#include "core/spec/cluster.h"
#include "core/spec/measure.h"
#include "core/spec/workload.h"
#include "models/model.h"
#include "profiler/probe.h"
#include "profiler/source.h"

struct points; /* profiler/points.h */
struct profile_request {
    const struct model *models;
    int n_models;
    const struct cluster *cluster;
    const struct profiler_target *target; /* which kind; NULL = the first */
    enum dtype dtype, kv_dtype;
    int64_t max_tokens, max_seqs, max_len; /* largest step and sequence to cover */
    double budget_s;                       /* stop after this; 0 = none */
    double point_budget_s;                 /* at most this per point; default 0.25 */
    const struct profile *known;           /* on rank 0; NULL elsewhere */
    const char *record;                    /* write what is measured to this file, or NULL */
    const char *replay; /* play back from this file instead of measuring, or NULL */
    /* Asked again and again once the coarse sizes are measured: at most `most` ops worth measuring next, of the
     * grid or not, once more or for the first time; 0 ends it. On rank 0; set on all ranks or none; may be NULL. */
    int64_t (*next)(void *self, struct op *out, int64_t most, const struct points *points);
    void *next_self;
};

/* Best rates of one rank with `degree` threads while `busy` ranks work, over all points measured. */
struct profiler_ceiling {
    int degree, busy;
    double peak_flops, peak_bytes_per_s;
};

enum {
    PROFILER_CEILINGS = 32
};

struct profile_summary {
    int64_t wanted, known, measured; /* points */
    int64_t skipped;                 /* do not fit in memory, or are not in the recording */
    int64_t left;      /* not reached within the budget; a second call goes on with them */
    int64_t guided;    /* of the measured: those that request->next asked for */
    int64_t disturbed; /* measured, but never without interference */
    double seconds, estimate_s;
    struct profiler_ceiling ceilings[PROFILER_CEILINGS];
    int n_ceilings;
};

/* A device kind that can be measured, and the ranks on its machines (those of its largest size). */
struct profiler_target {
    const struct device_kind *kind;
    const struct cluster_node *node; /* the first of its nodes of that size */
    struct source_layout layout;
};
/* The kinds of the cluster that have machines, in its order, those of GPUs if wanted; ranks are numbered kind by kind. */
int profiler_targets(struct profiler_target **out, const struct cluster *cluster, bool gpus,
        struct arena *arena);
/* Machine of each rank of the targets, counted in the order of the cluster's nodes; returns the ranks. */
int profiler_machines(int **out, const struct profiler_target *targets, int n,
        const struct cluster *cluster, struct arena *arena);

/* Fills summary only (dry run) when sink is NULL. Collective; every rank gets the same answer. */
MUST_CHECK bool profiler_run(struct profile_summary *summary, const struct profile_request *request,
        struct ranks *ranks, const struct measure_sink *sink, struct err *err);

/* Fresh random shapes, not those of the grid: predicted (by `predict`) against measured, per op kind and class of
 * cost. Every shape is measured twice, in two passes over all of them; the quicker one counts,
 * because disturbance only adds. Errors are fractions of the
 * measured cost; bias is positive where too much was predicted; noise is the mean difference of the two
 * passes. */
struct check_row {
    enum op_kind kind;
    int size_class; /* enum cost_class by what was measured, or COST_CLASSES: all of the kind */
    int64_t n;
    double mape, median, p90, p99, bias, coverage, noise;
};
enum {
    CHECK_ROWS = OP_KIND_COUNT * (COST_CLASSES + 1)
};
struct check_request {
    /* What the cost model says; false = nothing. Called on rank 0 only. */
    bool (*predict)(void *self, const struct op *op, double *us, double *lo_us, double *hi_us);
    void *self;
    int64_t n;     /* sizes to measure */
    uint64_t seed; /* draws them */
};
/* rows: CHECK_ROWS of them, by kind, all of it first; filled on rank 0. */
MUST_CHECK bool profiler_check(struct check_row *rows, int *n_rows,
        const struct profile_request *request, const struct check_request *sizes,
        struct ranks *ranks, struct err *err);

#endif
