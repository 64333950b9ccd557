/*
 * grid - costs over several dimensions at once, from measurements on a grid with holes: the tables of other
 * programs. docs/method.md, "Imported costs", has the formulas.
 *
 * A family is what may be interpolated in: points of one kind that are equal in everything but the axes of the
 * kind. What is joined is the logarithm of time over a roofline with a constant, linear in the logarithms of
 * the axes. A cell that was not measured is the median of Boolean sums: along one axis, corrected by how the
 * same interpolation errs beside it along another one.
 */
#ifndef PLANNER_GRID_H
#define PLANNER_GRID_H

#include "planner/lookup.h"

struct grids; /* families of a profile, each indexed when it is first asked for */

/* Over the points that share nothing with busy neighbours (busy 0); borrows the profile. Memory that cannot be
 * had ends the process, as in core/arena.h. */
struct grids *grids_open(const struct profile *profile);
void grids_close(struct grids *grids);
/* Whether any point of the kind is there. */
bool grids_have(const struct grids *grids, enum op_kind kind);
/* Cost of an op: COST_IMPORTED or as the point says when it was measured, COST_INTERPOLATED inside the
 * measured region, COST_ESTIMATED at the utilisation of its edge outside. false: no family of its kind. */
bool grids_cost(struct cost *out, struct grids *grids, const struct op *op);
/* Whether the op's family has every name that the op has: its type. */
bool grids_name(struct grids *grids, const struct op *op);
/* The values of its family along an axis (planner/grid_axes.h), ascending; returns how many, 0 without a family. */
int grids_values(const int64_t **values, struct grids *grids, const struct op *op, int axis);
/* Whether a family measured the op's whole kv_len range as cached (kv_len > q_len); imports often have not. */
bool grids_have_cached(struct grids *grids, const struct op *op);

#endif
