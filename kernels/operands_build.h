/*
 * operands_build - the pieces that operands of all kinds are made of.
 */
#ifndef KERNELS_OPERANDS_BUILD_H
#define KERNELS_OPERANDS_BUILD_H

#include "kernels/operands.h"

/* Blocks of the cache that attention walks through; a common choice of serving systems. */
#define CASE_BLOCK_TOKENS 16

struct builder {
    struct operands *out;
    struct dev *dev; /* NULL: only count bytes; all memory is NULL then */
    const struct op *op;
    struct arena *arena;
    struct err *err;
    int64_t cold_bytes;
    uint64_t seed;
    int variant;
    bool failed;
};

int64_t build_below(struct builder *b, int64_t n);  /* a random number in [0, n) */
void *build_take(struct builder *b, int64_t bytes); /* zeroed */
/* For what the op writes: full of NaN, so that what it leaves out shows. */
void *build_output(struct builder *b, int64_t bytes);
/* Uniform in (-scale, scale). */
void *build_random(struct builder *b, enum dtype dtype, int64_t n, float scale);
float *build_floats(struct builder *b, int64_t n);
/* For weights [., k]: sums of k products come out near 1. */
float build_scale(int64_t k);
/* `count` matrices w[n, k] for products, of op's dtype; of f8 with the whole range of the type. */
void *build_weights(struct builder *b, int64_t count, int64_t n, int64_t k);
/* Their scales; NULL where the dtype has none. */
float *build_scales(struct builder *b, int64_t count, int64_t n, int64_t k);
/* Bytes of both for one matrix. */
int64_t build_weight_bytes(const struct builder *b, int64_t n, int64_t k);
/* Sets how many copies there are, from the bytes that one copy keeps to itself. */
int build_copies(struct builder *b, int64_t bytes, int least);

static inline struct operand_span span_none(void)
{
    return (struct operand_span){0};
}

static inline struct operand_span span_f32(const float *data, int64_t n)
{
    return (struct operand_span){.data = data, .dtype = DTYPE_F32, .count = n};
}

static inline struct operand_span span_i32(const int32_t *data, int64_t n)
{
    return (struct operand_span){.data = data, .integers = true, .count = n};
}

void build_gemm(struct builder *b);
void build_attention(struct builder *b);
void build_rmsnorm(struct builder *b);
void build_rope(struct builder *b);
void build_activation(struct builder *b);
void build_sample(struct builder *b);
void build_copy(struct builder *b);
void build_embedding(struct builder *b);
/* n sequences in turns of n_seqs rows, each with blocks of its own out of one pool in shuffled order, so that
 * neighbours in a sequence are not in memory. */
struct attention_seq *build_seqs(
        struct builder *b, int64_t n, int64_t n_seqs, int64_t q_len, int64_t kv_len);
void build_mla(struct builder *b);
void build_mla_rope(struct builder *b);
void build_router(struct builder *b);
void build_permute(struct builder *b);
void build_expert(struct builder *b);
void build_combine(struct builder *b);

#endif
