/*
 * On deterministic devices an output element has the same bits however the work is split: by rows,
 * columns, threads, chunks of k over ranks, chunks of a prompt.
 */
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

static struct dev *open_dev(int threads, enum dev_isa isa)
{
    struct err err = {0};
    struct dev_options options = {
            .threads = threads, .first_cpu = -1, .isa = isa, .deterministic = true};
    struct dev *dev = dev_host_open(&options, &err);
    if (!dev)
        fail_msg("%s", err.text);
    return dev;
}

static void *memory(int64_t bytes)
{
    void *p = calloc(1, (size_t)bytes);
    assert_non_null(p);
    return p;
}

static float *noise(int64_t n, uint32_t seed)
{
    float *x = memory(n * 4);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * 0x1p-23f - 1;
    }
    return x;
}

static void *weights(enum dtype dtype, int64_t n, uint32_t seed)
{
    float *x = noise(n, seed);
    if (dtype == DTYPE_F32)
        return x;
    uint16_t *w = memory(n * 2);
    for (int64_t i = 0; i < n; i++)
        element_store(w, dtype, i, x[i]);
    free(x);
    return w;
}

struct product {
    enum dtype dtype;
    int64_t m, n, k;
    int chunks;
    const float *x;
    const void *w;
};

/* Rows, columns and k from a corner of the whole product; y has that size. */
struct piece {
    int64_t row, rows, col, cols, from, length;
    int chunks;
};

static void multiply(struct dev *dev, const struct product *p, struct piece piece, float *y)
{
    int64_t bytes = p->dtype == DTYPE_F32 ? 4 : 2;
    char *w = memory(piece.cols * piece.length * bytes);
    for (int64_t c = 0; c < piece.cols; c++)
        memcpy(w + c * piece.length * bytes,
                (const char *)p->w + ((piece.col + c) * p->k + piece.from) * bytes,
                (size_t)(piece.length * bytes));
    struct op op = {OP_GEMM, p->dtype, dev_threads(dev), 1, {piece.rows, piece.cols, piece.length}};
    struct op_args args = {.gemm = {.x = p->x + piece.row * p->k + piece.from,
                                   .ldx = p->k,
                                   .w = w,
                                   .y = y,
                                   .ldy = piece.cols,
                                   .k_chunks = piece.chunks}};
    op_run(dev, &op, &args);
    free(w);
}

static void check_rows(struct dev *dev, const struct product *p, const float *whole)
{
    static const int64_t heights[] = {1, 2, 3, 5, 8, 16};
    for (int i = 0; i < 6; i++) {
        for (int64_t row = 0; row < p->m; row += heights[i]) {
            int64_t rows = p->m - row < heights[i] ? p->m - row : heights[i];
            float *y = memory(rows * p->n * 4);
            multiply(dev, p, (struct piece){row, rows, 0, p->n, 0, p->k, p->chunks}, y);
            assert_memory_equal(y, whole + row * p->n, rows * p->n * 4);
            free(y);
        }
    }
}

static void check_columns(struct dev *dev, const struct product *p, const float *whole)
{
    for (int64_t col = 0; col < p->n; col += 7) {
        int64_t cols = p->n - col < 7 ? p->n - col : 7;
        float *y = memory(p->m * cols * 4);
        multiply(dev, p, (struct piece){0, p->m, col, cols, 0, p->k, p->chunks}, y);
        for (int64_t row = 0; row < p->m; row++)
            assert_memory_equal(y + row * cols, whole + row * p->n + col, cols * 4);
        free(y);
    }
}

/* Each rank multiplies its part of k; the parts are added as ranks in a binary tree add them. */
static void check_ranks(struct dev *dev, const struct product *p, const float *whole, int ranks)
{
    int64_t count = p->m * p->n, length = p->k / ranks;
    float *y = memory(ranks * count * 4);
    for (int rank = 0; rank < ranks; rank++)
        multiply(dev, p, (struct piece){0, p->m, 0, p->n, rank * length, length, p->chunks / ranks},
                y + rank * count);
    for (int span = 1; span < ranks; span *= 2)
        for (int rank = 0; rank < ranks; rank += 2 * span)
            for (int64_t i = 0; i < count; i++)
                y[rank * count + i] += y[(rank + span) * count + i];
    assert_memory_equal(y, whole, count * 4);
    free(y);
}

