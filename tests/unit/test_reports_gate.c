/* The statistics of the gate against brute force, and its error rates by seeded simulation. */
#include "reports/gate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/summary.h"

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("found %.17g, expected %.17g", found, expected);
}

static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *state)
{
    const double radius = sqrt(-2 * log(uniform(state)));
    return radius * cos(6.283185307179586 * uniform(state));
}

/* Pairs (x of a, y of b) won by b, ties count a half: a rank sum less its minimum. */
static double wins(const double *all, unsigned in_b, int n)
{
    double u = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (!(in_b >> i & 1) && in_b >> j & 1)
                u += all[j] > all[i] ? 1 : all[j] == all[i] ? 0.5 : 0;
    return u;
}

/* By listing every way to choose b from the joined values. */
static double brute_force(const double *all, int n, int m)
{
    const unsigned observed = ((1u << m) - 1) << n;
    const double u = wins(all, observed, n + m);
    int hits = 0, ways = 0;
    for (unsigned mask = 0; mask < 1u << (n + m); mask++) {
        if (__builtin_popcount(mask) != m)
            continue;
        ways++;
        hits += wins(all, mask, n + m) <= u + 1e-9;
    }
    return (double)hits / ways;
}

static void test_mann_whitney_equals_listing(void **unused)
{
    (void)unused;
    uint64_t seed = 7;
    for (int trial = 0; trial < 150; trial++) {
        double all[9];
        const int n = 1 + trial % 4, m = 1 + trial / 4 % 5;
        /* A grid of a few values makes ties; a fine one makes none. */
        const double grid = trial % 2 ? 4 : 1e6;
        for (int i = 0; i < n + m; i++)
            all[i] = floor(uniform(&seed) * grid);
        const double p = gate_mann_whitney(all, n, all + n, m);
        assert_near(p, brute_force(all, n, m), 1e-12);
    }
}

static void test_mann_whitney_of_complete_separation(void **unused)
{
    (void)unused;
    const double fast[] = {10, 11, 12, 13, 14}, slow[] = {1, 2, 3, 4, 5};
    assert_near(gate_mann_whitney(fast, 5, slow, 5), 1.0 / 252, 1e-15);
    assert_near(gate_mann_whitney(slow, 5, fast, 5), 1, 1e-15);
    assert_near(gate_mann_whitney(fast, 5, slow, 0), 1, 0);
}

static void test_mann_whitney_of_largest_samples(void **unused)
{
    (void)unused;
    double a[64], b[64];
    for (int i = 0; i < 64; i++) {
        a[i] = 2 * i;
        b[i] = 2 * i + 1;
    }
    const double p = gate_mann_whitney(b, 64, a, 64), q = gate_mann_whitney(a, 64, b, 64);
    /* The smaller side wins 64 * 63 / 2 of 4096 pairs, just under the half that chance gives it. */
    assert_true(p > 0.4 && p < 0.5 && q > 0.5 && q < 0.6);
}

static void test_hodges_lehmann(void **unused)
{
    (void)unused;
    const double a[] = {1, 5, 9}, b[] = {2, 4};
    /* differences: 1 3 -3 -1 -7 -5 */
    assert_near(gate_hodges_lehmann(a, 3, b, 2), -2, 1e-15);
}

static void test_shift_interval_of_four_and_four(void **unused)
{
    (void)unused;
    const double a[] = {0, 0.1, 0.2, 0.3}, b[] = {1, 1.5, 2, 2.5};
    double lo, hi;
    /* P(U <= 1) = 2/70 <= 0.05 < P(U <= 2) = 4/70: the second smallest and largest difference. */
    gate_shift_interval(&lo, &hi, a, 4, b, 4, 0.05);
    assert_near(lo, 0.8, 1e-12);
    assert_near(hi, 2.4, 1e-12);
    gate_shift_interval(&lo, &hi, a, 2, b, 2, 0.05);
    assert_true(isinf(lo) && isinf(hi));
}

static void test_order_is_abba(void **unused)
{
    (void)unused;
    struct gate_state state;
    gate_begin(&state);
    const int wanted[] = {0, 1, 1, 0, 0, 1, 1, 0};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(gate_next(&state), wanted[i]);
        gate_add(&state, &gate_rule_default, wanted[i], 100 + i);
    }
}

struct rates {
    int verdicts[4];
    double runs;
};

