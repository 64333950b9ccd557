// bf16 for hipcc, with NVIDIA's names; rounds to nearest even.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

struct __nv_bfloat16 {
    uint16_t bits;
};
struct __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

__host__ __device__ inline __nv_bfloat16 __float2bfloat16(float value)
{
    uint32_t bits = __builtin_bit_cast(uint32_t, value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
    bits += 0x7fffu + ((bits >> 16) & 1u);
    return {static_cast<uint16_t>(bits >> 16)};
}

__host__ __device__ inline float __bfloat162float(__nv_bfloat16 value)
{
    return __builtin_bit_cast(float, static_cast<uint32_t>(value.bits) << 16);
}

__host__ __device__ inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {__float2bfloat16(x), __float2bfloat16(y)};
}
