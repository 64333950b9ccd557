/*
 * grid_cells - the measured and estimated cells of one family of imported points.
 */
#ifndef PLANNER_GRID_CELLS_H
#define PLANNER_GRID_CELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "planner/grid_axes.h"

enum found {
    FOUND_NONE,
    FOUND_INSIDE,
    FOUND_ACROSS,  /* no size of its site was measured: from other sites */
    FOUND_OUTSIDE, /* on no axis between two measured cells */
    FOUND_COUNT
};

/* point: index in the profile, or what an estimate of the cell was: -1 - found. */
struct cell {
    int64_t key;
    int32_t point;
    float value;
    float roof; /* logarithm of the family's roofline there */
};

struct axis {
    int64_t *values; /* ascending */
    double *pos;
    int n;
    int64_t stride;
    bool unordered;
    double straight; /* as in grid_axes.h */
};

/* Open addressing, a power of two slots, at most half full. */
struct cells {
    struct cell *at;
    int64_t n, n_slots;
};

struct family {
    int32_t *points; /* indices in the profile */
    int64_t n, room;
    bool built;
    int64_t fixed[GRID_FIXED];
    struct axis axes[GRID_AXES];
    int n_axes;
    bool straight;      /* some axis is */
    bool fills;         /* as in grid_axes.h */
    unsigned site_axes; /* a bit for each axis that leads from site to site */
    struct cells cells; /* measured, and estimated for questions */
    struct cells sites; /* those with a measured cell */
    struct cells own;   /* cells as the rest of their site says; point -1: it does not */
    double flop_per_us, bytes_per_us, least_us;
    int hidden; /* fold of sites that seems not to be there, while intervals are learnt; 0 = none */
    double width[FOUND_COUNT]; /* half width of the interval, logarithm */
};

/* Least time + flop and bytes at the family's highest rates. */
double family_roof_us(const struct family *family, const struct op *op);
/* Its logarithm at coordinates along the axes. */
double family_roof_at(const struct family *family, const int64_t values[GRID_AXES]);
/* An empty table of n_slots, a power of two. */
void cells_make(struct arena *arena, struct cells *cells, int64_t n_slots);
/* The key must not be in it. */
void cells_put(struct arena *arena, struct cells *cells, struct cell cell);
/* NULL when it is not in it; until the next is put. */
const struct cell *cells_find(const struct cells *cells, int64_t key);
/* The key of the site of a cell, alike for all cells of it. */
int64_t family_site(const struct family *family, int64_t key);
/* Which fifth of the sites a cell belongs to: 1 to 5; and whether that is hidden. */
int family_fold(const struct family *family, int64_t key);
bool family_hides(const struct family *family, int64_t key);

#endif
