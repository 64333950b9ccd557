/*
 * The rule works on logarithms, because run noise scales with the figure: a shift of -0.02 there is
 * 2 % slower whatever the figure's size. Ratios of better over worse are made positive first, so that
 * lower-is-better figures go the same way.
 */
#include "reports/gate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/summary.h"

const char *const gate_verdict_names[] = {"pass", "regression", "inconclusive", "more", NULL};

/* Chosen by the simulation in tests/unit/test_reports_gate.c; docs/method.md lists its rates. */
const struct gate_rule gate_rule_default = {.name = "default",
        .shift_frac = 0.02,
        .alpha = 0.02,
        .pass_alpha = 0.05,
        .first = 5,
        .most = 48,
        .each = 16,
        .higher_is_better = true};
const struct gate_rule gate_rule_short = {.name = "short",
        .shift_frac = 0.05,
        .alpha = 0.05,
        .pass_alpha = 0.05,
        .first = 3,
        .most = 6,
        .each = 6,
        .higher_is_better = true};

static int compare_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void gate_begin(struct gate_state *state)
{
    memset(state, 0, sizeof *state);
    state->verdict = GATE_MORE;
}

int gate_next(const struct gate_state *state)
{
    static const int order[] = {0, 1, 1, 0};
    return order[(state->n_a + state->n_b) % 4];
}

/* Twice the midranks of the n + m joined values: integers, so that sums compare exactly. ranks[i] for
 * a first, then b. */
static void doubled_midranks(int *ranks, const double *a, int n, const double *b, int m)
{
    double joint[2 * GATE_MOST];
    const int all = n + m;
    memcpy(joint, a, (size_t)n * sizeof *a);
    memcpy(joint + n, b, (size_t)m * sizeof *b);
    for (int i = 0; i < all; i++) {
        int below = 0, equal = 0;
        for (int j = 0; j < all; j++) {
            below += joint[j] < joint[i];
            equal += joint[j] == joint[i];
        }
        ranks[i] = 2 * below + equal + 1;
    }
}

/* ways[k * width + s]: subsets of k <= m of the ranks that sum to s < width. Sums beyond need no place.
 * Counts reach C(128, 64), of which doubles keep 15 digits. */
static double *count_subsets(const int *ranks, int n_ranks, int m, int64_t width)
{
    double *ways = calloc((size_t)((m + 1) * width), sizeof *ways);
    if (ways == NULL)
        return NULL;
    ways[0] = 1;
    for (int i = 0; i < n_ranks; i++)
        for (int k = i < m ? i + 1 : m; k >= 1; k--) {
            const double *from = ways + (k - 1) * width;
            double *to = ways + k * width;
            for (int64_t s = width - 1; s >= ranks[i]; s--)
                to[s] += from[s - ranks[i]];
        }
    return ways;
}

/* ways[u]: subsets of m of 1 .. n + m with a sum u above the least one, for u < width. The generating function is the
 * Gaussian binomial, the product over i = 1 .. m of (1 - q^(n+i)) / (1 - q^i); every partial product counts subsets, too,
 * so that nothing cancels (sums are right to 6e-15 for 64 and 64). */
static double *count_untied(int n, int m, int64_t width)
{
    double *ways = calloc((size_t)width, sizeof *ways);
    if (ways == NULL)
        return NULL;
    ways[0] = 1;
    for (int i = 1; i <= m; i++) {
        for (int64_t u = width - 1; u >= n + i; u--)
            ways[u] -= ways[u - n - i];
        for (int64_t u = i; u < width; u++)
            ways[u] += ways[u - i];
    }
    return ways;
}

static double choose(int n, int m)
{
    double all = 1;
    for (int i = 1; i <= m; i++)
        all = all * (n - m + i) / i;
    return all;
}

/* Doubled midranks of equal values are not twice their place. */
static bool has_ties(const int *ranks, int n)
{
    bool seen[2 * GATE_MOST + 1] = {false};
    for (int i = 0; i < n; i++) {
        if (ranks[i] % 2 != 0 || seen[ranks[i] / 2])
            return true;
        seen[ranks[i] / 2] = true;
    }
    return false;
}

double gate_mann_whitney(const double *a, int n, const double *b, int m)
{
    if (n < 1 || m < 1 || n > GATE_MOST || m > GATE_MOST)
        return 1;
    int ranks[2 * GATE_MOST];
    doubled_midranks(ranks, a, n, b, m);
    int64_t observed = 0;
    for (int i = 0; i < m; i++)
        observed += ranks[n + i];
    const bool tied = has_ties(ranks, n + m);
    const int64_t least = (int64_t)m * (m + 1); /* of doubled ranks */
    const int64_t width = tied ? observed + 1 : (observed - least) / 2 + 1;
    double *ways = tied ? count_subsets(ranks, n + m, m, width) : count_untied(n, m, width);
    if (ways == NULL)
        return 1;
    double hits = 0;
    for (int64_t s = 0; s < width; s++)
        hits += ways[tied ? m * width + s : s];
    free(ways);
    return fmin(hits / choose(n + m, m), 1);
}

