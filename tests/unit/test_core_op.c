#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/spec/op.h"

static void names_and_dimensions(void **state)
{
    (void)state;
    for (int kind = 0; kind < OP_KIND_COUNT; kind++) {
        assert_non_null(op_kind_names[kind]);
        assert_string_not_equal(op_dim_name((enum op_kind)kind, 0), "");
        bool ended = false; /* used dimensions come first */
        for (int d = 0; d < OP_DIMS; d++) {
            bool empty = op_dim_name((enum op_kind)kind, d)[0] == '\0';
            assert_false(ended && !empty);
            ended = empty;
        }
    }
    assert_null(op_kind_names[OP_KIND_COUNT]);
    assert_null(dtype_names[DTYPE_COUNT]);
    assert_string_equal(op_dim_name(OP_EXPERT_GEMM, 5), "top_k");
    assert_string_equal(op_dim_name(OP_GEMM, 6), "");
    assert_true(op_is_collective(OP_ALL_REDUCE) && op_is_collective(OP_BROADCAST));
    assert_false(op_is_collective(OP_COPY));
    for (int i = 0; dtype_file_names[i]; i++)
        assert_string_equal(dtype_file_names[i], dtype_names[i]);
}

static void shown_in_one_line(void **state)
{
    (void)state;
    char buf[160];
    struct op op = {OP_GEMM, DTYPE_BF16, 2, 1, {8, 1024, 3072}};
    assert_string_equal(op_show(buf, &op), "gemm bf16 m=8 n=1024 k=3072 threads=2 busy=1");
    op = (struct op){OP_ALL_REDUCE, DTYPE_F32, 4, 4, {4096}};
    assert_string_equal(op_show(buf, &op), "all_reduce f32 bytes=4096 ranks=4 busy=4");
    op = (struct op){OP_EXPERT_GEMM, DTYPE_BF16, INT32_MAX, INT32_MAX,
            {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}};
    assert_in_range(strlen(op_show(buf, &op)), 100, 159);
}

static void order_is_total_over_all_fields(void **state)
{
    (void)state;
    const struct op base = {OP_GEMM, DTYPE_BF16, 2, 1, {8, 16, 32}};
    assert_int_equal(op_compare(&base, &base), 0);
    for (int field = 0; field < 4 + OP_DIMS; field++) {
        struct op more = base;
        switch (field) {
        case 0:
            more.kind = OP_LM_HEAD;
            break;
        case 1:
            more.dtype = DTYPE_F16;
            break;
        case 2:
            more.degree++;
            break;
        case 3:
            more.busy++;
            break;
        default:
            more.dim[field - 4]++;
            break;
        }
        assert_true(op_compare(&base, &more) < 0);
        assert_true(op_compare(&more, &base) > 0);
    }
}

