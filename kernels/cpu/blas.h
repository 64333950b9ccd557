/*
 * blas - products of many rows by the library that measured best (docs/decisions), where there is one.
 */
#ifndef KERNELS_CPU_BLAS_H
#define KERNELS_CPU_BLAS_H

#include <stdbool.h>
#include <stdint.h>

/* From this many rows on it is faster than dot.h: tests/bench/kernels. */
#define BLAS_ROWS 64

/* Whether this build has one. Keeps it to the thread that calls it. */
bool blas_open(void);
/* y[m, n] = x[m, k] w[n, k]^T, f32, row-major, on the calling thread. */
void blas_gemm(const float *x, int64_t ldx, const float *w, float *y, int64_t ldy, int64_t m,
        int64_t n, int64_t k);

#endif
