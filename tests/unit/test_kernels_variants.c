/* What ops do besides what op_case asks of them: biases, sinks, windows, groups of experts, clamps, sums. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/element.h"
#include "kernels/op_table.h"

// NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result,readability-non-const-parameter): sizes are small, and ops write

static struct dev *fast, *slow;

static int open_devs(void **state)
{
    struct err err = {0};
    (void)state;
    fast = dev_host_open(&(struct dev_options){.threads = 2, .first_cpu = -1}, &err);
    slow = dev_host_open(
            &(struct dev_options){.threads = 1, .first_cpu = -1, .reference = true}, &err);
    return fast && slow ? 0 : -1;
}

static int close_devs(void **state)
{
    (void)state;
    dev_close(fast);
    dev_close(slow);
    return 0;
}

static float *noise(int64_t n, uint32_t seed)
{
    float *x = calloc((size_t)n, 4);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * 0x1p-23f - 1;
    }
    return x;
}

static void check_near(const float *got, const float *expected, int64_t n, float tolerance)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - expected[i]) <= tolerance * (1 + fabsf(expected[i]))))
            fail_msg("element %lld is %.9g, expected %.9g", (long long)i, (double)got[i],
                    (double)expected[i]);
}

/* ---- the router ---- */

enum {
    ROWS = 40,
    HIDDEN = 24,
    EXPERTS = 16,
    TOP_K = 3
};

struct routed {
    int32_t expert[ROWS * TOP_K];
    float weight[ROWS * TOP_K];
};

static void route(struct dev *dev, struct router_args args, struct routed *out)
{
    struct op op = {OP_ROUTER, DTYPE_F32, 1, 1, {ROWS, HIDDEN, EXPERTS, TOP_K}};
    args.expert = out->expert;
    args.weight = out->weight;
    op_run(dev, &op, &(struct op_args){.router = args});
}

