/*
 * gemm - y = x w^T (+ bias) by cuBLASLt, opened at run time. f32 x; w is bf16 (x is rounded to bf16 then, as
 * the tensor cores want), f8 or f8_block (x becomes f8 with a scale for each row, or for each 128 elements of a row) or
 * f32; y and accumulation are f32. What the library does not take, kernels of our own do.
 *
 * The first product of a shape times the algorithms that the library's heuristic names and keeps the fastest, unless
 * it was told one.
 */
#ifndef KERNELS_CUDA_GEMM_H
#define KERNELS_CUDA_GEMM_H

#include "core/spec/algorithm.h"
#include "kernels/cuda/launch.h"

struct cuda_gemm;

/* NULL and *why on failure: no library, no memory, an algorithm that does not exist. */
struct cuda_gemm *cuda_gemm_open(const char **why);
void cuda_gemm_close(struct cuda_gemm *gemm);
/* "cuBLASLt 13.1.0" */
const char *cuda_gemm_version(const struct cuda_gemm *gemm);
const char *cuda_gemm_run(struct cuda_gemm *gemm, const struct cuda_on *on, const struct op *op,
        const struct gemm_args *args);
/* Uses it for its shape as long as the library takes it; from the same device, driver and version of the library. */
void cuda_gemm_prefer(struct cuda_gemm *gemm, const struct algorithm *algorithm);
/* The i-th shape that was timed since opening; false behind the last. */
bool cuda_gemm_timed(const struct cuda_gemm *gemm, int i, struct algorithm *out);

#endif
