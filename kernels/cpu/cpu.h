/*
 * cpu - every op fast on a CPU: the work divided among the threads of a device, the rest in vector
 * kernels (isa.h).
 */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H

#include "kernels/op_table.h"

void cpu_gemm(struct dev *dev, const struct op *op, const struct op_args *args);

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
