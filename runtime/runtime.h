/*
 * runtime - runs a plan against a workload on this rank. Collective over the ranks of the job.
 */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include "core/ranks.h"
#include "core/spec/expert_map.h"
#include "core/spec/measure.h"
#include "core/spec/workload.h"
#include "kernels/dev.h"
#include "models/model.h"

enum run_device {
    RUN_AS_PLANNED,
    RUN_CPU,
    RUN_CUDA
};
extern const char *const run_device_names[]; /* "auto", "cpu", "cuda"; NULL-terminated */

struct runtime_options {
    const struct plan *plan;
    const struct model *model;
    const char
            *weights; /* checkpoint directory; NULL = random weights from `seed` made in memory */
    const struct workload *workload;
    const struct requests *requests;
    const struct expert_map *experts; /* NULL = experts in equal parts */
    uint64_t seed;
    int warmup_steps; /* run before the clock starts; 0 = the default, 4; negative = none */
    enum dev_isa isa;
    int device; /* enum run_device: where all stages run, whatever the plan says */
    const int32_t *const *prompts; /* token ids per request, or NULL = request_token */
    bool keep_tokens;              /* rank 0 gets every request's tokens in the result */
    bool keep_logits;              /* ... and the logits of each sampled row, f32 (tests) */
    int64_t trace_events;          /* ops kept one by one on each rank, for a trace; 0 = none */
    /* Called on every rank when serving begins and when it has ended, warm-up left out; or NULL. */
    void (*serving)(void *self, bool begins);
    void *serving_self;
    double time_limit_s; /* 0 = none; then ERR_ENV and what was measured so far */
    /* What an op is predicted to cost, in microseconds; NaN = unknown. NULL = no predictions per op kind. */
    double (*cost_us)(void *self, const struct op *op);
    void *cost_self;
    struct algorithm_book *algorithms; /* of the GPU of this rank (kernels/dev.h), or NULL */
    /* Ops with fewer FLOP per byte count as bound by memory; 0 = 8. */
    double balance_flop_per_byte;
};

/* What one rank did, step by step and op by op; times count from the start of the run on that rank. */
struct rank_trace {
    int rank, replica, stage, index;
    const struct run_step *steps;
    int64_t n_steps;
    const struct run_event *events;
    int64_t n_events, events_lost; /* lost: there were more than trace_events */
};

/* On rank 0; other ranks get zeros. */
struct runtime_result {
    struct plan_figures measured;
    int64_t n_requests, n_finished, n_preemptions;
    int64_t n_refused_full, n_refused_late, n_reused_tokens;
    const struct run_request *records; /* by request */
    struct rank_trace *trace;          /* by rank, with trace_events */
    int n_trace;
    int32_t **tokens; /* [request][output_len], when kept */
    int64_t *n_tokens;
    float **logits; /* [request][output_len * vocab], when kept */
    const char *
            bottleneck; /* compute, memory, network, bubble, scheduler; arrivals: it was kept waiting */
    double bottleneck_frac;     /* of the makespan of the busiest stage */
    double load_s;              /* slowest rank */
    struct run_figure *figures; /* what went to the sink, in that order */
    int64_t n_figures;
};

/* Figures, requests and steps go to the sink on rank 0: per run, stage, rank and op kind. When time was up,
 * out is filled all the same. */
MUST_CHECK bool runtime_run(struct runtime_result *out, const struct runtime_options *options,
        struct ranks *ranks, const struct measure_sink *sink, struct arena *arena, struct err *err);

#endif
