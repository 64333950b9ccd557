// The two ends of a model, and moving rows about: embedding, greedy choice, copies and sums.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int threads = 256, choice_threads = 1024;

// One block is one token.
template <typename T>
__global__ void __launch_bounds__(threads) embed(struct embedding_args a, int64_t hidden)
{
    int64_t token = a.tokens[blockIdx.x] - a.first;
    bool mine = token >= 0 && token < a.rows;
    const T *from = static_cast<const T *>(a.table) + (mine ? token : 0) * hidden;
    for (int64_t i = threadIdx.x; i < hidden; i += threads)
        a.out[blockIdx.x * hidden + i] = mine ? to_float(from[i]) : 0.0f;
}

// One block is one row.
__global__ void __launch_bounds__(choice_threads) choose(struct sample_args a, int n)
{
    __shared__ struct best of_warp[choice_threads / 32];
    const float *row = a.logits + blockIdx.x * a.ld;
    int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    struct best mine = {-INFINITY, 0x7fffffff};
    for (int i = static_cast<int>(threadIdx.x); i < n; i += choice_threads)
        mine = better(mine, {row[i], i});
    mine = warp_best(mine);
    if (lane == 0)
        of_warp[warp] = mine;
    __syncthreads();
    if (warp != 0)
        return;
    mine = warp_best(of_warp[lane]);
    if (lane != 0)
        return;
    // Not a number anywhere: the first column, and its value tells.
    int at = mine.index < n ? mine.index : 0;
    a.token[blockIdx.x] = static_cast<int32_t>(a.first + at);
    a.value[blockIdx.x] = row[at];
}

__global__ void __launch_bounds__(threads) add(float *y, const float *x, int64_t n)
{
    int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (i < n)
        y[i] += x[i];
}

} // namespace

extern "C" void cuda_embedding(
        const struct cuda_on *on, const struct op *op, const struct embedding_args *args)
{
    dim3 rows(static_cast<unsigned>(op->dim[0]));
    if (op->dtype == DTYPE_BF16)
        start({on->stream, rows, threads}, embed<__nv_bfloat16>, *args, op->dim[1]);
    else
        start({on->stream, rows, threads}, embed<float>, *args, op->dim[1]);
}

extern "C" void cuda_sample(
        const struct cuda_on *on, const struct op *op, const struct sample_args *args)
{
    start({on->stream, dim3(static_cast<unsigned>(op->dim[0])), choice_threads}, choose, *args,
            static_cast<int>(op->dim[1]));
}

extern "C" void cuda_copy(
        const struct cuda_on *on, const struct op *op, const struct copy_args *args)
{
    cudaMemcpyAsync(args->to, args->from, static_cast<size_t>(op->dim[0]), cudaMemcpyDeviceToDevice,
            static_cast<cudaStream_t>(on->stream));
}

extern "C" void cuda_add(const struct cuda_on *on, float *y, const float *x, int64_t n)
{
    if (n > 0)
        start({on->stream, dim3(blocks_for(n, threads)), threads}, add, y, x, n);
}
