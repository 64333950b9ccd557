/*
 * Every op of the CUDA module against its reference, and how long it takes: by events around a row of
 * launches, and by CUPTI (kernels alone) where it is there. usage: gpu_ops [JSON file]
 *
 * Exit status: 0 all right, 1 an op is wrong, 77 no GPU here (the reason on stderr).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/random.h"
#include "core/summary.h"
#include "kernels/dev_cuda.h"
#include "kernels/element.h"
#include "kernels/ref/ref.h"
#include "profiler/source_cupti.h"

#define LAUNCHES 50
#define ROUNDS   7

struct bench {
    struct dev_cuda *dev;
    struct arena arena;
    struct err err;
    uint64_t seed;
    bool cupti;
};

/* One op: arguments for the reference (host memory) and for the GPU, and what both write. */
struct trial {
    struct op op;
    struct op_args host, device;
    float *host_out; /* n_out floats */
    void *device_out;
    int64_t n_out;
    enum dtype out_dtype; /* of device_out; host_out is widened */
    void *host_cache;     /* bf16 outputs of the reference */
    double tolerance;     /* of the largest error, relative to the largest value */
};

static float *random_floats(struct bench *b, int64_t n, double scale)
{
    float *x = ARENA_NEW(&b->arena, float, n);
    uint64_t seed = ++b->seed;
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(scale * (2 * random_unit(seed, (uint64_t)i) - 1));
    return x;
}

static void *upload(struct bench *b, const void *from, int64_t bytes)
{
    void *to = dev_cuda_alloc(b->dev, bytes, &b->err);
    if (to == NULL || !dev_cuda_upload(b->dev, to, from, bytes, &b->err))
        return NULL;
    return to;
}

static float *upload_floats(struct bench *b, const float *x, int64_t n)
{
    return upload(b, x, n * (int64_t)sizeof *x);
}

static void make_gemm(struct trial *t, struct bench *b)
{
    int64_t m = t->op.dim[0], n = t->op.dim[1], k = t->op.dim[2];
    float *x = random_floats(b, m * k, 1), *w = random_floats(b, n * k, 1);
    float *bias = random_floats(b, n, 1);
    const void *weights = w;
    int64_t w_bytes = 4 * n * k;
    if (t->op.dtype == DTYPE_BF16) {
        uint16_t *narrow = ARENA_NEW(&b->arena, uint16_t, n * k);
        for (int64_t i = 0; i < n * k; i++)
            narrow[i] = bf16_narrow(w[i]);
        for (int64_t i = 0; i < m * k; i++)
            x[i] = bf16_widen(bf16_narrow(x[i])); /* as the GPU sees it */
        weights = narrow;
        w_bytes = 2 * n * k;
    }
    t->n_out = m * n;
    t->host_out = ARENA_NEW(&b->arena, float, m *n);
    t->host.gemm = (struct gemm_args){x, k, weights, bias, t->host_out, n, 0};
    t->device.gemm = (struct gemm_args){upload_floats(b, x, m * k), k, upload(b, weights, w_bytes),
            upload_floats(b, bias, n), upload_floats(b, t->host_out, m * n), n, 0};
    t->device_out = t->device.gemm.y;
    t->tolerance = 1e-5;
    ref_gemm(&t->op, &t->host);
}

static void make_rmsnorm(struct trial *t, struct bench *b)
{
    int64_t m = t->op.dim[0], n = t->op.dim[1];
    float *x = random_floats(b, m * n, 1), *gain = random_floats(b, n, 1);
    float *residual = t->op.dim[2] > 0 ? random_floats(b, m * n, 0.01) : NULL;
    t->n_out = m * n;
    t->host_out = ARENA_NEW(&b->arena, float, m *n);
    t->device.rmsnorm = (struct rmsnorm_args){upload_floats(b, x, m * n),
            residual == NULL ? NULL : upload_floats(b, residual, m * n), upload_floats(b, gain, n),
            upload_floats(b, t->host_out, m * n), 1e-6F};
    t->host.rmsnorm = (struct rmsnorm_args){x, residual, gain, t->host_out, 1e-6F};
    t->device_out = t->device.rmsnorm.out;
    t->tolerance = 1e-5;
    ref_rmsnorm(&t->op, &t->host);
}

static void make_activation(struct trial *t, struct bench *b)
{
    int64_t m = t->op.dim[0], n = t->op.dim[1];
    float *x = random_floats(b, 2 * m * n, 4);
    t->n_out = m * n;
    t->host_out = ARENA_NEW(&b->arena, float, m *n);
    t->host.activation = (struct activation_args){x, 2 * n, t->host_out};
    t->device.activation = (struct activation_args){
            upload_floats(b, x, 2 * m * n), 2 * n, upload_floats(b, t->host_out, m * n)};
    t->device_out = t->device.activation.out;
    t->tolerance = 1e-5;
    ref_activation(&t->op, &t->host);
}

