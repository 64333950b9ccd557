/*
 * imported - what the tables of other programs say of the ops of our graph, which they cut differently:
 *
 *   lm_head, router             the gemm of their product (router: top-k left out)           derived
 *   attention_prefill of q keys  behind c cached ones, where only whole prompts were measured:
 *                               time(c + q) - time(c) + the least of the family, at least time(q)  derived
 *   all_reduce                  the quicker of the library's and the engine's own kernel in a graph
 *   moe, even, some experts     at most what a skewed routing takes once all experts have rows             derived
 *   a type that is not there    the type of the same width at its utilisation                  derived
 */
#ifndef PLANNER_IMPORTED_H
#define PLANNER_IMPORTED_H

#include "models/model.h"
#include "planner/lookup.h"

struct imported_costs; /* borrows the profile; NULL where nothing was imported */

/* Whether a point with this key is answered from here: it shares nothing with busy neighbours. */
bool imported_takes(const struct op *op);
/* What of a table can matter to the costs of a model with weights of some types (a bit for each enum dtype), by op
 * kind and likewise: what its steps can ask for, the rows beside it that interpolation wants, and 16-bit products,
 * which say what the device can do. */
void imported_wanted(
        unsigned out[OP_KIND_COUNT], const struct model *model, unsigned weight_dtypes);
/* NULL when the profile holds no such point. */
struct imported_costs *imported_open(const struct profile *profile);
void imported_close(struct imported_costs *imported);
bool imported_have(const struct imported_costs *imported, enum op_kind kind);
bool imported_cost(struct cost *out, struct imported_costs *imported, const struct op *op);

/* The highest rates of products of 16-bit types, and the least time of any kernel: what launching costs. */
struct imported_ceilings {
    double flops, bytes_per_s, launch_us;
};
struct imported_ceilings imported_ceilings(const struct imported_costs *imported);

#endif
