/*
 * element - reading and writing an element of an array of weights or of a cache: f32, bf16, f16, or f8 as it is
 * stored, without its scale.
 */
#ifndef KERNELS_ELEMENT_H
#define KERNELS_ELEMENT_H

#include "core/half.h"
#include "kernels/scale.h"

static inline float element_load(const void *data, enum dtype dtype, int64_t i)
{
    if (dtype == DTYPE_F32)
        return ((const float *)data)[i];
    if (scale_wanted(dtype))
        return f8_widen(((const uint8_t *)data)[i]);
    uint16_t half = ((const uint16_t *)data)[i];
    return dtype == DTYPE_F16 ? f16_widen(half) : bf16_widen(half);
}

static inline void element_store(void *data, enum dtype dtype, int64_t i, float value)
{
    if (dtype == DTYPE_F32)
        ((float *)data)[i] = value;
    else if (scale_wanted(dtype))
        ((uint8_t *)data)[i] = f8_narrow(value);
    else
        ((uint16_t *)data)[i] = dtype == DTYPE_F16 ? f16_narrow(value) : bf16_narrow(value);
}

static inline const void *element_at(const void *data, enum dtype dtype, int64_t i)
{
    return (const char *)data + i * (dtype == DTYPE_F32 ? 4 : scale_wanted(dtype) ? 1 : 2);
}

#endif
