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
};

struct axis {
    int64_t *values; /* ascending */
    double *pos;
    int n;
    int64_t stride;
    bool unordered;
};

struct family {
    int32_t *points; /* indices in the profile */
    int64_t n, room;
    bool built;
    struct axis axes[GRID_AXES];
    int n_axes;
    unsigned site_axes; /* a bit for each axis that leads from site to site */
    struct cell *cells; /* open addressing, a power of two slots, at most half full */
    int64_t n_cells, n_slots;
    double flop_per_us, bytes_per_us, least_us;
    int hidden; /* fold of sites that seems not to be there, while intervals are learnt; 0 = none */
    double width[FOUND_COUNT]; /* half width of the interval, logarithm */
};

/* An empty table of n_slots, a power of two. */
void cells_make(struct arena *arena, struct family *family, int64_t n_slots);
/* The key must not be in it. */
void cells_put(struct arena *arena, struct family *family, struct cell cell);
/* Of the key, or the free one where it belongs. */
int64_t cells_slot(const struct family *family, int64_t key);
/* The value of a measured cell; NaN when it was not measured or is hidden. */
double cells_value(const struct family *family, int64_t key);
/* Which fifth of the sites a cell belongs to: 1 to 5. */
int cells_fold(const struct family *family, int64_t key);
/* The cell at indices `at`, from the others: what it says itself does not count. */
enum found cells_estimate(double *value, const struct family *family, int64_t key, const int *at);
/* The cell as measured, else as estimated, which is remembered. */
enum found cells_fill(
        double *value, struct arena *arena, struct family *family, int64_t key, const int *at);

#endif
