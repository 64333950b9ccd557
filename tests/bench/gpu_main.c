/*
 * Kernels of the CUDA module against what the GPU can do, measured in the same call: a large copy, a large product.
 * Operands are cold (rotated through memory several times as large as the second-level cache), times are the device's
 * own, by events around a row of launches; by CUPTI, where it is, kernels alone.
 *
 * usage: bench_gpu [--quick] [--figures FILE]. FILE gets lines of key, value, unit, least, most, wanted.
 * Exit status: 0, or 77 without a GPU.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/summary.h"
#include "kernels/dev_cuda.h"
#include "kernels/op_table.h"
#include "profiler/source_cupti.h"

#define COLD_BYTES (INT64_C(512) << 20)
#define ROUNDS     9
#define LEAST_US   2000.0 /* of a row of launches */
#define MOST_AGREE 64

enum bound {
    BY_MEMORY,
    BY_PRODUCTS
};

struct shape {
    const char *key;
    struct op op;
    enum bound bound;
    double wanted;
    bool quick;
};

/* Qwen3-8B's, and DeepSeek-V3's latent attention at tp 8. */
/* clang-format off */
static const struct shape shapes[] = {
        {"gemm.m1.qkv", {OP_GEMM, DTYPE_BF16, 1, 1, {1, 6144, 4096}}, BY_MEMORY, 0.85, true},
        {"gemm.m1.gate_up", {OP_GEMM, DTYPE_BF16, 1, 1, {1, 24576, 4096}}, BY_MEMORY, 0.85, true},
        {"gemm.m1.down", {OP_GEMM, DTYPE_BF16, 1, 1, {1, 4096, 12288}}, BY_MEMORY, 0.85, true},
        {"gemm.m4.gate_up", {OP_GEMM, DTYPE_BF16, 1, 1, {4, 24576, 4096}}, BY_MEMORY, 0.85, false},
        {"gemm.m64.gate_up", {OP_GEMM, DTYPE_BF16, 1, 1, {64, 24576, 4096}}, BY_MEMORY, 0.8, true},
        {"gemm.m64.down", {OP_GEMM, DTYPE_BF16, 1, 1, {64, 4096, 12288}}, BY_MEMORY, 0.8, false},
        {"gemm.m512.gate_up", {OP_GEMM, DTYPE_BF16, 1, 1, {512, 24576, 4096}}, BY_PRODUCTS, 0.8, true},
        {"gemm.m4096.gate_up", {OP_GEMM, DTYPE_BF16, 1, 1, {4096, 24576, 4096}}, BY_PRODUCTS, 0.9, true},
        {"gemm.f8.m1.gate_up", {OP_GEMM, DTYPE_F8_BLOCK, 1, 1, {1, 24576, 4096}}, BY_MEMORY, 0.8, true},
        {"gemm.f8.m64.gate_up", {OP_GEMM, DTYPE_F8_BLOCK, 1, 1, {64, 24576, 4096}}, BY_MEMORY, 0.7, false},
        {"gemm.f8.m4096.gate_up", {OP_GEMM, DTYPE_F8, 1, 1, {4096, 24576, 4096}}, BY_PRODUCTS, 0.8, true},
        {"gemm.f8_block.m4096.gate_up", {OP_GEMM, DTYPE_F8_BLOCK, 1, 1, {4096, 24576, 4096}}, BY_PRODUCTS, 0.8, false},
        {"decode.b1.32k", {OP_ATTENTION_DECODE, DTYPE_BF16, 1, 1, {1, 32768, 32, 8, 128}}, BY_MEMORY, 0.85, true},
        {"decode.b64.2k", {OP_ATTENTION_DECODE, DTYPE_BF16, 1, 1, {64, 2048, 32, 8, 128}}, BY_MEMORY, 0.85, true},
        {"decode.b256.1k", {OP_ATTENTION_DECODE, DTYPE_BF16, 1, 1, {256, 1024, 32, 8, 128}}, BY_MEMORY, 0.85, false},
        {"decode.b64.2k.hd64", {OP_ATTENTION_DECODE, DTYPE_BF16, 1, 1, {64, 2048, 64, 8, 64}}, BY_MEMORY, 0.85, false},
        {"prefill.2048", {OP_ATTENTION_PREFILL, DTYPE_BF16, 1, 1, {2048, 2048, 32, 8, 128}}, BY_PRODUCTS, 0.6, false},
        {"prefill.8192", {OP_ATTENTION_PREFILL, DTYPE_BF16, 1, 1, {8192, 8192, 32, 8, 128}}, BY_PRODUCTS, 0.6, true},
        {"prefill.512of8192", {OP_ATTENTION_PREFILL, DTYPE_BF16, 1, 1, {512, 8192, 32, 8, 128}}, BY_PRODUCTS, 0.5, false},
        {"mla_decode.b64.4k", {OP_MLA_DECODE, DTYPE_BF16, 1, 1, {64, 4096, 16, 512, 64, 256}}, BY_MEMORY, 0.85, true},
        {"rmsnorm.4096", {OP_RMSNORM, DTYPE_F32, 1, 1, {4096, 4096, 1}}, BY_MEMORY, 0.85, true},
        {"rope.4096", {OP_ROPE, DTYPE_BF16, 1, 1, {4096, 32, 8, 128, 1}}, BY_MEMORY, 0.85, true},
        {"activation.4096", {OP_ACTIVATION, DTYPE_F32, 1, 1, {4096, 12288}}, BY_MEMORY, 0.85, true},
        {"sample.64", {OP_SAMPLE, DTYPE_F32, 1, 1, {64, 151936}}, BY_MEMORY, 0.8, false},
        {"router.64", {OP_ROUTER, DTYPE_BF16, 1, 1, {64, 2048, 128, 8}}, BY_MEMORY, 0.5, false},
        {"expert.m64", {OP_EXPERT_GEMM, DTYPE_BF16, 1, 1, {64, 2048, 768, 128, 128, 8}}, BY_MEMORY, 0.8, true},
        {"expert.m4096", {OP_EXPERT_GEMM, DTYPE_BF16, 1, 1, {4096, 2048, 768, 128, 128, 8}}, BY_PRODUCTS, 0.5, true},
};
/* clang-format on */

