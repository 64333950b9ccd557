/*
 * gemm_lt - what the files behind gemm.h share when there is cuBLASLt: the library, descriptors of a product
 * (gemm_describe.c), and the algorithms that were chosen (gemm_choose.c).
 */
#ifndef KERNELS_CUDA_GEMM_LT_H
#define KERNELS_CUDA_GEMM_LT_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/gemm.h"

#define WORKSPACE_BYTES (INT64_C(32) << 20)
#define MOST_SHAPES     1024

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

/* How a shape is computed. */
struct known {
    struct algorithm_shape shape;
    cublasLtMatmulAlgo_t algorithm;
    bool refused; /* the library has none */
    bool told;    /* by cuda_gemm_prefer: not timed here */
    double us;
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

/* A product as one call wants it. */
struct gemm_request {
    struct algorithm_shape shape;
    const struct gemm_args *args;
    const void *x;        /* in the type of the weights */
    const float *x_scale; /* of f8 */
    cudaStream_t stream;
};

/* What one call needs, destroyed at its end. */
struct gemm_product {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
};

/* "cuBLASLt: Matmul failed with status 7", in the buffer of this thread. */
const char *gemm_failed(const char *what, cublasStatus_t status);

/* Status to reason: returns from the function it stands in. The only macro here that does. */
#define LT_TRY(gemm, name, ...)                                \
    do {                                                       \
        cublasStatus_t status_ = (gemm)->lt.name(__VA_ARGS__); \
        if (status_ != CUBLAS_STATUS_SUCCESS)                  \
            return gemm_failed(#name, status_);                \
    } while (0)

const char *gemm_describe(
        struct cuda_gemm *gemm, struct gemm_product *p, const struct gemm_request *r);
void gemm_forget(struct cuda_gemm *gemm, struct gemm_product *p);
const char *gemm_start(struct cuda_gemm *gemm, const struct gemm_product *p,
        const struct gemm_request *r, const cublasLtMatmulAlgo_t *algorithm);

/* NULL when the shape is new. */
struct known *gemm_find(struct cuda_gemm *gemm, const struct algorithm_shape *shape);
/* Asks the library, times what it names, and keeps the fastest, in place of what was known. */
const char *gemm_choose(struct known **out, struct cuda_gemm *gemm, const struct gemm_product *p,
        const struct gemm_request *r);
/* Keeps that the library does not take the shape. */
void gemm_refuse(struct cuda_gemm *gemm, const struct algorithm_shape *shape);

#endif
