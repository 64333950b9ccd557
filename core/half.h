/*
 * half - the small floats beside f32: bf16, which is its upper half, IEEE 754's f16, and f8 (E4M3 of
 * arXiv:2209.05433: 4 bits of exponent, 3 of mantissa, no infinities). Widening is exact, narrowing rounds to nearest
 * even; a NaN stays one, what is too large becomes an infinity, or the largest f8.
 */
#ifndef CORE_HALF_H
#define CORE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_float(uint32_t bits)
{
    float out;
    memcpy(&out, &bits, sizeof(out));
    return out;
}

static inline uint32_t half_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline float bf16_widen(uint16_t value)
{
    return half_float((uint32_t)value << 16);
}

static inline uint16_t bf16_narrow(float value)
{
    uint32_t bits = half_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) /* rounding could carry a NaN into infinity */
        return (uint16_t)((bits >> 16) | 0x40u);
    bits += 0x7fffu + ((bits >> 16) & 1u);
    return (uint16_t)(bits >> 16);
}

static inline float f16_widen(uint16_t value)
{
    uint32_t magnitude = (uint32_t)(value & 0x7fffu) << 13, sign = (uint32_t)(value & 0x8000u)
                                                                   << 16;
    if ((value & 0x7c00u) == 0x7c00u)
        return half_float(sign | magnitude | 0x7f800000u);
    /* Moves the exponent to where f32 has it; subnormals become normal on the way. */
    return half_float(sign | half_bits(half_float(magnitude) * 0x1p112f));
}

static inline uint16_t f16_narrow(float value)
{
    uint32_t bits = half_bits(value), sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) /* 65520 */
        return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u) /* below 2^-14: steps of 2^-24, as the sum has them */
        return (uint16_t)(sign | (half_bits(half_float(bits) + 0.5f) - 0x3f000000u));
    bits += 0xfffu + ((bits >> 13) & 1u);
    return (uint16_t)(sign | ((bits - 0x38000000u) >> 13));
}

#define F8_MOST 448.0f

static inline float f8_widen(uint8_t value)
{
    uint32_t magnitude = value & 0x7fu, sign = (uint32_t)(value & 0x80u) << 24;
    if (magnitude == 0x7fu)
        return half_float(sign | 0x7fc00000u);
    return half_float(sign | half_bits(half_float(magnitude << 20) * 0x1p120f));
}

static inline uint8_t f8_narrow(float value)
{
    uint32_t bits = half_bits(value), sign = (bits >> 24) & 0x80u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint8_t)(sign | 0x7fu);
    if (bits >= 0x43e00000u) /* 448 */
        return (uint8_t)(sign | 0x7eu);
    if (bits < 0x3c800000u) /* below 2^-6: steps of 2^-9, as the sum has them */
        return (uint8_t)(sign | (half_bits(half_float(bits) + 0x1p14f) - 0x46800000u));
    bits += 0x7ffffu + ((bits >> 20) & 1u);
    return (uint8_t)(sign | ((bits - 0x3c000000u) >> 20));
}

#endif
