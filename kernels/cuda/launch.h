/*
 * launch - the kernels of this folder, as C sees them. They only start work; errors show at the next
 * synchronisation. Functions that can fail at once return the reason.
 */
#ifndef KERNELS_CUDA_LAUNCH_H
#define KERNELS_CUDA_LAUNCH_H

#include "core/spec/op.h"
#include "kernels/op_table.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Scratch memory of a context, by what it holds while one op runs. */
enum cuda_room {
    CUDA_ROOM_PARTS,  /* attention: results of splits */
    CUDA_ROOM_QUERY,  /* MLA: queries in the space of latents */
    CUDA_ROOM_LATENT, /* MLA: what attention over latents gave */
    CUDA_ROOM_SCORES, /* router */
    CUDA_ROOM_TILES,  /* grouped products */
    CUDA_ROOM_PLACES, /* combine: where the row of each pair is */
    CUDA_ROOM_NARROW, /* products: activations as bf16 or f8 */
    CUDA_ROOM_SCALES, /* products: scales of activations */
    CUDA_ROOM_COUNT
};

/* What a launch may use. */
struct cuda_on {
    void *stream; /* a cudaStream_t */
    int multiprocessors;
    /* Memory that lasts until the context is closed; larger than asked before is allowed, smaller free. NULL = there
     * is none. */
    void *(*room)(void *self, enum cuda_room which, int64_t bytes);
    void *self;
};

void cuda_rmsnorm(const struct cuda_on *on, const struct op *op, const struct rmsnorm_args *args);
void cuda_activation(
        const struct cuda_on *on, const struct op *op, const struct activation_args *args);
void cuda_rope(const struct cuda_on *on, const struct op *op, const struct rope_args *args);
void cuda_mla_rope(const struct cuda_on *on, const struct op *op, const struct mla_rope_args *args);
const char *cuda_attention(
        const struct cuda_on *on, const struct op *op, const struct attention_args *args);
const char *cuda_mla(const struct cuda_on *on, const struct op *op, const struct mla_args *args);
const char *cuda_router(
        const struct cuda_on *on, const struct op *op, const struct router_args *args);
void cuda_permute(const struct cuda_on *on, const struct op *op, const struct permute_args *args);
const char *cuda_expert(
        const struct cuda_on *on, const struct op *op, const struct expert_args *args);
const char *cuda_combine(
        const struct cuda_on *on, const struct op *op, const struct combine_args *args);
void cuda_embedding(
        const struct cuda_on *on, const struct op *op, const struct embedding_args *args);
void cuda_sample(const struct cuda_on *on, const struct op *op, const struct sample_args *args);
void cuda_copy(const struct cuda_on *on, const struct op *op, const struct copy_args *args);

/* bf16 out[rows, cols] packed, from f32 in[rows, ld]; rounds to nearest even. */
void cuda_to_bf16(const struct cuda_on *on, void *out, const float *in, int64_t rows, int64_t cols,
        int64_t ld);
/* f8 of activations: out[rows, cols] packed, and a scale for each `columns` elements of a row (all of it, or
 * SCALE_BLOCK), [cols / columns, rounded up][rows]. The largest of them becomes the largest f8. */
struct cuda_f8 {
    void *out;
    float *scale;
    int64_t columns;
};
void cuda_to_f8(const struct cuda_on *on, const struct cuda_f8 *to, const float *in, int64_t rows,
        int64_t cols, int64_t ld);
/* What a library left undone: y[m, ldy] times x_scale[m] and w_scale[n], plus bias[n]; each may be NULL. */
struct cuda_finish {
    float *y;
    int64_t ldy, m, n;
    const float *x_scale, *w_scale, *bias;
};
void cuda_gemm_finish(const struct cuda_on *on, const struct cuda_finish *finish);
/* y += x */
void cuda_add(const struct cuda_on *on, float *y, const float *x, int64_t n);
/* out[i] = x[rows[i]] of n rows of cols floats */
void cuda_gather(const struct cuda_on *on, float *out, const float *x, const int32_t *rows,
        int64_t n, int64_t cols);

/*
 * Products that are read from memory once for few rows (m <= CUDA_VECTOR_ROWS): weights at the speed of memory,
 * f32 x as it is.
 */
#define CUDA_VECTOR_ROWS 4
void cuda_gemm_vector(const struct cuda_on *on, const struct op *op, const struct gemm_args *args);
/* Whether the operands are aligned as it needs them. */
bool cuda_gemm_vector_takes(const struct op *op, const struct gemm_args *args);
/* Any product, by kernels of our own: where cuBLASLt is missing. */
void cuda_gemm_own(const struct cuda_on *on, const struct op *op, const struct gemm_args *args);

#ifdef __cplusplus
}
#endif

#endif
