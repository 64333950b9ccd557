/*
 * cuBLASLt thinks in columns: row-major y[m, n] is column-major [n, m] with leading dimension ldy, so the
 * product asked for is w x^T with w transposed. The fastest of the algorithms that its heuristic names for a shape is
 * kept: asking takes longer than a small product, and its first answer is not always the best.
 *
 * The library is opened by name when the first product needs it, so that the module loads without it.
 */
#include "kernels/cuda/gemm.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/launch.h"

#define WORKSPACE_BYTES (INT64_C(32) << 20)
#define MOST_SHAPES     512
#define CANDIDATES      8
#define TRIES           3

/* NAME(function without the prefix cublasLt): one line for each function that is used. */
#define FUNCTIONS(NAME)                \
    NAME(Create)                       \
    NAME(Destroy)                      \
    NAME(GetVersion)                   \
    NAME(Matmul)                       \
    NAME(MatmulAlgoGetHeuristic)       \
    NAME(MatmulDescCreate)             \
    NAME(MatmulDescDestroy)            \
    NAME(MatmulDescSetAttribute)       \
    NAME(MatmulPreferenceCreate)       \
    NAME(MatmulPreferenceDestroy)      \
    NAME(MatmulPreferenceSetAttribute) \
    NAME(MatrixLayoutCreate)           \
    NAME(MatrixLayoutDestroy)

struct library {
    void *handle;
/* NOLINTNEXTLINE(bugprone-macro-parentheses): the name that is declared */
#define MEMBER(name) __typeof__(cublasLt##name) *name;
    FUNCTIONS(MEMBER)
#undef MEMBER
};

/* Everything that decides the algorithm. */
struct shape {
    int64_t m, n, k, ldx, ldy;
    int dtype, has_bias;
};

struct known {
    struct shape shape;
    cublasLtMatmulAlgo_t algorithm;
};

struct cuda_gemm {
    struct library lt;
    cublasLtHandle_t handle;
    void *workspace;
    cudaEvent_t begin, end;
    char version[32];
    struct known known[MOST_SHAPES];
    int n_known;
};

/* What one call needs, destroyed at its end. */
struct product {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulPreference_t preference;
};

static _Thread_local char text[256];

static const char *failed(const char *what, cublasStatus_t status)
{
    snprintf(text, sizeof text, "cuBLASLt: %s failed with status %d", what, (int)status);
    return text;
}

