/*
 * search - the best configurations in the steady state, with the proof that none is better.
 *
 * Configurations are visited by an optimistic bound (their whole model spread evenly over the stages);
 * each gets a partition, first a quick one, and the integer program wherever the quick one leaves
 * doubt about which configuration is best. docs/ilp.md, "outer search".
 */
#ifndef PLANNER_SEARCH_H
#define PLANNER_SEARCH_H

#include "planner/cost.h"
#include "planner/planner.h"
#include "planner/space.h"

struct stage_pick {
    int kind, first, end;
    struct split split;
};

/* So many equal replicas. */
struct replica_pick {
    int64_t count;
    int role; /* enum replica_role */
    int max_seqs, max_tokens, in_flight;
    int64_t kv_blocks;             /* what fits and can be used */
    double kv_rate, kv_latency_us; /* as in core/spec/plan.h */
    double kv_us;                  /* of a mean prompt */
    double requests_per_s;         /* as in core/spec/plan.h */
    struct stage_pick *stages;
    int n_stages;
};

/* A plan in the making. */
struct candidate {
    struct replica_pick *replicas;
    int n_replicas;
    const struct config *config; /* of the search that found it, or NULL */
    double pace_us, pace_bound_us;
    double pace_floor_us; /* the optimistic bound */
    bool proven;          /* pace_us is the optimum of its program */
    /* Steady-state estimates. score: larger is better, in the objective's unit (latencies negative). */
    double score, score_bound;
    double tokens_per_s, ttft_us, tpot_us;
};

struct search_result {
    struct candidate *items; /* best first */
    int64_t n;
    double best, bound; /* score of the best; no configuration has a better one than bound */
    bool complete;      /* nothing was cut off by the time limit */
    int64_t configs, evaluated, programs, nodes;
    const char *trouble; /* a solver died on the way; NULL normally */
};

struct search_input {
    const struct planner_input *input;
    struct cost_model *costs;
    const struct demand *demand;
    const struct config *configs;
    int64_t n_configs;
    int keep; /* distinct layouts that must be among the items */
};

/* n == 0 when nothing fits. */
MUST_CHECK bool search_run(struct search_result *out, const struct search_input *input,
        struct arena *arena, struct err *err);

/* Two candidates that differ in batch limits and layers alone. */
bool search_same_layout(const struct candidate *a, const struct candidate *b);
/* qsort order: the better score first, then the shorter time per token. */
int search_by_score(const void *a, const void *b);

/* The smallest share of a device's memory that the fullest rank of any legal plan takes, for one sequence
 * at a time, over 1 = nothing fits; the placement that takes it. */
struct least_memory {
    double share;
    int64_t bytes;
    int kind;
    struct config config;
    struct layout layout;
};
MUST_CHECK bool search_least_memory(struct least_memory *out, const struct search_input *input,
        const struct layout *layouts, int n_layouts, struct err *err);

#endif
