/*
 * launch - the kernels of this folder, as C sees them. stream is a cudaStream_t. They only start work;
 * errors show at the next synchronisation.
 */
#ifndef KERNELS_CUDA_LAUNCH_H
#define KERNELS_CUDA_LAUNCH_H

#include "core/spec/op.h"
#include "kernels/op_table.h"

#ifdef __cplusplus
extern "C" {
#endif

void cuda_rmsnorm(const struct op *op, const struct rmsnorm_args *args, void *stream);
void cuda_activation(const struct op *op, const struct activation_args *args, void *stream);
void cuda_rope(const struct op *op, const struct rope_args *args, void *stream);
/* bf16 out[rows, cols] packed, from f32 in[rows, ld]; rounds to nearest even. */
void cuda_to_bf16(void *out, const float *in, int64_t rows, int64_t cols, int64_t ld, void *stream);

#ifdef __cplusplus
}
#endif

#endif
