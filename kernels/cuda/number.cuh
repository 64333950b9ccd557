// Elements of f32 or bf16, alike.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

__device__ inline float to_float(float x)
{
    return x;
}

__device__ inline float to_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

__device__ inline void put(float *to, float x)
{
    *to = x;
}

__device__ inline void put(__nv_bfloat16 *to, float x)
{
    *to = __float2bfloat16(x);
}
