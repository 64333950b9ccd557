/*
 * gemm - y = x w^T (+ bias) by cuBLASLt, opened at run time. f32 x; w is bf16 (x is rounded to bf16 then, as
 * the tensor cores want) or f32; y and accumulation are f32.
 *
 * The first product of a shape times the algorithms that the library's heuristic names and keeps the fastest.
 */
#ifndef KERNELS_CUDA_GEMM_H
#define KERNELS_CUDA_GEMM_H

#include "core/spec/op.h"
#include "kernels/cuda/launch.h"

struct cuda_gemm;

/* NULL and *why on failure: no library, no memory, an algorithm that does not exist. */
struct cuda_gemm *cuda_gemm_open(const char **why);
void cuda_gemm_close(struct cuda_gemm *gemm);
/* "cuBLASLt 13.1.0" */
const char *cuda_gemm_version(const struct cuda_gemm *gemm);
const char *cuda_gemm_run(struct cuda_gemm *gemm, const struct cuda_on *on, const struct op *op,
        const struct gemm_args *args);

#endif
