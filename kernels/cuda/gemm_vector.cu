// Products of a few rows: each weight is read once, 16 bytes at a time, and x stays in the caches. A warp has
// `cols` rows of w at once, so that x is loaded once for them and enough loads are on their way. Those of f8 share a
// scale 16 by 16.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"
#include "kernels/scale.h"

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

// acc += scale times the products of sixteen weights with sixteen of x.
template <int rows>
__device__ void add_sixteen(float (&acc)[rows], uint4 w, float scale, const float *x, int64_t ldx)
{
    const uint32_t words[4] = {w.x, w.y, w.z, w.w};
    float sum[rows] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float v[4];
#pragma unroll
        for (int j = 0; j < 4; j++)
            v[j] = widen_f8(words[i] >> 8 * j);
#pragma unroll
        for (int r = 0; r < rows; r++) {
            float4 a = *reinterpret_cast<const float4 *>(x + r * ldx + 4 * i);
            sum[r] += a.x * v[0] + a.y * v[1] + a.z * v[2] + a.w * v[3];
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
        acc[r] += scale * sum[r];
}

template <int rows, bool small>
__global__ void __launch_bounds__(32 * warps)
        multiply_rows(struct gemm_args a, enum dtype dtype, int64_t n, int64_t k)
{
    constexpr int each = small ? 16 : 8; // weights of a load
    int lane = static_cast<int>(threadIdx.x) % 32;
    int64_t first = (static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / 32) * cols;
    const auto *w = static_cast<const char *>(a.w);
    float acc[cols][rows] = {};
    if (first >= n)
        return;
    for (int64_t base = 0; base < k; base += 32 * each * unroll) {
        uint4 part[unroll][cols];
        float scale[unroll][cols] = {};
#pragma unroll
        for (int u = 0; u < unroll; u++)
#pragma unroll
            for (int c = 0; c < cols; c++) {
                int64_t at = base + (u * 32 + lane) * each;
                int64_t col = first + c < n ? first + c : n - 1;
                part[u][c] = {0, 0, 0, 0};
                if (at < k)
                    part[u][c] =
                            *reinterpret_cast<const uint4 *>(w + (col * k + at) * (small ? 1 : 2));
                if (small && at < k)
                    scale[u][c] = a.w_scale[scale_at(dtype, k, col, at)];
            }
#pragma unroll
        for (int u = 0; u < unroll; u++)
#pragma unroll
            for (int c = 0; c < cols; c++) {
                int64_t at = base + (u * 32 + lane) * each;
                if (at < k && small)
                    add_sixteen<rows>(acc[c], part[u][c], scale[u][c], a.x + at, a.ldx);
                else if (at < k)
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

template <int rows>
void run_rows(const struct cuda_on *on, const struct op *op, const struct gemm_args *args)
{
    dim3 grid(blocks_for(op->dim[1], warps * cols));
    struct on where = {on->stream, grid, 32 * warps};
    auto kernel = scale_wanted(op->dtype) ? multiply_rows<rows, true> : multiply_rows<rows, false>;
    start(where, kernel, *args, op->dtype, op->dim[1], op->dim[2]);
}

} // namespace

extern "C" bool cuda_gemm_vector_takes(const struct op *op, const struct gemm_args *args)
{
    bool small = scale_wanted(op->dtype);
    return (op->dtype == DTYPE_BF16 || small) && op->dim[0] <= CUDA_VECTOR_ROWS
           && op->dim[2] % (small ? 16 : 8) == 0 && args->ldx % 4 == 0 && aligned(args->x)
           && aligned(args->w);
}

extern "C" void cuda_gemm_vector(
        const struct cuda_on *on, const struct op *op, const struct gemm_args *args)
{
    switch (op->dim[0]) {
    case 1:
        run_rows<1>(on, op, args);
        break;
    case 2:
        run_rows<2>(on, op, args);
        break;
    case 3:
        run_rows<3>(on, op, args);
        break;
    default:
        run_rows<4>(on, op, args);
        break;
    }
}
