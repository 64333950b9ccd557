/*
 * cuBLASLt thinks in columns: row-major y[m, n] is column-major [n, m] with leading dimension ldy, so the
 * product asked for is w x^T with w transposed. The algorithm that its heuristic names for a shape is kept:
 * asking takes longer than a small product.
 *
 * The library is opened by name when the first product needs it, so that the module loads without it.
 */
#include "kernels/cuda/gemm.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/launch.h"

#define WORKSPACE_BYTES (INT64_C(32) << 20)
#define MOST_SHAPES     512

/* NAME(function without the prefix cublasLt): one line for each function that is used. */
#define FUNCTIONS(NAME)                \
    NAME(Create)                       \
    NAME(Destroy)                      \
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
    void *narrow; /* x as bf16 */
    int64_t narrow_bytes;
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
    LT_TRY(gemm, Create, &gemm->handle);
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
    cudaFree(gemm->narrow);
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

/* Points *out at the algorithm of a shape, asking the heuristic once for each. */
static const char *choose(const cublasLtMatmulAlgo_t **out, struct cuda_gemm *gemm,
        struct product *p, const struct shape *s)
{
    for (int i = 0; i < gemm->n_known; i++) {
        if (memcmp(&gemm->known[i].shape, s, sizeof *s) == 0) {
            *out = &gemm->known[i].algorithm;
            return NULL;
        }
    }
    cublasLtMatmulHeuristicResult_t best;
    uint64_t bytes = WORKSPACE_BYTES;
    int found = 0;
    LT_TRY(gemm, MatmulPreferenceCreate, &p->preference);
    LT_TRY(gemm, MatmulPreferenceSetAttribute, p->preference,
            CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    LT_TRY(gemm, MatmulAlgoGetHeuristic, gemm->handle, p->desc, p->w, p->x, p->y, p->y,
            p->preference, 1, &best, &found);
    if (found == 0) {
        snprintf(text, sizeof text, "cuBLASLt knows no algorithm for m=%lld n=%lld k=%lld",
                (long long)s->m, (long long)s->n, (long long)s->k);
        return text;
    }
    struct known *slot = &gemm->known[gemm->n_known < MOST_SHAPES ? gemm->n_known++ : 0];
    *slot = (struct known){*s, best.algo};
    *out = &slot->algorithm;
    return NULL;
}

/* x as bf16, packed; the room only grows. */
static const char *narrow(
        struct cuda_gemm *gemm, const struct op *op, const struct gemm_args *args, void *stream)
{
    int64_t bytes = 2 * op->dim[0] * op->dim[2];
    if (bytes > gemm->narrow_bytes) {
        cudaFree(gemm->narrow);
        gemm->narrow_bytes = 0;
        if (cudaMalloc(&gemm->narrow, (size_t)bytes) != cudaSuccess) {
            gemm->narrow = NULL;
            return "not enough GPU memory for the bf16 copy of the activations";
        }
        gemm->narrow_bytes = bytes;
    }
    cuda_to_bf16(gemm->narrow, args->x, op->dim[0], op->dim[2], args->ldx, stream);
    return NULL;
}

static const char *multiply(struct cuda_gemm *gemm, struct product *p, const struct shape *s,
        const struct gemm_args *args, cudaStream_t stream)
{
    const cublasLtMatmulAlgo_t *algorithm = NULL;
    const char *why = describe(gemm, p, s, args->bias);
    if (why == NULL)
        why = choose(&algorithm, gemm, p, s);
    if (why != NULL)
        return why;
    const float one = 1, zero = 0;
    const void *x = s->dtype == DTYPE_BF16 ? gemm->narrow : (const void *)args->x;
    LT_TRY(gemm, Matmul, gemm->handle, p->desc, &one, args->w, p->w, x, p->x, &zero, args->y, p->y,
            args->y, p->y, algorithm, gemm->workspace, WORKSPACE_BYTES, stream);
    return NULL;
}

const char *cuda_gemm_run(
        struct cuda_gemm *gemm, const struct op *op, const struct gemm_args *args, void *stream)
{
    if (op->dtype != DTYPE_BF16 && op->dtype != DTYPE_F32)
        return "products on this device take f32 and bf16 weights";
    struct shape s;
    memset(&s, 0, sizeof s); /* padding is compared too */
    s.m = op->dim[0];
    s.n = op->dim[1];
    s.k = op->dim[2];
    s.ldx = args->ldx;
    s.ldy = args->ldy;
    s.dtype = (int)op->dtype;
    s.has_bias = args->bias != NULL;
    if (op->dtype == DTYPE_BF16) {
        s.ldx = s.k;
        const char *why = narrow(gemm, op, args, stream);
        if (why != NULL)
            return why;
    }
    struct product product = {0};
    const char *why = multiply(gemm, &product, &s, args, (cudaStream_t)stream);
    forget(gemm, &product);
    return why;
}
