/*
 * plan_why - what a plan says about itself: the limits it runs into and what moving them would buy, the plans that
 * the simulation refused, and what it loses where costs turn out worse. docs/method.md, "Why this plan".
 */
#ifndef CORE_SPEC_PLAN_WHY_H
#define CORE_SPEC_PLAN_WHY_H

#include "core/conf.h"

/*
 * A limit of the cluster, named as --what-if names it ("h200.memory", "link.ib.bandwidth"), or of the workload
 * ("slo.ttft", "requests"). Of one device or link, but for "h200.count". Gains are in the unit of the
 * certificate's objective, above 0 where the plan gets better: tokens/s more, or microseconds less.
 */
struct plan_limit {
    const char *name;
    const char *
            unit; /* of there_is, taken and more: "devices", "B", "B/s", "FLOP/s", "us", "requests/s" */
    double there_is;
    double taken;        /* by the chosen plan; 0 = not known */
    double shadow_price; /* of one unit more: at most what it buys; devices only */
    /* Solved again with so much more of it, 0 = it was not. */
    double more;
    double buys;                  /* by how much the best plan is better then ... */
    double buys_least, buys_most; /* ... whatever the gaps of both programs hide */
    const char *then; /* the best plan then, where it is another one; or why there is none */
};

/* The objective liked it better than the chosen plan; its requests, simulated, missed the service objectives. */
struct plan_refused {
    const char *what;
    double output_tokens_per_s;
    double met_frac;         /* requests that met every objective */
    double ttft_us, tpot_us; /* at the percentile that the workload asks for */
    const char *why;
};

/* --robust: the plan that loses least, whether costs are as told or inflated. */
struct plan_regret {
    const char *
            costs; /* what is inflated, as --robust says it: "network=1.5x"; NULL = was not asked */
    int plans;     /* compared */
    /* Of this plan, simulated, in the unit of the objective, and what the best of the compared ones has more. */
    double nominal, inflated, nominal_regret_frac, inflated_regret_frac;
    /* The best plan by the costs as told, and what it would lose with the inflated ones. */
    const char *nominal_best;
    double nominal_best_inflated, nominal_best_regret_frac;
};

/*
 * --explain: the ops of the busiest stage's layers, each sharded as is best for it, exchanges between unlike shards
 * included, against the one way that the runtime executes. Of a full decode step; experts and ends are in neither.
 */
struct plan_sharding {
    int replica, stage;
    double executed_us, best_us; /* 0 = not known */
    const char *ways;            /* of the best */
    bool runs;                   /* the best is what is executed */
};

struct plan_why {
    struct plan_limit *limits;
    int n_limits;
    struct plan_refused *refused; /* best first */
    int n_refused;
    struct plan_regret regret;
    struct plan_sharding sharding;
};

extern const struct conf_table plan_why_table;

/* For people: "141 GB", "4.8 TB/s", "3.2 s". */
const char *plan_limit_amount(double value, const char *unit, struct arena *arena);
/* What one device, GB, GB/s, TFLOP/s, ms or request/s buys on average: "810 a device"; "" = nothing. */
const char *plan_limit_per_one(const struct plan_limit *limit, struct arena *arena);

#endif
