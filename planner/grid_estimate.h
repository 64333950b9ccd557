/*
 * grid_estimate - what a cell costs that was not measured, from those that were. docs/method.md, "Imported costs".
 */
#ifndef PLANNER_GRID_ESTIMATE_H
#define PLANNER_GRID_ESTIMATE_H

#include "planner/grid_cells.h"

/* Time that is straight through us0 and us1, at a coordinate t of the way between them (past us0 where t is not within 0 to
 * 1) that is `ratio` times that of us0. Past it more of the same work takes no less time, and no more than in proportion. */
double cells_straight_us(double us0, double us1, double t, double ratio);
/* The value of a cell from the others: what it says itself does not count. */
enum found cells_estimate(double *value, struct arena *arena, struct family *family, int64_t key);
/* The cell as measured, else as estimated, which is remembered. */
enum found cells_fill(double *value, struct arena *arena, struct family *family, int64_t key);

#endif
