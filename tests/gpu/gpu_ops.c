/*
 * Every op of the CUDA module against its reference in double precision: fresh random operands, outputs full of NaN
 * before, odd sizes, all variants. What is compared is |out - reference| / |reference| over everything an op writes.
 *
 * usage: gpu_ops [--small] [--seed N] [--json FILE]
 * --small: leaves out shapes that take an emulated GPU long. Exit status: 0 all right, 1 an op is wrong, 77 no GPU
 * here (the reason on stderr).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "kernels/dev_cuda.h"

struct shape {
    struct op op;
    bool large;
};

#define F32  DTYPE_F32
#define BF16 DTYPE_BF16
#define F8   DTYPE_F8
#define F8B  DTYPE_F8_BLOCK
/* clang-format off */
static const struct shape shapes[] = {
        {{OP_GEMM, BF16, 1, 1, {1, 67, 64}}, false},
        {{OP_GEMM, BF16, 1, 1, {1, 130, 1032}}, false},
        {{OP_GEMM, BF16, 1, 1, {3, 33, 520}}, false},
        {{OP_GEMM, BF16, 1, 1, {4, 50, 333}}, false},
        {{OP_GEMM, BF16, 1, 1, {17, 100, 72}}, false},
        {{OP_GEMM, BF16, 1, 1, {70, 129, 104}}, false},
        {{OP_GEMM, BF16, 1, 1, {130, 257, 96}}, false},
        {{OP_GEMM, BF16, 1, 1, {33, 40, 61}}, false},
        {{OP_GEMM, F32, 1, 1, {17, 40, 111}}, false},
        {{OP_GEMM, F8, 1, 1, {1, 67, 64}}, false},
        {{OP_GEMM, F8, 1, 1, {3, 33, 1040}}, false},
        {{OP_GEMM, F8, 1, 1, {2, 40, 61}}, false},
        {{OP_GEMM, F8, 1, 1, {17, 100, 72}}, false},
        {{OP_GEMM, F8, 1, 1, {33, 144, 96}}, false},
        {{OP_GEMM, F8B, 1, 1, {1, 300, 1040}}, false},
        {{OP_GEMM, F8B, 1, 1, {4, 130, 272}}, false},
        {{OP_GEMM, F8B, 1, 1, {5, 140, 333}}, false},
        {{OP_GEMM, F8B, 1, 1, {70, 272, 400}}, false},
        {{OP_GEMM, F8, 1, 1, {64, 6144, 4096}}, true},
        {{OP_GEMM, F8B, 1, 1, {64, 6144, 4096}}, true},
        {{OP_GEMM, F8B, 1, 1, {333, 1536, 7168}}, true},
        {{OP_GEMM, BF16, 1, 1, {1, 4096, 4096}}, true},
        {{OP_GEMM, BF16, 1, 1, {64, 6144, 4096}}, true},
        {{OP_GEMM, BF16, 1, 1, {333, 1024, 3072}}, true},
        {{OP_LM_HEAD, BF16, 1, 1, {5, 999, 128}}, false},
        {{OP_ATTENTION_DECODE, BF16, 1, 1, {1, 1, 4, 2, 64}}, false},
        {{OP_ATTENTION_DECODE, BF16, 1, 1, {3, 129, 16, 4, 128}}, false},
        {{OP_ATTENTION_DECODE, BF16, 1, 1, {1, 700, 8, 2, 128}}, false},
        {{OP_ATTENTION_DECODE, BF16, 1, 1, {2, 300, 40, 2, 64}}, false},
        {{OP_ATTENTION_DECODE, BF16, 1, 1, {5, 64, 10, 2, 24}}, false},
        {{OP_ATTENTION_DECODE, F32, 1, 1, {3, 90, 8, 2, 64}}, false},
        {{OP_ATTENTION_DECODE, BF16, 1, 1, {64, 2048, 32, 8, 128}}, true},
        {{OP_ATTENTION_DECODE, BF16, 1, 1, {1, 30000, 32, 8, 128}}, true},
        {{OP_ATTENTION_PREFILL, BF16, 1, 1, {1, 1, 1, 1, 64}}, false},
        {{OP_ATTENTION_PREFILL, BF16, 1, 1, {70, 70, 4, 2, 128}}, false},
        {{OP_ATTENTION_PREFILL, BF16, 1, 1, {33, 200, 6, 2, 64}}, false},
        {{OP_ATTENTION_PREFILL, BF16, 1, 1, {5, 600, 4, 1, 128}}, false},
        {{OP_ATTENTION_PREFILL, BF16, 1, 1, {17, 65, 6, 2, 20}}, false},
        {{OP_ATTENTION_PREFILL, F32, 1, 1, {19, 60, 4, 2, 64}}, false},
        {{OP_ATTENTION_PREFILL, BF16, 1, 1, {257, 1000, 8, 2, 128}}, true},
        {{OP_RMSNORM, F32, 1, 1, {1, 1024, 0}}, false},
        {{OP_RMSNORM, F32, 1, 1, {7, 1001, 1}}, false},
        {{OP_RMSNORM, F32, 1, 1, {3, 4096, 1}}, false},
        {{OP_RMSNORM, F32, 1, 1, {2, 9000, 0}}, false},
        {{OP_ROPE, BF16, 1, 1, {5, 16, 8, 128, 1}}, false},
        {{OP_ROPE, F32, 1, 1, {33, 4, 2, 64, 0}}, false},
        {{OP_ROPE, BF16, 1, 1, {256, 32, 8, 128, 0}}, true},
        {{OP_ACTIVATION, F32, 1, 1, {1, 3072}}, false},
        {{OP_ACTIVATION, F32, 1, 1, {5, 333}}, false},
        {{OP_ACTIVATION, F32, 1, 1, {512, 12288}}, true},
        {{OP_ROUTER, F32, 1, 1, {5, 96, 8, 2}}, false},
        {{OP_ROUTER, BF16, 1, 1, {33, 200, 20, 5}}, false},
        {{OP_ROUTER, BF16, 1, 1, {65, 64, 128, 8}}, false},
        {{OP_ROUTER, BF16, 1, 1, {300, 4096, 256, 8}}, true},
        {{OP_PERMUTE, F32, 1, 1, {5, 33, 8, 8, 2}}, false},
        {{OP_PERMUTE, F32, 1, 1, {65, 130, 5, 16, 4}}, false},
        {{OP_PERMUTE, F32, 1, 1, {600, 9, 8, 16, 4}}, false},
        {{OP_EXPERT_GEMM, F32, 1, 1, {1, 40, 24, 4, 8, 2}}, false},
        {{OP_EXPERT_GEMM, BF16, 1, 1, {33, 72, 48, 8, 8, 3}}, false},
        {{OP_EXPERT_GEMM, BF16, 1, 1, {20, 70, 50, 4, 8, 2}}, false},
        {{OP_EXPERT_GEMM, BF16, 1, 1, {200, 128, 136, 4, 4, 2}}, false},
        {{OP_EXPERT_GEMM, F8, 1, 1, {33, 80, 48, 8, 8, 3}}, false},
        {{OP_EXPERT_GEMM, F8B, 1, 1, {20, 144, 160, 4, 8, 2}}, false},
        {{OP_EXPERT_GEMM, F8B, 1, 1, {9, 70, 50, 4, 4, 2}}, false},
        {{OP_EXPERT_GEMM, F8B, 1, 1, {64, 7168, 2048, 32, 256, 8}}, true},
        {{OP_EXPERT_GEMM, BF16, 1, 1, {64, 2048, 768, 128, 128, 8}}, true},
        {{OP_COMBINE, F32, 1, 1, {5, 33, 8, 8, 2}}, false},
        {{OP_COMBINE, F32, 1, 1, {65, 130, 5, 16, 4}}, false},
        {{OP_EMBEDDING, F32, 1, 1, {3, 100}}, false},
        {{OP_EMBEDDING, BF16, 1, 1, {65, 333}}, false},
        {{OP_SAMPLE, F32, 1, 1, {1, 1}}, false},
        {{OP_SAMPLE, F32, 1, 1, {9, 5003}}, false},
        {{OP_COPY, F32, 1, 1, {300004}}, false},
        {{OP_MLA_DECODE, F32, 1, 1, {5, 33, 6, 20, 6, 14}}, false},
        {{OP_MLA_DECODE, BF16, 1, 1, {3, 130, 40, 33, 10, 24}}, false},
        {{OP_MLA_DECODE, BF16, 1, 1, {2, 150, 20, 512, 64, 256}}, false},
        {{OP_MLA_DECODE, BF16, 1, 1, {4, 2000, 128, 512, 64, 256}}, true},
        {{OP_MLA_PREFILL, F32, 1, 1, {21, 50, 3, 20, 6, 14}}, false},
        {{OP_MLA_PREFILL, BF16, 1, 1, {35, 70, 2, 40, 16, 24}}, false},
        {{OP_MLA_PREFILL, BF16, 1, 1, {9, 40, 4, 512, 64, 256}}, false},
        {{OP_MLA_ROPE, BF16, 1, 1, {33, 8, 64, 16, 32}}, false},
        {{OP_MLA_ROPE, F32, 1, 1, {3, 4, 20, 6, 9}}, false},
};
/* clang-format on */

