#include <math.h>

#include "kernels/ref/ref.h"

void ref_activation(const struct op *op, const struct op_args *args)
{
    const struct activation_args *a = &args->activation;
    int64_t m = op->dim[0], n = op->dim[1];
    for (int64_t row = 0; row < m; row++) {
        for (int64_t i = 0; i < n; i++) {
            double gate = (double)a->x[row * a->ldx + i], up = (double)a->x[row * a->ldx + n + i];
            a->out[row * n + i] = (float)(gate / (1 + exp(-gate)) * up);
        }
    }
}
