// silu(gate) * up. Bound by memory: four columns at a time where rows allow it.
#include <cuda_runtime.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int block_threads = 256;

__device__ float silu_times(float gate, float up)
{
    return gate / (1.0f + expf(-gate)) * up;
}

__global__ void __launch_bounds__(block_threads)
        activation_4(const float *x, int64_t ldx, float *out, int64_t n)
{
    int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x);
    if (i >= n)
        return;
    const float *row = x + blockIdx.y * ldx;
    float4 gate = *reinterpret_cast<const float4 *>(row + i);
    float4 up = *reinterpret_cast<const float4 *>(row + n + i);
    float4 y = make_float4(silu_times(gate.x, up.x), silu_times(gate.y, up.y),
            silu_times(gate.z, up.z), silu_times(gate.w, up.w));
    *reinterpret_cast<float4 *>(out + blockIdx.y * n + i) = y;
}

__global__ void __launch_bounds__(block_threads)
        activation_1(const float *x, int64_t ldx, float *out, int64_t n)
{
    int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
    if (i >= n)
        return;
    const float *row = x + blockIdx.y * ldx;
    out[blockIdx.y * n + i] = silu_times(row[i], row[n + i]);
}

// grid.y is a row and has 16 bits.
constexpr int64_t most_rows = 65535;

bool aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

} // namespace

extern "C" void cuda_activation(
        const struct cuda_on *on, const struct op *op, const struct activation_args *args)
{
    int64_t n = op->dim[1];
    bool by_four = n % 4 == 0 && args->ldx % 4 == 0 && aligned(args->x) && aligned(args->out);
    for (int64_t row = 0; row < op->dim[0]; row += most_rows) {
        int64_t rows = op->dim[0] - row < most_rows ? op->dim[0] - row : most_rows;
        const float *x = args->x + row * args->ldx;
        float *out = args->out + row * n;
        int64_t threads = by_four ? n / 4 : n;
        dim3 grid(static_cast<unsigned>((threads + block_threads - 1) / block_threads),
                static_cast<unsigned>(rows));
        start({on->stream, grid, block_threads}, by_four ? activation_4 : activation_1, x,
                args->ldx, out, n);
    }
}
