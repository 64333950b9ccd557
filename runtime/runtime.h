/*
 * runtime - runs a plan against a workload on this rank. Collective over the ranks of the job.
 */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include "core/ranks.h"
#include "core/spec/measure.h"
#include "core/spec/workload.h"
#include "kernels/dev.h"
#include "models/model.h"

struct runtime_options {
    const struct plan *plan;
    const struct model *model;
    const char *weights;        /* checkpoint directory; NULL = random weights from `seed` made in memory */
    const struct workload *workload;
    const struct requests *requests;
    uint64_t seed;
    int warmup_steps;           /* run before the clock starts; default 2 */
    enum dev_isa isa;
    const int32_t *const *prompts; /* token ids per request, or NULL = request_token */
    const int32_t *stop_ids;
    int n_stop_ids;
    bool keep_tokens;           /* rank 0 gets every request's tokens in the result */
    bool keep_logits;           /* ... and the logits of each sampled row, f32 (tests) */
    double time_limit_s;        /* 0 = none; then ERR_ENV and what was measured so far */
};

/* On rank 0; other ranks get zeros. */
struct runtime_result {
    struct plan_figures measured;
    int64_t n_requests, n_finished;
    int32_t **tokens;           /* [request][output_len], when kept */
    int64_t *n_tokens;
    float **logits;             /* [request][output_len * vocab], when kept */
    const char *bottleneck;     /* compute, memory, network, bubble, scheduler */
    double load_s;
};

/* Figures, requests and steps go to the sink on rank 0: per run, stage, rank and op kind. */
MUST_CHECK bool runtime_run(struct runtime_result *out, const struct runtime_options *options,
        struct ranks *ranks, const struct measure_sink *sink, struct arena *arena, struct err *err);

#endif
