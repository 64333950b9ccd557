#include <cblas.h>

#include "kernels/cpu/blas.h"

/* Each thread of a device calls it for its own columns; its own threads would only be in the way. */
bool blas_open(void)
{
    openblas_set_num_threads(1);
    return true;
}

// NOLINTNEXTLINE(readability-function-size): the parameters of every BLAS
void blas_gemm(const float *x, int64_t ldx, const float *w, float *y, int64_t ldy, int64_t m,
        int64_t n, int64_t k)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, x, (int)ldx, w,
            (int)k, 0, y, (int)ldy);
}