/* Large enough that what stands around the product (rounding x to bf16) is some 3 % of it. */
static const struct op peak_product = {OP_GEMM, DTYPE_BF16, 1, 1, {8192, 32768, 8192}};
static const enum dtype peak_dtypes[] = {DTYPE_BF16, DTYPE_F8, DTYPE_F8_BLOCK};
static const struct op peak_copy = {OP_COPY, DTYPE_F32, 1, 1, {INT64_C(2) << 30}};

struct bench {
    struct dev *dev;
    FILE *figures;
    bool quick, cupti;
    double bytes_per_s, flops[DTYPE_COUNT]; /* 0 = not measured */
    double off[MOST_AGREE];                 /* |events - CUPTI| / CUPTI of kernels over 20 us */
    int n_off;
};

static void figure(struct bench *b, const char *key, double value, const char *unit,
        const double range[2], double wanted)
{
    printf("%-28s %12.4g %-8s (%.4g to %.4g)", key, value, unit, range[0], range[1]);
    if (!isnan(wanted))
        printf("  wanted %.3g%s", wanted, value < wanted ? "  BELOW" : "");
    printf("\n");
    fflush(stdout);
    if (b->figures)
        fprintf(b->figures, "%s\t%.6g\t%s\t%.6g\t%.6g\t%.6g\n", key, value, unit, range[0],
                range[1], wanted);
}

static bool run_row(struct bench *b, struct op_case *c, int n, double *us)
{
    struct err err = {0};
    struct dev_cuda *gpu = dev_gpu(b->dev);
    if (!dev_cuda_time_begin(gpu, &err))
        return false;
    for (int i = 0; i < n; i++)
        op_case_run(c);
    return dev_cuda_time_end(gpu, us, &err) && dev_finish(b->dev, &err);
}

/* CUPTI's time of the kernels of one launch; NaN without it. */
static double by_cupti(struct bench *b, struct op_case *c, int n)
{
    struct cupti_window window;
    struct err err = {0};
    double us = 0;
    bool ok = b->cupti && source_cupti_begin(&err) && run_row(b, c, n, &us)
              && source_cupti_end(&window, &err);
    return ok ? window.busy_us / n : (double)NAN;
}

struct timing {
    double us, least_us, most_us, kernel_us;
};

