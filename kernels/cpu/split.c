#include "kernels/cpu/cpu.h"

/* What one core moves through its cache in the time that a second one takes to start. */
#define SPLIT_BYTES (INT64_C(64) << 10)

static void split_part(void *arg, int part, int parts)
{
    const struct cpu_split *split = arg;
    int64_t begin = split->n * part / parts, end = split->n * (part + 1) / parts;
    if (begin < end)
        split->fn(split, part, begin, end);
}

void cpu_split_run(const struct cpu_split *split)
{
    if (split->n * split->bytes_each < SPLIT_BYTES) {
        split->fn(split, 0, 0, split->n);
        return;
    }
    struct cpu_split copy = *split;
    dev_parallel(split->dev, split_part, &copy);
}