static void routing_agrees_with_the_reference(void **state)
{
    float *x = noise(ROWS * HIDDEN, 1), *w = noise(EXPERTS * HIDDEN, 2), *bias = noise(EXPERTS, 3);
    const struct router_args cases[] = {
            {.x = x, .w = w, .bias = bias, .normalise = true},
            {.x = x, .w = w, .sigmoid = true},
            {.x = x, .w = w, .sigmoid = true, .bias = bias, .normalise = true, .scale = 2.5f},
            {.x = x, .w = w, .sigmoid = true, .bias = bias, .n_group = 4, .top_k_group = 2},
            {.x = x, .w = w, .sigmoid = true, .n_group = 16, .top_k_group = 3, .scale = 1.5f},
            {.x = x, .w = w, .sigmoid = true, .n_group = 2, .top_k_group = 1, .normalise = true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct routed got = {0}, expected = {0};
        route(fast, cases[i], &got);
        route(slow, cases[i], &expected);
        assert_memory_equal(got.expert, expected.expert, sizeof(got.expert));
        check_near(got.weight, expected.weight, ROWS * TOP_K, 1e-5f);
    }
    free(x);
    free(w);
    free(bias);
}

/* By hand: three groups of two; the bias decides who is chosen, but not the weights. */
static void groups_and_bias_choose_and_scores_weigh(void **state)
{
    static const float x[] = {1}, w[] = {0, 1, 2, -1, 0.5f, 1.25f}, bias[] = {0, 0, 0, 0, 9, 0};
    int32_t expert[2] = {0};
    float weight[2] = {0};
    struct op op = {OP_ROUTER, DTYPE_F32, 1, 1, {1, 1, 6, 2}};
    struct op_args args = {.router = {.x = x,
                                   .w = w,
                                   .bias = bias,
                                   .sigmoid = true,
                                   .n_group = 3,
                                   .top_k_group = 1,
                                   .normalise = true,
                                   .scale = 2,
                                   .expert = expert,
                                   .weight = weight}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        op_run(i ? slow : fast, &op, &args);
        assert_int_equal(expert[0], 4);
        assert_int_equal(expert[1], 5);
        float a = 1 / (1 + expf(-0.5f)), b = 1 / (1 + expf(-1.25f));
        check_near(weight, (float[]){2 * a / (a + b), 2 * b / (a + b)}, 2, 1e-6f);
    }
}

/* ---- attention ---- */

static void sinks_take_their_share(void **state)
{
    enum {
        HEADS = 6,
        KV = 2,
        DIM = 20,
        LENGTH = 90,
        BLOCK = 8,
        WIDTH = HEADS * DIM
    };
    static const int64_t windows[] = {0, 1, 30, 64};
    float *q = noise(LENGTH * WIDTH, 1), *k = noise(2 * LENGTH * KV * DIM, 2);
    float *v = noise(2 * LENGTH * KV * DIM, 3), *sinks = noise(HEADS, 4), *got, *expected;
    int32_t blocks[(LENGTH + BLOCK - 1) / BLOCK];
    (void)state;
    for (int i = 0; i < (int)(sizeof(blocks) / sizeof(blocks[0])); i++)
        blocks[i] = i * 5 % (int)(sizeof(blocks) / sizeof(blocks[0]));
    sinks[0] = 30; /* nothing is left for the others */
    got = noise(LENGTH * WIDTH, 5);
    expected = noise(LENGTH * WIDTH, 6);
    for (int i = 0; i < 4; i++) {
        struct attention_seq seq = {.q_len = LENGTH, .kv_len = LENGTH, .blocks = blocks};
        struct op op = {OP_ATTENTION_PREFILL, DTYPE_F32, 1, 1, {LENGTH, LENGTH, HEADS, KV, DIM}};
        struct op_args args = {.attention = {.q = q,
                                       .ldq = WIDTH,
                                       .out = got,
                                       .ldo = WIDTH,
                                       .cache = {k, v, DTYPE_F32, BLOCK},
                                       .seqs = &seq,
                                       .n_seqs = 1,
                                       .scale = 0.3f,
                                       .window = windows[i],
                                       .sinks = sinks}};
        op_run(fast, &op, &args);
        args.attention.out = expected;
        op_run(slow, &op, &args);
        check_near(got, expected, LENGTH * WIDTH, 1e-5f);
        for (int d = 0; d < DIM; d++)
            assert_true(fabsf(expected[d]) < 1e-9f);
    }
    free(q);
    free(k);
    free(v);
    free(sinks);
    free(got);
    free(expected);
}

/* ---- experts ---- */

static void expert_biases_and_clamp_agree(void **state)
{
    enum {
        N = 9,
        INTER = 21,
        LOCAL = 3
    };
    int32_t offsets[] = {0, 4, 4, N};
    float *rows = noise(N * HIDDEN, 1), *up = noise(LOCAL * 2 * INTER * HIDDEN, 2);
    float *down = noise(LOCAL * HIDDEN * INTER, 3), *up_bias = noise(LOCAL * 2 * INTER, 4);
    float *down_bias = noise(LOCAL * HIDDEN, 5), *scratch = noise(N * 3 * INTER, 6);
    float *got = noise(N * HIDDEN, 7), *expected = noise(N * HIDDEN, 8);
    struct op op = {OP_EXPERT_GEMM, DTYPE_F32, 1, 1, {N, HIDDEN, INTER, LOCAL, LOCAL, 1}};
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        struct op_args args = {.expert = {.rows = rows,
                                       .offsets = offsets,
                                       .gate_up = up,
                                       .down = down,
                                       .out = got,
                                       .scratch = scratch,
                                       .up_bias = variant ? up_bias : NULL,
                                       .down_bias = variant ? down_bias : NULL,
                                       .clamp = variant == 1 ? 0 : 0.75f}};
        op_run(fast, &op, &args);
        args.expert.out = expected;
        op_run(slow, &op, &args);
        check_near(got, expected, N * HIDDEN, 1e-5f);
    }
    free(rows);
    free(up);
    free(down);
    free(up_bias);
    free(down_bias);
    free(scratch);
    free(got);
    free(expected);
}

