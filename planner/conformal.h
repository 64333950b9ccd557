/*
 * conformal - half widths of prediction intervals, from the errors at what was left out (split conformal,
 * arXiv:2107.07511): whatever their distribution, the interval holds a new value of the same kind with the nominal
 * probability.
 */
#ifndef PLANNER_CONFORMAL_H
#define PLANNER_CONFORMAL_H

#include <stdint.h>

/* Nominal share of new values within the interval. */
#define CONFORMAL_COVERAGE 0.90

enum {
    CONFORMAL_LEAST = 12 /* fewer errors say nothing about a tenth of them */
};

/* The ceil(0.9 (n + 1))-th smallest of n absolute errors, or the largest; sorts them. `unknown` when there are
 * fewer than CONFORMAL_LEAST. */
double conformal_width(double *errors, int64_t n, double unknown);
/* For qsort of doubles, ascending. */
int conformal_by_value(const void *a, const void *b);

#endif
