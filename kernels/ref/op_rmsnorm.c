#include <math.h>

#include "kernels/ref/ref.h"

void ref_rmsnorm(const struct op *op, const struct op_args *args)
{
    const struct rmsnorm_args *a = &args->rmsnorm;
    int64_t m = op->dim[0], n = op->dim[1], ldx = a->ldx ? a->ldx : n;
    for (int64_t row = 0; row < m; row++) {
        float *x = a->x + row * ldx;
        double squares = 0;
        for (int64_t i = 0; i < n; i++) {
            if (a->residual)
                x[i] += a->residual[row * n + i];
            squares += (double)x[i] * (double)x[i];
        }
        double factor = 1 / sqrt(squares / (double)n + (double)a->eps);
        for (int64_t i = 0; i < n; i++)
            a->out[row * n + i] = (float)((double)x[i] * factor * (double)a->gain[i]);
    }
}