struct bench {
    struct dev *gpu, *reference;
    struct json_writer json;
    uint64_t seed;
    int checked, wrong;
};

/* bf16 rounds what goes into the tensor cores, f8 more so; indices are exact. */
static double tolerance_of(const struct op *op)
{
    if (op->dtype == F8 || op->dtype == F8B)
        return 5e-2;
    bool exact = op->kind == OP_PERMUTE || op->kind == OP_COPY || op->kind == OP_EMBEDDING;
    return exact ? 0 : op->dtype == DTYPE_BF16 && op->kind != OP_ROUTER ? 1e-2 : 2e-5;
}

/* Infinite when anything is missing or not a number. */
static double difference(const float *out, const float *expected, int64_t n)
{
    double square = 0, off = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(out[i]))
            return (double)INFINITY;
        double delta = (double)out[i] - (double)expected[i];
        off += delta * delta;
        square += (double)expected[i] * (double)expected[i];
    }
    return square > 0 ? sqrt(off / square) : off > 0 ? (double)INFINITY : 0;
}

static double compare(struct op_case *c, struct op_case *expected)
{
    int64_t n = 0, n_expected = 0;
    op_case_run(c);
    op_case_run(expected);
    const float *out = op_case_output(c, &n);
    const float *reference = op_case_output(expected, &n_expected);
    return out && n == n_expected && n > 0 ? difference(out, reference, n) : (double)INFINITY;
}

