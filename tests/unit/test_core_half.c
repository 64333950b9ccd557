#include "core/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct rounded {
    float from;
    uint16_t to;
};

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct rounded cases[] = {{1.0f, 0x3f80}, {-2.0f, 0xc000}, {0.0f, 0},
            {0x1.01p0f, 0x3f80}, {0x1.03p0f, 0x3f82}, {0x1.010002p0f, 0x3f81}, {INFINITY, 0x7f80},
            {0x1.ffp127f, 0x7f80}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(bf16_narrow(cases[i].from), cases[i].to);
    assert_true(isnan(bf16_widen(bf16_narrow(NAN))));
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = bf16_widen((uint16_t)bits);
        if (!isnan(value))
            assert_int_equal(bf16_narrow(value), bits);
    }
}

static void f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct rounded cases[] = {{1.0f, 0x3c00}, {-2.0f, 0xc000}, {0.0f, 0},
            {-0.0f, 0x8000}, {0x1.002p0f, 0x3c00}, {0x1.006p0f, 0x3c02}, {0x1.002002p0f, 0x3c01},
            {65504.0f, 0x7bff}, {65519.996f, 0x7bff}, {65520.0f, 0x7c00}, {1e9f, 0x7c00},
            {-INFINITY, 0xfc00}, {0x1p-14f, 0x0400}, {0x1p-24f, 0x0001}, {0x1p-25f, 0},
            {0x1.8p-24f, 0x0002}, {0x1.000002p-25f, 0x0001}, {-0x1.ffep-15f, 0x8400},
            {0x1.ff8p-15f, 0x03ff}, {1e-40f, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(f16_narrow(cases[i].from), cases[i].to);
    assert_true(isnan(f16_widen(f16_narrow(NAN))));
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = f16_widen((uint16_t)bits);
        if (!isnan(value))
            assert_int_equal(f16_narrow(value), bits);
    }
}

/* By the definition of the format: sign, 2^(exponent - 15), 1 + mantissa / 1024; subnormals in steps of 2^-24. */
static void f16_widens_to_its_value(void **state)
{
    (void)state;
    for (int bits = 0; bits < 0x7c00; bits++) {
        int exponent = bits >> 10, mantissa = bits & 1023;
        double want =
                exponent == 0 ? ldexp(mantissa, -24) : ldexp(1 + mantissa / 1024.0, exponent - 15);
        assert_true((double)f16_widen((uint16_t)bits) == want);
        assert_true((double)f16_widen((uint16_t)(bits | 0x8000)) == -want);
    }
    assert_true(f16_widen(0x7c00) == INFINITY && f16_widen(0xfc00) == -INFINITY);
    for (int bits = 0x7c01; bits < 0x8000; bits++)
        assert_true(isnan(f16_widen((uint16_t)bits)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(bf16_rounds_to_nearest_even),
            cmocka_unit_test(f16_rounds_to_nearest_even),
            cmocka_unit_test(f16_widens_to_its_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
