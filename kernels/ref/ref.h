/*
 * ref - every op as obvious loops with double accumulation: the oracle that fast versions are tested
 * against. One thread, no tiling, nothing clever.
 */
#ifndef KERNELS_REF_REF_H
#define KERNELS_REF_REF_H

#include "kernels/op_table.h"

void ref_gemm(const struct op *op, const struct op_args *args);
void ref_attention(const struct op *op, const struct op_args *args);
void ref_rmsnorm(const struct op *op, const struct op_args *args);
void ref_rope(const struct op *op, const struct op_args *args);
void ref_activation(const struct op *op, const struct op_args *args);
void ref_router(const struct op *op, const struct op_args *args);
void ref_permute(const struct op *op, const struct op_args *args);
void ref_expert(const struct op *op, const struct op_args *args);
void ref_combine(const struct op *op, const struct op_args *args);
void ref_embedding(const struct op *op, const struct op_args *args);
void ref_sample(const struct op *op, const struct op_args *args);
void ref_mla(const struct op *op, const struct op_args *args);
void ref_mla_rope(const struct op *op, const struct op_args *args);
void ref_copy(const struct op *op, const struct op_args *args);

#endif
