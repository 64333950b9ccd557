/*
 * measure - one measurement with its provenance, and the sink it goes to. Profiler and runtime hand
 * these out; they do not know the database.
 */
#ifndef CORE_SPEC_MEASURE_H
#define CORE_SPEC_MEASURE_H

#include "core/spec/plan.h"
#include "core/spec/profile.h"

/* Who measured, on what, with which build. origin: the file it was imported from, NULL when measured here. */
struct provenance {
    const char *host, *device, *kernel, *software, *commit, *build, *clocks, *origin;
    int64_t wall_s;
    int cores;
    double load; /* load average at the start */
};

enum figure_scope {
    FIGURE_RUN,
    FIGURE_REPLICA,
    FIGURE_STAGE,
    FIGURE_RANK,
    FIGURE_OP
};

/* One figure of a run, predicted beside measured; NaN where there is none. */
struct run_figure {
    enum figure_scope scope;
    int index;        /* replica, stage (replica * 1000 + stage) or rank */
    const char *name; /* "output_tokens_per_s", "busy_us", "gemm" */
    const char *unit;
    double predicted, measured, lo, hi;
};

/* How a request ended; every request ends once. */
enum request_outcome {
    REQUEST_PENDING, /* time was up first */
    REQUEST_FINISHED,
    REQUEST_REFUSED_FULL, /* the queue was full */
    REQUEST_REFUSED_LATE  /* its deadline passed before it began */
};

struct run_request {
    int64_t request;
    int replica;
    int64_t prompt_len, output_len;
    int64_t arrival_ns, first_token_ns, finish_ns; /* from the start of the run */
    int preemptions;
    int outcome;           /* enum request_outcome */
    int64_t reused_tokens; /* of the prompt, found in the prefix cache */
};

/* One executed step of one stage (rank 0 of the stage). */
struct run_step {
    int replica, stage;
    int64_t step;
    int64_t start_ns, busy_ns, wait_ns;
    int tokens, sequences, prefill_tokens;
    int64_t kv_tokens;
};

/* One op of one rank, for traces. */
struct run_event {
    int64_t start_ns, took_ns; /* start: from the start of the run */
    int32_t kind;              /* enum op_kind */
    int32_t step;              /* index of the rank's step it belongs to */
};

/* A function may be NULL: nobody listens. Returning false stops the stage that measures. */
struct measure_sink {
    void *self;
    bool (*point)(
            void *self, const struct profile_point *point, const double *samples, struct err *err);
    bool (*figure)(void *self, const struct run_figure *figure, struct err *err);
    bool (*request)(void *self, const struct run_request *request, struct err *err);
    bool (*step)(void *self, const struct run_step *step, struct err *err);
};

#endif
