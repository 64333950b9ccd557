/*
 * space - which placements are legal: every combination of replicas, stages, split and limits that the
 * model, the cluster and what the user insists on allow. docs/ilp.md calls them configurations.
 */
#ifndef PLANNER_SPACE_H
#define PLANNER_SPACE_H

#include "core/spec/cluster.h"
#include "models/graph.h"
#include "planner/planner.h"
#include "planner/steady.h"

/* How the group of one stage is split; the same on every stage of a replica. */
struct layout {
    struct split split; /* busy is set by the configuration */
    int group;          /* devices: tp * attention_dp * threads */
    const int *budget;  /* groups of each device kind; 0 where the kind does not allow the layout */
    int64_t groups;     /* in all */
};

/* A layout with everything else but the layers. */
struct config {
    const struct layout *layout;
    int dp, pp, in_flight, max_seqs, max_tokens;
    int64_t kv_blocks; /* what the steady state needs, per attention-dp group */
};

/* Ascending in tp, attention_dp, threads, ep, types as the input lists them. ERR_NO with the rule that the forced values break when
 * there is none. */
MUST_CHECK bool space_layouts(struct layout **out, int *n, const struct planner_input *input,
        struct arena *arena, struct err *err);
/* Every configuration over the layouts. ERR_NO likewise. */
struct config_list {
    struct config *items;
    int64_t n;
};
MUST_CHECK bool space_configs(struct config_list *out, const struct layout *layouts, int n_layouts,
        const struct planner_input *input, const struct demand *demand, struct arena *arena,
        struct err *err);

#endif
