/*
 * cuBLASLt and what of the CUDA runtime its callers need, without a GPU: products are computed on this machine from
 * what the descriptors say, so that a wrong layout, scale or type gives a wrong result. An algorithm is a number; each
 * takes its own time, which events report.
 */
#include "tests/fakes/fake_cublaslt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cublasLt.h>

#include "core/half.h"

static struct fake_cublaslt state;

struct fake_cublaslt *fake_cublaslt_state(void);
struct fake_cublaslt *fake_cublaslt_state(void)
{
    return &state;
}

/* The opaque types of the header are only pointers to its users. */
struct desc {
    cublasOperation_t transposed;
    cublasLtEpilogue_t epilogue;
    cudaDataType_t bias_type;
    int32_t scale_mode[2];
    const float *bias, *scale[2];
};
struct layout {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
};

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = (cublasLtHandle_t)&state;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    (void)handle;
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return 130100;
}

cublasStatus_t cublasLtMatmulDescCreate(
        cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale)
{
    state.open++;
    *out = calloc(1, sizeof(struct desc));
    return compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS
                                                                : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    state.open--;
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

/* Where an attribute is kept; NULL for one that this library does not know. */
static void *place_of(struct desc *d, cublasLtMatmulDescAttributes_t attribute)
{
    static int8_t fast;
    switch ((int)attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return &d->transposed;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return &d->epilogue;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return &d->bias_type;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return (void *)&d->bias;
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
        return &fast;
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
        return (void *)&d->scale[0];
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
        return (void *)&d->scale[1];
    case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
        return state.old ? NULL : &d->scale_mode[0];
    case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
        return state.old ? NULL : &d->scale_mode[1];
    default:
        return NULL;
    }
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
        cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes)
{
    void *place = place_of((struct desc *)(void *)desc, attribute);
    if (place == NULL)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(place, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(
        cublasLtMatrixLayout_t *out, cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t ld)
{
    struct layout *layout = calloc(1, sizeof *layout);
    *layout = (struct layout){type, rows, cols, ld};
    state.open++;
    *out = (cublasLtMatrixLayout_t)(void *)layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    state.open--;
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    state.open++;
    *out = calloc(1, 8);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    state.open--;
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
        cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t bytes)
{
    (void)preference;
    (void)attribute;
    (void)value;
    (void)bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
        cublasLtMatrixLayout_t w, cublasLtMatrixLayout_t x, cublasLtMatrixLayout_t c,
        cublasLtMatrixLayout_t y, cublasLtMatmulPreference_t preference, int wanted,
        cublasLtMatmulHeuristicResult_t *out, int *n)
{
    const struct desc *d = (const struct desc *)(const void *)desc;
    const struct layout *layout = (const struct layout *)(const void *)w;
    (void)handle;
    (void)x;
    (void)c;
    (void)y;
    (void)preference;
    state.asked++;
    *n = 0;
    bool f8 = layout->type == CUDA_R_8F_E4M3;
    if (f8 && (layout->rows % 16 != 0 || (state.no_scales && d->scale_mode[0] != 0)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (int i = 0; i < FAKE_ALGORITHMS && i < wanted; i++) {
        memset(&out[i], 0, sizeof out[i]);
        out[i].algo.data[0] = (uint64_t)i + 1;
        (*n)++;
    }
    return CUBLAS_STATUS_SUCCESS;
}

static double element(const void *data, const struct layout *layout, int64_t row, int64_t col)
{
    int64_t at = col * layout->ld + row;
    if (layout->type == CUDA_R_8F_E4M3)
        return (double)f8_widen(((const uint8_t *)data)[at]);
    if (layout->type == CUDA_R_16BF)
        return (double)bf16_widen(((const uint16_t *)data)[at]);
    return (double)((const float *)data)[at];
}

/* What element (k, i) of operand `which`, with `outer` columns, is multiplied by. */
static double scale_of(
        const struct desc *d, int which, int64_t k, int64_t i, int64_t all_k, int64_t outer)
{
    const float *scale = d->scale[which];
    switch (d->scale_mode[which]) {
    case CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F:
        return (double)scale[i];
    case CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F:
        return (double)scale[k / 128 * outer + i];
    case CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F:
        return (double)scale[i / 128 * ((all_k + 511) / 512 * 4) + k / 128];
    default:
        return scale == NULL ? 1 : (double)scale[0];
    }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
        const void *a, cublasLtMatrixLayout_t of_a, const void *b, cublasLtMatrixLayout_t of_b,
        const void *beta, const void *c, cublasLtMatrixLayout_t of_c, void *y,
        cublasLtMatrixLayout_t of_y, const cublasLtMatmulAlgo_t *algorithm, void *workspace,
        size_t workspace_bytes, cudaStream_t stream)
{
    const struct desc *d = (const struct desc *)(const void *)desc;
    const struct layout *w = (const struct layout *)(const void *)of_a,
                        *x = (const struct layout *)(const void *)of_b,
                        *out = (const struct layout *)(const void *)of_y;
    (void)handle;
    (void)alpha;
    (void)beta;
    (void)c;
    (void)of_c;
    (void)workspace;
    (void)workspace_bytes;
    (void)stream;
    uint64_t number = algorithm->data[0];
    state.started++;
    state.last = (int)number;
    if (number < 1 || number > FAKE_ALGORITHMS || state.broken == (int)number
            || d->transposed != CUBLAS_OP_T || out->type != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    state.clock_ms += state.ms[number];
    for (int64_t i = 0; i < (int64_t)w->cols; i++)
        for (int64_t j = 0; j < (int64_t)x->cols; j++) {
            double sum = 0;
            for (int64_t k = 0; k < (int64_t)w->rows; k++)
                sum += element(a, w, k, i)
                       * scale_of(d, 0, k, i, (int64_t)w->rows, (int64_t)w->cols)
                       * element(b, x, k, j)
                       * scale_of(d, 1, k, j, (int64_t)w->rows, (int64_t)x->cols);
            if (d->epilogue == CUBLASLT_EPILOGUE_BIAS)
                sum += (double)d->bias[i];
            ((float *)y)[j * out->ld + i] = (float)sum;
        }
    return CUBLAS_STATUS_SUCCESS;
}
