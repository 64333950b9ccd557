#include "kernels/element.h"
#include "kernels/ref/ref.h"

void ref_gemm(const struct op *op, const struct op_args *args)
{
    const struct gemm_args *a = &args->gemm;
    int64_t m = op->dim[0], n = op->dim[1], k = op->dim[2];
    for (int64_t row = 0; row < m; row++) {
        for (int64_t col = 0; col < n; col++) {
            double sum = 0;
            for (int64_t i = 0; i < k; i++)
                sum += (double)a->x[row * a->ldx + i]
                       * (double)element_load(a->w, op->dtype, col * k + i);
            if (a->bias)
                sum += (double)a->bias[col];
            a->y[row * a->ldy + col] = (float)sum;
        }
    }
}
