/*
 * plan - which layers run where, how they are split, batch limits, predicted figures and the proof.
 */
#ifndef CORE_SPEC_PLAN_H
#define CORE_SPEC_PLAN_H

#include "core/conf.h"
#include "core/spec/op.h"
#include "core/spec/plan_why.h"

/*
 * One pipeline stage of one replica: layers [first, end) on a group of n_ranks ranks.
 * tp ranks split heads and columns; attention_dp groups of tp ranks hold different sequences, so
 * n_ranks = tp * attention_dp. Experts: ep groups of n_ranks/ep ranks; each group holds experts/ep
 * experts, split n_ranks/ep-wise along their inner dimension. ep is 1 for dense models.
 * A rank drives `threads` devices (CPU cores), one after the other in the cluster's order.
 */
struct plan_stage {
    int first_layer, end_layer;
    int tp, ep, attention_dp, threads;
    const char *kind;    /* device kind */
    int dtype, kv_dtype; /* enum stage_dtype; most plans have one for all: plan_stage_dtype */
    int device;          /* what a device of the kind is: enum device_type of cluster.h */
    int isa; /* cpu: instruction set of the kernels, as enum dev_isa; 0 = the best there is */
    const int *ranks; /* n_ranks world ranks; dp group g holds ranks[g*tp .. g*tp+tp) */
    int n_ranks;
    /* predicted, of one rank */
    int64_t weight_bytes, kv_bytes, work_bytes;
    double step_us; /* a full decode step at max_seqs */
    struct pos pos;
};

/* Of the weights or the cache of a stage: the plan's, or one of its own, 1 + enum dtype. */
enum stage_dtype {
    STAGE_DTYPE_PLAN,
    STAGE_DTYPE_FIRST
};

/* What a replica does with a request. A plan with prefill replicas has decode replicas and the reverse. */
enum replica_role {
    ROLE_MIXED,   /* prompt and output */
    ROLE_PREFILL, /* the prompt and the first token; then the cache goes to a decode replica */
    ROLE_DECODE   /* the other tokens, once the cache has arrived */
};
extern const char *const replica_role_names[]; /* "mixed" ...; NULL-terminated */

/*
 * A copy of the model. Stages may differ in tp, ep, attention_dp, threads and kind; the planner makes plans with
 * one attention_dp in all stages of a replica.
 * Stages and their ranks are in order: index i of a stage is ranks[i].
 */
struct plan_replica {
    struct plan_stage *stages;
    int n_stages;
    int role;     /* enum replica_role */
    int max_seqs; /* sequences that step together, over all attention-dp groups and one micro-batch */
    int max_tokens;    /* tokens in one step of one pool: the chunk budget */
    int in_flight;     /* micro-batches in the pipeline: 1..n_stages */
    int64_t kv_blocks; /* per pool, the same on every stage */
    /* prefill: the cache of a prompt arrives latency + bytes / rate after its last step, bytes being those of its
     * blocks over all stages, copies on several ranks counted once. Each pool of the replica (plan_pools) sends one
     * cache after the other. 0 = at once. */
    double kv_rate; /* bytes/s */
    double kv_latency_us;
    /* Where whole replicas stand beside separate pools: what comes to this one in the steady state. Requests are dealt by
     * it. 0 = by the steps of the stages. */
    double requests_per_s;
    struct pos pos;
};

struct plan_figures {
    double output_tokens_per_s, total_tokens_per_s, requests_per_s;
    double ttft_p50_us, ttft_p99_us, tpot_p50_us, tpot_p99_us, e2e_p50_us;
    double makespan_s;
    int64_t memory_bytes;          /* largest rank */
    double goodput_requests_per_s; /* requests that met the SLO, a second */
    double lo_frac, hi_frac;       /* interval of the throughput, relative: 0.95, 1.05 */
    double price_per_hour;   /* of the devices that the plan uses; 0 = the cluster has no prices */
    double price_per_mtoken; /* of a million output tokens at that throughput */
};

