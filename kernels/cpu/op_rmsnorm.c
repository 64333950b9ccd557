#include <stddef.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

static void rmsnorm_rows(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct rmsnorm_args *a = split->args;
    int64_t n = split->op->dim[1], ldx = a->ldx ? a->ldx : n;
    (void)part;
    for (int64_t row = begin; row < end; row++)
        dev_cpu(split->dev)
                ->rmsnorm(a->out + row * n, a->x + row * ldx,
                        a->residual ? a->residual + row * n : NULL, a->gain, a->eps, n);
}

void cpu_rmsnorm(struct dev *dev, const struct op *op, const struct op_args *args)
{
    struct cpu_split split = {
            dev, op, &args->rmsnorm, rmsnorm_rows, op->dim[0], op->dim[1] * 4 * 4};
    cpu_split_run(&split);
}
