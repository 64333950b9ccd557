/* Frequencies and scales as transformers 5.23 computes them (modeling_rope_utils.py), of the published models. */
#include "models/rope.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct published {
    const char *name;
    int64_t dims;
    int64_t every;
    double frequency[8]; /* every `every`-th */
    double scale, attention_scale;
};

/* DeepSeek-V3 leaves cosines alone and scales scores: (0.1 ln 40 + 1)^2 / sqrt(192). */
static const struct published models[] = {
        {"deepseek-v3", 64, 4,
                {1, 0.316227764, 0.100000001, 0.0268793609, 0.00550000044, 0.000790569407,
                        2.49999994e-05, 7.90569447e-06},
                1, 0.13523377},
        {"gpt-oss-20b", 64, 4,
                {1, 0.225418001, 0.0508132726, 0.00679495931, 0.000456483918, 1.8188337e-05,
                        4.09997847e-06, 9.24208962e-07},
                1.3465735902799727, 0.125},
        {"llama-3.1-8b", 128, 8,
                {1, 0.193922758, 0.0376060307, 0.00729266508, 0.000524846022, 3.42810235e-05,
                        6.64786967e-06, 1.28917316e-06},
                1, 0.08838834764831845},
};

static void frequencies_equal_published_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        const struct published *p = &models[i];
        struct arena arena = {0};
        struct err err = {0};
        struct model model;
        float frequency[64];

        if (!model_read(&model, p->name, SOURCE_DIR, &arena, &err))
            fail_msg("%s", err.text);
        assert_int_equal(rope_dims(&model), p->dims);
        rope_frequencies(frequency, &model);
        for (int64_t k = 0; k < 8; k++)
            if (fabs((double)frequency[k * p->every] / p->frequency[k] - 1) > 3e-7)
                fail_msg("%s: frequency %lld is %.9g, expected %.9g", p->name,
                        (long long)(k * p->every), (double)frequency[k * p->every],
                        p->frequency[k]);
        assert_true(fabs(rope_scale(&model) - p->scale) < 1e-12);
        assert_true(fabs(rope_attention_scale(&model) / p->attention_scale - 1) < 1e-6);
        model.rope.attention_factor = 1.5;
        assert_true(fabs(rope_scale(&model) - (model.rope.scaling == ROPE_YARN ? 1.5 : 1)) < 1e-12);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(frequencies_equal_published_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