#define BLOCK_TOKENS 16

/* What is compared is the cache of keys: it holds the normalised and rotated heads, scattered by slots. */
static void make_rope(struct trial *t, struct bench *b)
{
    int64_t m = t->op.dim[0], heads = t->op.dim[1], kv_heads = t->op.dim[2],
            head_dim = t->op.dim[3];
    int64_t ld = (heads + 2 * kv_heads) * head_dim, blocks = m / BLOCK_TOKENS + 1;
    int64_t cache = blocks * BLOCK_TOKENS * kv_heads * head_dim;
    float *qkv = random_floats(b, m * ld, 1), *gain = random_floats(b, head_dim, 1);
    float *inv_freq = ARENA_NEW(&b->arena, float, head_dim / 2);
    int32_t *positions = ARENA_NEW(&b->arena, int32_t, m),
            *slots = ARENA_NEW(&b->arena, int32_t, m);
    for (int64_t i = 0; i < head_dim / 2; i++)
        inv_freq[i] = (float)pow(1e6, -2.0 * (double)i / (double)head_dim);
    for (int64_t i = 0; i < m; i++) {
        positions[i] = (int32_t)(3 * i);
        slots[i] = (int32_t)(m - 1 - i);
    }
    int bytes = dtype_bytes(t->op.dtype);
    t->n_out = cache;
    t->out_dtype = t->op.dtype;
    t->host_cache = arena_alloc(&b->arena, cache * bytes);
    void *values = arena_alloc(&b->arena, cache * bytes);
    const float *g = t->op.dim[4] > 0 ? gain : NULL;
    struct rope_args host = {qkv, ld, positions, slots, inv_freq, 1, g, g, 1e-6F,
            {t->host_cache, values, t->op.dtype, BLOCK_TOKENS}};
    struct rope_args device = host;
    device.qkv = upload_floats(b, qkv, m * ld);
    device.positions = upload(b, positions, 4 * m);
    device.slots = upload(b, slots, 4 * m);
    device.inv_freq = upload_floats(b, inv_freq, head_dim / 2);
    device.q_gain = device.k_gain = g == NULL ? NULL : upload_floats(b, gain, head_dim);
    device.cache.k = upload(b, t->host_cache, cache * bytes);
    device.cache.v = upload(b, values, cache * bytes);
    t->host.rope = host;
    t->device.rope = device;
    t->device_out = device.cache.k;
    t->tolerance = t->op.dtype == DTYPE_BF16 ? 8e-3 : 2e-5; /* one step of bf16 */
    ref_rope(&t->op, &t->host);
}

static double at(const void *data, enum dtype dtype, int64_t i)
{
    return dtype == DTYPE_BF16 ? (double)bf16_widen(((const uint16_t *)data)[i])
                               : (double)((const float *)data)[i];
}

/* Largest difference relative to the largest value; infinite when anything is not a number. */
static double compare(struct trial *t, struct bench *b)
{
    int64_t bytes = t->n_out * dtype_bytes(t->out_dtype);
    void *out = arena_alloc(&b->arena, bytes);
    if (!dev_cuda_download(b->dev, out, t->device_out, bytes, &b->err))
        return (double)INFINITY;
    const void *expected = t->host_cache != NULL ? t->host_cache : t->host_out;
    double most = 0, error = 0;
    for (int64_t i = 0; i < t->n_out; i++) {
        double x = at(expected, t->out_dtype, i), y = at(out, t->out_dtype, i);
        if (!isfinite(y))
            return (double)INFINITY;
        most = fmax(most, fabs(x));
        error = fmax(error, fabs(x - y));
    }
    return most > 0 ? error / most : (double)INFINITY;
}

static bool launch(struct trial *t, struct bench *b, int n)
{
    for (int i = 0; i < n; i++) {
        if (!dev_cuda_run(b->dev, &t->op, &t->device, &b->err))
            return false;
    }
    return true;
}

/* Median over rounds of a row of launches, for each; operands are hot in cache. */
static bool time_op(struct trial *t, struct bench *b, double *us, double *kernel_us)
{
    double rounds[ROUNDS];
    if (!launch(t, b, LAUNCHES))
        return false;
    for (int i = 0; i < ROUNDS; i++) {
        if (!dev_cuda_time_begin(b->dev, &b->err) || !launch(t, b, LAUNCHES)
                || !dev_cuda_time_end(b->dev, &rounds[i], &b->err))
            return false;
    }
    struct summary s;
    summary_of(&s, rounds, ROUNDS);
    *us = s.median / LAUNCHES;
    *kernel_us = (double)NAN;
    struct cupti_window w;
    struct err ignored = {0};
    if (b->cupti && source_cupti_begin(&ignored) && launch(t, b, LAUNCHES)
            && dev_cuda_synchronize(b->dev, &b->err) && source_cupti_end(&w, &ignored))
        *kernel_us = w.busy_us / LAUNCHES;
    return b->err.kind == ERR_NONE;
}

