/*
 * points - which ops are worth measuring, most useful first.
 *
 * All ops of every legal split of every model on the devices of one host, at a grid of sizes. The same
 * request gives the same list. Level 0 covers every site coarsely, so that a profile that was cut off is
 * still of use; higher levels fill in.
 */
#ifndef PROFILER_POINTS_H
#define PROFILER_POINTS_H

#include "profiler/profiler.h"

struct want {
    struct op op;
    int level;
    double share; /* of a step's time by typical rates, the largest of the steps that have it; 0 = in none */
};

struct points {
    struct want *items; /* by level, then by layout and site; no op twice */
    int64_t n;
};

enum {
    POINTS_LEVELS = 4
};

/* What an op takes at typical rates of a core, before anything is known. */
double points_typical_s(const struct op *op);
MUST_CHECK bool points_of(struct points *out, const struct profile_request *request,
        struct arena *arena, struct err *err);
/* Sizes 1 .. max of the grid with their levels; max itself is among them. Returns how many. */
struct size_level {
    int64_t size;
    int level;
};
enum {
    POINTS_SIZES = 64
};
int points_sizes(struct size_level out[POINTS_SIZES], int64_t max);
/* Lengths of caches, 16 .. max: coarser than rows, because costs are nearly straight lines over them. The shortest
 * and the longest come first, so that everything lies between. */
int points_lengths(struct size_level out[POINTS_SIZES], int64_t max);

#endif
