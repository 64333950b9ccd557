#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

struct combine_work {
    const struct combine_args *args;
    int32_t *row; /* of each (token, choice), -1 = elsewhere */
};

static void combine_tokens(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct combine_work *work = split->args;
    const struct combine_args *a = work->args;
    int64_t hidden = split->op->dim[1], top_k = split->op->dim[4];
    (void)part;
    for (int64_t token = begin; token < end; token++) {
        float *out = a->out + token * hidden;
        if (!a->add)
            memset(out, 0, sizeof(float) * (size_t)hidden);
        for (int64_t pair = token * top_k; pair < (token + 1) * top_k; pair++)
            if (work->row[pair] >= 0)
                dev_cpu(split->dev)
                        ->add_scaled(
                                out, a->rows + work->row[pair] * hidden, a->weight[pair], hidden);
    }
}

static void scatter_pairs(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct combine_work *work = split->args;
    int64_t hidden = split->op->dim[1];
    size_t bytes = sizeof(float) * (size_t)hidden;
    (void)part;
    for (int64_t pair = begin; pair < end; pair++) {
        float *out = work->args->out + pair * hidden;
        if (work->row[pair] >= 0)
            memcpy(out, work->args->rows + work->row[pair] * hidden, bytes);
        else
            memset(out, 0, bytes);
    }
}

void cpu_combine(struct dev *dev, const struct op *op, const struct op_args *args)
{
    const struct combine_args *a = &args->combine;
    int64_t m = op->dim[0], hidden = op->dim[1], top_k = op->dim[4];
    struct combine_work work = {a, dev_shared(dev, m * top_k * 4)};
    for (int64_t i = 0; i < m * top_k; i++)
        work.row[i] = -1;
    for (int64_t row = 0; row < a->n_rows; row++)
        work.row[a->pair[row]] = (int32_t)row;
    struct cpu_split split = {dev, op, &work, combine_tokens, m, top_k * hidden * 2 * 4};
    if (a->scatter)
        split = (struct cpu_split){dev, op, &work, scatter_pairs, m * top_k, hidden * 2 * 4};
    cpu_split_run(&split);
}
