/*
 * gate - baseline and candidate -> pass, regression or inconclusive.
 *
 * The unit is a process run's figure (throughput). Interleaved ABBA. Slow only if an exact one-sided
 * Mann-Whitney test and a Hodges-Lehmann shift of >= threshold say so, confirmed in a fresh round;
 * sequential, so that most cases stop early; inconclusive when the noise is too large to see the
 * threshold. docs/method.md gives the formulas and the simulated error rates.
 */
#ifndef REPORTS_GATE_H
#define REPORTS_GATE_H

#include <stdint.h>

#include "core/err.h"

#define GATE_APART 4  /* looks cost chances of a false alarm, and time */
#define GATE_MOST  64 /* runs of one side in one round */

enum gate_verdict {
    GATE_PASS,
    GATE_REGRESSION,
    GATE_INCONCLUSIVE,
    GATE_MORE
};
extern const char *const gate_verdict_names[]; /* "pass" ...; NULL-terminated */

struct gate_rule {
    const char *name;
    double shift_frac; /* smallest slow-down that matters, 0.02 */
    double alpha;      /* of one look, for calling it slow */
    double pass_alpha; /* of one look, for ruling a slow-down of shift_frac out */
    int first, most;   /* pairs per round: looks from first up to most ... */
    int each;          /* ... after each pair up to this one, after every GATE_APART pairs then */
    bool higher_is_better;
};
extern const struct gate_rule gate_rule_default, gate_rule_short;

/* Figures relative to the baseline: shift_frac < 0 is slower. */
struct gate_state {
    double a[GATE_MOST], b[GATE_MOST]; /* baseline, candidate of this round */
    int n_a, n_b;
    int round;   /* 0 = first, 1 = confirmation */
    int n_total; /* runs in all rounds */
    enum gate_verdict verdict;
    double p_value;            /* that this much slower is chance */
    double pass_p_value;       /* that a slow-down of the threshold looks this good by chance */
    double shift_frac;         /* Hodges-Lehmann, candidate / baseline - 1, better is positive */
    double shift_lo, shift_hi; /* its 90 % interval or the nearest wider exact one */
    double noise_frac;         /* spread of one run: 1.4826 x MAD of the logarithms */
};

void gate_begin(struct gate_state *state);
/* Which side runs next: 0 baseline, 1 candidate (ABBA). */
int gate_next(const struct gate_state *state);
/* Adds a figure (> 0); returns GATE_MORE until decided. */
enum gate_verdict gate_add(
        struct gate_state *state, const struct gate_rule *rule, int side, double value);

/* Exact one-sided Mann-Whitney p-value that b is smaller than a (midranks for ties); n, m <= 64. */
double gate_mann_whitney(const double *a, int n, const double *b, int m);
/* Median of all pairwise differences b - a. */
double gate_hodges_lehmann(const double *a, int n, const double *b, int m);
/* Exact interval of that shift without ties: at least 1 - 2 tail of coverage; infinite when n and m are
 * too small for it. */
void gate_shift_interval(
        double *lo, double *hi, const double *a, int n, const double *b, int m, double tail);

#endif
