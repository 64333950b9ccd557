/*
 * fit_width - how far off figures between measured sizes are (fit.h), told by the measured points themselves.
 *
 * A point is left out together with its row and column of the site and predicted from the rest; the errors of a
 * kind and class of cost give the half width of its intervals (conformal.h). The gap that is left is twice the one
 * that a question falls into, so the same is done with gaps twice as wide again, and the width is brought back by
 * the ratio of the two (docs/method.md, "Intervals").
 */
#ifndef PLANNER_FIT_WIDTH_H
#define PLANNER_FIT_WIDTH_H

#include "planner/fit.h"

struct fit_widths {
    double frac[OP_KIND_COUNT][COST_CLASSES]; /* half widths of ln(true / predicted) */
};

/* roof_of: ceilings of an op's layout. Sets the sites' joins too: the usual one of their kind, unless another one has
 * errors that are smaller by a tenth. */
void fit_widths_learn(struct fit_widths *out, struct fit_site *sites, int64_t n,
        struct roof (*roof_of)(const void *self, const struct op *op), const void *self);
/* Sets the interval of a figure that was not measured itself; one past the edge of its site keeps the wider one. */
void fit_widths_apply(const struct fit_widths *widths, struct cost *cost, enum op_kind kind);

/* Of every point with others on both sides; out has room for all of the site. Returns how many. */
int64_t fit_left_out(struct left_out *out, const struct fit_site *site, const struct roof *roof);

#endif
