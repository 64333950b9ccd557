#include "kernels/element.h"
#include "kernels/ref/ref.h"

static double weight(const struct gemm_args *a, const struct op *op, int64_t row, int64_t col)
{
    int64_t k = op->dim[2];
    double w = (double)element_load(a->w, op->dtype, row * k + col);
    return scale_wanted(op->dtype) ? w * (double)a->w_scale[scale_at(op->dtype, k, row, col)] : w;
}

void ref_gemm(const struct op *op, const struct op_args *args)
{
    const struct gemm_args *a = &args->gemm;
    int64_t m = op->dim[0], n = op->dim[1], k = op->dim[2];
    for (int64_t row = 0; row < m; row++) {
        for (int64_t col = 0; col < n; col++) {
            double sum = 0;
            for (int64_t i = 0; i < k; i++)
                sum += (double)a->x[row * a->ldx + i] * weight(a, op, col, i);
            if (a->bias)
                sum += (double)a->bias[col];
            a->y[row * a->ldy + col] = (float)sum;
        }
    }
}
