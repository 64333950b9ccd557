#include "kernels/bf16.h"
#include "kernels/ref/ref.h"

void ref_expert(const struct op *op, const struct op_args *args)
{
    const struct expert_args *a = &args->expert;
    int64_t hidden = op->dim[1], inter = op->dim[2], local = op->dim[3];
    for (int64_t e = 0; e < local; e++) {
        int64_t first = a->offsets[e], n = a->offsets[e + 1] - first;
        float *both = a->scratch + first * 3 * inter, *inner = both + n * 2 * inter;
        struct op step = {.kind = OP_GEMM, .dtype = op->dtype, .dim = {n, 2 * inter, hidden}};
        struct op_args up = {.gemm = {.x = a->rows + first * hidden,
                                     .ldx = hidden,
                                     .w = element_at(a->gate_up, op->dtype, e * 2 * inter * hidden),
                                     .y = both,
                                     .ldy = 2 * inter}};
        ref_gemm(&step, &up);
        step = (struct op){.kind = OP_ACTIVATION, .dim = {n, inter}};
        struct op_args silu = {.activation = {.x = both, .ldx = 2 * inter, .out = inner}};
        ref_activation(&step, &silu);
        step = (struct op){.kind = OP_GEMM, .dtype = op->dtype, .dim = {n, hidden, inter}};
        struct op_args down = {.gemm = {.x = inner,
                                       .ldx = inter,
                                       .w = element_at(a->down, op->dtype, e * hidden * inter),
                                       .y = a->out + first * hidden,
                                       .ldy = hidden}};
        ref_gemm(&step, &down);
    }
}