static bool run_trial(const struct op *op, struct bench *b, struct json_writer *json)
{
    struct trial t = {.op = *op, .out_dtype = DTYPE_F32};
    char shown[160];
    double us = 0, kernel_us = 0;
    switch (op->kind) {
    case OP_GEMM:
        make_gemm(&t, b);
        break;
    case OP_RMSNORM:
        make_rmsnorm(&t, b);
        break;
    case OP_ACTIVATION:
        make_activation(&t, b);
        break;
    default:
        make_rope(&t, b);
        break;
    }
    bool ran = b->err.kind == ERR_NONE && launch(&t, b, 1) && dev_cuda_synchronize(b->dev, &b->err);
    double error = ran ? compare(&t, b) : (double)INFINITY;
    bool ok = error <= t.tolerance;
    ran = ran && time_op(&t, b, &us, &kernel_us);
    printf("%-60s %s error %.2e (at most %.0e) %9.2f us %9.2f us\n", op_show(shown, op),
            ok ? "ok   " : "WRONG", error, t.tolerance, us, kernel_us);
    if (b->err.kind != ERR_NONE)
        printf("    %s\n", b->err.text);
    json_object_begin(json, NULL);
    json_put_string(json, "op", shown);
    json_put_bool(json, "ok", ok && ran);
    json_put_double(json, "error", error);
    json_put_double(json, "tolerance", t.tolerance);
    json_put_double(json, "us", us);
    json_put_double(json, "kernel_us", kernel_us);
    json_put_double(json, "tflop_per_s", us > 0 ? op_flop(op) / us / 1e6 : (double)NAN);
    json_put_double(json, "gb_per_s", us > 0 ? op_bytes(op) / us / 1e3 : (double)NAN);
    json_end(json);
    err_clear(&b->err);
    arena_free(&b->arena);
    return ok && ran;
}

static const struct op ops[] = {
        {OP_RMSNORM, DTYPE_F32, 1, 1, {1, 1024, 0}},
        {OP_RMSNORM, DTYPE_F32, 1, 1, {7, 1000, 1}},
        {OP_RMSNORM, DTYPE_F32, 1, 1, {512, 4096, 1}},
        {OP_ACTIVATION, DTYPE_F32, 1, 1, {1, 3072}},
        {OP_ACTIVATION, DTYPE_F32, 1, 1, {5, 333}},
        {OP_ACTIVATION, DTYPE_F32, 1, 1, {512, 12288}},
        {OP_ROPE, DTYPE_BF16, 1, 1, {1, 16, 8, 128, 1}},
        {OP_ROPE, DTYPE_F32, 1, 1, {33, 4, 2, 64, 0}},
        {OP_ROPE, DTYPE_BF16, 1, 1, {256, 32, 8, 128, 0}},
        {OP_GEMM, DTYPE_BF16, 1, 1, {1, 4096, 1024}},
        {OP_GEMM, DTYPE_BF16, 1, 1, {16, 1024, 3072}},
        {OP_GEMM, DTYPE_BF16, 1, 1, {128, 4096, 4096}},
        {OP_GEMM, DTYPE_F32, 1, 1, {17, 512, 256}},
};

static bool write_json(const char *path, struct json_writer *json, struct err *err)
{
    return path == NULL || file_write(path, json->text, json->len, err);
}

int main(int argc, char **argv)
{
    struct bench b = {.seed = 1};
    struct err err = {0}, no_cupti = {0};
    struct arena arena = {0};
    int n = 0, wrong = 0;
    b.cupti = source_cupti_open(&no_cupti); /* before the driver starts */
    bool there = dev_cuda_count(&n, &err) && n > 0;
    b.dev = there ? dev_cuda_open(0, &err) : NULL;
    if (b.dev == NULL) {
        fprintf(stderr, "skipped: %s\n", err.kind == ERR_NONE ? "no GPU here" : err.text);
        return 77;
    }
    const char *device = dev_cuda_describe(&arena);
    printf("%s; times by events, then by CUPTI%s%s\n", device, b.cupti ? "" : ": ", no_cupti.text);
    struct json_writer json = {.pretty = true};
    json_object_begin(&json, NULL);
    json_put_string(&json, "device", device);
    json_array_begin(&json, "ops");
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        wrong += !run_trial(&ops[i], &b, &json);
    json_end(&json);
    json_end(&json);
    dev_cuda_close(b.dev);
    source_cupti_close();
    if (!write_json(argc > 1 ? argv[1] : NULL, &json, &err)) {
        fprintf(stderr, "%s\n", err.text);
        wrong++;
    }
    json_writer_free(&json);
    arena_free(&arena);
    return wrong > 0;
}
