#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

/* Columns at once: one row may be all there is. */
#define PIECE INT64_C(512)

static void activation_pieces(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct activation_args *a = split->args;
    int64_t n = split->op->dim[1], pieces = (n + PIECE - 1) / PIECE;
    (void)part;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / pieces, col = i % pieces * PIECE;
        const float *gate = a->x + row * a->ldx + col;
        dev_cpu(split->dev)
                ->silu(a->out + row * n + col, gate, gate + n, n - col < PIECE ? n - col : PIECE);
    }
}

void cpu_activation(struct dev *dev, const struct op *op, const struct op_args *args)
{
    int64_t pieces = (op->dim[1] + PIECE - 1) / PIECE;
    struct cpu_split split = {
            dev, op, &args->activation, activation_pieces, op->dim[0] * pieces, PIECE * 3 * 4 * 4};
    cpu_split_run(&split);
}
