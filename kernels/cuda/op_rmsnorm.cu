// One block normalises one row. A row whose length is a multiple of four is read once, sixteen bytes at a time, and
// kept in registers between the sum and the product.
#include <cuda_runtime.h>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int threads = 256, kept = 8; // rows of up to 8192 stay in registers

__device__ float4 add_four(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

template <bool has_residual>
__global__ void __launch_bounds__(threads) rmsnorm_4(struct rmsnorm_args a, int64_t n, int64_t ldx)
{
    auto *row = reinterpret_cast<float4 *>(a.x + blockIdx.x * ldx);
    const auto *more =
            reinterpret_cast<const float4 *>(a.residual + (has_residual ? blockIdx.x * n : 0));
    const auto *gain = reinterpret_cast<const float4 *>(a.gain);
    auto *to = reinterpret_cast<float4 *>(a.out + blockIdx.x * n);
    float4 mine[kept];
    float squares = 0.0f;
    int64_t quarters = n / 4;
#pragma unroll
    for (int i = 0; i < kept; i++) {
        int64_t at = threadIdx.x + static_cast<int64_t>(i) * threads;
        mine[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (at >= quarters)
            continue;
        mine[i] = row[at];
        if (has_residual) {
            mine[i] = add_four(mine[i], more[at]);
            row[at] = mine[i];
        }
        squares += mine[i].x * mine[i].x + mine[i].y * mine[i].y + mine[i].z * mine[i].z
                   + mine[i].w * mine[i].w;
    }
    float factor = rsqrtf(block_sum(squares) / static_cast<float>(n) + a.eps);
#pragma unroll
    for (int i = 0; i < kept; i++) {
        int64_t at = threadIdx.x + static_cast<int64_t>(i) * threads;
        if (at >= quarters)
            continue;
        float4 g = gain[at];
        to[at] = make_float4(mine[i].x * factor * g.x, mine[i].y * factor * g.y,
                mine[i].z * factor * g.z, mine[i].w * factor * g.w);
    }
}

template <bool has_residual>
__global__ void __launch_bounds__(threads) rmsnorm_1(struct rmsnorm_args a, int64_t n, int64_t ldx)
{
    float *row = a.x + blockIdx.x * ldx, *to = a.out + blockIdx.x * n;
    float squares = 0.0f;
    for (int64_t i = threadIdx.x; i < n; i += threads) {
        float value = row[i];
        if (has_residual) {
            value += a.residual[blockIdx.x * n + i];
            row[i] = value;
        }
        squares += value * value;
    }
    float factor = rsqrtf(block_sum(squares) / static_cast<float>(n) + a.eps);
    for (int64_t i = threadIdx.x; i < n; i += threads)
        to[i] = row[i] * factor * a.gain[i];
}

bool aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

} // namespace

extern "C" void cuda_rmsnorm(
        const struct cuda_on *on, const struct op *op, const struct rmsnorm_args *args)
{
    const int64_t n = op->dim[1], ldx = args->ldx != 0 ? args->ldx : n;
    bool by_four = n % 4 == 0 && ldx % 4 == 0 && n <= INT64_C(4) * threads * kept
                   && aligned(args->x) && aligned(args->residual) && aligned(args->gain)
                   && aligned(args->out);
    struct on where = {on->stream, dim3(static_cast<unsigned>(op->dim[0])), threads};
    if (args->residual != nullptr)
        start(where, by_four ? rmsnorm_4<true> : rmsnorm_1<true>, *args, n, ldx);
    else
        start(where, by_four ? rmsnorm_4<false> : rmsnorm_1<false>, *args, n, ldx);
}