/* gate 9 counts as 7, up -9 as -7: 7 sigmoid(1.702 * 7) * (1 - 7) = -41.9997. */
static void the_clamp_is_that_of_gpt_oss(void **state)
{
    static const float x[] = {1}, up[] = {9, -9}, down[] = {1};
    static const int32_t offsets[] = {0, 1};
    struct op op = {OP_EXPERT_GEMM, DTYPE_F32, 1, 1, {1, 1, 1, 1, 1, 1}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        float out = 0, scratch[3];
        struct op_args args = {.expert = {.rows = x,
                                       .offsets = offsets,
                                       .gate_up = up,
                                       .down = down,
                                       .out = &out,
                                       .scratch = scratch,
                                       .clamp = 7}};
        op_run(i ? slow : fast, &op, &args);
        check_near(&out, (float[]){-41.99972f}, 1, 1e-6f);
    }
}

/* ---- rows ---- */

static void combine_adds_to_what_is_there(void **state)
{
    float *rows = noise(4 * HIDDEN, 1), *weight = noise(4, 2), *out = noise(2 * HIDDEN, 3);
    float *expected = noise(2 * HIDDEN, 3);
    int32_t pair[] = {3, 0, 2, 1};
    struct op op = {OP_COMBINE, DTYPE_F32, 1, 1, {2, HIDDEN, 4, 4, 2}};
    struct op_args args = {.combine = {.rows = rows,
                                   .pair = pair,
                                   .n_rows = 4,
                                   .weight = weight,
                                   .out = out,
                                   .add = true}};
    (void)state;
    op_run(fast, &op, &args);
    for (int row = 0; row < 4; row++)
        for (int i = 0; i < HIDDEN; i++)
            expected[pair[row] / 2 * HIDDEN + i] += weight[pair[row]] * rows[row * HIDDEN + i];
    check_near(out, expected, 2 * HIDDEN, 1e-6f);
    args.combine.out = memcpy(expected, rows, 2 * HIDDEN * 4);
    op_run(slow, &op, &args);
    memcpy(out, rows, 2 * HIDDEN * 4);
    args.combine.out = out;
    op_run(fast, &op, &args);
    check_near(out, expected, 2 * HIDDEN, 1e-6f);
    free(rows);
    free(weight);
    free(out);
    free(expected);
}

static void norms_read_rows_that_lie_apart(void **state)
{
    float *x = noise(3 * 50, 1), *gain = noise(HIDDEN, 2), got[3 * HIDDEN] = {0},
          expected[3 * HIDDEN] = {0};
    struct op op = {OP_RMSNORM, DTYPE_F32, 1, 1, {3, HIDDEN, 0}};
    struct op_args args = {.rmsnorm = {x, NULL, gain, got, 1e-6f, 50}};
    (void)state;
    op_run(fast, &op, &args);
    args.rmsnorm.out = expected;
    op_run(slow, &op, &args);
    check_near(got, expected, 3 * HIDDEN, 1e-5f);
    op.dim[0] = 1;
    args.rmsnorm = (struct rmsnorm_args){x + 100, NULL, gain, got, 1e-6f, 0};
    op_run(fast, &op, &args);
    check_near(got, expected + (ptrdiff_t)2 * HIDDEN, HIDDEN, 1e-5f);
    free(x);
    free(gain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(routing_agrees_with_the_reference),
            cmocka_unit_test(groups_and_bias_choose_and_scores_weigh),
            cmocka_unit_test(sinks_take_their_share),
            cmocka_unit_test(expert_biases_and_clamp_agree),
            cmocka_unit_test(the_clamp_is_that_of_gpt_oss),
            cmocka_unit_test(combine_adds_to_what_is_there),
            cmocka_unit_test(norms_read_rows_that_lie_apart),
    };
    return cmocka_run_group_tests(tests, open_devs, close_devs);
}
// NOLINTEND(bugprone-implicit-widening-of-multiplication-result,readability-non-const-parameter)
