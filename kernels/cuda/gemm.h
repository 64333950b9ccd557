/*
 * gemm - y = x w^T (+ bias) by cuBLASLt, opened at run time. f32 x; w is bf16 (x is rounded to bf16 then, as
 * the tensor cores want) or f32; y and accumulation are f32.
 */
#ifndef KERNELS_CUDA_GEMM_H
#define KERNELS_CUDA_GEMM_H

#include "core/spec/op.h"
#include "kernels/op_table.h"

struct cuda_gemm;

/* NULL and *why on failure: no library, no memory, an algorithm that does not exist. */
struct cuda_gemm *cuda_gemm_open(const char **why);
void cuda_gemm_close(struct cuda_gemm *gemm);
/* stream is a cudaStream_t. */
const char *cuda_gemm_run(
        struct cuda_gemm *gemm, const struct op *op, const struct gemm_args *args, void *stream);

#endif
