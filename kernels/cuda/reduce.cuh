// Sums over the threads of a warp or a block; every thread gets them. A block has a whole number of warps.
#pragma once

#include <cuda_runtime.h>

__device__ inline float warp_sum(float value)
{
    for (int step = 16; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

__device__ inline float block_sum(float value)
{
    __shared__ float partial[32];
    value = warp_sum(value);
    int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    int warps = static_cast<int>(blockDim.x) / 32;
    __syncthreads(); // partial may still be read from the call before
    if (lane == 0)
        partial[warp] = value;
    __syncthreads();
    return warp_sum(lane < warps ? partial[lane] : 0.0f);
}

// The larger of two (value, index) pairs; of equal values the lower index.
struct best {
    float value;
    int index;
};

__device__ inline struct best better(struct best a, struct best b)
{
    return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__device__ inline struct best warp_best(struct best mine)
{
    for (int step = 16; step > 0; step /= 2) {
        struct best other = {__shfl_xor_sync(0xffffffffu, mine.value, step),
                __shfl_xor_sync(0xffffffffu, mine.index, step)};
        mine = better(mine, other);
    }
    return mine;
}
