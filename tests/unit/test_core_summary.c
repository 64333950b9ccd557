#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "core/summary.h"

static void quantiles_interpolate(void **state)
{
    (void)state;
    const double sorted[] = {1, 2, 3, 4};
    /* Hyndman-Fan type 7, as numpy.quantile gives */
    assert_true(summary_quantile(sorted, 4, 0) == 1);
    assert_true(summary_quantile(sorted, 4, 0.25) == 1.75);
    assert_true(summary_quantile(sorted, 4, 0.5) == 2.5);
    assert_true(fabs(summary_quantile(sorted, 4, 0.9) - 3.7) < 1e-12);
    assert_true(summary_quantile(sorted, 4, 1) == 4);
    assert_true(summary_quantile(sorted, 1, 0.99) == 1);
    assert_true(summary_quantile(sorted, 0, 0.5) == 0);
}

static void known_figures(void **state)
{
    (void)state;
    double samples[] = {5, 1, 4, 2, 3, 100};
    struct summary s;
    summary_of(&s, samples, 6);
    assert_int_equal(s.n, 6);
    assert_true(s.min == 1 && s.max == 100 && s.median == 3.5 && s.mad == 1.5);
    assert_true(fabs(s.mean - 115.0 / 6) < 1e-12);
    /* n = 6: the extremes bracket the median with 1 - 2/64 = 96.9 % */
    assert_true(s.ci_lo == 1 && s.ci_hi == 100);
    summary_of(&s, samples, 0);
    assert_int_equal(s.n, 0);
    assert_true(s.median == 0);
}

/* P(Binomial(n, 1/2) <= k) <= 2.5 %: the ranks of published tables. */
static void interval_ranks(void **state)
{
    (void)state;
    static const struct {
        int n, lo, hi; /* ranks from 1 */
    } cases[] = {{6, 1, 6}, {10, 2, 9}, {20, 6, 15}, {50, 18, 33}, {100, 40, 61}, {1000, 469, 532},
            {1002, 470, 533}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double samples[1002];
        for (int i = 0; i < cases[c].n; i++)
            samples[i] = i + 1;
        struct summary s;
        summary_of(&s, samples, cases[c].n);
        assert_int_equal((int)s.ci_lo, cases[c].lo);
        assert_int_equal((int)s.ci_hi, cases[c].hi);
    }
}

static void interval_covers_the_median(void **state)
{
    (void)state;
    int covered = 0;
    const int trials = 4000;
    for (int t = 0; t < trials; t++) {
        double samples[31];
        for (int i = 0; i < 31; i++)
            samples[i] = random_unit(7, (uint64_t)t * 31 + (uint64_t)i);
        struct summary s;
        summary_of(&s, samples, 31);
        covered += s.ci_lo <= 0.5 && s.ci_hi >= 0.5;
    }
    /* exact coverage for n = 31 is 97.1 % */
    assert_in_range(covered, (int)(0.96 * trials), (int)(0.985 * trials));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(quantiles_interpolate),
            cmocka_unit_test(known_figures),
            cmocka_unit_test(interval_ranks),
            cmocka_unit_test(interval_covers_the_median),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
