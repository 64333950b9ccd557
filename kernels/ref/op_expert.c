#include <math.h>

#include "kernels/element.h"
#include "kernels/ref/ref.h"

static void activate(float *inner, const float *both, int64_t n, int64_t inter, double clamp)
{
    for (int64_t i = 0; i < n * inter; i++) {
        const float *gate = both + i / inter * 2 * inter + i % inter;
        double g = fmin((double)gate[0], clamp), u = fmax(-clamp, fmin((double)gate[inter], clamp));
        inner[i] = (float)(g / (1 + exp(-1.702 * g)) * (u + 1));
    }
}

static const float *scales_of(
        const float *all, enum dtype dtype, int64_t expert, int64_t n, int64_t k)
{
    return all ? all + expert * scale_count(dtype, n, k) : NULL;
}

void ref_expert(const struct op *op, const struct op_args *args)
{
    const struct expert_args *a = &args->expert;
    int64_t hidden = op->dim[1], inter = op->dim[2], local = op->dim[3];
    for (int64_t e = 0; e < local; e++) {
        int64_t first = a->offsets[e], n = a->offsets[e + 1] - first;
        float *both = a->scratch + first * 3 * inter, *inner = both + n * 2 * inter;
        struct op step = {.kind = OP_GEMM, .dtype = op->dtype, .dim = {n, 2 * inter, hidden}};
        struct op_args up = {
                .gemm = {.x = a->rows + first * hidden,
                        .ldx = hidden,
                        .bias = a->up_bias ? a->up_bias + e * 2 * inter : NULL,
                        .w = element_at(a->gate_up, op->dtype, e * 2 * inter * hidden),
                        .w_scale = scales_of(a->gate_up_scale, op->dtype, e, 2 * inter, hidden),
                        .y = both,
                        .ldy = 2 * inter}};
        ref_gemm(&step, &up);
        step = (struct op){.kind = OP_ACTIVATION, .dim = {n, inter}};
        struct op_args silu = {.activation = {.x = both, .ldx = 2 * inter, .out = inner}};
        if (a->clamp > 0)
            activate(inner, both, n, inter, (double)a->clamp);
        else
            ref_activation(&step, &silu);
        step = (struct op){.kind = OP_GEMM, .dtype = op->dtype, .dim = {n, hidden, inter}};
        struct op_args down = {
                .gemm = {.x = inner,
                        .ldx = inter,
                        .bias = a->down_bias ? a->down_bias + e * hidden : NULL,
                        .w = element_at(a->down, op->dtype, e * hidden * inter),
                        .w_scale = scales_of(a->down_scale, op->dtype, e, hidden, inter),
                        .y = a->out + first * hidden,
                        .ldy = hidden}};
        ref_gemm(&step, &down);
    }
}
