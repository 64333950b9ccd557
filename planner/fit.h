/*
 * fit - joining the measured sizes of one site. A site is a run of points that are equal in everything
 * but size: rows (d0) or bytes for most kinds, query and key lengths (d0, d1) for attention.
 */
#ifndef PLANNER_FIT_H
#define PLANNER_FIT_H

#include "planner/lookup.h"

/* Highest rates of a layout. */
struct roof {
    int32_t degree, busy;
    double flop_per_us, bytes_per_us;
};

/* What is taken to be straight between two sizes. */
enum fit_join {
    FIT_LOG,         /* log time over log size */
    FIT_LINEAR,      /* time over size */
    FIT_UTILISATION, /* time / roofline over log size */
    FIT_JOINS
};
enum fit_join fit_usual_join(enum op_kind kind);

struct fit_site {
    const struct profile_point *points; /* ascending by size */
    int64_t n;
    enum fit_join join;
};

/* Order of sites: everything but the size. */
int fit_compare_sites(const struct op *a, const struct op *b);
/* qsort order of points: site, then size. */
int fit_compare_points(const void *a, const void *b);

/* Cost of an op that belongs to the site: exact, between points, or past the edge at its utilisation. */
struct cost fit_site_cost(
        const struct fit_site *site, const struct op *op, const struct roof *roof);
double fit_roof_us(const struct op *op, const struct roof *roof);

/* How far apart two sites are: powers of two, over all dimensions that are not sizes. */
double fit_distance(const struct op *a, const struct op *b);
/* The op with the size of `op` at the site of `at`. */
struct op fit_move(const struct op *op, const struct op *at);

#endif
