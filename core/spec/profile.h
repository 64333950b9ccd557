/*
 * profile - measured costs of operations; the lookup key is `struct op`.
 */
#ifndef CORE_SPEC_PROFILE_H
#define CORE_SPEC_PROFILE_H

#include "core/arena.h"
#include "core/spec/op.h"
#include "core/summary.h"

enum cost_source {
    COST_MEASURED,
    COST_INTERPOLATED,
    COST_IMPORTED,
    COST_DERIVED, /* from measurements of other ops that do its work */
    COST_ESTIMATED,
    COST_SOURCES
};
extern const char *const cost_source_names[];

/* How long an op takes, coarsely: short ones are noisier, and errors are told apart by it. */
enum cost_class {
    COST_SHORT,  /* under 20 us */
    COST_MEDIUM, /* under 1 ms */
    COST_LONG,
    COST_CLASSES
};
extern const char *const cost_class_names[]; /* "under 20 us" ... */
enum cost_class cost_class_of(double us);

struct profile_point {
    struct op op;
    double cost_us;      /* median over samples of the slowest rank; of several looks their mean */
    double lo_us, hi_us; /* 95 % interval of the median; of several looks, all of theirs */
    double min_us, q1_us, q3_us, p99_us, mad_us;
    int32_t samples;
    int32_t looks;           /* times that it was measured, apart from each other; not stored */
    bool cold;               /* operands rotated through more memory than the last-level cache */
    enum cost_source source; /* measured or imported */
    const char *stop;        /* why sampling stopped: "interval", "noise", "budget" */
    const char *kernel;      /* imported: which kernel it was; NULL where nobody said */
};

struct profile {
    struct profile_point *points; /* ascending by op_compare, no key twice */
    int64_t n;
    const char *device; /* kind these were measured on */
    double peak_flops,
            peak_bytes_per_s; /* of one rank with all busy, measured ceilings; 0 = unknown */
    const char *digest; /* of all points: stands in plans, so that the same inputs are recognised */
};

/* Least and spread as the summary has them. */
void profile_point_spread(struct profile_point *point, const struct summary *summary);
/* Sorts, checks for duplicates; ERR_BUG on one. */
MUST_CHECK bool profile_finish(struct profile *profile, struct err *err);
/* 16 hexadecimal digits over all keys and costs, for .digest. */
const char *profile_digest(const struct profile *profile, struct arena *arena);
const struct profile_point *profile_find(const struct profile *profile, const struct op *op);

#endif
