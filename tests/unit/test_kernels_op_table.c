#include "kernels/op_table.h"

#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

// NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result): sizes are small

static struct dev *open_dev(struct dev_options options)
{
    struct err err = {0};
    struct dev *dev = dev_host_open(&options, &err);
    if (!dev)
        fail_msg("%s", err.text);
    return dev;
}

/* Shapes that fill tiles exactly and that do not, and every kind. tolerance: relative to 1 + |expected|,
 * about the rounding of the sums involved; a bf16 or f16 cache adds half a unit of its last place. */
struct shape {
    struct op op;
    double tolerance;
};

#define F32  DTYPE_F32
#define BF16 DTYPE_BF16
#define F16  DTYPE_F16
/* clang-format off */
static const struct shape shapes[] = {
    {{OP_GEMM, F32, 2, 1, {1, 1, 1}}, 1e-5},
    {{OP_GEMM, F32, 2, 1, {1, 64, 64}}, 1e-5},
    {{OP_GEMM, BF16, 2, 1, {1, 67, 61}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {1, 67, 61}}, 1e-5},
    {{OP_GEMM, F32, 2, 1, {2, 13, 129}}, 1e-5},
    {{OP_GEMM, BF16, 2, 1, {3, 50, 1023}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {3, 50, 1023}}, 1e-5},
    {{OP_GEMM, F32, 2, 1, {5, 25, 77}}, 1e-5},
    {{OP_GEMM, BF16, 2, 1, {7, 29, 200}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {7, 29, 200}}, 1e-5},
    {{OP_GEMM, BF16, 2, 1, {8, 48, 333}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {8, 48, 333}}, 1e-5},
    {{OP_GEMM, F32, 2, 1, {9, 31, 96}}, 1e-5},
    {{OP_GEMM, BF16, 2, 1, {16, 100, 100}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {16, 100, 100}}, 1e-5},
    {{OP_GEMM, F32, 2, 1, {17, 40, 111}}, 1e-5},
    {{OP_GEMM, BF16, 2, 1, {33, 37, 513}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {33, 37, 513}}, 1e-5},
    {{OP_GEMM, F32, 2, 1, {70, 37, 20000}}, 3e-5},
    {{OP_GEMM, BF16, 2, 1, {70, 600, 530}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {70, 600, 530}}, 1e-5},
    {{OP_GEMM, F32, 2, 1, {130, 257, 300}}, 1e-5},
    {{OP_GEMM, BF16, 2, 1, {200, 900, 65}}, 1e-5},
    {{OP_GEMM, F16, 2, 1, {200, 900, 65}}, 1e-5},
    {{OP_LM_HEAD, BF16, 2, 1, {4, 999, 128}}, 1e-5},
    {{OP_LM_HEAD, F16, 2, 1, {4, 999, 128}}, 1e-5},
    {{OP_ATTENTION_PREFILL, F32, 2, 1, {1, 1, 1, 1, 8}}, 1e-5},
    {{OP_ATTENTION_PREFILL, F32, 2, 1, {33, 100, 8, 2, 64}}, 1e-5},
    {{OP_ATTENTION_PREFILL, BF16, 2, 1, {70, 200, 4, 4, 128}}, 1e-5},
    {{OP_ATTENTION_PREFILL, F16, 2, 1, {70, 200, 4, 4, 128}}, 1e-5},
    {{OP_ATTENTION_PREFILL, BF16, 2, 1, {17, 65, 6, 2, 20}}, 1e-5},
    {{OP_ATTENTION_PREFILL, F16, 2, 1, {17, 65, 6, 2, 20}}, 1e-5},
    {{OP_ATTENTION_PREFILL, F32, 2, 1, {9, 9, 40, 1, 12}}, 1e-5},
    {{OP_ATTENTION_DECODE, F32, 2, 1, {1, 1, 4, 2, 16}}, 1e-5},
    {{OP_ATTENTION_DECODE, F32, 2, 1, {3, 300, 8, 2, 64}}, 1e-5},
    {{OP_ATTENTION_DECODE, BF16, 2, 1, {5, 129, 16, 8, 128}}, 1e-5},
    {{OP_ATTENTION_DECODE, F16, 2, 1, {5, 129, 16, 8, 128}}, 1e-5},
    {{OP_ATTENTION_DECODE, BF16, 2, 1, {7, 64, 10, 2, 24}}, 1e-5},
    {{OP_ATTENTION_DECODE, F16, 2, 1, {7, 64, 10, 2, 24}}, 1e-5},
    {{OP_RMSNORM, F32, 2, 1, {1, 1, 0}}, 1e-5},
    {{OP_RMSNORM, F32, 2, 1, {3, 1000, 1}}, 1e-5},
    {{OP_RMSNORM, F32, 2, 1, {33, 513, 0}}, 1e-5},
    {{OP_ROPE, F32, 2, 1, {1, 2, 1, 8, 0}}, 2e-5},
    {{OP_ROPE, F32, 2, 1, {17, 8, 2, 64, 1}}, 2e-5},
    {{OP_ROPE, BF16, 2, 1, {33, 16, 8, 128, 1}}, 8e-3},
    {{OP_ROPE, F16, 2, 1, {33, 16, 8, 128, 1}}, 1e-3},
    {{OP_ROPE, BF16, 2, 1, {5, 6, 3, 20, 0}}, 8e-3},
    {{OP_ROPE, F16, 2, 1, {5, 6, 3, 20, 0}}, 1e-3},
    {{OP_MLA_PREFILL, F32, 2, 1, {1, 1, 1, 4, 2, 5}}, 1e-5},
    {{OP_MLA_PREFILL, F32, 2, 1, {21, 50, 3, 20, 6, 14}}, 1e-5},
    {{OP_MLA_PREFILL, BF16, 2, 1, {35, 300, 2, 40, 16, 24}}, 2e-5},
    {{OP_MLA_PREFILL, F16, 2, 1, {35, 300, 2, 40, 16, 24}}, 2e-5},
    {{OP_MLA_PREFILL, BF16, 2, 1, {70, 70, 4, 64, 8, 33}}, 2e-5},
    {{OP_MLA_PREFILL, F16, 2, 1, {70, 70, 4, 64, 8, 33}}, 2e-5},
    {{OP_MLA_PREFILL, BF16, 2, 1, {5, 100, 6, 40, 8, 24}}, 2e-5},
    {{OP_MLA_PREFILL, F16, 2, 1, {5, 100, 6, 40, 8, 24}}, 2e-5},
    {{OP_MLA_DECODE, F32, 2, 1, {1, 1, 1, 4, 2, 5}}, 1e-5},
    {{OP_MLA_DECODE, F32, 2, 1, {5, 33, 6, 20, 6, 14}}, 1e-5},
    {{OP_MLA_DECODE, BF16, 2, 1, {3, 130, 40, 33, 10, 24}}, 2e-5},
    {{OP_MLA_DECODE, F16, 2, 1, {3, 130, 40, 33, 10, 24}}, 2e-5},
    {{OP_MLA_DECODE, BF16, 2, 1, {300, 9, 4, 64, 16, 32}}, 2e-5},
    {{OP_MLA_DECODE, F16, 2, 1, {300, 9, 4, 64, 16, 32}}, 2e-5},
    {{OP_MLA_ROPE, F32, 2, 1, {3, 4, 20, 6, 9}}, 2e-5},
    {{OP_MLA_ROPE, BF16, 2, 1, {33, 8, 64, 16, 32}}, 8e-3},
    {{OP_MLA_ROPE, F16, 2, 1, {33, 8, 64, 16, 32}}, 1e-3},
    {{OP_ACTIVATION, F32, 2, 1, {1, 3}}, 1e-5},
    {{OP_ACTIVATION, F32, 2, 1, {9, 1537}}, 1e-5},
    {{OP_ROUTER, F32, 2, 1, {5, 96, 8, 2}}, 1e-5},
    {{OP_ROUTER, BF16, 2, 1, {33, 200, 19, 5}}, 1e-5},
    {{OP_ROUTER, F16, 2, 1, {33, 200, 19, 5}}, 1e-5},
    {{OP_ROUTER, BF16, 2, 1, {100, 64, 128, 8}}, 1e-5},
    {{OP_ROUTER, F16, 2, 1, {100, 64, 128, 8}}, 1e-5},
    {{OP_PERMUTE, F32, 2, 1, {5, 33, 8, 8, 2}}, 0},
    {{OP_PERMUTE, F32, 2, 1, {65, 130, 5, 16, 4}}, 0},
    {{OP_EXPERT_GEMM, F32, 2, 1, {1, 40, 24, 4, 8, 2}}, 1e-5},
    {{OP_EXPERT_GEMM, BF16, 2, 1, {33, 72, 50, 8, 8, 3}}, 1e-5},
    {{OP_EXPERT_GEMM, F16, 2, 1, {33, 72, 50, 8, 8, 3}}, 1e-5},
    {{OP_EXPERT_GEMM, BF16, 2, 1, {200, 256, 210, 4, 8, 2}}, 1e-5},
    {{OP_EXPERT_GEMM, F16, 2, 1, {200, 256, 210, 4, 8, 2}}, 1e-5},
    {{OP_COMBINE, F32, 2, 1, {5, 33, 8, 8, 2}}, 1e-5},
    {{OP_COMBINE, F32, 2, 1, {65, 130, 5, 16, 4}}, 1e-5},
    {{OP_EMBEDDING, F32, 2, 1, {3, 100}}, 0},
    {{OP_EMBEDDING, BF16, 2, 1, {65, 333}}, 0},
    {{OP_EMBEDDING, F16, 2, 1, {65, 333}}, 0},
    {{OP_SAMPLE, F32, 2, 1, {1, 1}}, 0},
    {{OP_SAMPLE, F32, 2, 1, {9, 5003}}, 0},
    {{OP_COPY, F32, 2, 1, {4}}, 0},
    {{OP_COPY, F32, 2, 1, {300004}}, 0},
};
/* clang-format on */
#define N_SHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))

