/*
 * Times ops and collectives as the profiler does: operands cold, all threads busy. Started under a launcher
 * by itself for the collectives. usage: bench_kernels [--quick] [--figures FILE]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/ranks.h"
#include "kernels/coll.h"
#include "kernels/op_table.h"
#include "tests/bench/kernels_library.h"

// NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result): sizes are small

#define COLD_BYTES  (INT64_C(256) << 20)
#define MAX_SAMPLES 2000
#define MAX_SHAPES  16

struct bench {
    struct dev *dev;
    FILE *figures;
    bool quick;
    double bytes_per_s; /* what reading reaches */
    double samples[MAX_SAMPLES];
};

struct shape {
    const char *name;
    int64_t n, k;
};

/* clang-format off */
static const struct shape shapes[] = {
    {"0.6B qkv", 4096, 1024}, {"0.6B o", 1024, 2048},
    {"0.6B gate_up", 6144, 1024}, {"0.6B down", 1024, 3072},
    {"8B qkv", 6144, 4096}, {"8B o", 4096, 4096},
    {"8B gate_up", 24576, 4096}, {"8B down", 4096, 12288},
};
/* clang-format on */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void figure(
        struct bench *b, const char *key, const char *unit, double *values, int n, double wanted)
{
    qsort(values, (size_t)n, sizeof(*values), by_value);
    printf("%-22s %10.3f %s (%.3f to %.3f; wanted %.3f)\n", key, values[n / 2], unit, values[0],
            values[n - 1], wanted);
    if (b->figures)
        fprintf(b->figures, "%s\t%.6g\t%s\t%.6g\t%.6g\t%.6g\n", key, values[n / 2], unit, values[0],
                values[n - 1], wanted);
}

struct reading {
    const uint64_t *words;
    int64_t n;
    _Alignas(64) uint64_t sums[64][8];
};

static void read_part(void *arg, int part, int parts)
{
    struct reading *r = arg;
    int64_t end = r->n / parts * (part + 1) / 8 * 8;
    uint64_t sum[8] = {0};
    for (int64_t i = r->n / parts * part / 8 * 8; i < end; i += 8) {
        __builtin_prefetch(r->words + i + 2048, 0, 2); /* as weights are, into the second level */
        for (int j = 0; j < 8; j++)
            sum[j] += r->words[i + j];
    }
    memcpy(r->sums[part % 64], sum, sizeof(sum));
}

/* Slices about as long as an op, so that a shared machine disturbs both alike. */
static bool bandwidth(struct bench *b, struct err *err)
{
    enum {
        SLICES = 32
    };
    const int64_t bytes = INT64_C(16) << 20;
    char *words = dev_alloc(b->dev, SLICES * bytes, err);
    double rates[2 * SLICES];
    if (!words)
        return false;
    for (int i = 0; i < 2 * SLICES; i++) {
        struct reading r = {.words = (const void *)(words + i % SLICES * bytes), .n = bytes / 8};
        double start = now();
        dev_parallel(b->dev, read_part, &r);
        rates[i] = (double)bytes / (now() - start) * 1e-9;
    }
    dev_free(b->dev, words);
    figure(b, "read.bandwidth", "GB/s", rates, 2 * SLICES, 28);
    b->bytes_per_s = rates[SLICES] * 1e9;
    return true;
}

/* Median seconds of an op; negative when there is no memory for it. */
static double time_op(struct bench *b, const struct op *op)
{
    struct err err = {0};
    int n = 0;
    struct op_case *c = op_case_open(b->dev, op, COLD_BYTES, 1, &err);
    if (!c)
        return -1;
    op_case_run(c);
    for (double start = now(); n < 5 || (n < MAX_SAMPLES && now() - start < 0.2); n++) {
        double one = now();
        op_case_run(c);
        b->samples[n] = now() - one;
    }
    op_case_close(c);
    qsort(b->samples, (size_t)n, sizeof(*b->samples), by_value);
    return b->samples[n / 2];
}

