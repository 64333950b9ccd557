// Sum over the threads of a block; every thread gets it. The block has a whole number of warps, at most 32.
#pragma once

__device__ inline float block_sum(float value)
{
    __shared__ float partial[32];
    for (int step = 16; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    int warps = static_cast<int>(blockDim.x) / 32;
    __syncthreads(); // partial may still be read from the call before
    if (lane == 0)
        partial[warp] = value;
    __syncthreads();
    float sum = lane < warps ? partial[lane] : 0.0f;
    for (int step = 16; step > 0; step /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return sum;
}
