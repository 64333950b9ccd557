/*
 * summary - median, percentiles, spread: one definition for profiler, runtime and reports.
 *
 * Percentiles interpolate linearly between order statistics (Hyndman-Fan type 7).
 */
#ifndef CORE_SUMMARY_H
#define CORE_SUMMARY_H

#include <stdint.h>

struct summary {
    int64_t n;
    double min, q1, median, q3, p90, p95, p99, max, mean, mad;
    double ci_lo, ci_hi; /* 95 % interval of the median by order statistics (binomial) */
};

/* Sorts samples in place. n == 0 gives all zeros. */
void summary_of(struct summary *out, double *samples, int64_t n);
/* q in 0..1 over ascending samples. */
double summary_quantile(const double *sorted, int64_t n, double q);

#endif
