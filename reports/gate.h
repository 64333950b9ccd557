/*
 * gate - baseline and candidate -> pass, regression or inconclusive.
 *
 * The unit is a process run's figure (throughput). Interleaved ABBA. Slow only if an exact one-sided
 * Mann-Whitney test and a Hodges-Lehmann shift of >= threshold say so, confirmed in a fresh round;
 * sequential, so that most cases stop early; inconclusive when the noise is too large to see the
 * threshold. docs/method.md gives the formulas.
 */
#ifndef REPORTS_GATE_H
#define REPORTS_GATE_H

#include <stdint.h>

#include "core/err.h"

enum gate_verdict { GATE_PASS, GATE_REGRESSION, GATE_INCONCLUSIVE, GATE_MORE };

struct gate_rule {
    double shift_frac;  /* 0.02 */
    double alpha;       /* of one look */
    int first, most;    /* pairs per round: looks from first up to most */
    bool higher_is_better;
};
extern const struct gate_rule gate_rule_default, gate_rule_short;

struct gate_state {
    double a[128], b[128]; /* baseline, candidate of this round */
    int n_a, n_b;
    int round;             /* 0 = first, 1 = confirmation */
    enum gate_verdict verdict;
    double p_value, shift_frac, shift_lo, shift_hi, noise_frac;
};

void gate_begin(struct gate_state *state);
/* Which side runs next: 0 baseline, 1 candidate (ABBA). */
int gate_next(const struct gate_state *state);
/* Adds a figure; returns GATE_MORE until decided. */
enum gate_verdict gate_add(struct gate_state *state, const struct gate_rule *rule, int side, double value);

/* Exact one-sided Mann-Whitney p-value that b is smaller than a (midranks for ties); n, m <= 64. */
double gate_mann_whitney(const double *a, int n, const double *b, int m);
/* Median of all pairwise differences b - a. */
double gate_hodges_lehmann(const double *a, int n, const double *b, int m);

#endif
