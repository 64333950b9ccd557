#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"
#include "kernels/element.h"

static void embedding_rows(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct embedding_args *a = split->args;
    int64_t hidden = split->op->dim[1];
    (void)part;
    for (int64_t row = begin; row < end; row++) {
        int64_t token = a->tokens[row] - a->first;
        float *out = a->out + row * hidden;
        const void *in = element_at(a->table, split->op->dtype, token * hidden);
        if (token < 0 || token >= a->rows)
            memset(out, 0, sizeof(float) * (size_t)hidden);
        else
            dev_cpu(split->dev)->widen(out, in, split->op->dtype, hidden);
    }
}

void cpu_embedding(struct dev *dev, const struct op *op, const struct op_args *args)
{
    struct cpu_split split = {
            dev, op, &args->embedding, embedding_rows, op->dim[0], op->dim[1] * 2 * 4};
    cpu_split_run(&split);
}