static void check_product(struct dev *one, struct dev *two, struct product p)
{
    float *x = noise(p.m * p.k, 1), *whole = memory(p.m * p.n * 4), *again = memory(p.m * p.n * 4);
    void *w = weights(p.dtype, p.n * p.k, 2);
    p.x = x;
    p.w = w;
    multiply(one, &p, (struct piece){0, p.m, 0, p.n, 0, p.k, p.chunks}, whole);
    multiply(two, &p, (struct piece){0, p.m, 0, p.n, 0, p.k, p.chunks}, again);
    assert_memory_equal(whole, again, p.m * p.n * 4);
    check_rows(two, &p, whole);
    check_columns(one, &p, whole);
    for (int ranks = 2; ranks <= p.chunks; ranks *= 2)
        check_ranks(two, &p, whole, ranks);
    free(x);
    free(w);
    free(whole);
    free(again);
}

static void products_do_not_depend_on_the_split(enum dev_isa isa)
{
    static const struct product products[] = {
            {DTYPE_F32, 33, 40, 64, 8},
            {DTYPE_BF16, 33, 40, 64, 8},
            {DTYPE_F16, 33, 40, 64, 8},
            {DTYPE_F16, 5, 50, 4 * 37, 4},
            {DTYPE_F32, 17, 29, 8 * 13, 8},
            {DTYPE_BF16, 9, 50, 4 * 37, 4},
            {DTYPE_BF16, 130, 67, 520, 1},
            {DTYPE_F32, 70, 13, 1000, 2},
    };
    struct dev *one = open_dev(1, isa), *two = open_dev(2, isa);
    for (int i = 0; i < (int)(sizeof(products) / sizeof(products[0])); i++)
        check_product(one, two, products[i]);
    dev_close(one);
    dev_close(two);
}

static void portable_products_do_not_depend_on_the_split(void **state)
{
    (void)state;
    products_do_not_depend_on_the_split(ISA_PORTABLE);
}

static void best_products_do_not_depend_on_the_split(void **state)
{
    (void)state;
    products_do_not_depend_on_the_split(ISA_AUTO);
}

#define HEADS    6
#define KV_HEADS 2
#define HEAD_DIM 20
#define LENGTH   150
#define WIDTH    (HEADS * HEAD_DIM)
#define BLOCK    4
#define BLOCKS   ((LENGTH + BLOCK - 1) / BLOCK)

struct attention_case {
    struct kv_layer cache;
    int32_t blocks[BLOCKS];
    const float *q;
    int64_t window;
};

/* Queries of positions [from, to) against everything before. */
static void attend(
        struct dev *dev, const struct attention_case *c, int64_t from, int64_t to, float *out)
{
    struct attention_seq seq = {.row = 0, .q_len = to - from, .kv_len = to, .blocks = c->blocks};
    struct op op = {OP_ATTENTION_PREFILL, c->cache.dtype, dev_threads(dev), 1,
            {to - from, to, HEADS, KV_HEADS, HEAD_DIM}};
    if (to - from == 1)
        op = (struct op){OP_ATTENTION_DECODE, c->cache.dtype, dev_threads(dev), 1,
                {1, to, HEADS, KV_HEADS, HEAD_DIM}};
    struct op_args args = {.attention = {.q = c->q + from * WIDTH,
                                   .ldq = WIDTH,
                                   .out = out + from * WIDTH,
                                   .ldo = WIDTH,
                                   .cache = c->cache,
                                   .seqs = &seq,
                                   .n_seqs = 1,
                                   .scale = 0.2f,
                                   .window = c->window}};
    op_run(dev, &op, &args);
}

static void check_near(const float *got, const float *expected)
{
    for (int64_t i = 0; i < LENGTH * WIDTH; i++)
        assert_true(fabsf(got[i] - expected[i]) <= 1e-5f * (1 + fabsf(expected[i])));
}