static void gemm_row(struct bench *b, enum dtype dtype, int64_t m, double *frac, double *rate)
{
    int n_shapes = b->quick ? 4 : (int)(sizeof(shapes) / sizeof(shapes[0]));
    for (int i = 0; i < n_shapes; i++) {
        const struct shape *s = &shapes[i];
        struct op op = {OP_GEMM, dtype, dev_threads(b->dev), 1, {m, s->n, s->k}};
        double seconds = time_op(b, &op);
        double bytes = (double)(s->n * s->k) * (dtype == DTYPE_F32 ? 4 : 2);
        frac[i] = bytes / seconds / b->bytes_per_s;
        rate[i] = 2e-9 * (double)m * (double)s->n * (double)s->k / seconds;
        printf("%-14s %-5s m=%-4lld %10.1f us  %6.1f %% of bandwidth  %7.1f GFLOP/s\n", s->name,
                dtype_names[dtype], (long long)m, seconds * 1e6, 100 * frac[i], rate[i]);
    }
}

static void gemms(struct bench *b)
{
    static const int64_t rows[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
    int n_shapes = b->quick ? 4 : (int)(sizeof(shapes) / sizeof(shapes[0]));
    for (int i = 0; i < 9; i++) {
        double frac[2 * MAX_SHAPES], rate[2 * MAX_SHAPES];
        int64_t m = rows[i];
        if (b->quick && m != 1 && m != 8 && m != 32 && m != 512)
            continue;
        gemm_row(b, DTYPE_BF16, m, frac, rate);
        gemm_row(b, DTYPE_F32, m, frac + n_shapes, rate + n_shapes);
        if (m == 1)
            figure(b, "gemm.m1.bandwidth", "fraction", frac, 2 * n_shapes, 0.9);
        if (m == 8)
            figure(b, "gemm.m8.rate", "GFLOP/s", rate, 2 * n_shapes, 91);
        if (m == 32)
            figure(b, "gemm.m32.rate", "GFLOP/s", rate, 2 * n_shapes, 120);
        if (m == 512)
            figure(b, "gemm.m512.rate", "GFLOP/s", rate, 2 * n_shapes, 150);
    }
}

/* f32 weights that stay in the cache, one thread: rates of the code itself. */
static void against_libraries(void)
{
    enum {
        N = 512,
        K = 1024,
        MOST = 512
    };
    static const int64_t rows[] = {1, 8, 16, 32, 64, 128, 256, 512};
    float *x = calloc(MOST * K, 4), *w = calloc((size_t)N * K, 4), *y = calloc(MOST * N, 4);
    struct err err = {0};
    struct dev_options options = {.threads = 1, .first_cpu = 0, .deterministic = true};
    struct dev *own = dev_host_open(&options, &err);
    for (int i = 0; x && w && i < N * K; i++)
        x[i] = w[i] = (float)(i % 7 - 3);
    for (int l = -1; l < 3 && x && w && y && own; l++) {
        struct library library = {.name = "own kernels"};
        if (l >= 0)
            library = libraries[l];
        if (l >= 0 && !library_open(&library)) {
            printf("%-12s not installed\n", library.name);
            continue;
        }
        printf("%-12s", library.name);
        for (int i = 0; i < 8; i++) {
            struct op op = {OP_GEMM, DTYPE_F32, 1, 1, {rows[i], N, K}};
            struct op_args args = {.gemm = {.x = x, .ldx = K, .w = w, .y = y, .ldy = N}};
            double best = 1e9;
            for (int repeat = 0; repeat < 30; repeat++) {
                double start = now();
                if (l < 0)
                    op_run(own, &op, &args);
                else
                    library_gemm(&library, x, w, y, rows[i], N, K);
                double seconds = now() - start;
                best = seconds < best ? seconds : best;
            }
            printf("  m=%lld %.1f", (long long)rows[i], 2e-9 * (double)rows[i] * N * K / best);
        }
        printf("  GFLOP/s\n");
    }
    dev_close(own);
    free(x);
    free(w);
    free(y);
}

static void attention(struct bench *b)
{
    static const int64_t batches[] = {1, 4, 16}, lengths[] = {256, 2048};
    double frac[16];
    int n = 0;
    for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 2; j++) {
                struct op op = {OP_ATTENTION_DECODE, (enum dtype)dtype, dev_threads(b->dev), 1,
                        {batches[i], lengths[j], 16, 8, 128}};
                char text[160];
                double seconds = time_op(b, &op);
                double bytes = (double)(batches[i] * lengths[j] * 8 * 128 * 2)
                               * (dtype == DTYPE_F32 ? 4 : 2);
                frac[n++] = bytes / seconds / b->bytes_per_s;
                printf("%-70s %10.1f us  %6.1f %% of bandwidth\n", op_show(text, &op),
                        seconds * 1e6, 100 * frac[n - 1]);
            }
    figure(b, "attention.bandwidth", "fraction", frac, n, 0.8);
}

