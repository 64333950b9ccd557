#include <math.h>

#include "kernels/element.h"
#include "kernels/ref/ref.h"

static void normalise(float *x, int64_t n, const float *gain, float eps)
{
    double squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    double factor = 1 / sqrt(squares / (double)n + (double)eps);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)((double)x[i] * factor * (double)gain[i]);
}

/* The angle is rounded to f32 before its cosine is taken, as published implementations do. */
static void rotate(float *x, int64_t n, const struct rope_args *a, int32_t position)
{
    int64_t half = n / 2;
    for (int64_t i = 0; i < half; i++) {
        double angle = (double)((float)position * a->inv_freq[i]);
        double c = cos(angle) * (double)a->rope_scale, s = sin(angle) * (double)a->rope_scale;
        double lower = (double)x[i], upper = (double)x[half + i];
        x[i] = (float)(lower * c - upper * s);
        x[half + i] = (float)(upper * c + lower * s);
    }
}

void ref_rope(const struct op *op, const struct op_args *args)
{
    const struct rope_args *a = &args->rope;
    int64_t m = op->dim[0], heads = op->dim[1], kv_heads = op->dim[2], head_dim = op->dim[3];
    for (int64_t row = 0; row < m; row++) {
        float *q = a->qkv + row * a->ld;
        float *k = q + heads * head_dim, *v = k + kv_heads * head_dim;
        for (int64_t h = 0; h < heads + kv_heads; h++) {
            const float *gain = h < heads ? a->q_gain : a->k_gain;
            if (gain)
                normalise(q + h * head_dim, head_dim, gain, a->eps);
            rotate(q + h * head_dim, head_dim, a, a->positions[row]);
        }
        int64_t block = a->slots[row] / a->cache.block_tokens;
        int64_t slot = a->slots[row] % a->cache.block_tokens;
        for (int64_t h = 0; h < kv_heads; h++) {
            int64_t at = ((block * kv_heads + h) * a->cache.block_tokens + slot) * head_dim;
            for (int64_t i = 0; i < head_dim; i++) {
                element_store(a->cache.k, a->cache.dtype, at + i, k[h * head_dim + i]);
                element_store(a->cache.v, a->cache.dtype, at + i, v[h * head_dim + i]);
            }
        }
    }
}
