#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/kernels_library.h"
#include "tests/bench/runtime_bench.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    M = 512,
    N = 2048,
    K = 2048,
    LIBRARIES = 3
};
#define READ_BYTES (INT64_C(256) << 20)

struct limits {
    uint64_t *words; /* READ_BYTES */
    float *x, *w, *y;
    struct library libraries[LIBRARIES];
    bool there[LIBRARIES];
    const struct library *library; /* in use */
    _Alignas(64) uint64_t sums[BENCH_THREADS][8];
    double rates[BENCH_THREADS];
};

/* As the runtime's own memory is: in huge pages. */
static void *filled(struct dev *dev, int64_t bytes, struct err *err)
{
    float *memory = dev_alloc(dev, bytes, err);

    for (int64_t i = 0; memory && i < bytes / 4; i++)
        memory[i] = (float)(i % 7 - 3);
    return memory;
}

struct limits *limits_open(struct dev *dev, struct err *err)
{
    struct limits *l = calloc(1, sizeof *l);

    if (!l) {
        err_set(err, ERR_ENV, "no memory for the limits");
        return NULL;
    }
    l->words = filled(dev, READ_BYTES, err);
    l->x = filled(dev, INT64_C(4) * M * K, err);
    l->w = filled(dev, INT64_C(4) * N * K, err);
    l->y = filled(dev, INT64_C(4) * M * N, err);
    setenv("OMP_NUM_THREADS", "1", 1); /* each thread of the device calls the library for itself */
    for (int i = 0; i < LIBRARIES; i++) {
        l->libraries[i] = libraries[i];
        l->there[i] = library_open(&l->libraries[i]);
    }
    if (l->words && l->x && l->w && l->y)
        return l;
    limits_close(l);
    return NULL;
}

void limits_close(struct limits *limits)
{
    free(limits); /* the memory is the device's */
}

static void read_part(void *arg, int part, int parts)
{
    struct limits *l = arg;
    int64_t n = READ_BYTES / 8 / parts, end = n * (part + 1);
    uint64_t sum[8] = {0};

    for (int64_t i = n * part; i < end; i += 8) {
        __builtin_prefetch(l->words + i + 2048, 0, 2); /* as weights are, into the second level */
        for (int j = 0; j < 8; j++)
            sum[j] += l->words[i + j];
    }
    memcpy(l->sums[part], sum, sizeof sum);
}

#define FMA_TURNS 200000

#if defined(__x86_64__)
/* Twelve sums hide the latency of two units on every CPU there is. */
__attribute__((target("avx2,fma"))) static double fma_avx2(void)
{
    __m256 acc[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    float out[8];

    for (int i = 0; i < 12; i++)
        acc[i] = _mm256_set1_ps((float)i);
    for (int64_t n = 0; n < FMA_TURNS; n++)
        for (int i = 0; i < 12; i++)
            acc[i] = _mm256_fmadd_ps(acc[i], a, b);
    for (int i = 1; i < 12; i++)
        acc[0] = _mm256_add_ps(acc[0], acc[i]);
    _mm256_storeu_ps(out, acc[0]);
    return out[0] > 0 ? 16.0 : 0;
}

__attribute__((target("avx512f"))) static double fma_avx512(void)
{
    __m512 acc[12], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    float out[16];

    for (int i = 0; i < 12; i++)
        acc[i] = _mm512_set1_ps((float)i);
    for (int64_t n = 0; n < FMA_TURNS; n++)
        for (int i = 0; i < 12; i++)
            acc[i] = _mm512_fmadd_ps(acc[i], a, b);
    for (int i = 1; i < 12; i++)
        acc[0] = _mm512_add_ps(acc[0], acc[i]);
    _mm512_storeu_ps(out, acc[0]);
    return out[0] > 0 ? 32.0 : 0;
}
#endif

/* FLOP per turn of the widest unit there is; 0 = not known how to ask for it. */
static double fma_turns(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return fma_avx512();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return fma_avx2();
#endif
    return 0;
}

static void fma_part(void *arg, int part, int parts)
{
    struct limits *l = arg;
    double start = bench_now(), flop = fma_turns() * (FMA_TURNS * 12.0);

    (void)parts;
    l->rates[part] = flop / (bench_now() - start);
}

static void gemm_part(void *arg, int part, int parts)
{
    struct limits *l = arg;
    int64_t n = N / parts;

    library_gemm(l->library, l->x, l->w + part * n * K, l->y + part * n * M, M, n, K);
}

static double gemm_rate(struct limits *l, struct dev *dev)
{
    double best = (double)NAN;

    for (int i = 0; i < LIBRARIES; i++) {
        if (!l->there[i])
            continue;
        l->library = &l->libraries[i];
        double start = bench_now();
        dev_parallel(dev, gemm_part, l);
        double rate = 2.0 * M * N * K / (bench_now() - start);
        best = rate > best || isnan(best) ? rate : best;
    }
    return best;
}

void limits_measure(struct limits *l, struct bench *b, struct dev *dev)
{
    int threads = dev_threads(dev);
    char key[80];

    snprintf(key, sizeof key, "limit.read.t%d", threads);
    dev_parallel(dev, read_part, l); /* wakes the threads */
    double start = bench_now();
    dev_parallel(dev, read_part, l);
    bench_add(b, key, "bytes/s", (double)NAN, (double)READ_BYTES / (bench_now() - start));
    snprintf(key, sizeof key, "limit.fma.t%d", threads);
    dev_parallel(dev, fma_part, l);
    double sum = 0;
    for (int i = 0; i < threads; i++)
        sum += l->rates[i];
    bench_add(b, key, "FLOP/s", (double)NAN, sum > 0 ? sum : (double)NAN);
    snprintf(key, sizeof key, "limit.gemm.t%d", threads);
    bench_add(b, key, "FLOP/s", (double)NAN, gemm_rate(l, dev));
}
