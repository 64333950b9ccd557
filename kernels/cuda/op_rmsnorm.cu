// One block normalises one row. The row is read once: each thread keeps its elements in registers when
// the row is short enough, and reads them again from the cache otherwise.
#include <cuda_runtime.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"

namespace
{

constexpr int block_threads = 256;

template <bool has_residual>
__global__ void __launch_bounds__(block_threads) rmsnorm(float *x, const float *residual,
        const float *gain, float *out, int64_t n, int64_t ldx, float eps)
{
    float *row = x + blockIdx.x * ldx;
    const float *add = has_residual ? residual + blockIdx.x * n : nullptr;
    float *to = out + blockIdx.x * n;
    float squares = 0.0f;
    for (int64_t i = threadIdx.x; i < n; i += block_threads) {
        float value = row[i];
        if (has_residual) {
            value += add[i];
            row[i] = value;
        }
        squares += value * value;
    }
    float factor = rsqrtf(block_sum(squares) / static_cast<float>(n) + eps);
    for (int64_t i = threadIdx.x; i < n; i += block_threads)
        to[i] = row[i] * factor * gain[i];
}

} // namespace

extern "C" void cuda_rmsnorm(const struct op *op, const struct rmsnorm_args *args, void *stream)
{
    auto blocks = static_cast<unsigned>(op->dim[0]);
    const int64_t ldx = args->ldx != 0 ? args->ldx : op->dim[1];
    auto on = static_cast<cudaStream_t>(stream);
    if (args->residual != nullptr)
        rmsnorm<true><<<blocks, block_threads, 0, on>>>(
                args->x, args->residual, args->gain, args->out, op->dim[1], ldx, args->eps);
    else
        rmsnorm<false><<<blocks, block_threads, 0, on>>>(
                args->x, nullptr, args->gain, args->out, op->dim[1], ldx, args->eps);
}
