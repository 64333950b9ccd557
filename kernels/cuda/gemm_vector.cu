// Products of a few rows: each weight is read once, 16 bytes at a time, and x stays in the caches. A warp has
// `cols` rows of w at once, so that x is loaded once for them and enough loads are on their way.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int warps = 4, cols = 2, unroll = 2;

// acc += the products of eight weights with eight of x.
template <int rows>
__device__ void add_eight(float (&acc)[rows], uint4 w, const float *x, int64_t ldx)
{
#pragma unroll
    for (int r = 0; r < rows; r++) {
        float4 a = *reinterpret_cast<const float4 *>(x + r * ldx);
        float4 b = *reinterpret_cast<const float4 *>(x + r * ldx + 4);
        acc[r] += a.x * lower_bf16(w.x) + a.y * upper_bf16(w.x) + a.z * lower_bf16(w.y)
                  + a.w * upper_bf16(w.y);
        acc[r] += b.x * lower_bf16(w.z) + b.y * upper_bf16(w.z) + b.z * lower_bf16(w.w)
                  + b.w * upper_bf16(w.w);
    }
}

template <int rows>
__global__ void __launch_bounds__(32 * warps)
        multiply_rows(struct gemm_args a, int64_t n, int64_t k)
{
    int lane = static_cast<int>(threadIdx.x) % 32;
    int64_t first = (static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / 32) * cols;
    const auto *w = static_cast<const __nv_bfloat16 *>(a.w);
    float acc[cols][rows] = {};
    if (first >= n)
        return;
    for (int64_t base = 0; base < k; base += 256 * unroll) {
        uint4 part[unroll][cols];
#pragma unroll
        for (int u = 0; u < unroll; u++)
#pragma unroll
            for (int c = 0; c < cols; c++) {
                int64_t at = base + u * 256 + lane * 8, col = first + c < n ? first + c : n - 1;
                part[u][c] = {0, 0, 0, 0};
                if (at < k)
                    part[u][c] = *reinterpret_cast<const uint4 *>(w + col * k + at);
            }
#pragma unroll
        for (int u = 0; u < unroll; u++)
#pragma unroll
            for (int c = 0; c < cols; c++) {
                int64_t at = base + u * 256 + lane * 8;
                if (at < k)
                    add_eight<rows>(acc[c], part[u][c], a.x + at, a.ldx);
            }
    }
#pragma unroll
    for (int c = 0; c < cols; c++)
#pragma unroll
        for (int r = 0; r < rows; r++) {
            float sum = warp_sum(acc[c][r]);
            if (lane == 0 && first + c < n)
                a.y[r * a.ldy + first + c] = sum + (a.bias == nullptr ? 0.0f : a.bias[first + c]);
        }
}

bool aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

} // namespace

extern "C" bool cuda_gemm_vector_takes(const struct op *op, const struct gemm_args *args)
{
    return op->dtype == DTYPE_BF16 && op->dim[0] <= CUDA_VECTOR_ROWS && op->dim[2] % 8 == 0
           && args->ldx % 4 == 0 && aligned(args->x) && aligned(args->w);
}

extern "C" void cuda_gemm_vector(
        const struct cuda_on *on, const struct op *op, const struct gemm_args *args)
{
    dim3 grid(blocks_for(op->dim[1], warps * cols));
    struct on where = {on->stream, grid, 32 * warps};
    switch (op->dim[0]) {
    case 1:
        start(where, multiply_rows<1>, *args, op->dim[1], op->dim[2]);
        break;
    case 2:
        start(where, multiply_rows<2>, *args, op->dim[1], op->dim[2]);
        break;
    case 3:
        start(where, multiply_rows<3>, *args, op->dim[1], op->dim[2]);
        break;
    default:
        start(where, multiply_rows<4>, *args, op->dim[1], op->dim[2]);
        break;
    }
}
