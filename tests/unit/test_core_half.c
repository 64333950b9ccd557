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

/* By the definition of the format: sign, 2^(exponent - 7), 1 + mantissa / 8; subnormals in steps of 2^-9; 0x7f is NaN. */
static void f8_widens_to_its_value(void **state)
{
    (void)state;
    for (int bits = 0; bits < 0x7f; bits++) {
        int exponent = bits >> 3, mantissa = bits & 7;
        double want = exponent == 0 ? ldexp(mantissa, -9) : ldexp(1 + mantissa / 8.0, exponent - 7);
        assert_true((double)f8_widen((uint8_t)bits) == want);
        assert_true((double)f8_widen((uint8_t)(bits | 0x80)) == -want);
        assert_int_equal(f8_narrow((float)want), bits);
        assert_int_equal(f8_narrow((float)-want), bits | 0x80);
    }
    assert_true(isnan(f8_widen(0x7f)) && isnan(f8_widen(0xff)));
}

static void f8_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct rounded cases[] = {{1.0f, 0x38}, {1.0625f, 0x38}, {1.0626f, 0x39},
            {1.1875f, 0x3a}, {-1.9376f, 0xc0}, {447.0f, 0x7e}, {448.0f, 0x7e}, {1e9f, 0x7e},
            {-INFINITY, 0xfe}, {0x1p-9f, 0x01}, {0x1p-10f, 0}, {0x1.8p-9f, 0x02}, {0x1.fp-7f, 0x08},
            {0x1p-6f, 0x08}, {1e-40f, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(f8_narrow(cases[i].from), cases[i].to);
    assert_int_equal(f8_narrow(NAN) & 0x7f, 0x7f);
    for (int bits = 0; bits < 0x7e;
            bits++) { /* what lies between two neighbours goes to the nearer one */
        double low = (double)f8_widen((uint8_t)bits), high = (double)f8_widen((uint8_t)(bits + 1));
        assert_int_equal(f8_narrow((float)(low + 0.49 * (high - low))), bits);
        assert_int_equal(f8_narrow((float)(low + 0.51 * (high - low))), bits + 1);
        assert_int_equal(f8_narrow((float)(low + 0.5 * (high - low))), bits + (bits & 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(bf16_rounds_to_nearest_even),
            cmocka_unit_test(f16_rounds_to_nearest_even),
            cmocka_unit_test(f16_widens_to_its_value),
            cmocka_unit_test(f8_widens_to_its_value),
            cmocka_unit_test(f8_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