static void compare(struct dev *dev, struct dev *reference, const struct shape *shape)
{
    struct err err = {0};
    char text[160];
    int64_t n, expected_n;
    struct op_case *c = op_case_open(dev, &shape->op, 0, 11, &err);
    struct op_case *r = op_case_open(reference, &shape->op, 0, 11, &err);
    assert_non_null(c);
    assert_non_null(r);
    op_case_run(c);
    op_case_run(r);
    const float *got = op_case_output(c, &n), *expected = op_case_output(r, &expected_n);
    assert_int_equal(n, expected_n);
    assert_true(n > 0);
    for (int64_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - (double)expected[i]);
        if (!(off <= shape->tolerance * (1 + fabs((double)expected[i]))))
            fail_msg("%s, %s: element %lld is %.9g, expected %.9g", op_show(text, &shape->op),
                    dev_isa_names[dev_isa(dev)], (long long)i, (double)got[i], (double)expected[i]);
    }
    op_case_close(c);
    op_case_close(r);
}

static void compare_all(struct dev_options options)
{
    struct dev *dev = open_dev(options);
    struct dev *reference =
            open_dev((struct dev_options){.threads = 1, .first_cpu = -1, .reference = true});
    for (int i = 0; i < N_SHAPES; i++)
        compare(dev, reference, &shapes[i]);
    dev_close(dev);
    dev_close(reference);
}