static void check_attention(struct dev *one, struct dev *two, const struct attention_case *c)
{
    static const int64_t chunks[] = {1, 2, 7, 64, 100};
    float *whole = memory(LENGTH * WIDTH * 4), *out = memory(LENGTH * WIDTH * 4);
    struct err err = {0};
    struct dev_options options = {.threads = 1, .first_cpu = -1, .reference = true};
    struct dev *reference = dev_host_open(&options, &err);
    assert_non_null(reference);
    attend(one, c, 0, LENGTH, whole);
    attend(reference, c, 0, LENGTH, out);
    check_near(whole, out);
    for (int i = 0; i < 5; i++) {
        memset(out, 0xff, LENGTH * WIDTH * 4);
        for (int64_t from = 0; from < LENGTH; from += chunks[i])
            attend(two, c, from, from + chunks[i] < LENGTH ? from + chunks[i] : LENGTH, out);
        assert_memory_equal(out, whole, LENGTH * WIDTH * 4);
    }
    dev_close(reference);
    free(whole);
    free(out);
}

static void attention_does_not_depend_on_the_chunks(void **state)
{
    (void)state;
    struct dev *one = open_dev(1, ISA_AUTO), *two = open_dev(2, ISA_AUTO);
    float *q = noise(LENGTH * WIDTH, 5);
    for (int i = 0; i < 12; i++) {
        static const int64_t windows[] = {0, 1, 33, 64};
        static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
        struct attention_case c = {.q = q, .window = windows[i % 4]};
        int64_t n = (int64_t)BLOCKS * BLOCK * KV_HEADS * HEAD_DIM;
        c.cache = (struct kv_layer){.dtype = dtypes[i / 4], .block_tokens = BLOCK};
        c.cache.k = weights(c.cache.dtype, n, 6);
        c.cache.v = weights(c.cache.dtype, n, 7);
        for (int b = 0; b < BLOCKS; b++)
            c.blocks[b] = b * 7 % BLOCKS;
        check_attention(one, two, &c);
        free(c.cache.k);
        free(c.cache.v);
    }
    free(q);
    dev_close(one);
    dev_close(two);
}

/* A bias goes to the first chunk: the first rank adds it, the others do not. */
static void a_bias_is_added_by_the_first_rank(void **state)
{
    enum {
        N = 29,
        K = 8 * 13,
        M = 9
    };
    struct dev *dev = open_dev(2, ISA_AUTO);
    float *x = noise(M * K, 1), *bias = noise(N, 3), whole[M * N], part[2][M * N];
    float *w = noise(N * K, 2), *half = memory(N * K / 2 * 4);
    (void)state;
    for (int64_t m = 1; m <= M; m += M - 1) {
        struct op op = {OP_GEMM, DTYPE_F32, 2, 1, {m, N, K}};
        struct op_args args = {.gemm = {.x = x,
                                       .ldx = K,
                                       .w = w,
                                       .bias = bias,
                                       .y = whole,
                                       .ldy = N,
                                       .k_chunks = 8}};
        op_run(dev, &op, &args);
        op.dim[2] = K / 2;
        for (int rank = 0; rank < 2; rank++) {
            for (int64_t c = 0; c < N; c++)
                memcpy(half + c * K / 2, w + c * K + rank * K / 2, K / 2 * 4);
            args.gemm = (struct gemm_args){.x = x + rank * K / 2,
                    .ldx = K,
                    .w = half,
                    .bias = rank ? NULL : bias,
                    .y = part[rank],
                    .ldy = N,
                    .k_chunks = 4};
            op_run(dev, &op, &args);
        }
        for (int64_t i = 0; i < m * N; i++)
            part[0][i] += part[1][i];
        assert_memory_equal(part[0], whole, m * N * 4);
    }
    free(x);
    free(bias);
    free(w);
    free(half);
    dev_close(dev);
}

#define LATENT  24
#define ROTATED 8
#define NOPE    12
#define VALUE   10
#define MLA_Q   (HEADS * (NOPE + ROTATED))
#define MLA_OUT (HEADS * VALUE)

struct mla_case {
    struct kv_layer cache;
    int32_t blocks[BLOCKS];
    const float *q;
    const void *kv_b;
};

