/*
 * lookup - what an op of any size costs, from the sizes that were measured. Never extrapolates in
 * silence: the source says how the figure came about.
 *
 *   measured      the very op
 *   imported      the very op, from a table of another program
 *   interpolated  between measured sizes of the same site (all dimensions but the size equal), from
 *                 neighbouring sites on the same device with the same threads, or inside an imported table
 *   derived       from rows of other ops that do its work: imported.h says which
 *   estimated     outside the grid at the utilisation of its edge, from another layout, or a roofline
 */
#ifndef PLANNER_LOOKUP_H
#define PLANNER_LOOKUP_H

#include "core/arena.h"
#include "core/spec/profile.h"

struct cost {
    double us, lo_us, hi_us;
    enum cost_source source;
    double sd_frac; /* how far one execution strays, relative: from the quartiles of the samples */
};

/* Ceilings of one device, for what was never measured; 0 = unknown. */
struct lookup_device {
    double flops, bytes_per_s;              /* of one device: a rank has `degree` of them */
    double flops_f8;                        /* of products of 8-bit types; 0 = as flops */
    double link_bytes_per_s, link_us;       /* per rank, inside a machine */
    double between_bytes_per_s, between_us; /* per rank, between machines */
};

struct lookup; /* an index over a profile, which must outlive it */
MUST_CHECK struct lookup *lookup_open(const struct profile *profile, struct err *err);
/* With ceilings behind the profile. profile may be NULL or empty: then everything is estimated. */
MUST_CHECK struct lookup *lookup_open_device(
        const struct profile *profile, const struct lookup_device *device, struct err *err);
void lookup_close(struct lookup *lookup);
/* Exact, else interpolated, else a roofline figure (estimated). Memoises: not for several threads. */
struct cost lookup_cost(struct lookup *lookup, const struct op *op);
/* A measured point, and how far off the others would be there: predicted / measured - 1 where it is left out with its
 * row and column of the site (fit_width.h). */
struct left_out {
    const struct profile_point *point;
    double error;
};
/* All points with others on both sides, by site; returns how many. */
int64_t lookup_left_out(struct left_out **out, const struct lookup *lookup, struct arena *arena);
/* The least time the ceilings allow for an op: arithmetic against traffic. Which one it is, in *memory. */
double lookup_roof_us(const struct lookup *lookup, const struct op *op, bool *memory);
/* Whether ceilings are known, by measurement or from the device. */
bool lookup_has_ceilings(const struct lookup *lookup);
/* Whether rows of the kind were imported: whole modules that the graph would otherwise cut into parts. */
bool lookup_has_imported(const struct lookup *lookup, enum op_kind kind);

#endif
