/*
 * arcs - what the stages of a configuration cost: the columns of its partition program.
 *
 * Two pieces with the same ends and the same numbers of layers of each class cost the same, so that
 * few of the many arcs of a model are priced.
 */
#ifndef PLANNER_ARCS_H
#define PLANNER_ARCS_H

#include "planner/cost.h"
#include "planner/partition.h"
#include "planner/space.h"

struct arcs; /* hidden: it owns a memo */

struct arc_price {
    double us;           /* mean step of the steady state */
    int64_t fixed_bytes; /* weights and work buffers of a rank */
    int64_t block_bytes; /* of one KV block */
};

MUST_CHECK struct arcs *arcs_open(
        struct cost_model *costs, const struct demand *demand, struct err *err);
void arcs_close(struct arcs *arcs);

/* The split of a configuration on a device kind, busy included. */
struct split arcs_split(const struct arcs *arcs, const struct config *config, int kind);
struct arc_price arcs_price(
        struct arcs *arcs, const struct config *config, int kind, struct piece piece);
/* Handing a mean step's rows on. */
double arcs_send_us(struct arcs *arcs, const struct config *config, int kind);
/* Memory of a rank of the configuration on a kind. */
int64_t arcs_capacity(const struct arcs *arcs, const struct config *config, int kind);

/* All arcs that fit with kv_blocks blocks. layers: what --force fixed, or NULL. In the arena. */
int arcs_list(struct partition_arc **out, struct arcs *arcs, const struct config *config,
        int64_t kv_blocks, const int *layers, struct arena *arena);

#endif
