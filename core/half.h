/*
 * half - the two 16-bit floats beside f32: bf16, which is its upper half, and IEEE 754's f16. Widening is exact,
 * narrowing rounds to nearest even; a NaN stays one, what is too large becomes an infinity.
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

#endif
