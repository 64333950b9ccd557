/*
 * dot - products of few rows with weights as they are stored, each weight read once.
 *
 * Every output element is a dot product over k: VW partial sums (2 VW elements of bf16 go to them in two
 * steps, even and odd), added across at the end. The order is the same whatever rows and columns share
 * a tile, so splitting the work changes no bit. Rows are packed so that a step of a tile reads them in
 * one run: [chunk][tile][step][row][VW], evens before odds for bf16.
 */
#ifndef KERNELS_CPU_DOT_H
#define KERNELS_CPU_DOT_H

#include "kernels/cpu/isa.h"
#include "kernels/cpu/vec.h"

/* Bytes of each row that are fetched ahead of use. */
#define DOT_AHEAD 1024

ALWAYS_INLINE int dot_step_elements(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? VW : 2 * VW;
}

/* Rows of a tile: 4 by 3 and 3 by 4 both fill the registers; rows should be left over by neither. */
ALWAYS_INLINE int dot_tile_rows(int rows)
{
    return rows <= 3 || (rows % 3 == 0 && rows < 10) || rows == 5 ? 3 : 4;
}

ALWAYS_INLINE int dot_tile_columns(int rows)
{
    return dot_tile_rows(rows) == 3 ? 4 : 3;
}

static inline int64_t dot_pack_floats(int64_t k, int chunks, int rows, enum dtype dtype)
{
    int64_t step = dot_step_elements(dtype), length = k / chunks;
    return (length + step - 1) / step * step * chunks * rows;
}

ALWAYS_INLINE void dot_pack_step(float *out, const float *x, int64_t left, enum dtype dtype)
{
    int n = dot_step_elements(dtype);
    if (dtype == DTYPE_F32) {
        for (int i = 0; i < n; i++)
            out[i] = i < left ? x[i] : 0;
        return;
    }
    for (int i = 0; i < VW; i++) {
        out[i] = 2 * i < left ? x[2 * i] : 0;
        out[VW + i] = 2 * i + 1 < left ? x[2 * i + 1] : 0;
    }
}

/* One chunk of k elements. */
static inline void dot_pack_rows(
        float *out, const float *x, int64_t ldx, int64_t k, int rows, int tile, enum dtype dtype)
{
    int64_t step = dot_step_elements(dtype);
    for (int first = 0; first < rows; first += tile) {
        int n = rows - first < tile ? rows - first : tile;
        const float *from = x + first * ldx;
        for (int64_t at = 0; at < k; at += step) {
            for (int r = 0; r < n; r++, out += step) {
                if (k - at >= step)
                    dot_pack_step(out, from + r * ldx + at, step, dtype);
                else
                    dot_pack_step(out, from + r * ldx + at, k - at, dtype);
            }
        }
    }
}

static inline void dot_pack(float *out, const float *x, int64_t ldx, const struct dot_job *job)
{
    int64_t length = job->k / job->chunks;
    int64_t floats = dot_pack_floats(length, 1, job->rows, job->dtype);
    for (int chunk = 0; chunk < job->chunks; chunk++)
        dot_pack_rows(out + chunk * floats, x + chunk * length, ldx, length, job->rows,
                dot_tile_rows(job->rows), job->dtype);
}

ALWAYS_INLINE void dot_step(vf acc[4][4], int rows, int cols, enum dtype dtype, const float *x,
        const char *w, int64_t row_bytes)
{
    if (dtype == DTYPE_F32) {
        vf wv[4];
        for (int c = 0; c < cols; c++)
            wv[c] = (vf)v_load_bits(w + c * row_bytes);
        for (int r = 0; r < rows; r++) {
            vf xv = v_load(x + r * VW);
            for (int c = 0; c < cols; c++)
                acc[r][c] = v_fma(xv, wv[c], acc[r][c]);
        }
        return;
    }
    vu words[4];
    for (int c = 0; c < cols; c++)
        words[c] = v_load_bits(w + c * row_bytes);
    for (int r = 0; r < rows; r++) {
        vf xv = v_load(x + 2 * r * VW);
        for (int c = 0; c < cols; c++)
            acc[r][c] = v_fma(xv, v_bf16_even(words[c]), acc[r][c]);
    }
    for (int r = 0; r < rows; r++) {
        vf xv = v_load(x + (2 * r + 1) * VW);
        for (int c = 0; c < cols; c++)
            acc[r][c] = v_fma(xv, v_bf16_odd(words[c]), acc[r][c]);
    }
}

/* The last, partial step reads copies: behind a row lies another, or nothing. */
ALWAYS_INLINE void dot_tail(vf acc[4][4], int rows, int cols, enum dtype dtype, const float *x,
        const char *w, int64_t row_bytes, int64_t left)
{
    char copy[4][4 * VW] = {{0}};
    for (int c = 0; c < cols; c++)
        memcpy(copy[c], w + c * row_bytes, (size_t)left * (dtype == DTYPE_F32 ? 4 : 2));
    dot_step(acc, rows, cols, dtype, x, copy[0], sizeof(copy[0]));
}

