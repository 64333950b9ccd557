// f32 activations to f8 with scales that are found here, and what such products leave to do.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int warps = 8, threads = 32 * warps;
constexpr float most = 448.0f; // the largest f8

__device__ inline float warp_max(float value)
{
    for (int step = 16; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

// One can divide by it, whatever the part holds.
__device__ inline float scale_for(float largest)
{
    return fmaxf(largest / most, 1e-30f);
}

// A warp has one part of a row.
__global__ void __launch_bounds__(threads) to_f8(
        struct cuda_f8 to, const float *in, int64_t rows, int64_t cols, int64_t ld, int64_t parts)
{
    int64_t at = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
    int lane = static_cast<int>(threadIdx.x) % 32;
    if (at >= rows * parts)
        return;
    int64_t row = at / parts, part = at % parts, begin = part * to.columns;
    int64_t end = begin + to.columns < cols ? begin + to.columns : cols;
    float largest = 0.0f;
    for (int64_t i = begin + lane; i < end; i += 32)
        largest = fmaxf(largest, fabsf(in[row * ld + i]));
    float scale = scale_for(warp_max(largest)), by = 1.0f / scale;
    auto *out = static_cast<uint8_t *>(to.out) + row * cols;
    for (int64_t i = begin + lane; i < end; i += 32)
        out[i] = static_cast<uint8_t>(narrow_f8(in[row * ld + i] * by));
    if (lane == 0)
        to.scale[part * rows + row] = scale;
}

__global__ void __launch_bounds__(threads) finish_rows(struct cuda_finish f)
{
    int64_t row = blockIdx.x, col = static_cast<int64_t>(blockIdx.y) * threads + threadIdx.x;
    if (col >= f.n)
        return;
    float *y = f.y + row * f.ldy + col;
    float scale = f.x_scale == nullptr ? 1.0f : f.x_scale[row];
    if (f.w_scale != nullptr)
        scale *= f.w_scale[col];
    *y = *y * scale + (f.bias == nullptr ? 0.0f : f.bias[col]);
}

} // namespace

extern "C" void cuda_to_f8(const struct cuda_on *on, const struct cuda_f8 *to, const float *in,
        int64_t rows, int64_t cols, int64_t ld)
{
    int64_t parts = (cols + to->columns - 1) / to->columns;
    if (rows * parts > 0)
        start({on->stream, dim3(blocks_for(rows * parts, warps)), threads}, to_f8, *to, in, rows,
                cols, ld, parts);
}

extern "C" void cuda_gemm_finish(const struct cuda_on *on, const struct cuda_finish *finish)
{
    dim3 grid(static_cast<unsigned>(finish->m), blocks_for(finish->n, threads));
    if (finish->m > 0 && finish->n > 0)
        start({on->stream, grid, threads}, finish_rows, *finish);
}
