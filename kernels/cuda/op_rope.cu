// One block is one head of one row: normalises it if asked to, rotates q and k, and stores k and v in the
// cache. A block of a v head only stores.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int block_threads = 128;

__device__ void store(void *cache, enum dtype dtype, int64_t at, float value)
{
    if (dtype == DTYPE_BF16)
        static_cast<__nv_bfloat16 *>(cache)[at] = __float2bfloat16(value);
    else
        static_cast<float *>(cache)[at] = value;
}

__device__ void normalise(float *x, int head_dim, const float *gain, float eps)
{
    float squares = 0.0f;
    for (int i = static_cast<int>(threadIdx.x); i < head_dim; i += block_threads)
        squares += x[i] * x[i];
    float factor = rsqrtf(block_sum(squares) / static_cast<float>(head_dim) + eps);
    for (int i = static_cast<int>(threadIdx.x); i < head_dim; i += block_threads)
        x[i] *= factor * gain[i];
    __syncthreads();
}

__global__ void __launch_bounds__(block_threads)
        rope(struct rope_args a, int heads, int kv_heads, int head_dim)
{
    int64_t row = blockIdx.x;
    int head = static_cast<int>(blockIdx.y);
    float *x = a.qkv + row * a.ld + static_cast<int64_t>(head) * head_dim;
    bool is_q = head < heads, is_v = head >= heads + kv_heads;
    if (!is_v) {
        const float *gain = is_q ? a.q_gain : a.k_gain;
        if (gain != nullptr)
            normalise(x, head_dim, gain, a.eps);
        int half = head_dim / 2;
        float position = static_cast<float>(a.positions[row]);
        for (int i = static_cast<int>(threadIdx.x); i < half; i += block_threads) {
            float sine, cosine;
            sincosf(position * a.inv_freq[i], &sine, &cosine);
            float lower = x[i], upper = x[half + i];
            x[i] = (lower * cosine - upper * sine) * a.rope_scale;
            x[half + i] = (upper * cosine + lower * sine) * a.rope_scale;
        }
        if (is_q)
            return;
        __syncthreads();
    }
    int kv_head = head - heads - (is_v ? kv_heads : 0);
    int block_tokens = a.cache.block_tokens;
    int64_t block = a.slots[row] / block_tokens, slot = a.slots[row] % block_tokens;
    int64_t at = ((block * kv_heads + kv_head) * block_tokens + slot) * head_dim;
    void *cache = is_v ? a.cache.v : a.cache.k;
    for (int i = static_cast<int>(threadIdx.x); i < head_dim; i += block_threads)
        store(cache, a.cache.dtype, at + i, x[i]);
}

// The rotated pair i of neighbours in x.
__device__ float2 rotated(const struct mla_rope_args &a, int64_t row, const float *x, int i)
{
    float sine, cosine;
    sincosf(static_cast<float>(a.positions[row]) * a.inv_freq[i], &sine, &cosine);
    return make_float2((x[2 * i] * cosine - x[2 * i + 1] * sine) * a.rope_scale,
            (x[2 * i + 1] * cosine + x[2 * i] * sine) * a.rope_scale);
}

// Block y < heads rotates one head's query; the last one norms and stores the latent row.
__global__ void __launch_bounds__(block_threads)
        rope_latent(struct mla_rope_args a, int heads, int rank, int width, int nope)
{
    int64_t row = blockIdx.x;
    int head = static_cast<int>(blockIdx.y);
    if (head < heads) {
        float *q = a.q + row * a.ldq + static_cast<int64_t>(head) * (nope + width) + nope;
        for (int i = static_cast<int>(threadIdx.x); i < width / 2; i += block_threads) {
            float2 pair = rotated(a, row, q, i);
            q[2 * i] = pair.x;
            q[2 * i + 1] = pair.y;
        }
        return;
    }
    const float *latent = a.latent + row * a.ldl;
    int64_t at = static_cast<int64_t>(a.slots[row]) * (rank + width);
    float squares = 0.0f;
    for (int i = static_cast<int>(threadIdx.x); i < rank; i += block_threads)
        squares += latent[i] * latent[i];
    float factor = rsqrtf(block_sum(squares) / static_cast<float>(rank) + a.eps);
    for (int i = static_cast<int>(threadIdx.x); i < rank; i += block_threads)
        store(a.cache.k, a.cache.dtype, at + i, latent[i] * factor * a.gain[i]);
    for (int i = static_cast<int>(threadIdx.x); i < width / 2; i += block_threads) {
        float2 pair = rotated(a, row, latent + rank, i);
        store(a.cache.k, a.cache.dtype, at + rank + 2 * i, pair.x);
        store(a.cache.k, a.cache.dtype, at + rank + 2 * i + 1, pair.y);
    }
}

} // namespace

extern "C" void cuda_mla_rope(
        const struct cuda_on *on, const struct op *op, const struct mla_rope_args *args)
{
    int heads = static_cast<int>(op->dim[1]);
    dim3 grid(static_cast<unsigned>(op->dim[0]), static_cast<unsigned>(heads + 1));
    start({on->stream, grid, block_threads}, rope_latent, *args, heads,
            static_cast<int>(op->dim[2]), static_cast<int>(op->dim[3]),
            static_cast<int>(op->dim[4]));
}

extern "C" void cuda_rope(
        const struct cuda_on *on, const struct op *op, const struct rope_args *args)
{
    int heads = static_cast<int>(op->dim[1]), kv_heads = static_cast<int>(op->dim[2]);
    dim3 grid(static_cast<unsigned>(op->dim[0]), static_cast<unsigned>(heads + 2 * kv_heads));
    start({on->stream, grid, block_threads}, rope, *args, heads, kv_heads,
            static_cast<int>(op->dim[3]));
}
