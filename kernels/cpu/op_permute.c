#include <string.h>

#include "kernels/cpu/cpu.h"

static void permute_rows(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct permute_args *a = split->args;
    int64_t hidden = split->op->dim[1], top_k = split->op->dim[4];
    (void)part;
    for (int64_t row = begin; row < end; row++)
        memcpy(a->rows + row * hidden, a->x + a->pair[row] / top_k * hidden,
                sizeof(float) * (size_t)hidden);
}

/* A counting sort of the pairs, then the rows in any order. */
void cpu_permute(struct dev *dev, const struct op *op, const struct op_args *args)
{
    const struct permute_args *a = &args->permute;
    int64_t pairs = op->dim[0] * op->dim[4], local = op->dim[2];
    memset(a->offsets, 0, sizeof(a->offsets[0]) * (size_t)(local + 1));
    for (int64_t i = 0; i < pairs; i++) {
        int64_t e = a->expert[i] - a->first;
        if (e >= 0 && e < local)
            a->offsets[e + 1]++;
    }
    for (int64_t e = 0; e < local; e++)
        a->offsets[e + 1] += a->offsets[e];
    /* offsets[e] moves on to where e + 1 begins, and is put back after. */
    for (int64_t i = 0; i < pairs; i++) {
        int64_t e = a->expert[i] - a->first;
        if (e >= 0 && e < local)
            a->pair[a->offsets[e]++] = (int32_t)i;
    }
    memmove(a->offsets + 1, a->offsets, sizeof(a->offsets[0]) * (size_t)local);
    a->offsets[0] = 0;
    struct cpu_split split = {dev, op, a, permute_rows, a->offsets[local], op->dim[1] * 2 * 4};
    cpu_split_run(&split);
}