/* All n * m differences b - a, ascending. */
static int differences(double *out, const double *a, int n, const double *b, int m)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++)
            out[count++] = b[j] - a[i];
    qsort(out, (size_t)count, sizeof *out, compare_double);
    return count;
}

double gate_hodges_lehmann(const double *a, int n, const double *b, int m)
{
    double all[GATE_MOST * GATE_MOST];
    const int count = differences(all, a, n, b, m);
    return summary_quantile(all, count, 0.5);
}

void gate_shift_interval(
        double *lo, double *hi, const double *a, int n, const double *b, int m, double tail)
{
    *lo = -(double)INFINITY;
    *hi = (double)INFINITY;
    double all[GATE_MOST * GATE_MOST];
    const int count = differences(all, a, n, b, m);
    /* The c-th smallest difference lies above the shift with the chance that U <= c - 1, where U is the
     * rank sum less its minimum. */
    double *ways = count_untied(n, m, count / 2 + 1);
    double chance = 0;
    for (int c = 1; ways != NULL && c <= (count + 1) / 2; c++) {
        chance += ways[c - 1] / choose(n + m, m);
        if (chance > tail)
            break;
        *lo = all[c - 1];
        *hi = all[count - c];
    }
    free(ways);
}

/* Spread of one run of either side about its own median, as a standard deviation of logarithms. */
static double noise_of(const double *a, int n, const double *b, int m)
{
    double off[2 * GATE_MOST], copy[GATE_MOST] = {0};
    struct summary summary;
    memcpy(copy, a, (size_t)n * sizeof *a);
    summary_of(&summary, copy, n);
    for (int i = 0; i < n; i++)
        off[i] = fabs(a[i] - summary.median);
    memcpy(copy, b, (size_t)m * sizeof *b);
    summary_of(&summary, copy, m);
    for (int i = 0; i < m; i++)
        off[n + i] = fabs(b[i] - summary.median);
    summary_of(&summary, off, n + m);
    return 1.4826 * summary.median;
}

/* The interval decides nothing before the last look, and costs more than all the rest. */
static void judge(struct gate_state *state, const struct gate_rule *rule, bool with_interval)
{
    double a[GATE_MOST] = {0}, b[GATE_MOST] = {0}, slowed[GATE_MOST] = {0};
    const double sign = rule->higher_is_better ? 1 : -1;
    const double threshold = log1p(-rule->shift_frac);
    for (int i = 0; i < state->n_a; i++) {
        a[i] = sign * log(state->a[i]);
        slowed[i] = a[i] + threshold;
    }
    for (int i = 0; i < state->n_b; i++)
        b[i] = sign * log(state->b[i]);
    const int n = state->n_a, m = state->n_b;
    state->p_value = gate_mann_whitney(a, n, b, m);
    state->pass_p_value = gate_mann_whitney(b, m, slowed, n);
    state->shift_frac = expm1(gate_hodges_lehmann(a, n, b, m));
    if (!with_interval)
        return;
    gate_shift_interval(&state->shift_lo, &state->shift_hi, a, n, b, m, 0.05);
    state->shift_lo = expm1(state->shift_lo);
    state->shift_hi = expm1(state->shift_hi);
    state->noise_frac = noise_of(a, n, b, m);
}

static void decide(struct gate_state *state, const struct gate_rule *rule)
{
    const bool slow = state->p_value <= rule->alpha && state->shift_frac <= -rule->shift_frac;
    const bool last = state->n_a >= rule->most;
    if (slow && state->round == 1) {
        state->verdict = GATE_REGRESSION;
    } else if (slow) {
        /* Confirmed with figures that did not take part in raising the suspicion. */
        state->round = 1;
        state->n_a = state->n_b = 0;
    } else if (state->pass_p_value <= rule->pass_alpha) {
        state->verdict = GATE_PASS;
    } else if (last) {
        /* Neither slow nor shown to be fast enough. With an interval narrower than the threshold the
         * candidate is somewhere near it, and the shift decides; otherwise noise hides the answer. */
        const bool sharp = (state->shift_hi - state->shift_lo) / 2 <= rule->shift_frac;
        state->verdict =
                sharp && state->shift_frac > -rule->shift_frac ? GATE_PASS : GATE_INCONCLUSIVE;
    }
}

static bool looks(const struct gate_rule *rule, int pairs)
{
    if (pairs <= rule->each)
        return pairs >= rule->first;
    return pairs >= rule->most || (pairs - rule->each) % GATE_APART == 0;
}

enum gate_verdict gate_add(
        struct gate_state *state, const struct gate_rule *rule, int side, double value)
{
    if (state->verdict != GATE_MORE)
        return state->verdict;
    double *values = side == 0 ? state->a : state->b;
    int *count = side == 0 ? &state->n_a : &state->n_b;
    if (*count < GATE_MOST)
        values[(*count)++] = value;
    state->n_total++;
    if (state->n_a != state->n_b || !looks(rule, state->n_a))
        return GATE_MORE;
    const bool last = state->n_a >= rule->most;
    judge(state, rule, last);
    decide(state, rule);
    if (state->verdict != GATE_MORE && !last)
        judge(state, rule, true);
    return state->verdict;
}