/* Status to reason: returns from the function it stands in. The only macro here that does. */
#define LT_TRY(gemm, name, ...)                                \
    do {                                                       \
        cublasStatus_t status_ = (gemm)->lt.name(__VA_ARGS__); \
        if (status_ != CUBLAS_STATUS_SUCCESS)                  \
            return failed(#name, status_);                     \
    } while (0)

static const char *load(struct library *lt)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    for (int i = 0; lt->handle == NULL && i < 3; i++)
        lt->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (lt->handle == NULL)
        return "libcublasLt.so was not found: install cuBLAS (libcublas) of the CUDA toolkit";
    void *found = NULL;
#define FIND(name)                                    \
    found = dlsym(lt->handle, "cublasLt" #name);      \
    if (found == NULL)                                \
        return "libcublasLt.so lacks cublasLt" #name; \
    memcpy(&lt->name, &found, sizeof found);
    FUNCTIONS(FIND)
#undef FIND
    return NULL;
}

static const char *prepare(struct cuda_gemm *gemm)
{
    const char *why = load(&gemm->lt);
    if (why != NULL)
        return why;
    size_t version = gemm->lt.GetVersion();
    snprintf(gemm->version, sizeof gemm->version, "cuBLASLt %zu.%zu.%zu", version / 10000,
            version / 100 % 100, version % 100);
    LT_TRY(gemm, Create, &gemm->handle);
    if (cudaEventCreate(&gemm->begin) != cudaSuccess || cudaEventCreate(&gemm->end) != cudaSuccess)
        return "the events that time algorithms could not be made";
    if (cudaMalloc(&gemm->workspace, WORKSPACE_BYTES) != cudaSuccess)
        return "not enough GPU memory for the 32 MiB workspace of cuBLASLt";
    return NULL;
}

struct cuda_gemm *cuda_gemm_open(const char **why)
{
    struct cuda_gemm *gemm = calloc(1, sizeof *gemm);
    *why = gemm == NULL ? "not enough memory" : prepare(gemm);
    if (*why == NULL)
        return gemm;
    cuda_gemm_close(gemm);
    return NULL;
}

void cuda_gemm_close(struct cuda_gemm *gemm)
{
    if (gemm == NULL)
        return;
    if (gemm->handle != NULL)
        gemm->lt.Destroy(gemm->handle);
    cudaFree(gemm->workspace);
    if (gemm->begin != NULL)
        cudaEventDestroy(gemm->begin);
    if (gemm->end != NULL)
        cudaEventDestroy(gemm->end);
    if (gemm->lt.handle != NULL)
        dlclose(gemm->lt.handle);
    free(gemm);
}

static const char *set(struct cuda_gemm *gemm, struct product *p,
        cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes)
{
    LT_TRY(gemm, MatmulDescSetAttribute, p->desc, attribute, value, bytes);
    return NULL;
}

static const char *set_bias(struct cuda_gemm *gemm, struct product *p, const float *bias)
{
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cudaDataType_t type = CUDA_R_32F;
    const char *why = set(gemm, p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (why == NULL)
        why = set(gemm, p, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    if (why == NULL)
        why = set(gemm, p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)&bias, sizeof bias);
    return why;
}

static const char *describe(
        struct cuda_gemm *gemm, struct product *p, const struct shape *s, const float *bias)
{
    cudaDataType_t type = s->dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasOperation_t transposed = CUBLAS_OP_T;
    LT_TRY(gemm, MatmulDescCreate, &p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    LT_TRY(gemm, MatrixLayoutCreate, &p->w, type, (uint64_t)s->k, (uint64_t)s->n, s->k);
    LT_TRY(gemm, MatrixLayoutCreate, &p->x, type, (uint64_t)s->k, (uint64_t)s->m, s->ldx);
    LT_TRY(gemm, MatrixLayoutCreate, &p->y, CUDA_R_32F, (uint64_t)s->n, (uint64_t)s->m, s->ldy);
    const char *why = set(gemm, p, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    return why != NULL || bias == NULL ? why : set_bias(gemm, p, bias);
}

static void forget(struct cuda_gemm *gemm, struct product *p)
{
    if (p->preference != NULL)
        gemm->lt.MatmulPreferenceDestroy(p->preference);
    if (p->y != NULL)
        gemm->lt.MatrixLayoutDestroy(p->y);
    if (p->x != NULL)
        gemm->lt.MatrixLayoutDestroy(p->x);
    if (p->w != NULL)
        gemm->lt.MatrixLayoutDestroy(p->w);
    if (p->desc != NULL)
        gemm->lt.MatmulDescDestroy(p->desc);
}

/* A product as one call wants it. */
struct request {
    const struct shape *shape;
    const struct gemm_args *args;
    const void *x; /* in the type of the weights */
    cudaStream_t stream;
};

static const char *start(struct cuda_gemm *gemm, const struct product *p, const struct request *r,
        const cublasLtMatmulAlgo_t *algorithm)
{
    const float one = 1, zero = 0;
    const struct gemm_args *a = r->args;
    LT_TRY(gemm, Matmul, gemm->handle, p->desc, &one, a->w, p->w, r->x, p->x, &zero, a->y, p->y,
            a->y, p->y, algorithm, gemm->workspace, WORKSPACE_BYTES, r->stream);
    return NULL;
}

/* Milliseconds of TRIES products, the first left out; infinite when it cannot run. */
static float time_algorithm(struct cuda_gemm *gemm, const struct product *p,
        const struct request *r, const cublasLtMatmulAlgo_t *algorithm)
{
    float ms = 0;
    bool ok = start(gemm, p, r, algorithm) == NULL
              && cudaEventRecord(gemm->begin, r->stream) == cudaSuccess;
    for (int i = 0; ok && i < TRIES; i++)
        ok = start(gemm, p, r, algorithm) == NULL;
    ok = ok && cudaEventRecord(gemm->end, r->stream) == cudaSuccess
         && cudaEventSynchronize(gemm->end) == cudaSuccess
         && cudaEventElapsedTime(&ms, gemm->begin, gemm->end) == cudaSuccess;
    return ok ? ms : INFINITY;
}

/* While the stream records a graph nothing can be timed. */
static bool can_time(cudaStream_t stream)
{
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusActive;
    return cudaStreamIsCapturing(stream, &status) == cudaSuccess
           && status == cudaStreamCaptureStatusNone;
}

static int fastest(struct cuda_gemm *gemm, const struct product *p, const struct request *r,
        const cublasLtMatmulHeuristicResult_t *found, int n)
{
    float least = INFINITY;
    int best = 0;
    for (int i = 0; n > 1 && i < n; i++) {
        float ms = time_algorithm(gemm, p, r, &found[i].algo);
        if (ms < least) {
            least = ms;
            best = i;
        }
    }
    return best;
}

/* Points *out at the algorithm of a shape, asking and timing once for each. */
static const char *choose(const cublasLtMatmulAlgo_t **out, struct cuda_gemm *gemm,
        struct product *p, const struct request *r)
{
    const struct shape *s = r->shape;
    for (int i = 0; i < gemm->n_known; i++) {
        if (memcmp(&gemm->known[i].shape, s, sizeof *s) == 0) {
            *out = &gemm->known[i].algorithm;
            return NULL;
        }
    }
    cublasLtMatmulHeuristicResult_t found[CANDIDATES];
    uint64_t bytes = WORKSPACE_BYTES;
    int n = 0;
    LT_TRY(gemm, MatmulPreferenceCreate, &p->preference);
    LT_TRY(gemm, MatmulPreferenceSetAttribute, p->preference,
            CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    LT_TRY(gemm, MatmulAlgoGetHeuristic, gemm->handle, p->desc, p->w, p->x, p->y, p->y,
            p->preference, can_time(r->stream) ? CANDIDATES : 1, found, &n);
    if (n == 0) {
        snprintf(text, sizeof text, "cuBLASLt knows no algorithm for m=%lld n=%lld k=%lld",
                (long long)s->m, (long long)s->n, (long long)s->k);
        return text;
    }
    struct known *slot = &gemm->known[gemm->n_known < MOST_SHAPES ? gemm->n_known++ : 0];
    *slot = (struct known){*s, found[fastest(gemm, p, r, found, n)].algo};
    *out = &slot->algorithm;
    return NULL;
}

static const char *multiply(struct cuda_gemm *gemm, struct product *p, const struct request *r)
{
    const cublasLtMatmulAlgo_t *algorithm = NULL;
    const char *why = describe(gemm, p, r->shape, r->args->bias);
    if (why == NULL)
        why = choose(&algorithm, gemm, p, r);
    return why != NULL ? why : start(gemm, p, r, algorithm);
}

const char *cuda_gemm_version(const struct cuda_gemm *gemm)
{
    return gemm->version;
}

const char *cuda_gemm_run(struct cuda_gemm *gemm, const struct cuda_on *on, const struct op *op,
        const struct gemm_args *args)
{
    struct shape s;
    memset(&s, 0, sizeof s); /* padding is compared too */
    s.m = op->dim[0];
    s.n = op->dim[1];
    s.k = op->dim[2];
    s.ldx = args->ldx;
    s.ldy = args->ldy;
    s.dtype = (int)op->dtype;
    s.has_bias = args->bias != NULL;
    struct request r = {&s, args, args->x, (cudaStream_t)on->stream};
    if (op->dtype == DTYPE_BF16) {
        void *narrow = on->room(on->self, CUDA_ROOM_NARROW, 2 * s.m * s.k);
        if (narrow == NULL)
            return "not enough GPU memory for the bf16 copy of the activations";
        cuda_to_bf16(on, narrow, args->x, s.m, s.k, args->ldx);
        s.ldx = s.k;
        r.x = narrow;
    }
    struct product product = {0};
    const char *why = multiply(gemm, &product, &r);
    forget(gemm, &product);
    return why;
}