static void portable_agrees_with_reference(void **state)
{
    (void)state;
    compare_all((struct dev_options){.threads = 1, .first_cpu = -1, .isa = ISA_PORTABLE});
}

static void portable_on_two_threads_agrees_with_reference(void **state)
{
    (void)state;
    compare_all((struct dev_options){.threads = 2, .first_cpu = -1, .isa = ISA_PORTABLE});
}

static void best_isa_agrees_with_reference(void **state)
{
    (void)state;
    compare_all((struct dev_options){.threads = 1, .first_cpu = -1});
}

static void best_isa_on_two_threads_agrees_with_reference(void **state)
{
    (void)state;
    compare_all((struct dev_options){.threads = 2, .first_cpu = -1});
}

static void deterministic_agrees_with_reference(void **state)
{
    (void)state;
    compare_all((struct dev_options){.threads = 2, .first_cpu = -1, .deterministic = true});
}

/* Weights and caches move on with each run, so that results differ; the first copy comes round again. */
static void cold_copies_rotate(void **state)
{
    (void)state;
    struct err err = {0};
    struct op op = {OP_GEMM, DTYPE_F32, 1, 1, {1, 8, 16}};
    struct dev *dev = open_dev((struct dev_options){.threads = 1, .first_cpu = -1});
    struct op_case *c = op_case_open(dev, &op, 2 * 8 * 16 * 4, 3, &err);
    assert_non_null(c);
    float first[4];
    for (int i = 0; i < 4; i++) {
        int64_t n;
        op_case_run(c);
        first[i] = op_case_output(c, &n)[0];
    }
    assert_true(first[0] < first[1] || first[0] > first[1]);
    assert_memory_equal(&first[0], &first[3], sizeof(float));
    assert_true(dev_allocated(dev) == op_case_bytes(&op, 2 * 8 * 16 * 4));
    op_case_close(c);
    assert_int_equal(dev_allocated(dev), 0);
    dev_close(dev);
}

