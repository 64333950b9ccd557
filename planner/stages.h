/*
 * stages - a model on a cluster as an instance: which configurations and limits there are, and what a stage
 * costs under them (docs/ilp.md, "The instance").
 *
 * Costs add up over layers, so that a stage is priced from the figures of one layer of each class.
 */
#ifndef PLANNER_STAGES_H
#define PLANNER_STAGES_H

#include "planner/cost.h"
#include "planner/instance.h"
#include "planner/planner.h"
#include "planner/space.h"

/* A limit of the instance in the planner's own words. */
struct stage_limits {
    enum replica_role role;
    int max_seqs, max_tokens, groups; /* groups: attention-dp */
    double prefill_steps;             /* a prompt takes; 0 for ROLE_DECODE */
    double requests_per_step;         /* of all groups */
};

struct stages; /* hidden: it owns an arena and the figures of the layers at hand */

/* tighten: service objectives are multiplied by it, 1 = as they are. Borrows everything. */
MUST_CHECK struct stages *stages_open(const struct planner_input *input, struct cost_model *costs,
        const struct demand *demand, const struct layout *layouts, int n_layouts, double tighten,
        struct err *err);
void stages_close(struct stages *stages);

const struct instance *stages_instance(const struct stages *stages);
const struct stage_limits *stages_limits(const struct stages *stages, int limits);
/* The split of a configuration on a kind. */
struct split stages_split(const struct stages *stages, int kind, int config);
/*
 * How long a replica of a pattern is busy with the cache of a mean prompt, sending or taking it: latency + bytes /
 * rate, bytes being those of the blocks of all layers, once. All its stages do it at the same time, each rank by its own
 * link; between machines where there are several.
 */
struct stages_transfer {
    double bytes;
    double rate; /* bytes/s */
    double latency_us;
    double us; /* of a mean prompt */
};
struct stages_transfer stages_transfer(const struct stages *stages, const struct pattern *pattern);
/* KV blocks of a group that a pattern has room for and use for. */
int64_t stages_kv_blocks(const struct stages *stages, const struct pattern *pattern);

#endif
