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

void cpu_share_open(struct cpu_share *share, int64_t n, int64_t unit, int parts)
{
    *share = (struct cpu_share){.n = n, .unit = unit, .parts = parts};
}

/* The n-th to come takes what is left when n others have taken theirs; so all that is shared is a counter. Three
 * quarters go in the first round: each new run starts its streams anew. */
bool cpu_share_next(struct cpu_share *share, int64_t *begin, int64_t *end)
{
    int64_t turn = atomic_fetch_add(&share->next, 1), parts = share->parts;
    int64_t units = (share->n + share->unit - 1) / share->unit, first = 0, take;
    for (int64_t i = 0;; i++) {
        take = i < parts ? units * 3 / (4 * parts) : (units - first) / (2 * parts);
        take = parts == 1 ? units : take > 0 ? take : 1;
        if (i == turn || first >= units)
            break;
        first += take;
    }
    *begin = first * share->unit;
    *end = (first + take) * share->unit < share->n ? (first + take) * share->unit : share->n;
    return first < units;
}
