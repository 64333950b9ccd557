/*
 * scale - the scales of f8 weights w[n, k]: how many there are, and which one an element is multiplied by.
 *
 * f8 has one for each row (that of the whole matrix, repeated, where a checkpoint has only one). f8_block has one for
 * each 128 x 128, the blocks of 128 rows after each other and padded to a multiple of four: what cuBLASLt takes as
 * BLK128x128_32F. Plain arithmetic, for C and for kernels.
 */
#ifndef KERNELS_SCALE_H
#define KERNELS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/spec/op.h"

#if defined(__CUDACC__) || defined(__HIPCC__)
#define SCALE_FN __host__ __device__ static inline
#else
#define SCALE_FN static inline
#endif

#define SCALE_BLOCK 128

SCALE_FN bool scale_wanted(enum dtype dtype)
{
    return dtype == DTYPE_F8 || dtype == DTYPE_F8_BLOCK;
}

/* From one block of rows to the next. */
SCALE_FN int64_t scale_ld(int64_t k)
{
    int64_t unit = INT64_C(4) * SCALE_BLOCK;
    return (k + unit - 1) / unit * 4;
}

SCALE_FN int64_t scale_count(enum dtype dtype, int64_t n, int64_t k)
{
    if (dtype == DTYPE_F8)
        return n;
    return dtype == DTYPE_F8_BLOCK ? (n + SCALE_BLOCK - 1) / SCALE_BLOCK * scale_ld(k) : 0;
}

SCALE_FN int64_t scale_at(enum dtype dtype, int64_t k, int64_t row, int64_t col)
{
    return dtype == DTYPE_F8 ? row : row / SCALE_BLOCK * scale_ld(k) + col / SCALE_BLOCK;
}

#endif
