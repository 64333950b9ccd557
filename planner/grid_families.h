/*
 * grid_families - the families of a profile: which imported points may be interpolated in together (grid.h). A kind's
 * points are sorted into families when the kind is first asked for, a family's axes, roofline and intervals are made
 * when it is.
 */
#ifndef PLANNER_GRID_FAMILIES_H
#define PLANNER_GRID_FAMILIES_H

#include "core/spec/profile.h"
#include "planner/grid_cells.h"

struct grid_families; /* borrows the profile */

/* Memory that cannot be had ends the process, as in core/arena.h. */
struct grid_families *grid_families_open(const struct profile *profile);
void grid_families_close(struct grid_families *families);
/* Whether any point of the kind is there. */
bool grid_families_have(const struct grid_families *families, enum op_kind kind);
/* The family of a place, ready to answer; NULL when there is none. */
struct family *grid_families_find(
        struct grid_families *families, const struct grid_place *place, enum op_kind kind);
/* Where cells that are estimated on the way are kept. */
struct arena *grid_families_arena(struct grid_families *families);

/* First index whose value is not below. */
int axis_at(const struct axis *axis, int64_t value);

#endif