/* Under the launcher: rank 0 leaves the samples' quartiles in the file. */
static int collectives(const char *path, struct ranks *ranks)
{
    static const int64_t sizes[] = {8 << 10, 64 << 10, 1 << 20};
    static const char *const names[] = {"all_reduce.8KiB", "all_reduce.64KiB", "all_reduce.1MiB"};
    static const double wanted[] = {2.5, 10, 72};
    struct err err = {0};
    int members[64], n = ranks_count(ranks);
    double samples[1000];
    for (int i = 0; i < n; i++)
        members[i] = i;
    struct coll *coll = coll_open(members, n, &(struct coll_options){.key = 1}, &err);
    float *x = calloc(1 << 20, 1);
    FILE *file = ranks_rank(ranks) == 0 ? fopen(path, "w") : NULL;
    if (!coll || !x) {
        fprintf(stderr, "%s\n", err.text);
        free(x);
        return 3;
    }
    for (int s = 0; s < 3; s++) {
        for (int i = 0; i < 1000; i++) {
            coll_barrier(coll);
            double start = now();
            coll_all_reduce(coll, x, sizes[s] / 4);
            samples[i] = (now() - start) * 1e6;
        }
        qsort(samples, 1000, sizeof(*samples), by_value);
        if (file)
            fprintf(file, "%s\t%.6g\tus\t%.6g\t%.6g\t%.6g\n", names[s], samples[500], samples[250],
                    samples[750], wanted[s]);
    }
    if (file)
        fclose(file);
    coll_close(coll);
    free(x);
    return 0;
}

static void with_ranks(struct bench *b, char *self)
{
    char path[] = "/tmp/bench_kernels_XXXXXX", line[256];
    struct err err = {0};
    int status = -1, fd = mkstemp(path);
    if (fd < 0)
        return;
    FILE *file = fdopen(fd, "r");
    char option[] = "--collectives", *command[] = {self, option, path, NULL};
    if (!ranks_launch(2, command, &status, &err) || status != 0)
        printf("collectives: not measured (status %d) %s\n", status, err.text);
    else if (file)
        file = freopen(path, "r", file);
    while (file && fgets(line, sizeof(line), file)) {
        printf("%s", line);
        if (b->figures)
            fputs(line, b->figures);
    }
    if (file)
        fclose(file);
    remove(path);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct err err = {0};
    const char *figures = NULL;
    if (ranks_launched()) {
        struct ranks *ranks = ranks_open(&argc, &argv, &err);
        int status = ranks ? collectives(argv[argc - 1], ranks) : 3;
        ranks_close(ranks);
        return status;
    }
    for (int i = 1; i < argc; i++) {
        b.quick = b.quick || strcmp(argv[i], "--quick") == 0;
        if (strcmp(argv[i], "--figures") == 0 && i + 1 < argc)
            figures = argv[++i];
    }
    struct dev_options options = {.threads = 2, .first_cpu = 0};
    b.dev = dev_host_open(&options, &err);
    b.figures = figures ? fopen(figures, "w") : NULL;
    bool ok = b.dev && bandwidth(&b, &err);
    if (ok) {
        gemms(&b);
        against_libraries();
        attention(&b);
        with_ranks(&b, argv[0]);
    } else {
        fprintf(stderr, "bench_kernels: %s\n", err.text);
    }
    if (b.figures)
        fclose(b.figures);
    dev_close(b.dev);
    return ok ? 0 : (int)err.kind;
}
// NOLINTEND(bugprone-implicit-widening-of-multiplication-result)
