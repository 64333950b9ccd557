/*
 * isa - the vector kernels of one instruction set, as a table. Ops in op_*.c divide the work among
 * threads and call these; they are written once (dot.h, panel.h, outer.h, attend.h, rows.h) and compiled per set.
 */
#ifndef KERNELS_CPU_ISA_H
#define KERNELS_CPU_ISA_H

#include "kernels/op_table.h"

/* Rows that are multiplied at once: two tiles. More of them leave too short a block of k in the first-level
 * cache. */
#define DOT_ROWS 12
/* Chunks of k that are summed apart. */
#define DOT_CHUNKS 8

/* y[rows, begin..end) = x w^T (+ bias) */
struct dot_job {
    float *packed;  /* dot_pack_floats(k, chunks, rows, dtype), by dot_pack */
    float *scratch; /* dot_scratch_floats(rows, chunks) */
    const void *w;  /* [., k] */
    enum dtype dtype;
    int64_t k;
    int chunks; /* added in a binary tree */
    int rows;   /* at most DOT_ROWS */
    const float *bias;
    float *y;
    int64_t ldy;
    int64_t begin, end;
};

/* y[m, begin..end) = x[m, ldx] w^T (+ bias): many rows, at most outer_pass. */
struct outer_job {
    float *packed;  /* outer_floats(m, k), by outer_pack */
    float *scratch; /* outer_scratch_floats() */
    const float *x;
    int64_t ldx;
    const void *w; /* [., k] */
    enum dtype dtype;
    int64_t m, k;
    const float *bias;
    float *y;
    int64_t ldy;
    int64_t begin, end;
};

/* Positions that the softmax takes at once. */
#define ATTEND_BLOCK INT64_C(64)
/* Query rows of one job. */
#define ATTEND_ROWS 32

/* Rows [q_begin, q_end) of a sequence, `group` heads from first_head on, which share kv_head. */
struct attend_job {
    const struct attention_args *args;
    const struct attention_seq *seq;
    int64_t first_head, group, kv_heads, kv_head, head_dim;
    int64_t value_dim; /* head_dim; where the cache has no v, values are the first elements of keys */
    int64_t q_begin, q_end;
    float *scratch; /* attend_floats(rows) with rows = queries * group */
};

/* y[rows, n] = x[rows, k] w[k, n], each element by adding over k in order. */
struct mix_job {
    const float *x;
    int64_t ldx;
    const void *w;
    enum dtype dtype;
    float *y;
    int64_t ldy;
    int64_t rows, n, k;
};

struct cpu_isa {
    const char *name;
    int64_t (*dot_pack_floats)(int64_t k, int chunks, int rows, enum dtype dtype);
    int64_t (*dot_scratch_floats)(int rows, int chunks);
    void (*dot_pack)(const struct dot_job *job, const float *x, int64_t ldx);
    void (*dot_run)(const struct dot_job *job);
    void (*mix)(const struct mix_job *job);
    void (*widen)(float *out, const void *in, enum dtype dtype, int64_t n);
    int64_t outer_rows, outer_pass;
    int64_t (*outer_floats)(int64_t m, int64_t k);
    int64_t (*outer_scratch_floats)(void);
    /* Rows [begin, end), from a multiple of outer_rows on. */
    void (*outer_pack)(const struct outer_job *job, int64_t begin, int64_t end);
    void (*outer_run)(const struct outer_job *job);
    int64_t (*attend_floats)(int rows, int64_t head_dim);
    void (*attend_run)(const struct attend_job *job);
    /* Rows of n elements; out may be x. */
    void (*rmsnorm)(
            float *out, float *x, const float *residual, const float *gain, float eps, int64_t n);
    void (*silu)(float *out, const float *gate, const float *up, int64_t n);
    /* gpt-oss: struct expert_args says what. */
    void (*swiglu_clamped)(float *out, const float *gate, const float *up, float clamp, int64_t n);
    void (*add_scaled)(float *out, const float *x, float scale, int64_t n);
    /* x[i] = e^(x[i] - most), returns their sum. */
    float (*soften)(float *x, float most, int64_t n);
    int64_t (*arg_max)(const float *x, int64_t n); /* the first of equals */
    void (*angles)(float *cosine, float *sine, float position, const float *frequency, float scale,
            int64_t n);
    /* Rotates (x[i], x[half + i]) by the angle whose cosine and sine are given. */
    void (*rotate)(float *x, const float *cosine, const float *sine, int64_t half);
};

const struct cpu_isa *cpu_isa_find(enum dev_isa isa, bool deterministic);

extern const struct cpu_isa cpu_isa_portable;
#if defined(__x86_64__)
extern const struct cpu_isa cpu_isa_avx2, cpu_isa_avx512;
#endif

#endif
