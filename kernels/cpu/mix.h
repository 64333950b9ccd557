/*
 * mix - sums of rows of a matrix, each with its weight: y = x w where w is [k, n] as it lies in memory.
 *
 * dot.h multiplies with the rows of w^T; here a row of w is read once for several rows of x, and an element of
 * y is added up over k in order, so that no bit depends on how the work is split.
 */
#ifndef KERNELS_CPU_MIX_H
#define KERNELS_CPU_MIX_H

#include "kernels/cpu/isa.h"
#include "kernels/cpu/rows.h"

ALWAYS_INLINE vf mix_load(const void *w, enum dtype dtype, int64_t at, int64_t left)
{
    if (dtype == DTYPE_F32)
        return rows_load((const float *)w + at, left);
    const uint16_t *half = (const uint16_t *)w + at;
    uint16_t copy[VW] = {0};
    if (left < VW)
        half = memcpy(copy, half, sizeof(uint16_t) * (size_t)left);
    return dtype == DTYPE_F16 ? v_load_f16(half) : v_load_bf16(half);
}

/* Some rows, `vectors` vectors of columns from col on. */
ALWAYS_INLINE void mix_tile(const struct mix_job *job, int64_t row, const int64_t rows, int64_t col,
        const int64_t vectors, enum dtype dtype)
{
    vf acc[4][4], w[4];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t v = 0; v < vectors; v++)
            acc[r][v] = v_zero();
    for (int64_t k = 0; k < job->k; k++) {
        for (int64_t v = 0; v < vectors; v++)
            w[v] = mix_load(job->w, dtype, k * job->n + col + v * VW, job->n - col - v * VW);
        for (int64_t r = 0; r < rows; r++) {
            vf x = v_set1(job->x[(row + r) * job->ldx + k]);
            for (int64_t v = 0; v < vectors; v++)
                acc[r][v] = v_fma(x, w[v], acc[r][v]);
        }
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t v = 0; v < vectors; v++)
            rows_store(
                    job->y + (row + r) * job->ldy + col + v * VW, acc[r][v], job->n - col - v * VW);
}

ALWAYS_INLINE void mix_rows(
        const struct mix_job *job, int64_t row, const int64_t rows, enum dtype dtype)
{
    const int64_t vectors = rows == 1 ? 4 : 2;
    int64_t col = 0;
    for (; col + vectors * V_WIDTH <= job->n; col += vectors * V_WIDTH)
        mix_tile(job, row, rows, col, vectors, dtype);
    for (; col < job->n; col += V_WIDTH)
        mix_tile(job, row, rows, col, 1, dtype);
}

ALWAYS_INLINE void mix_typed(const struct mix_job *job, enum dtype dtype)
{
    int64_t row = 0;
    for (; row + 4 <= job->rows; row += 4)
        mix_rows(job, row, 4, dtype);
    for (; row < job->rows; row++)
        mix_rows(job, row, 1, dtype);
}

static inline void mix_run(const struct mix_job *job)
{
    if (job->dtype == DTYPE_F32)
        mix_typed(job, DTYPE_F32);
    else if (job->dtype == DTYPE_F16)
        mix_typed(job, DTYPE_F16);
    else
        mix_typed(job, DTYPE_BF16);
}

#endif