/* Heads [first, first + heads) of positions [from, to), as prefill or, one position, as decode. */
static void mla(struct dev *dev, const struct mla_case *c, struct piece p, float *out)
{
    int64_t to = p.row + p.rows, bytes = c->cache.dtype == DTYPE_F32 ? 4 : 2;
    struct attention_seq seq = {.q_len = p.rows, .kv_len = to, .blocks = c->blocks};
    struct op op = {p.rows == 1 ? OP_MLA_DECODE : OP_MLA_PREFILL, c->cache.dtype, dev_threads(dev),
            1, {p.rows, to, p.cols, LATENT, ROTATED, NOPE + VALUE}};
    struct op_args args = {
            .mla = {.q = c->q + p.row * MLA_Q + p.col * (NOPE + ROTATED),
                    .ldq = MLA_Q,
                    .nope = NOPE,
                    .kv_b = (const char *)c->kv_b + p.col * (NOPE + VALUE) * LATENT * bytes,
                    .dtype = c->cache.dtype,
                    .out = out + p.row * MLA_OUT + p.col * VALUE,
                    .ldo = MLA_OUT,
                    .cache = c->cache,
                    .seqs = &seq,
                    .n_seqs = 1,
                    .scale = 0.25f}};
    op_run(dev, &op, &args);
}

static void check_mla(struct dev *one, struct dev *two, const struct mla_case *c)
{
    static const int64_t chunks[] = {1, 2, 7, 64, 100};
    float *whole = memory(LENGTH * MLA_OUT * 4), *out = memory(LENGTH * MLA_OUT * 4);
    mla(one, c, (struct piece){.rows = LENGTH, .cols = HEADS}, whole);
    for (int i = 0; i < 5; i++) {
        memset(out, 0xff, LENGTH * MLA_OUT * 4);
        for (int64_t from = 0; from < LENGTH; from += chunks[i])
            for (int64_t head = 0; head < HEADS; head += HEADS / 2)
                mla(two, c,
                        (struct piece){.row = from,
                                .rows = from + chunks[i] < LENGTH ? chunks[i] : LENGTH - from,
                                .col = head,
                                .cols = HEADS / 2},
                        out);
        assert_memory_equal(out, whole, LENGTH * MLA_OUT * 4);
    }
    free(whole);
    free(out);
}

static void latent_attention_does_not_depend_on_chunks_and_heads(void **state)
{
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    struct dev *one = open_dev(1, ISA_AUTO), *two = open_dev(2, ISA_AUTO);
    float *q = noise(LENGTH * MLA_Q, 5);
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct mla_case c = {.q = q};
        c.cache = (struct kv_layer){.dtype = dtypes[i], .block_tokens = BLOCK};
        c.cache.k = weights(dtypes[i], (int64_t)BLOCKS * BLOCK * (LATENT + ROTATED), 6);
        void *kv_b = weights(dtypes[i], HEADS * (NOPE + VALUE) * LATENT, 7);
        c.kv_b = kv_b;
        for (int b = 0; b < BLOCKS; b++)
            c.blocks[b] = b * 7 % BLOCKS;
        check_mla(one, two, &c);
        free(c.cache.k);
        free(kv_b);
    }
    free(q);
    dev_close(one);
    dev_close(two);
}

/* Activation of half the columns, as a tensor-parallel rank has them. */
static void activation_does_not_depend_on_columns(void **state)
{
    (void)state;
    struct dev *dev = open_dev(2, ISA_AUTO);
    enum {
        N = 26
    };
    float *x = noise(2 * N, 9), whole[N], half[N / 2];
    struct op op = {OP_ACTIVATION, DTYPE_F32, 2, 1, {1, N}};
    struct op_args args = {.activation = {.x = x, .ldx = 2 * N, .out = whole}};
    op_run(dev, &op, &args);
    for (int side = 0; side < 2; side++) {
        float part[N];
        memcpy(part, x + side * N / 2, sizeof(half));
        memcpy(part + N / 2, x + N + side * N / 2, sizeof(half));
        op.dim[1] = N / 2;
        args.activation = (struct activation_args){.x = part, .ldx = N, .out = half};
        op_run(dev, &op, &args);
        assert_memory_equal(half, whole + side * N / 2, sizeof(half));
    }
    free(x);
    dev_close(dev);
}

