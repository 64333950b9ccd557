/*
 * cpu - every op fast on a CPU: the work divided among the threads of a device, the rest in vector
 * kernels (isa.h).
 */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H

#include <stdatomic.h>

#include "kernels/op_table.h"

void cpu_gemm(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_attention(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_rmsnorm(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_rope(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_mla_rope(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_mla_prefill(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_mla_decode(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_activation(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_router(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_permute(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_expert(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_combine(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_embedding(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_sample(struct dev *dev, const struct op *op, const struct op_args *args);
void cpu_copy(struct dev *dev, const struct op *op, const struct op_args *args);

/* Things [begin, end) of n by one thread; by the caller alone when all of them touch so few bytes that
 * waking the others would take longer. */
struct cpu_split {
    struct dev *dev;
    const struct op *op;
    const void *args; /* of the op, or more */
    void (*fn)(const struct cpu_split *split, int part, int64_t begin, int64_t end);
    int64_t n, bytes_each;
};
void cpu_split_run(const struct cpu_split *split);

/*
 * Things [0, n) that threads take as they get done, large runs first and ever smaller ones (Polychronopoulos and
 * Kuck, "Guided self-scheduling", 1987): long runs for streaming, and an end that all reach together, even when a
 * thread was held up.
 */
struct cpu_share {
    _Atomic int64_t next;
    int64_t n, unit; /* runs are whole units but for the last */
    int parts;
};
void cpu_share_open(struct cpu_share *share, int64_t n, int64_t unit, int parts);
/* false when nothing is left. */
bool cpu_share_next(struct cpu_share *share, int64_t *begin, int64_t *end);

/* Columns [begin, end) of a product by one thread; scratch is that of `part`. */
struct span_job {
    struct dev *dev;
    int part;
    const float *x;
    int64_t ldx;
    const void *w; /* [., k]; begin and end count its rows */
    enum dtype dtype;
    int64_t m, k;
    int k_chunks;
    const float *bias;
    float *y;
    int64_t ldy;
    int64_t begin, end;
};
void cpu_gemm_span(const struct span_job *job);

#endif
