// f32 activations to bf16, what the tensor cores take.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int threads = 256;
constexpr int64_t most_blocks = 4096;

__global__ void __launch_bounds__(threads)
        to_bf16(__nv_bfloat16 *out, const float *in, int64_t count, int64_t cols, int64_t ld)
{
    int64_t step = static_cast<int64_t>(gridDim.x) * threads;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < count; i += step)
        out[i] = __float2bfloat16(in[i / cols * ld + i % cols]);
}

// Eight elements of packed rows at a time.
__global__ void __launch_bounds__(threads)
        to_bf16_packed(uint4 *out, const float4 *in, int64_t count)
{
    int64_t step = static_cast<int64_t>(gridDim.x) * threads;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < count;
            i += step) {
        float4 a = in[2 * i], b = in[2 * i + 1];
        out[i] = {
                pack_bf16(a.x, a.y), pack_bf16(a.z, a.w), pack_bf16(b.x, b.y), pack_bf16(b.z, b.w)};
    }
}

unsigned blocks_of(int64_t count)
{
    return blocks_for(count < most_blocks * threads ? count : most_blocks * threads, threads);
}

} // namespace

extern "C" void cuda_to_bf16(const struct cuda_on *on, void *out, const float *in, int64_t rows,
        int64_t cols, int64_t ld)
{
    int64_t count = rows * cols;
    bool packed = ld == cols && count % 8 == 0 && reinterpret_cast<uintptr_t>(in) % 16 == 0;
    if (count == 0)
        return;
    if (packed)
        start({on->stream, dim3(blocks_of(count / 8)), threads}, to_bf16_packed,
                static_cast<uint4 *>(out), reinterpret_cast<const float4 *>(in), count / 8);
    else
        start({on->stream, dim3(blocks_of(count)), threads}, to_bf16,
                static_cast<__nv_bfloat16 *>(out), in, count, cols, ld);
}
