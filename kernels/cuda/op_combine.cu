// The weighted sum of each token's rows, in order of choice: first where the row of each pair is, then one block sums
// for one token.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int threads = 256;

__device__ int64_t rows_of(const struct combine_args &a)
{
    return a.counted != nullptr ? *a.counted : a.n_rows;
}

__global__ void __launch_bounds__(threads)
        find_places(int32_t *place, struct combine_args a, int64_t most)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
    if (row < most && row < rows_of(a))
        place[a.pair[row]] = static_cast<int32_t>(row);
}

__global__ void __launch_bounds__(threads)
        sum_rows(const int32_t *place, struct combine_args a, int64_t hidden, int top_k)
{
    int64_t token = blockIdx.x;
    for (int64_t i = threadIdx.x; i < hidden; i += threads) {
        float sum = a.add ? a.out[token * hidden + i] : 0.0f;
        for (int c = 0; c < top_k; c++) {
            int32_t row = place[token * top_k + c];
            if (row >= 0)
                sum += a.weight[token * top_k + c] * a.rows[row * hidden + i];
        }
        a.out[token * hidden + i] = sum;
    }
}

// One block is one pair.
__global__ void __launch_bounds__(threads)
        scatter_rows(const int32_t *place, struct combine_args a, int64_t hidden)
{
    int64_t pair = blockIdx.x;
    int32_t row = place[pair];
    for (int64_t i = threadIdx.x; i < hidden; i += threads)
        a.out[pair * hidden + i] = (row >= 0 ? a.rows[row * hidden + i] : 0.0f)
                                   + (a.add ? a.out[pair * hidden + i] : 0.0f);
}

} // namespace

extern "C" const char *cuda_combine(
        const struct cuda_on *on, const struct op *op, const struct combine_args *args)
{
    int64_t hidden = op->dim[1], top_k = op->dim[4], pairs = op->dim[0] * top_k;
    auto *place = static_cast<int32_t *>(on->room(on->self, CUDA_ROOM_PLACES, pairs * 4));
    if (place == nullptr)
        return "not enough GPU memory to combine experts";
    cudaMemsetAsync(
            place, 0xff, static_cast<size_t>(pairs) * 4, static_cast<cudaStream_t>(on->stream));
    start({on->stream, dim3(blocks_for(pairs, threads)), threads}, find_places, place, *args,
            pairs);
    if (args->scatter)
        start({on->stream, dim3(static_cast<unsigned>(pairs)), threads}, scatter_rows, place, *args,
                hidden);
    else
        start({on->stream, dim3(static_cast<unsigned>(op->dim[0])), threads}, sum_rows, place,
                *args, hidden, static_cast<int>(top_k));
    return nullptr;
}
