// Rows in order of experts, stable: counted, then placed by one block for each expert; a few pairs by one block for
// all of them.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int threads = 256, warps = threads / 32;
constexpr int few_pairs = 2048, few_experts = 1024;

// One thread counts and places one expert's pairs.
__global__ void __launch_bounds__(few_experts)
        place_few(struct permute_args a, int n_pairs, int local)
{
    __shared__ int32_t expert[few_pairs], begin[few_experts + 1];
    int e = static_cast<int>(threadIdx.x);
    for (int p = e; p < n_pairs; p += static_cast<int>(blockDim.x))
        expert[p] = a.expert[p] - a.first;
    __syncthreads();
    int n = 0;
    for (int p = 0; p < n_pairs && e < local; p++)
        n += expert[p] == e;
    if (e < local)
        begin[e + 1] = n;
    if (e == 0)
        begin[0] = 0;
    __syncthreads();
    for (int i = 1; i <= local && e == 0; i++)
        begin[i] += begin[i - 1];
    __syncthreads();
    if (e >= local)
        return;
    int at = begin[e];
    for (int p = 0; p < n_pairs; p++)
        if (expert[p] == e)
            a.pair[at++] = p;
    a.offsets[e + 1] = begin[e + 1];
    if (e == 0)
        a.offsets[0] = 0;
}

// Block e leaves the number of its expert's pairs in offsets[e + 1].
__global__ void __launch_bounds__(threads) count(struct permute_args a, int64_t n_pairs)
{
    __shared__ int32_t of_warp[warps];
    int32_t e = a.first + static_cast<int32_t>(blockIdx.x), n = 0;
    int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    for (int64_t base = 0; base < n_pairs; base += threads) {
        int64_t p = base + threadIdx.x;
        n += __popc(__ballot_sync(0xffffffffu, p < n_pairs && a.expert[p] == e));
    }
    if (lane == 0)
        of_warp[warp] = n;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (int w = 1; w < warps; w++)
        n += of_warp[w];
    a.offsets[blockIdx.x + 1] = n;
    if (blockIdx.x == 0)
        a.offsets[0] = 0;
}

__global__ void add_up(int32_t *offsets, int64_t local)
{
    for (int64_t e = 1; e <= local && threadIdx.x == 0; e++)
        offsets[e] += offsets[e - 1];
}

__global__ void __launch_bounds__(threads) place(struct permute_args a, int64_t n_pairs)
{
    __shared__ int32_t of_warp[warps];
    int32_t e = a.first + static_cast<int32_t>(blockIdx.x), at = a.offsets[blockIdx.x];
    int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    for (int64_t base = 0; base < n_pairs; base += threads) {
        int64_t p = base + threadIdx.x;
        bool ours = p < n_pairs && a.expert[p] == e;
        unsigned lanes = __ballot_sync(0xffffffffu, ours);
        __syncthreads(); // of_warp of the round before has been read
        if (lane == 0)
            of_warp[warp] = __popc(lanes);
        __syncthreads();
        int32_t before = __popc(lanes & ((1u << lane) - 1u));
        for (int w = 0; w < warps; w++) {
            before += w < warp ? of_warp[w] : 0;
        }
        if (ours)
            a.pair[at + before] = static_cast<int32_t>(p);
        for (int w = 0; w < warps; w++)
            at += of_warp[w];
    }
}

__global__ void __launch_bounds__(threads)
        gather_pairs(struct permute_args a, int64_t hidden, int local, int top_k)
{
    int64_t row = blockIdx.x;
    if (row >= a.offsets[local])
        return;
    const float *from = a.x + a.pair[row] / top_k * hidden;
    for (int64_t i = threadIdx.x; i < hidden; i += threads)
        a.rows[row * hidden + i] = from[i];
}

__global__ void __launch_bounds__(threads)
        gather_rows(float *out, const float *x, const int32_t *rows, int64_t cols)
{
    for (int64_t i = threadIdx.x; i < cols; i += threads)
        out[blockIdx.x * cols + i] = x[rows[blockIdx.x] * cols + i];
}

} // namespace

extern "C" void cuda_permute(
        const struct cuda_on *on, const struct op *op, const struct permute_args *args)
{
    int64_t n_pairs = op->dim[0] * op->dim[4], local = op->dim[2];
    if (n_pairs <= few_pairs && local <= few_experts) {
        auto n = static_cast<unsigned>((local + 31) / 32 * 32);
        start({on->stream, dim3(1), n}, place_few, *args, static_cast<int>(n_pairs),
                static_cast<int>(local));
    } else {
        dim3 experts(static_cast<unsigned>(local));
        start({on->stream, experts, threads}, count, *args, n_pairs);
        start({on->stream, dim3(1), 32}, add_up, args->offsets, local);
        start({on->stream, experts, threads}, place, *args, n_pairs);
    }
    start({on->stream, dim3(static_cast<unsigned>(n_pairs)), threads}, gather_pairs, *args,
            op->dim[1], static_cast<int>(local), static_cast<int>(op->dim[4]));
}

extern "C" void cuda_gather(const struct cuda_on *on, float *out, const float *x,
        const int32_t *rows, int64_t n, int64_t cols)
{
    if (n > 0)
        start({on->stream, dim3(static_cast<unsigned>(n)), threads}, gather_rows, out, x, rows,
                cols);
}
