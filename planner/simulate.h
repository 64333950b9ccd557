/*
 * simulate - a plan under a request trace, event by event. Mirrors the runtime's loop on top of the same
 * core/sched and core/sched_route, with costs from the cost model in place of the devices:
 *
 *   The leader of a replica runs stage 0. It takes results that have arrived; while fewer than in_flight
 *   batches are out and sched_next has one, it sends that out and runs stage 0 on it; otherwise it waits
 *   for a result or an arrival. A stage starts a batch when it is free and its input has arrived.
 *
 * Where prefill and decode have pools of their own, a request's cache leaves the prefill replica when its
 * first token is there, after those before it, and the request arrives at a decode replica when its cache
 * has (core/spec/plan.h, kv_rate). Who serves what is known without feedback (core/sched_route.h), so replicas
 * are simulated one after the other, prefill before decode.
 *
 * Time grows with requests times output tokens, memory by some 350 bytes a request, its copies in queues and
 * statistics included (tests/bench/simulate).
 */
#ifndef PLANNER_SIMULATE_H
#define PLANNER_SIMULATE_H

#include "core/sched.h"
#include "core/spec/plan.h"
#include "core/spec/workload.h"
#include "planner/cost.h"

struct simulate_stage {
    double busy_frac;       /* of the makespan */
    struct step_cost total; /* all steps of one rank */
};

/* Times from the start of the run; -1 = never. */
struct simulate_request {
    int64_t begin_ns; /* its first step starts */
    int64_t first_token_ns, finish_ns;
    int64_t decode_ns;               /* it arrives at a decode replica; -1 = it has none */
    int32_t replica, decode_replica; /* -1 = none, or, with decode_ns, one that is not simulated */
    int32_t preemptions, reused_tokens;
    enum sched_outcome outcome; /* pending: its replica was not simulated */
};

struct simulate_spread {
    double p50, p90, p99;
};

struct simulate_result {
    struct plan_figures figures;
    struct simulate_spread ttft_us, tpot_us, e2e_us, queue_us;
    /* Of the simulated replicas. */
    int64_t steps, preemptions, reused_tokens;
    int64_t offered, finished, refused_full, refused_late;
    double good_frac;     /* of the offered requests, those that met every service objective */
    double settled_per_s; /* requests a second that keep being finished; with a warm-up only */
    double slo_ttft_us, slo_tpot_us; /* at the percentile that the objectives ask for */
    bool sampled;                    /* not every replica was simulated: see most_requests */
    struct simulate_stage *stages;   /* replica after replica, plan order */
    int n_stages;
    struct simulate_request *requests; /* in the order of the input */
};

/* Replicas that are chosen already, and what comes to them: planner/pace_sample.h. Of decode replicas one attention-dp
 * group is simulated, the others being like it. */
struct simulate_sample {
    const double *
            stands_for; /* by replica: how many it stands for; of a decode replica: how many groups */
    const double
            *speed;   /* by replica, of decode replicas: what is handed over is dealt by them ... */
    double elsewhere; /* ... and by this to those that are not here */
    double each;      /* how many requests that come one of the input stands for */
};

struct simulate_input {
    const struct plan *plan;
    const struct workload *workload; /* its SLO and admission; or NULL */
    const struct requests *requests;
    struct cost_model *costs;
    /*
     * Where there are more requests than this and replicas that are alike, some of these stand for the
     * rest, with the very requests that come to them (docs/method.md, "Simulation"); 0 = simulate all.
     */
    int64_t most_requests;
    const struct simulate_sample *sample; /* in place of most_requests; or NULL */
};

MUST_CHECK bool simulate_run(struct simulate_result *out, const struct simulate_input *input,
        struct arena *arena, struct err *err);

#endif
