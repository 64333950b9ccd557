/*
 * bf16 - the upper half of an f32, and reading an element of either type.
 */
#ifndef KERNELS_BF16_H
#define KERNELS_BF16_H

#include <stdint.h>
#include <string.h>

#include "core/spec/op.h"

static inline float bf16_widen(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, sizeof(out));
    return out;
}

/* Rounds to nearest even; a NaN stays one. */
static inline uint16_t bf16_narrow(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    bits += 0x7fffu + ((bits >> 16) & 1u);
    return (uint16_t)(bits >> 16);
}

/* Element i of an array of f32 or bf16. */
static inline float element_load(const void *data, enum dtype dtype, int64_t i)
{
    return dtype == DTYPE_F32 ? ((const float *)data)[i] : bf16_widen(((const uint16_t *)data)[i]);
}

static inline void element_store(void *data, enum dtype dtype, int64_t i, float value)
{
    if (dtype == DTYPE_F32)
        ((float *)data)[i] = value;
    else
        ((uint16_t *)data)[i] = bf16_narrow(value);
}

static inline const void *element_at(const void *data, enum dtype dtype, int64_t i)
{
    return (const char *)data + i * (dtype == DTYPE_F32 ? 4 : 2);
}

#endif