/* What is written anew before a sample is what was there. */
static void stirring_changes_no_value(void **state)
{
    (void)state;
    struct dev *dev = open_dev((struct dev_options){.threads = 2, .first_cpu = -1});
    int stirred = 0;
    for (int i = 0; i < N_SHAPES; i++) {
        struct err err = {0};
        struct op_case *plain = op_case_open(dev, &shapes[i].op, 0, 5, &err);
        struct op_case *c = op_case_open(dev, &shapes[i].op, 0, 5, &err);
        assert_non_null(plain);
        assert_non_null(c);
        int64_t n, expected_n;
        stirred += op_case_stir(c);
        op_case_run(c);
        stirred += op_case_stir(c);
        op_case_run(plain);
        const float *expected = op_case_output(plain, &expected_n);
        const float *got = op_case_output(c, &n);
        assert_int_equal(n, expected_n);
        assert_memory_equal(got, expected, (size_t)n * sizeof(float));
        op_case_close(plain);
        op_case_close(c);
    }
    assert_true(stirred > 0 && stirred < 2 * N_SHAPES);
    dev_close(dev);
}

/* malloc serves all of it; under address sanitizer its figures stay 0 and the test says little. */
static void runs_do_not_allocate_after_the_first(void **state)
{
    (void)state;
    struct dev *dev = open_dev((struct dev_options){.threads = 2, .first_cpu = -1});
    for (int i = 0; i < N_SHAPES; i++) {
        struct err err = {0};
        struct op_case *c = op_case_open(dev, &shapes[i].op, 0, 5, &err);
        assert_non_null(c);
        op_case_run(c);
        struct mallinfo2 before = mallinfo2();
        for (int run = 0; run < 3; run++)
            op_case_run(c);
        struct mallinfo2 after = mallinfo2();
        assert_true(before.uordblks + before.hblkhd == after.uordblks + after.hblkhd);
        op_case_close(c);
    }
    dev_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(portable_agrees_with_reference),
            cmocka_unit_test(portable_on_two_threads_agrees_with_reference),
            cmocka_unit_test(best_isa_agrees_with_reference),
            cmocka_unit_test(best_isa_on_two_threads_agrees_with_reference),
            cmocka_unit_test(deterministic_agrees_with_reference),
            cmocka_unit_test(cold_copies_rotate),
            cmocka_unit_test(stirring_changes_no_value),
            cmocka_unit_test(runs_do_not_allocate_after_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
// NOLINTEND(bugprone-implicit-widening-of-multiplication-result)
