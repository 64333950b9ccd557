/*
 * grid_axes - in which coordinates the costs of a kind are smooth. Attention of b sequences with K heads of keys
 * and G queries for each is the same work whether K or b makes the groups, so the axes are b * K, G and K.
 */
#ifndef PLANNER_GRID_AXES_H
#define PLANNER_GRID_AXES_H

#include "core/spec/op.h"

enum {
    GRID_AXES = 8,
    GRID_FIXED = 8
};

struct grid_place {
    int64_t at[GRID_AXES];     /* coordinate along each axis of the kind */
    int64_t fixed[GRID_FIXED]; /* what tells families apart */
};

struct grid_axis {
    double offset;  /* position along the axis is log(coordinate + offset) */
    bool unordered; /* a name, not a size: never interpolated along */
    /* Above 0: time itself is straight in the coordinate, which counts pieces of the same work. Past two measured cells
     * the line goes on at most this far, in their distance: it amplifies what they are off by. */
    double straight;
};

struct grid_axes {
    int n;
    unsigned site_axes; /* bits: dimensions of a site; the others are sizes and conditions in it */
    bool fills; /* sites seldom have the same sizes: one stands beside another with what lies between its own */
    struct grid_axis axes[GRID_AXES];
};

/* The axes of a kind; n 0 = the kind is not laid out on grids. */
const struct grid_axes *grid_axes_of(enum op_kind kind);
void grid_place_of(struct grid_place *out, const struct op *op);
/* An op of that place: the work of a cell that nothing was measured in. */
void grid_place_op(struct op *out, const struct grid_place *place);

#endif
