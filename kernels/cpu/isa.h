/*
 * isa - the vector kernels of one instruction set, as a table. Ops in op_*.c divide the work among
 * threads and call these; they are written once (dot.h, attend.h, rows.h) and compiled per set.
 */
#ifndef KERNELS_CPU_ISA_H
#define KERNELS_CPU_ISA_H

#include "core/spec/op.h"
#include "kernels/dev.h"

/* Rows that are packed and multiplied at once. */
#define DOT_ROWS 32
/* Chunks of k that are summed apart. */
#define DOT_CHUNKS 8

/* y[rows, begin..end) = x w^T (+ bias); x packed by dot_pack with the same k, chunks and dtype. */
struct dot_job {
    const float *packed;
    const void *w; /* [., k] */
    enum dtype dtype;
    int64_t k;
    int chunks; /* added in a binary tree */
    int rows;   /* at most DOT_ROWS */
    const float *bias;
    float *y;
    int64_t ldy;
    int64_t begin, end;
};

struct cpu_isa {
    const char *name;
    int64_t (*dot_pack_floats)(int64_t k, int chunks, int rows, enum dtype dtype);
    void (*dot_pack)(float *out, const float *x, int64_t ldx, const struct dot_job *job);
    void (*dot_run)(const struct dot_job *job);
    void (*widen)(float *out, const uint16_t *in, int64_t n);
};

const struct cpu_isa *cpu_isa_find(enum dev_isa isa, bool deterministic);

extern const struct cpu_isa cpu_isa_portable;
#if defined(__x86_64__)
extern const struct cpu_isa cpu_isa_avx2, cpu_isa_avx512;
#endif

#endif