/* Putting rows in place, adding ranks, then summing choices gives what summing at once gives. */
static void combine_by_scatter_equals_combine(void **state)
{
    (void)state;
    enum {
        M = 9,
        HIDDEN = 37,
        TOP_K = 3,
        PAIRS = M * TOP_K
    };
    struct dev *dev = open_dev(2, ISA_AUTO);
    float *rows = noise(PAIRS * HIDDEN, 3), *weight = noise(PAIRS, 4);
    float *direct = memory(M * HIDDEN * 4), *by_ranks = memory(M * HIDDEN * 4);
    float *sum = memory(PAIRS * HIDDEN * 4), *mine = memory(PAIRS * HIDDEN * 4);
    int32_t pair[PAIRS], identity[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        pair[i] = i * 11 % PAIRS;
        identity[i] = i;
    }
    struct op op = {OP_COMBINE, DTYPE_F32, 2, 1, {M, HIDDEN, 8, 8, TOP_K}};
    struct op_args args = {
            .combine = {
                    .rows = rows, .pair = pair, .n_rows = PAIRS, .weight = weight, .out = direct}};
    op_run(dev, &op, &args);
    for (int rank = 0; rank < 2; rank++) {
        int64_t first = rank ? 10 : 0, n = rank ? PAIRS - 10 : 10;
        args.combine = (struct combine_args){.rows = rows + first * HIDDEN,
                .pair = pair + first,
                .n_rows = n,
                .out = mine,
                .scatter = true};
        op_run(dev, &op, &args);
        for (int64_t i = 0; i < PAIRS * HIDDEN; i++)
            sum[i] += mine[i];
    }
    args.combine = (struct combine_args){
            .rows = sum, .pair = identity, .n_rows = PAIRS, .weight = weight, .out = by_ranks};
    op_run(dev, &op, &args);
    assert_memory_equal(direct, by_ranks, M * HIDDEN * 4);
    free(rows);
    free(weight);
    free(direct);
    free(by_ranks);
    free(sum);
    free(mine);
    dev_close(dev);
}

/* One expert's rows give the same bits alone and beside others, for one thread and two. */
static void experts_do_not_depend_on_their_rows(void **state)
{
    (void)state;
    enum {
        ROWS = 21,
        HIDDEN = 48,
        INTER = 40,
        LOCAL = 2
    };
    struct dev *one = open_dev(1, ISA_AUTO), *two = open_dev(2, ISA_AUTO);
    float *x = noise(ROWS * HIDDEN, 3), *out = memory(ROWS * HIDDEN * 4);
    float *again = memory(ROWS * HIDDEN * 4), *scratch = memory(ROWS * 3 * INTER * 4);
    void *up = weights(DTYPE_BF16, LOCAL * 2 * INTER * HIDDEN, 4);
    void *down = weights(DTYPE_BF16, LOCAL * INTER * HIDDEN, 5);
    int32_t all[] = {0, 8, ROWS};
    struct op op = {OP_EXPERT_GEMM, DTYPE_BF16, 1, 1, {ROWS, HIDDEN, INTER, LOCAL, LOCAL, 1}};
    struct op_args args = {.expert = {.rows = x,
                                   .offsets = all,
                                   .gate_up = up,
                                   .down = down,
                                   .out = out,
                                   .scratch = scratch,
                                   .k_chunks = 8}};
    op_run(one, &op, &args);
    for (int row = 0; row < ROWS; row++) {
        int32_t single[] = {0, row < 8, 1};
        args.expert.rows = x + row * HIDDEN;
        args.expert.offsets = single;
        args.expert.out = again + row * HIDDEN;
        op_run(two, &op, &args);
    }
    assert_memory_equal(out, again, ROWS * HIDDEN * 4);
    free(x);
    free(out);
    free(again);
    free(scratch);
    free(up);
    free(down);
    dev_close(one);
    dev_close(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(portable_products_do_not_depend_on_the_split),
            cmocka_unit_test(best_products_do_not_depend_on_the_split),
            cmocka_unit_test(attention_does_not_depend_on_the_chunks),
            cmocka_unit_test(a_bias_is_added_by_the_first_rank),
            cmocka_unit_test(latent_attention_does_not_depend_on_chunks_and_heads),
            cmocka_unit_test(activation_does_not_depend_on_columns),
            cmocka_unit_test(combine_by_scatter_equals_combine),
            cmocka_unit_test(experts_do_not_depend_on_their_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
// NOLINTEND(bugprone-implicit-widening-of-multiplication-result,readability-non-const-parameter)
