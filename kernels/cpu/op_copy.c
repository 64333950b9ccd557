#include <string.h>

#include "kernels/cpu/cpu.h"

/* Lines of the cache, so that two threads never write to one. */
#define LINE INT64_C(64)

static void copy_lines(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct copy_args *a = split->args;
    int64_t to = end * LINE < split->op->dim[0] ? end * LINE : split->op->dim[0];
    (void)part;
    memcpy((char *)a->to + begin * LINE, (const char *)a->from + begin * LINE,
            (size_t)(to - begin * LINE));
}

void cpu_copy(struct dev *dev, const struct op *op, const struct op_args *args)
{
    int64_t lines = (op->dim[0] + LINE - 1) / LINE;
    struct cpu_split split = {dev, op, &args->copy, copy_lines, lines, 2 * LINE};
    cpu_split_run(&split);
}
