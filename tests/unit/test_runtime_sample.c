/* Seeded draws: the right distribution, the right support, and the same token however logits are split. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/sample.h"

enum {
    VOCAB = 64,
    DRAWS = 20000
};

static struct dev *dev;

static int open_dev(void **state)
{
    struct err err = {0};
    (void)state;

    dev = dev_host_open(&(struct dev_options){.threads = 2, .first_cpu = -1}, &err);
    return dev ? 0 : -1;
}

static int close_dev(void **state)
{
    (void)state;
    dev_close(dev);
    return 0;
}

static struct sampler *open_sampler(double temperature, int64_t top_k, double top_p)
{
    struct workload workload = {
            .sampling = {.temperature = temperature, .top_k = top_k, .top_p = top_p}};
    struct err err = {0};
    struct sampler *s = sampler_open(&workload, VOCAB, dev, &err);

    if (!s)
        fail_msg("%s", err.text);
    return s;
}

/* Logits that fall with a step of 0.1, shuffled by a fixed stride. */
static void fill(float logits[VOCAB])
{
    for (int i = 0; i < VOCAB; i++)
        logits[i * 29 % VOCAB] = (float)(-0.1 * i);
}

static void count_draws(struct sampler *s, const float *logits, int counts[VOCAB])
{
    static struct sample_row rows[DRAWS];
    static int32_t tokens[DRAWS];

    for (int i = 0; i < DRAWS; i++)
        rows[i] = (struct sample_row){logits, 1, 0, (uint64_t)(i % 7), i};
    sampler_draw(s, tokens, rows, DRAWS);
    for (int i = 0; i < VOCAB; i++)
        counts[i] = 0;
    for (int i = 0; i < DRAWS; i++) {
        assert_true(tokens[i] >= 0 && tokens[i] < VOCAB);
        counts[tokens[i]]++;
    }
}

/* Pearson's statistic against the wanted probabilities must stay below mean + 6 standard deviations. */
static void check_distribution(const int counts[VOCAB], const double p[VOCAB])
{
    double statistic = 0;
    int cells = 0;

    for (int i = 0; i < VOCAB; i++) {
        double want = p[i] * DRAWS;

        if (p[i] <= 0)
            assert_int_equal(counts[i], 0);
        if (want < 5)
            continue;
        statistic += (counts[i] - want) * (counts[i] - want) / want;
        cells++;
    }
    assert_true(cells > 1);
    assert_true(statistic < cells + 6 * sqrt(2.0 * cells));
}

/* Rank r (0 = the largest) lies at index r * 29 % VOCAB. */
static void test_distribution_follows_the_logits(void **state)
{
    const struct {
        double temperature;
        int64_t top_k;
        double top_p;
        int kept; /* how many of the largest */
    } cases[] = {{1, 0, 1, VOCAB}, {0.5, 0, 1, VOCAB}, {2, 10, 1, 10}, {1, 0, 0.5, 7},
            {1, 5, 0.9, 5}, {1, 1, 1, 1}, {1, 0, 1e-9, 1}};
    float logits[VOCAB];
    int counts[VOCAB];
    (void)state;

    fill(logits);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct sampler *s = open_sampler(cases[c].temperature, cases[c].top_k, cases[c].top_p);
        double p[VOCAB] = {0}, sum = 0;

        for (int r = 0; r < cases[c].kept; r++)
            sum += p[r * 29 % VOCAB] = exp(-0.1 * r / cases[c].temperature);
        for (int i = 0; i < VOCAB; i++)
            p[i] /= sum;
        count_draws(s, logits, counts);
        if (cases[c].kept > 1)
            check_distribution(counts, p);
        else
            assert_int_equal(counts[0], DRAWS);
        sampler_close(s);
    }
}

static void test_ties_at_the_edge_go_to_the_lower_index(void **state)
{
    struct sampler *s = open_sampler(1, 3, 1);
    float logits[VOCAB] = {0};
    int counts[VOCAB];
    (void)state;

    logits[40] = 1;
    count_draws(s, logits, counts);
    for (int i = 0; i < VOCAB; i++)
        assert_int_equal(counts[i] > 0, i == 40 || i == 0 || i == 1);
    sampler_close(s);
}

static void test_split_logits_give_the_same_token(void **state)
{
    struct sampler *s = open_sampler(0.8, 30, 0.95);
    float whole[VOCAB], split[4 * 20];
    (void)state;

    fill(whole);
    for (int part = 0; part < 4; part++)
        for (int i = 0; i < 16; i++)
            split[part * 20 + i] = whole[part * 16 + i];
    for (int64_t position = 0; position < 200; position++) {
        int32_t a, b;

        sampler_draw(s, &a, &(struct sample_row){whole, 1, 0, 5, position}, 1);
        sampler_draw(s, &b, &(struct sample_row){split, 4, 20, 5, position}, 1);
        assert_int_equal(a, b);
    }
    sampler_close(s);
}

static void test_uniform_depends_on_seed_and_position_alone(void **state)
{
    double sum = 0;
    (void)state;

    assert_true(sample_uniform(1, 2) == sample_uniform(1, 2));
    assert_true(sample_uniform(1, 2) != sample_uniform(2, 1));
    for (int i = 0; i < 10000; i++) {
        double u = sample_uniform(3, i);

        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(fabs(sum / 10000 - 0.5) < 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_distribution_follows_the_logits),
            cmocka_unit_test(test_ties_at_the_edge_go_to_the_lower_index),
            cmocka_unit_test(test_split_logits_give_the_same_token),
            cmocka_unit_test(test_uniform_depends_on_seed_and_position_alone),
    };
    return cmocka_run_group_tests(tests, open_dev, close_dev);
}
