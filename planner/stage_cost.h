/*
 * stage_cost - one stage priced again and again, as the simulator does.
 *
 * A step is the sum of parts that repeat far more often than whole steps do: what depends on rows alone, the
 * rows that yield tokens, the decode attention, and each prefill's attention; the waiting of ranks for each
 * other comes from the sum. What a part costs is remembered, for so many shapes and no more, in tables that
 * stages with the same ops share, and a step only counts its parts: their costs by kind of op are added up
 * at the end. Equals cost_piece of the whole step (attention of MLA over several prompts may be one product
 * there and several here).
 */
#ifndef PLANNER_STAGE_COST_H
#define PLANNER_STAGE_COST_H

#include "planner/cost.h"

struct stage_costs; /* the tables; hidden: it guards them */

/* Memory that cannot be had ends the process, as in core/arena.h. Borrows the cost model. */
struct stage_costs *stage_costs_open(struct cost_model *costs);
void stage_costs_close(struct stage_costs *all);

struct stage_cost; /* one stage: counts into a table */

struct stage_cost *stage_cost_open(
        struct stage_costs *all, int kind, const struct split *split, struct piece piece);
void stage_cost_close(struct stage_cost *stage);
/* Which table it uses: stages with equal ones cost the same. */
int stage_cost_table(const struct stage_cost *stage);
/* Time of a step, which is counted. groups: one shape per attention-dp group; the slowest counts. */
double stage_cost_step(struct stage_cost *stage, const struct step_shape *groups, int n_groups);
/* All steps that were counted. */
void stage_cost_total(struct step_cost *out, const struct stage_cost *stage);

#endif
