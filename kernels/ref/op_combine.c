#include <string.h>

#include "kernels/ref/ref.h"

/* Adding goes by choice, so that the order of experts in memory does not matter. */
void ref_combine(const struct op *op, const struct op_args *args)
{
    const struct combine_args *a = &args->combine;
    int64_t m = op->dim[0], hidden = op->dim[1], top_k = op->dim[4];
    int64_t out_rows = a->scatter ? m * top_k : m;
    if (!a->add)
        memset(a->out, 0, sizeof(float) * (size_t)(out_rows * hidden));
    for (int64_t choice = 0; choice < top_k; choice++) {
        for (int64_t row = 0; row < a->n_rows; row++) {
            int64_t pair = a->pair[row];
            if (pair % top_k != choice)
                continue;
            float *out = a->out + (a->scatter ? pair : pair / top_k) * hidden;
            float weight = a->scatter ? 1 : a->weight[pair];
            for (int64_t i = 0; i < hidden; i++)
                out[i] += weight * a->rows[row * hidden + i];
        }
    }
}