static bool time_op(struct bench *b, const struct op *op, struct timing *out, struct err *err)
{
    double rounds[ROUNDS], us = 0;
    struct op_case *c = op_case_open(b->dev, op, COLD_BYTES, 1, err);
    bool ok = c != NULL && run_row(b, c, 3, &us); /* chooses algorithms, grows memory */
    int n = ok && us / 3 < LEAST_US ? (int)(LEAST_US / (us / 3)) + 1 : 1;
    n = n > 200 ? 200 : n;
    for (int i = 0; ok && i < ROUNDS; i++)
        ok = run_row(b, c, n, &rounds[i]);
    if (ok) {
        struct summary s;
        for (int i = 0; i < ROUNDS; i++)
            rounds[i] /= n;
        summary_of(&s, rounds, ROUNDS);
        *out = (struct timing){s.median, s.min, s.max, by_cupti(b, c, n)};
    } else if (c != NULL && err->kind == ERR_NONE && !dev_finish(b->dev, err)) {
        ok = false;
    }
    op_case_close(c);
    return ok;
}

/* A type that the device does not take has no ceiling. */
static void measure_products(struct bench *b, enum dtype dtype)
{
    struct op op = peak_product;
    struct timing t;
    struct err err = {0};
    char key[64];
    op.dtype = dtype;
    snprintf(key, sizeof key, "ceiling.gemm.%s", dtype_names[dtype]);
    if (!time_op(b, &op, &t, &err)) {
        printf("%-28s not measured: %s\n", key, err.text);
        return;
    }
    double flops = b->flops[dtype] = op_flop(&op) / t.us * 1e6;
    figure(b, key, flops / 1e12, "TFLOP/s",
            (const double[2]){flops / 1e12 * t.us / t.most_us, flops / 1e12 * t.us / t.least_us},
            (double)NAN);
}

static bool measure_ceilings(struct bench *b)
{
    struct timing t;
    struct err err = {0};
    if (!time_op(b, &peak_copy, &t, &err)) {
        printf("ceilings could not be measured: %s\n", err.text);
        return false;
    }
    b->bytes_per_s = 2 * (double)peak_copy.dim[0] / t.us * 1e6;
    figure(b, "ceiling.copy", b->bytes_per_s / 1e9, "GB/s",
            (const double[2]){b->bytes_per_s / 1e9 * t.us / t.most_us,
                    b->bytes_per_s / 1e9 * t.us / t.least_us},
            (double)NAN);
    for (size_t i = 0; i < sizeof peak_dtypes / sizeof *peak_dtypes; i++)
        measure_products(b, peak_dtypes[i]);
    return b->flops[DTYPE_BF16] > 0;
}

static void measure_shape(struct bench *b, const struct shape *shape)
{
    struct timing t;
    struct err err = {0};
    char key[64];
    snprintf(key, sizeof key, "ratio.%s", shape->key);
    double flops = b->flops[shape->op.dtype];
    if (shape->bound == BY_PRODUCTS && flops == 0) {
        printf("%-28s not measured: products of its type have no ceiling here\n", key);
        return;
    }
    if (!time_op(b, &shape->op, &t, &err)) {
        printf("%-28s not measured: %s\n", key, err.text);
        return;
    }
    double least = shape->bound == BY_MEMORY ? op_bytes(&shape->op) / b->bytes_per_s * 1e6
                                             : op_flop(&shape->op) / flops * 1e6;
    figure(b, key, least / t.us, "", (const double[2]){least / t.most_us, least / t.least_us},
            shape->wanted);
    printf("%-28s %12.2f us by events, %.2f us by CUPTI\n", "", t.us, t.kernel_us);
    if (t.kernel_us > 20 && b->n_off < MOST_AGREE)
        b->off[b->n_off++] = fabs(t.us - t.kernel_us) / t.kernel_us;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct err err = {0}, no_cupti = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            b.quick = true;
        else if (strcmp(argv[i], "--figures") == 0 && i + 1 < argc)
            b.figures = fopen(argv[++i], "w");
    }
    b.cupti = source_cupti_open(&no_cupti); /* before the driver starts */
    b.dev = dev_host_open(&(struct dev_options){.threads = 8, .first_cpu = -1, .gpu = true}, &err);
    if (b.dev == NULL) {
        fprintf(stderr, "skipped: %s\n", err.text);
        return 77;
    }
    printf("products by %s; CUPTI: %s\n", dev_cuda_products(dev_gpu(b.dev)),
            b.cupti ? "yes" : no_cupti.text);
    bool ok = measure_ceilings(&b);
    for (size_t i = 0; ok && i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].quick || !b.quick)
            measure_shape(&b, &shapes[i]);
    if (b.n_off > 0) {
        struct summary s;
        summary_of(&s, b.off, b.n_off);
        figure(&b, "cupti.agreement", s.median, "", (const double[2]){s.min, s.max}, (double)NAN);
    }
    dev_close(b.dev);
    source_cupti_close();
    if (b.figures)
        fclose(b.figures);
    return !ok;
}