static struct rates simulate(const struct gate_rule *rule, double slow, double sigma, int trials)
{
    struct rates rates = {0};
    uint64_t seed = 12345;
    for (int i = 0; i < trials; i++) {
        struct gate_state state;
        gate_begin(&state);
        enum gate_verdict verdict = GATE_MORE;
        while (verdict == GATE_MORE) {
            const int side = gate_next(&state);
            const double mean = side == 0 ? 1000 : 1000 * (1 - slow);
            verdict = gate_add(&state, rule, side, mean * exp(sigma * normal(&seed)));
        }
        rates.verdicts[verdict]++;
        rates.runs += (double)state.n_total / trials;
    }
    printf("%-8s %4.1f %% slower, noise %.1f %%: pass %6.2f %%, regression %6.2f %%, inconclusive "
           "%6.2f %%, %.1f runs\n",
            rule->name, 100 * slow, 100 * sigma, 100.0 * rates.verdicts[GATE_PASS] / trials,
            100.0 * rates.verdicts[GATE_REGRESSION] / trials,
            100.0 * rates.verdicts[GATE_INCONCLUSIVE] / trials, rates.runs);
    return rates;
}

static void test_unchanged_is_flagged_in_few_trials(void **unused)
{
    (void)unused;
    const int trials = 10000;
    for (int i = 0; i < 2; i++) {
        const double sigma = i == 0 ? 0.01 : 0.015;
        assert_true(simulate(&gate_rule_default, 0, sigma, trials).verdicts[GATE_REGRESSION]
                    <= trials * 0.005);
        assert_true(simulate(&gate_rule_short, 0, sigma, trials).verdicts[GATE_REGRESSION]
                    <= trials * 0.005);
    }
}

static void test_slow_down_is_found(void **unused)
{
    (void)unused;
    for (int i = 0; i < 2; i++) {
        const double sigma = i == 0 ? 0.01 : 0.015;
        const int trials = 10000, fewer = 2000;
        assert_true(simulate(&gate_rule_default, 0.05, sigma, trials).verdicts[GATE_REGRESSION]
                    >= trials * 0.95);
        assert_true(simulate(&gate_rule_default, 0.03, sigma, fewer).verdicts[GATE_REGRESSION]
                    >= fewer * 0.90);
        assert_true(simulate(&gate_rule_short, 0.10, sigma, fewer).verdicts[GATE_REGRESSION]
                    >= fewer * 0.95);
    }
}

static void test_noise_takes_more_runs(void **unused)
{
    (void)unused;
    /* With 5 % of noise per run most answers need more than 16 pairs, and most get one. */
    const struct rates rates = simulate(&gate_rule_default, 0, 0.05, 200);
    assert_true(rates.verdicts[GATE_REGRESSION] <= 2);
    assert_true(rates.verdicts[GATE_PASS] >= 120);
    /* Nor does a candidate that is much slower get away with luck in one of the looks. */
    const struct rates slower = simulate(&gate_rule_default, 0.05, 0.05, 200);
    assert_true(slower.verdicts[GATE_PASS] <= 10);
    assert_true(slower.verdicts[GATE_REGRESSION] >= 160);
}

static void test_noise_is_called_inconclusive(void **unused)
{
    (void)unused;
    assert_true(simulate(&gate_rule_default, 0, 0.08, 500).verdicts[GATE_REGRESSION] <= 5);
    /* With 20 % a 2 % threshold cannot be seen in 96 runs. */
    const struct rates rates = simulate(&gate_rule_default, 0, 0.20, 100);
    assert_true(rates.verdicts[GATE_REGRESSION] <= 2);
    assert_true(rates.verdicts[GATE_INCONCLUSIVE] >= 60);
}

static void test_lower_is_better(void **unused)
{
    (void)unused;
    struct gate_rule rule = gate_rule_default;
    rule.higher_is_better = false;
    struct gate_state state;
    gate_begin(&state);
    uint64_t seed = 1;
    while (state.verdict == GATE_MORE) {
        const int side = gate_next(&state);
        gate_add(&state, &rule, side, (side == 0 ? 10 : 11) * exp(0.005 * normal(&seed)));
    }
    assert_int_equal(state.verdict, GATE_REGRESSION);
    assert_true(state.shift_frac < -0.08 && state.shift_frac > -0.11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_mann_whitney_equals_listing),
            cmocka_unit_test(test_mann_whitney_of_complete_separation),
            cmocka_unit_test(test_mann_whitney_of_largest_samples),
            cmocka_unit_test(test_hodges_lehmann),
            cmocka_unit_test(test_shift_interval_of_four_and_four),
            cmocka_unit_test(test_order_is_abba),
            cmocka_unit_test(test_unchanged_is_flagged_in_few_trials),
            cmocka_unit_test(test_slow_down_is_found),
            cmocka_unit_test(test_noise_takes_more_runs),
            cmocka_unit_test(test_noise_is_called_inconclusive),
            cmocka_unit_test(test_lower_is_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
