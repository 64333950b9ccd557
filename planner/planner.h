/*
 * planner - a pure function: (model, cluster, workload, profile) -> plan, or the reason there is none.
 */
#ifndef PLANNER_PLANNER_H
#define PLANNER_PLANNER_H

#include "core/spec/cluster.h"
#include "core/spec/plan.h"
#include "core/spec/profile.h"
#include "core/spec/workload.h"
#include "models/model.h"

enum plan_objective {
    OBJECTIVE_THROUGHPUT,
    OBJECTIVE_TTFT,
    OBJECTIVE_TPOT,
    OBJECTIVE_PRICE /* of the devices used, for the requests that come */
};

/* Who serves prompts and outputs. */
enum plan_serving {
    SERVING_AUTO,         /* whatever is best, side by side where that is best */
    SERVING_AGGREGATED,   /* every replica both */
    SERVING_DISAGGREGATED /* prefill replicas and decode replicas, with the cache handed over */
};

/* What the user insists on; 0 or NULL = free. Parsed from --force. */
struct plan_force {
    int tp, pp, dp, ep, attention_dp, threads;
    int max_seqs, max_tokens, in_flight;
    int64_t kv_blocks;
    const int *layers; /* per stage */
    int n_layers;
    const struct plan_force *prefill,
            *decode; /* "prefill.tp=2": of these replicas alone; or NULL */
};

/* Costs that turn out worse than told: --robust. */
struct plan_inflation {
    const char *text;        /* as it was asked for; NULL = it was not */
    bool upper;              /* the upper ends of the intervals in place of medians */
    double compute, network; /* factors, at least 1: of ops, and of exchanges between ranks */
};

/* Types of a stage's weights and cache. */
struct dtype_pair {
    enum dtype weights, kv;
};

struct planner_input {
    const struct model *model;
    const struct cluster *cluster;
    const struct workload *workload;
    const struct requests *requests;
    const struct profile
            *profile; /* array, one per device kind at most; NULL = datasheet figures */
    int n_profiles;   /* 0 with a profile = 1 */
    enum dtype dtype, kv_dtype;
    const struct dtype_pair
            *dtypes;     /* stages may have any of these, the first being the two above */
    int n_dtypes;        /* 0 = those alone */
    int objective;       /* enum plan_objective */
    int serving;         /* enum plan_serving */
    double demand_per_s; /* requests to be served a second; 0 = as they come in the workload */
    bool deterministic;
    bool mtp; /* room for the model's multi-token-prediction layers */
    struct plan_force force;
    struct plan_inflation robust;
    int simulate_best;     /* how many candidates the simulator sees; default 8 */
    double time_limit_s;   /* of the solver; the incumbent and its gap are returned; default 60 */
    const char *export_lp; /* write the last program in LP format, or NULL */
    bool explain;          /* solve again for every limit: what moving it would buy */
    bool reproducible;     /* leave out the solve time: same inputs, same bytes */
};

/* ERR_NO: no legal plan fits, with the proof (the smallest memory any legal plan needs). */
MUST_CHECK bool planner_run(
        struct plan *out, const struct planner_input *input, struct arena *arena, struct err *err);
/* "tp=2,pp=2,layers=10+18,dp=1,ep=1,adp=1,threads=1,max_seqs=8,max_tokens=256,in_flight=2,kv_blocks=64" */
/* What is forced of the replicas of a role: their own values, and where there are none those of all. */
struct plan_force plan_force_of(const struct plan_force *force, enum replica_role role);
MUST_CHECK bool plan_force_parse(
        struct plan_force *out, const char *text, struct arena *arena, struct err *err);

/* "intervals", "1.3x", "network=1.5x,compute=1.1x" */
MUST_CHECK bool plan_inflation_parse(
        struct plan_inflation *out, const char *text, struct arena *arena, struct err *err);

/* check.c: is this plan legal and does it fit? Knows nothing of how it was found. */
MUST_CHECK bool plan_check(const struct plan *plan, const struct model *model,
        const struct cluster *cluster, struct err *err);

#endif
