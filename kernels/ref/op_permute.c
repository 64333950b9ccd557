#include <string.h>

#include "kernels/ref/ref.h"

void ref_permute(const struct op *op, const struct op_args *args)
{
    const struct permute_args *a = &args->permute;
    int64_t m = op->dim[0], hidden = op->dim[1], local = op->dim[2], top_k = op->dim[4];
    int32_t n = 0;
    for (int64_t e = 0; e < local; e++) {
        a->offsets[e] = n;
        for (int64_t pair = 0; pair < m * top_k; pair++) {
            if (a->expert[pair] != a->first + e)
                continue;
            memcpy(a->rows + n * hidden, a->x + pair / top_k * hidden,
                    sizeof(float) * (size_t)hidden);
            a->pair[n++] = (int32_t)pair;
        }
    }
    a->offsets[local] = n;
}
