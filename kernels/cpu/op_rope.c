#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"
#include "kernels/element.h"

static void keep(const struct kv_layer *cache, void *to, int64_t at, const float *x, int64_t n)
{
    if (cache->dtype == DTYPE_F32)
        memcpy((float *)to + at, x, sizeof(float) * (size_t)n);
    else
        for (int64_t i = 0; i < n; i++)
            element_store(to, cache->dtype, at + i, x[i]);
}

static void rope_rows(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    const struct rope_args *a = split->args;
    const struct cpu_isa *cpu = dev_cpu(split->dev);
    int64_t heads = split->op->dim[1], kv_heads = split->op->dim[2], n = split->op->dim[3];
    float *cosine = dev_scratch(split->dev, part, n * 4), *sine = cosine + n / 2;
    for (int64_t row = begin; row < end; row++) {
        float *q = a->qkv + row * a->ld, *k = q + heads * n, *v = k + kv_heads * n;
        cpu->angles(cosine, sine, (float)a->positions[row], a->inv_freq, a->rope_scale, n / 2);
        for (int64_t h = 0; h < heads + kv_heads; h++) {
            const float *gain = h < heads ? a->q_gain : a->k_gain;
            if (gain)
                cpu->rmsnorm(q + h * n, q + h * n, NULL, gain, a->eps, n);
            cpu->rotate(q + h * n, cosine, sine, n / 2);
        }
        int64_t block = a->slots[row] / a->cache.block_tokens;
        int64_t slot = a->slots[row] % a->cache.block_tokens;
        for (int64_t h = 0; h < kv_heads; h++) {
            int64_t at = ((block * kv_heads + h) * a->cache.block_tokens + slot) * n;
            keep(&a->cache, a->cache.k, at, k + h * n, n);
            keep(&a->cache, a->cache.v, at, v + h * n, n);
        }
    }
}

void cpu_rope(struct dev *dev, const struct op *op, const struct op_args *args)
{
    int64_t bytes = (op->dim[1] + op->dim[2]) * op->dim[3] * 4 * 4;
    struct cpu_split split = {dev, op, &args->rope, rope_rows, op->dim[0], bytes};
    cpu_split_run(&split);
}
