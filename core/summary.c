/*
 * The interval of the median uses order statistics: samples k and n-1-k (from 0) bracket the median with
 * probability 1 - 2 P(Binomial(n, 1/2) <= k). k is the largest with at least 95 %. For fewer than 6
 * samples no such pair exists; the range is given then, and its coverage is less (93.75 % for 5).
 */
#include "core/summary.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double summary_quantile(const double *sorted, int64_t n, double q)
{
    if (n <= 0)
        return 0;
    if (q <= 0)
        return sorted[0];
    if (q >= 1)
        return sorted[n - 1];
    double at = q * (double)(n - 1);
    int64_t low = (int64_t)at;
    if (low >= n - 1)
        return sorted[n - 1];
    double frac = at - (double)low;
    return sorted[low] + frac * (sorted[low + 1] - sorted[low]);
}

/* Largest k with P(Binomial(n, 1/2) <= k) <= 0.025, or -1. */
static int64_t median_rank(int64_t n)
{
    if (n > 1000) {
        /* Normal approximation with continuity correction: exact to within one rank up here. */
        double k = (double)n / 2 - 1.959963985 * sqrt((double)n) / 2 - 0.5;
        return (int64_t)floor(k);
    }
    double term = exp2(-(double)n), sum = 0;
    int64_t k = -1;
    for (int64_t i = 0; i < n; i++) {
        sum += term;
        if (sum > 0.025)
            break;
        k = i;
        term = term * (double)(n - i) / (double)(i + 1);
    }
    return k;
}

static double deviation(const double *sorted, int64_t n, double median)
{
    double *away = malloc((size_t)n * sizeof *away);
    if (away == NULL)
        return 0;
    for (int64_t i = 0; i < n; i++)
        away[i] = fabs(sorted[i] - median);
    qsort(away, (size_t)n, sizeof *away, by_value);
    double mad = summary_quantile(away, n, 0.5);
    free(away);
    return mad;
}

void summary_of(struct summary *out, double *samples, int64_t n)
{
    *out = (struct summary){.n = n};
    if (n <= 0) {
        out->n = 0;
        return;
    }
    qsort(samples, (size_t)n, sizeof *samples, by_value);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += samples[i];
    out->mean = sum / (double)n;
    out->min = samples[0];
    out->q1 = summary_quantile(samples, n, 0.25);
    out->median = summary_quantile(samples, n, 0.5);
    out->q3 = summary_quantile(samples, n, 0.75);
    out->p90 = summary_quantile(samples, n, 0.90);
    out->p95 = summary_quantile(samples, n, 0.95);
    out->p99 = summary_quantile(samples, n, 0.99);
    out->max = samples[n - 1];
    out->mad = deviation(samples, n, out->median);
    int64_t k = median_rank(n);
    out->ci_lo = samples[k < 0 ? 0 : k];
    out->ci_hi = samples[k < 0 ? n - 1 : n - 1 - k];
}
