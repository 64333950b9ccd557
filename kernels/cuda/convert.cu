// f32 activations to bf16, what the tensor cores take.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/launch.h"

namespace
{

constexpr int block_threads = 256;

__global__ void __launch_bounds__(block_threads)
        to_bf16(__nv_bfloat16 *out, const float *in, int64_t count, int64_t cols, int64_t ld)
{
    int64_t step = static_cast<int64_t>(gridDim.x) * block_threads;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x; i < count;
            i += step)
        out[i] = __float2bfloat16(in[i / cols * ld + i % cols]);
}

} // namespace

extern "C" void cuda_to_bf16(
        void *out, const float *in, int64_t rows, int64_t cols, int64_t ld, void *stream)
{
    int64_t count = rows * cols, blocks = (count + block_threads - 1) / block_threads;
    if (blocks > 4096)
        blocks = 4096;
    if (count > 0)
        to_bf16<<<static_cast<unsigned>(blocks), block_threads, 0,
                static_cast<cudaStream_t>(stream)>>>(
                static_cast<__nv_bfloat16 *>(out), in, count, cols, ld);
}