/* sums[row * 4 + column]. fetch: this tile is the first to read these weights. */
ALWAYS_INLINE void dot_tile(float *sums, int rows, int cols, enum dtype dtype, const float *x,
        const char *w, int64_t row_bytes, int64_t length, bool fetch)
{
    const int64_t step_bytes = 4 * VW;
    int64_t step = dot_step_elements(dtype), steps = length / step;
    int64_t x_step = step * rows, near = 0;
    vf acc[4][4];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            acc[r][c] = v_zero();
    if (fetch) {
        near = steps - DOT_AHEAD / step_bytes;
        near = near < 0 ? 0 : near;
        for (int64_t i = 0; i < near; i++, x += x_step, w += step_bytes) {
            for (int c = 0; c < cols; c++)
                __builtin_prefetch(w + c * row_bytes + DOT_AHEAD, 0, 3);
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
        }
        /* The end of the row: what comes next is the beginning of the next columns. */
        int64_t ahead = (cols - 1) * row_bytes + (near ? DOT_AHEAD : row_bytes);
        for (int64_t i = near; i < steps; i++, x += x_step, w += step_bytes) {
            for (int c = 0; c < cols; c++)
                __builtin_prefetch(w + c * row_bytes + ahead, 0, 3);
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
        }
    } else {
        for (int64_t i = 0; i < steps; i++, x += x_step, w += step_bytes)
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
    }
    if (length % step)
        dot_tail(acc, rows, cols, dtype, x, w, row_bytes, length % step);
    for (int r = 0; r < rows; r++)
        v_sum4(sums + 4 * r, acc[r][0], acc[r][cols > 1 ? 1 : 0], acc[r][cols > 2 ? 2 : 0],
                acc[r][cols > 3 ? 3 : 0]);
}

#define DOT_TILE(name, rows, cols, dtype)                                           \
    static void name(float *sums, const float *x, const char *w, int64_t row_bytes, \
            int64_t length, bool fetch)                                             \
    {                                                                               \
        dot_tile(sums, rows, cols, dtype, x, w, row_bytes, length, fetch);          \
    }
#define DOT_TILES(suffix, dtype)            \
    DOT_TILE(dot_1x1_##suffix, 1, 1, dtype) \
    DOT_TILE(dot_2x1_##suffix, 2, 1, dtype) \
    DOT_TILE(dot_3x1_##suffix, 3, 1, dtype) \
    DOT_TILE(dot_4x1_##suffix, 4, 1, dtype) \
    DOT_TILE(dot_1x3_##suffix, 1, 3, dtype) \
    DOT_TILE(dot_2x3_##suffix, 2, 3, dtype) \
    DOT_TILE(dot_3x3_##suffix, 3, 3, dtype) \
    DOT_TILE(dot_4x3_##suffix, 4, 3, dtype) \
    DOT_TILE(dot_1x4_##suffix, 1, 4, dtype) \
    DOT_TILE(dot_2x4_##suffix, 2, 4, dtype) \
    DOT_TILE(dot_3x4_##suffix, 3, 4, dtype)

DOT_TILES(f32, DTYPE_F32)
DOT_TILES(bf16, DTYPE_BF16)

/* [dtype][columns: 1, 3, 4][rows] */
static void (*const dot_tiles[2][3][5])(float *sums, const float *x, const char *w,
        int64_t row_bytes, int64_t length, bool fetch) = {
        {{NULL, dot_1x1_f32, dot_2x1_f32, dot_3x1_f32, dot_4x1_f32},
                {NULL, dot_1x3_f32, dot_2x3_f32, dot_3x3_f32, dot_4x3_f32},
                {NULL, dot_1x4_f32, dot_2x4_f32, dot_3x4_f32, NULL}},
        {{NULL, dot_1x1_bf16, dot_2x1_bf16, dot_3x1_bf16, dot_4x1_bf16},
                {NULL, dot_1x3_bf16, dot_2x3_bf16, dot_3x3_bf16, dot_4x3_bf16},
                {NULL, dot_1x4_bf16, dot_2x4_bf16, dot_3x4_bf16, NULL}},
};

/* Rows first.. of a tile and columns col.., all chunks: computed apart and added in a binary tree. */
static inline void dot_element_block(
        const struct dot_job *job, int first, int rows, int64_t col, int cols)
{
    float sums[DOT_CHUNKS][16];
    int is_bf16 = job->dtype != DTYPE_F32;
    int64_t element = is_bf16 ? 2 : 4, length = job->k / job->chunks;
    int64_t chunk_floats = dot_pack_floats(length, 1, job->rows, job->dtype);
    int64_t tile_floats = dot_pack_floats(length, 1, first, job->dtype);
    const char *w = (const char *)job->w + col * job->k * element;
    for (int chunk = 0; chunk < job->chunks; chunk++)
        dot_tiles[is_bf16][cols == 1 ? 0 : cols - 2][rows](sums[chunk],
                job->packed + chunk * chunk_floats + tile_floats, w + chunk * length * element,
                job->k * element, length, first == 0);
    for (int span = 1; span < job->chunks; span *= 2)
        for (int chunk = 0; chunk < job->chunks; chunk += 2 * span)
            for (int i = 0; i < 16; i++)
                sums[chunk][i] += sums[chunk + span][i];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            job->y[(first + r) * job->ldy + col + c] =
                    sums[0][4 * r + c] + (job->bias ? job->bias[col + c] : 0);
}

static inline void dot_run(const struct dot_job *job)
{
    int tile = dot_tile_rows(job->rows), width = dot_tile_columns(job->rows);
    for (int64_t col = job->begin; col < job->end;) {
        int cols = job->end - col >= width ? width : 1;
        for (int first = 0; first < job->rows; first += tile) {
            int rows = job->rows - first < tile ? job->rows - first : tile;
            dot_element_block(job, first, rows, col, cols);
        }
        col += cols;
    }
}

static inline void widen(float *out, const uint16_t *in, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(out + i, v_load_bf16(in + i));
    for (; i < n; i++) {
        uint32_t bits = (uint32_t)in[i] << 16;
        memcpy(out + i, &bits, sizeof(bits));
    }
}

#endif
