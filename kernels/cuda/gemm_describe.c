/*
 * cuBLASLt thinks in columns: row-major y[m, n] is column-major [n, m] with leading dimension ldy, so the
 * product asked for is w x^T with w transposed. Its A are our weights, its B our activations.
 */
#include "kernels/cuda/gemm_lt.h"

static const char *set(struct cuda_gemm *gemm, struct gemm_product *p,
        cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes)
{
    LT_TRY(gemm, MatmulDescSetAttribute, p->desc, attribute, value, bytes);
    return NULL;
}

static const char *set_bias(struct cuda_gemm *gemm, struct gemm_product *p, const float *bias)
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

#if CUBLAS_VERSION >= 120900
static const char *set_scales(
        struct cuda_gemm *gemm, struct gemm_product *p, const struct gemm_request *r)
{
    bool blocks = r->shape.dtype == DTYPE_F8_BLOCK;
    int32_t of_w = blocks ? CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F
                          : CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    int32_t of_x = blocks ? CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F
                          : CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    const float *w = r->args->w_scale, *x = r->x_scale;
    const char *why = set(gemm, p, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &of_w, sizeof of_w);
    if (why == NULL)
        why = set(gemm, p, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &of_x, sizeof of_x);
    if (why == NULL)
        why = set(gemm, p, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, (const void *)&w, sizeof w);
    if (why == NULL)
        why = set(gemm, p, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, (const void *)&x, sizeof x);
    return why;
}
#else
static const char *set_scales(
        struct cuda_gemm *gemm, struct gemm_product *p, const struct gemm_request *r)
{
    (void)gemm;
    (void)p;
    (void)r;
    return "scales of rows and blocks need cuBLASLt 12.9";
}
#endif

static cudaDataType_t type_of(int32_t dtype)
{
    if (dtype == DTYPE_F8 || dtype == DTYPE_F8_BLOCK)
        return CUDA_R_8F_E4M3;
    return dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* Sums of f8 products in fewer bits, as inference engines choose; scales of blocks are applied between sums anyway. */
static const char *set_fast(struct cuda_gemm *gemm, struct gemm_product *p)
{
    int8_t fast = 1;
    return set(gemm, p, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof fast);
}

const char *gemm_describe(
        struct cuda_gemm *gemm, struct gemm_product *p, const struct gemm_request *r)
{
    const struct algorithm_shape *s = &r->shape;
    cudaDataType_t type = type_of(s->dtype);
    cublasOperation_t transposed = CUBLAS_OP_T;
    LT_TRY(gemm, MatmulDescCreate, &p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    LT_TRY(gemm, MatrixLayoutCreate, &p->w, type, (uint64_t)s->k, (uint64_t)s->n, s->k);
    LT_TRY(gemm, MatrixLayoutCreate, &p->x, type, (uint64_t)s->k, (uint64_t)s->m, s->ldx);
    LT_TRY(gemm, MatrixLayoutCreate, &p->y, CUDA_R_32F, (uint64_t)s->n, (uint64_t)s->m, s->ldy);
    const char *why = set(gemm, p, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (why == NULL && s->dtype == DTYPE_F8)
        why = set_fast(gemm, p);
    if (why == NULL && s->form == FORM_SCALED)
        why = set_scales(gemm, p, r);
    return why == NULL && s->form == FORM_BIAS ? set_bias(gemm, p, r->args->bias) : why;
}

void gemm_forget(struct cuda_gemm *gemm, struct gemm_product *p)
{
    if (p->y != NULL)
        gemm->lt.MatrixLayoutDestroy(p->y);
    if (p->x != NULL)
        gemm->lt.MatrixLayoutDestroy(p->x);
    if (p->w != NULL)
        gemm->lt.MatrixLayoutDestroy(p->w);
    if (p->desc != NULL)
        gemm->lt.MatmulDescDestroy(p->desc);
}

const char *gemm_start(struct cuda_gemm *gemm, const struct gemm_product *p,
        const struct gemm_request *r, const cublasLtMatmulAlgo_t *algorithm)
{
    const float one = 1, zero = 0;
    const struct gemm_args *a = r->args;
    LT_TRY(gemm, Matmul, gemm->handle, p->desc, &one, a->w, p->w, r->x, p->x, &zero, a->y, p->y,
            a->y, p->y, algorithm, gemm->workspace, WORKSPACE_BYTES, r->stream);
    return NULL;
}
