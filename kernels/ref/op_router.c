#include <math.h>

#include "kernels/bf16.h"
#include "kernels/ref/ref.h"

/* Scores are rounded to f32 before they are compared, like those of any implementation. */
static float score(const struct op *op, const struct router_args *a, int64_t row, int64_t expert)
{
    double sum = 0;
    for (int64_t i = 0; i < op->dim[1]; i++)
        sum += (double)a->x[row * op->dim[1] + i]
               * (double)element_load(a->w, op->dtype, expert * op->dim[1] + i);
    return (float)sum;
}

static bool taken(const int32_t *chosen, int64_t n, int64_t expert)
{
    for (int64_t i = 0; i < n; i++)
        if (chosen[i] == expert)
            return true;
    return false;
}

void ref_router(const struct op *op, const struct op_args *args)
{
    const struct router_args *a = &args->router;
    int64_t m = op->dim[0], experts = op->dim[2], top_k = op->dim[3];
    for (int64_t row = 0; row < m; row++) {
        int32_t *chosen = a->expert + row * top_k;
        float *weight = a->weight + row * top_k;
        double most = -HUGE_VAL, total = 0, kept = 0;
        for (int64_t e = 0; e < experts; e++)
            most = fmax(most, (double)score(op, a, row, e));
        for (int64_t e = 0; e < experts; e++)
            total += exp((double)score(op, a, row, e) - most);
        for (int64_t c = 0; c < top_k; c++) {
            int64_t best = -1;
            for (int64_t e = 0; e < experts; e++)
                if (!taken(chosen, c, e)
                        && (best < 0 || score(op, a, row, e) > score(op, a, row, best)))
                    best = e;
            chosen[c] = (int32_t)best;
            weight[c] = (float)(exp((double)score(op, a, row, best) - most) / total);
            kept += (double)weight[c];
        }
        for (int64_t c = 0; c < top_k && a->normalise; c++)
            weight[c] = (float)((double)weight[c] / kept);
    }
}
