// Elements of f32, bf16 or f8 (E4M3 as it is stored, without its scale), alike.
#pragma once

#include <cstdint>

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

struct f8 {
    uint8_t bits;
};

// The exponent is moved to where f32 has it; subnormals become normal on the way. NaN, which weights have not, would be
// 480.
__device__ inline float widen_f8(uint32_t byte)
{
    return __uint_as_float((byte & 0x80u) << 24 | (byte & 0x7fu) << 20) * 0x1p120f;
}

__device__ inline float to_float(struct f8 x)
{
    return widen_f8(x.bits);
}

// Rounds to nearest even; what is too large becomes the largest.
__device__ inline uint32_t narrow_f8(float value)
{
    constexpr float most = 448.0f, least_normal = 0x1p-6f, to_steps = 0x1p14f;
    float magnitude = fminf(fabsf(value), most);
    uint32_t sign = value < 0.0f ? 0x80u : 0u;
    if (magnitude < least_normal)
        return sign | (__float_as_uint(magnitude + to_steps) - 0x46800000u);
    uint32_t bits = __float_as_uint(magnitude);
    bits += 0x7ffffu + ((bits >> 20) & 1u);
    return sign | ((bits - 0x3c000000u) >> 20);
}

__device__ inline void put(float *to, float x)
{
    *to = x;
}

__device__ inline void put(__nv_bfloat16 *to, float x)
{
    *to = __float2bfloat16(x);
}