static void flop_and_bytes_by_hand(void **state)
{
    (void)state;
    static const struct {
        struct op op;
        double flop, bytes;
    } cases[] = {
            {{OP_GEMM, DTYPE_BF16, 1, 1, {2, 3, 5}}, 60, 2 * 15 + 4 * 2 * 8},
            {{OP_LM_HEAD, DTYPE_F32, 1, 1, {1, 7, 4}}, 56, 4 * 28 + 4 * 11},
            /* 3 queries after 2 cached: 3 + 4 + 5 = 12 pairs of 2 heads */
            {{OP_ATTENTION_PREFILL, DTYPE_BF16, 1, 1, {3, 5, 2, 1, 8}}, 12 * 2 * 36,
                    2 * 2 * 5 * 8 + 8 * 3 * 2 * 8},
            {{OP_ATTENTION_DECODE, DTYPE_BF16, 1, 1, {2, 5, 2, 1, 8}}, 2 * 5 * 2 * 36,
                    2 * (2 * 2 * 5 * 8 + 8 * 2 * 8)},
            /* 2 heads, rank 6, rotated 2, keys and values 8: one query of 5 positions absorbs, 4 of 4 expand */
            {{OP_MLA_PREFILL, DTYPE_BF16, 1, 1, {1, 5, 2, 6, 2, 8}}, 2 * (96 + 5 * 32),
                    2 * 6 * 2 * 8 + 2 * 5 * 8 + 4 * 2 * 10},
            {{OP_MLA_PREFILL, DTYPE_BF16, 1, 1, {4, 4, 2, 6, 2, 8}}, 2 * (4 * 96 + 10 * 24),
                    2 * 6 * 2 * 8 + 2 * 4 * 8 + 4 * 4 * 2 * 10},
            {{OP_MLA_DECODE, DTYPE_BF16, 1, 1, {2, 5, 2, 6, 2, 8}}, 2 * 2 * (96 + 5 * 32),
                    2 * 6 * 2 * 8 + 2 * (2 * 5 * 8 + 4 * 2 * 10)},
            {{OP_RMSNORM, DTYPE_F32, 1, 1, {2, 8, 1}}, 80, 4 * 8 * 9},
            {{OP_ACTIVATION, DTYPE_F32, 1, 1, {2, 8}}, 64, 192},
            /* 4 tokens, top 2 of 8 experts, 4 of them here: 4 rows */
            {{OP_PERMUTE, DTYPE_F32, 1, 1, {4, 16, 4, 8, 2}}, 0, 8 * 4 * 16 + 32},
            {{OP_COPY, DTYPE_F32, 1, 1, {100}}, 0, 200},
            {{OP_ALL_REDUCE, DTYPE_F32, 2, 2, {400}}, 100, 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(op_flop(&cases[i].op) == cases[i].flop);
        assert_true(op_bytes(&cases[i].op) == cases[i].bytes);
    }
}

static void few_tokens_touch_few_experts(void **state)
{
    (void)state;
    struct op op = {OP_EXPERT_GEMM, DTYPE_BF16, 1, 1, {1, 64, 32, 8, 8, 2}};
    double one = op_bytes(&op);
    /* one token reaches exactly top_k experts */
    assert_true(fabs(one - (2 * 3 * 2 * 64 * 32 + 2 * (8 * 64 + 24 * 32))) < 1e-6);
    op.dim[0] = 10000;
    double rows = 20000;
    assert_true(fabs(op_bytes(&op) - rows * (8 * 64 + 24 * 32) - 8 * 3 * 2 * 64 * 32) < 100);
}

/* The table of nccl-tests' doc/PERFORMANCE.md, with 4 ranks and 1 MiB a rank. */
static void bus_bandwidth_as_nccl_tests_define_it(void **state)
{
    static const struct {
        enum op_kind kind;
        double bytes, share;
    } cases[] = {{OP_ALL_REDUCE, 0x1p20, 1.5}, {OP_ALL_GATHER, 0x1p22, 0.75},
            {OP_REDUCE_SCATTER, 0x1p22, 0.75}, {OP_ALL_TO_ALL, 0x1p20, 0.75},
            {OP_BROADCAST, 0x1p20, 1}, {OP_SEND_RECV, 0x1p20, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct op op = {.kind = cases[i].kind, .degree = 4, .busy = 4, .dim = {1 << 20}};
        assert_true(op_exchange_bytes(&op) == cases[i].bytes);
        assert_true(op_bus_share(&op) == cases[i].share);
    }
    struct op gemm = {.kind = OP_GEMM, .degree = 1, .busy = 1, .dim = {8, 8, 8}};
    assert_true(op_exchange_bytes(&gemm) == 0);
}

static void every_kind_has_traffic(void **state)
{
    (void)state;
    for (int kind = 0; kind < OP_KIND_COUNT; kind++) {
        struct op op = {(enum op_kind)kind, DTYPE_BF16, 2, 2, {8, 8, 8, 8, 8, 2}};
        assert_true(op_bytes(&op) > 0);
        assert_true(op_flop(&op) >= 0);
    }
    assert_int_equal(dtype_bytes(DTYPE_F32), 4);
    assert_int_equal(dtype_bytes(DTYPE_F8), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(names_and_dimensions),
            cmocka_unit_test(shown_in_one_line),
            cmocka_unit_test(order_is_total_over_all_fields),
            cmocka_unit_test(flop_and_bytes_by_hand),
            cmocka_unit_test(few_tokens_touch_few_experts),
            cmocka_unit_test(every_kind_has_traffic),
            cmocka_unit_test(bus_bandwidth_as_nccl_tests_define_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