static void check(struct bench *b, const struct op *op, int variant)
{
    struct err err = {0};
    char shown[160];
    uint64_t seed = b->seed + (uint64_t)b->checked++;
    double error = (double)INFINITY, most = tolerance_of(op);
    struct op_case *c = op_case_vary(b->gpu, op, variant, seed, &err);
    struct op_case *expected = c ? op_case_vary(b->reference, op, variant, seed, &err) : NULL;
    if (expected)
        error = compare(c, expected);
    if (err.kind == ERR_NONE && !dev_finish(b->gpu, &err))
        error = (double)INFINITY;
    op_case_close(c);
    op_case_close(expected);
    bool ok = error <= most;
    b->wrong += !ok;
    printf("%-64s variant %d  %s  %.2e (at most %.0e)\n", op_show(shown, op), variant,
            ok ? "ok   " : "WRONG", error, most);
    if (err.kind != ERR_NONE)
        printf("    %s\n", err.text);
    fflush(stdout);
    json_object_begin(&b->json, NULL);
    json_put_string(&b->json, "op", shown);
    json_put_int(&b->json, "variant", variant);
    json_put_bool(&b->json, "ok", ok);
    json_put_double(&b->json, "error", error);
    json_put_double(&b->json, "tolerance", most);
    json_end(&b->json);
}

/* A failure of the GPU stays: nothing that follows would be told from it. */
static bool broken(struct bench *b)
{
    struct err err = {0};
    if (dev_finish(b->gpu, &err))
        return false;
    printf("the GPU failed, the rest is not checked: %s\n", err.text);
    b->wrong++;
    return true;
}

static void check_all(struct bench *b, bool small)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int v = 0; v <= op_case_variants(shapes[i].op.kind); v++)
            if (!(small && shapes[i].large) && !broken(b))
                check(b, &shapes[i].op, v);
}

struct wish {
    bool small;
    uint64_t seed;
    const char *json;
};

static bool read_wish(struct wish *wish, int argc, char **argv)
{
    *wish = (struct wish){.seed = (uint64_t)clock_now_ns()};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--small") == 0)
            wish->small = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            wish->seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
            wish->json = argv[++i];
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct bench b = {.json = {.pretty = true}};
    struct err err = {0};
    struct arena arena = {0};
    struct wish wish;
    int n = 0;
    if (!read_wish(&wish, argc, argv)) {
        fprintf(stderr, "usage: gpu_ops [--small] [--seed N] [--json FILE]\n");
        return 2;
    }
    b.seed = wish.seed;
    b.reference = dev_host_open(
            &(struct dev_options){.threads = 1, .first_cpu = -1, .reference = true}, &err);
    if (b.reference && dev_cuda_count(&n, &err) && n > 0)
        b.gpu = dev_host_open(
                &(struct dev_options){.threads = 1, .first_cpu = -1, .gpu = true}, &err);
    if (!b.gpu) {
        fprintf(stderr, "skipped: %s\n", err.kind == ERR_NONE ? "no GPU here" : err.text);
        return 77;
    }
    printf("%s; products by %s; seed %llu\n", dev_cuda_describe(&arena),
            dev_cuda_products(dev_gpu(b.gpu)), (unsigned long long)b.seed);
    json_object_begin(&b.json, NULL);
    json_put_string(&b.json, "device", dev_cuda_describe(&arena));
    json_array_begin(&b.json, "ops");
    check_all(&b, wish.small);
    json_end(&b.json);
    json_end(&b.json);
    printf("%d checked, %d wrong\n", b.checked, b.wrong);
    dev_close(b.gpu);
    dev_close(b.reference);
    if (wish.json && !file_write(wish.json, b.json.text, b.json.len, &err)) {
        fprintf(stderr, "%s\n", err.text);
        b.wrong++;
    }
    json_writer_free(&b.json);
    arena_free(&arena);
    return b.wrong > 0;
}
