#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

static void sample_rows(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct sample_args *a = split->args;
    (void)part;
    for (int64_t row = begin; row < end; row++) {
        const float *logits = a->logits + row * a->ld;
        int64_t best = dev_cpu(split->dev)->arg_max(logits, split->op->dim[1]);
        a->token[row] = (int32_t)(a->first + best);
        a->value[row] = logits[best];
    }
}

void cpu_sample(struct dev *dev, const struct op *op, const struct op_args *args)
{
    struct cpu_split split = {dev, op, &args->sample, sample_rows, op->dim[0], op->dim[1] * 4};
    cpu_split_run(&split);
}