struct plan_runner_up {
    const char *what; /* "tp=2 pp=1 dp=1 ep=1 adp=1 threads=1 max_seqs=16" */
    double output_tokens_per_s, ttft_p50_us, tpot_p50_us;
    int64_t memory_bytes;
    double loses_frac; /* behind the chosen one on the objective */
    const char *why;   /* what holds it back */
};

struct plan {
    const char *name;
    const char *model, *model_digest;
    const char *cluster, *workload;
    const char *expert_map; /* path of a map for all stages; NULL = experts in equal parts */
    const char *profile_digest;
    int dtype, kv_dtype; /* enum dtype */
    int block_tokens;
    int max_len;    /* longest sequence, prompt and output */
    int mtp_layers; /* multi-token-prediction layers that the last stages have memory for */
    bool deterministic;
    bool prefix_cache;             /* blocks of known prompts are kept and shared: core/sched.h */
    struct plan_replica *replicas; /* one entry each, already expanded */
    int n_replicas;
    int n_ranks;         /* in all */
    const int *machines; /* of each rank, counted from 0; NULL = all on one */
    int n_machines;      /* entries: n_ranks or 0 */
    const char *const
            *hosts; /* names of the machines, for the launcher; none where they have none */
    int n_hosts;
    struct plan_figures predicted;
    struct {
        const char *objective; /* "output_tokens_per_s" */
        double value, bound, gap_frac;
        double best;    /* value of the best candidate; the simulated workload may prefer another */
        double solve_s; /* left out with --reproducible, so that plans compare byte for byte */
        int64_t programs, nodes;
        int64_t columns;    /* replica patterns that the master program chose from */
        const char *oracle; /* "glpk 5.0", "checked by plan_check" */
        bool forced;        /* --force: no claim of optimality */
    } certificate;
    const char *binding;      /* the binding constraint, a sentence */
    const char *serving;      /* separate pools or not, and what that gains or loses, a sentence */
    const char *arrivals;     /* steady ones: the rate that the planner found; else NULL */
    const char *cost_sources; /* shares of the predicted time by enum cost_source, a sentence */
    const char *bottleneck;   /* compute, memory, network, bubble */
    struct plan_runner_up *runners_up;
    int n_runners_up;
    struct plan_why why;
};

extern const struct conf_table plan_table; /* "shardwright-plan" 1 */

MUST_CHECK bool plan_read_file(
        struct plan *out, const char *path, struct arena *arena, struct err *err);
/* Layers and ranks are each held once, sizes and roles agree. Knows neither model nor cluster; reading
 * calls it. */
MUST_CHECK bool plan_consistent(const struct plan *plan, struct err *err);
/*
 * Pools of a replica: the most attention-dp groups of any of its stages; each sequence belongs to one. A
 * stage's attention_dp divides them: a group there serves plan_stage_pools neighbouring pools, group g from
 * pool g * plan_stage_pools on, and holds that many times max_tokens rows and kv_blocks blocks.
 */
int plan_pools(const struct plan_replica *replica);
int plan_stage_pools(const struct plan_replica *replica, const struct plan_stage *stage);
MUST_CHECK bool plan_write_file(const struct plan *plan, const char *path, struct err *err);
enum dtype plan_stage_dtype(const struct plan *plan, const struct plan_stage *stage);
enum dtype plan_stage_kv_dtype(const struct plan *plan, const struct plan_stage *stage);
/* certificate.best, or the plan's own value where that is as good (0.1 %) or nothing else was found. */
double plan_best(const struct plan *plan);
int plan_machine(const struct plan *plan, int rank);
/* Machines that the ranks of a stage are on, in equal parts; 0 = one, or unequal parts. For split.nodes. */
int plan_stage_machines(const struct plan *plan, const struct plan_stage *stage);
/* "tp=2 pp=2 dp=1 ep=1 adp=1 threads=1 layers=14+14 max_seqs=16 max_tokens=256" */
char *plan_show(const struct plan *plan, struct arena *arena);

#endif
