#include <stddef.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"
#include "kernels/element.h"

/* Neighbours are brought into halves, as cpu_isa.rotate wants them, and back. */
static void rotate_pairs(const struct cpu_isa *cpu, float *out, const float *x, float *halves,
        const float *cosine, int64_t half)
{
    for (int64_t i = 0; i < half; i++) {
        halves[i] = x[2 * i];
        halves[half + i] = x[2 * i + 1];
    }
    cpu->rotate(halves, cosine, cosine + half, half);
    for (int64_t i = 0; i < half; i++) {
        out[2 * i] = halves[i];
        out[2 * i + 1] = halves[half + i];
    }
}

static void mla_rope_rows(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct mla_rope_args *a = split->args;
    const struct cpu_isa *cpu = dev_cpu(split->dev);
    const int64_t *dim = split->op->dim;
    int64_t heads = dim[1], rank = dim[2], rope = dim[3], nope = dim[4], half = rope / 2;
    float *row = dev_scratch(split->dev, part, (2 * rank + 3 * rope) * 4);
    float *latent = row + rank + rope, *cosine = latent + rank, *halves = cosine + rope;
    for (int64_t m = begin; m < end; m++) {
        const float *in = a->latent + m * a->ldl;
        memcpy(latent, in, sizeof(float) * (size_t)rank);
        cpu->rmsnorm(row, latent, NULL, a->gain, a->eps, rank);
        cpu->angles(
                cosine, cosine + half, (float)a->positions[m], a->inv_freq, a->rope_scale, half);
        rotate_pairs(cpu, row + rank, in + rank, halves, cosine, half);
        for (int64_t i = 0; i < rank + rope; i++)
            element_store(a->cache.k, a->cache.dtype, a->slots[m] * (rank + rope) + i, row[i]);
        for (int64_t head = 0; head < heads; head++) {
            float *q = a->q + m * a->ldq + head * (nope + rope) + nope;
            rotate_pairs(cpu, q, q, halves, cosine, half);
        }
    }
}

void cpu_mla_rope(struct dev *dev, const struct op *op, const struct op_args *args)
{
    int64_t bytes = (op->dim[2] + (op->dim[1] + 1) * op->dim[3]) * 4 * 4;
    struct cpu_split split = {dev, op, &args->mla_rope, mla_rope_rows, op->dim[0], bytes};
    cpu_split_run(&split);
}
