// The language of kernels for hipcc. Kernels count on warps of 32: on a device with wavefronts of 64 two warps share
// one, and what passes between lanes stays in its half.
#pragma once

#include <hip/hip_runtime.h>

#include <cuda_runtime_api.h>

__device__ inline void __syncwarp(unsigned = 0xffffffffu)
{
    __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
    __builtin_amdgcn_wave_barrier();
}

template <typename T> __device__ inline T __shfl_sync(unsigned, T value, int lane)
{
    return __shfl(value, lane, 32);
}

template <typename T> __device__ inline T __shfl_xor_sync(unsigned, T value, int with)
{
    return __shfl_xor(value, with, 32);
}

template <typename T> __device__ inline T __shfl_up_sync(unsigned, T value, unsigned by)
{
    return __shfl_up(value, by, 32);
}

__device__ inline unsigned __ballot_sync(unsigned, int predicate)
{
    return static_cast<unsigned>(__ballot(predicate) >> (__lane_id() & 32u));
}
