/*
 * cost_compare - two profiles of a device kind: which ops got slower, and which kinds of op.
 *
 * A shape counts as slower when its whole 95 % interval lies above the other one's by more than the threshold. That
 * happens by chance, and machines drift; so a kind is called slower only when its shapes agree (docs/method.md,
 * "Comparing costs").
 */
#ifndef REPORTS_COST_COMPARE_H
#define REPORTS_COST_COMPARE_H

#include "core/spec/profile.h"

/* One op that both have. */
struct cost_change {
    struct op op;
    double before_us, after_us;
    double before_lo_us, before_hi_us, after_lo_us, after_hi_us;
    double ratio;  /* after / before */
    int direction; /* 1 = slower, -1 = quicker, 0 = cannot be told */
};

struct kind_change {
    enum op_kind kind;
    int64_t n, slower, quicker; /* shapes */
    double ratio, lo, hi;       /* median of the ratios, its 95 % interval by order statistics */
    double p; /* chance of so many more slower than quicker shapes if both were as likely */
    bool worse;
};

struct cost_comparison {
    struct cost_change *shapes; /* largest ratio first */
    int64_t n, only_before, only_after;
    struct kind_change kinds[OP_KIND_COUNT];
    int n_kinds;
    bool worse; /* some kind is */
};

/* threshold: relative, 0.02 = 2 %. Profiles are finished (profile_finish). */
void cost_compare(struct cost_comparison *out, const struct profile *before,
        const struct profile *after, double threshold, struct arena *arena);

#endif
