/*
 * dot - products of few rows with weights as they are stored, each weight read once.
 *
 * Every output element is a dot product over k: VW partial sums (2 VW elements of bf16 go to them in two
 * steps, even and odd; of f16, lower and upper), added across at the end. The order is the same whatever rows and columns share
 * a tile, so splitting the work changes no bit. Rows are packed so that a step of a tile reads them in
 * one run: [chunk][tile][step][row][VW], evens before odds for bf16.
 */
#ifndef KERNELS_CPU_DOT_H
#define KERNELS_CPU_DOT_H

#include "kernels/cpu/isa.h"
#include "kernels/cpu/vec.h"

/*
 * How weights are fetched ahead decides what few rows cost. Rows are short (2 KiB for 1,024 bf16), so the hardware
 * starts anew with every group of columns: fetching the whole next group into the second-level cache while
 * this one passes hides that. Groups larger than DOT_FAR would push each other out; there, DOT_AHEAD bytes of
 * the same rows are fetched.
 */
#define DOT_FAR   65536
#define DOT_AHEAD 128

ALWAYS_INLINE int dot_step_elements(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? VW : 2 * VW;
}

/*
 * Tiles of up to 6 rows by 2 columns fill the registers with sums and leave room for bf16 to be widened; one
 * row by 8 and two by 4 read more of the weights at once, which is what few rows wait for. The rows of the
 * next tile when `left` are left: all tiles about alike.
 */
#define DOT_TILE_ROWS 6

ALWAYS_INLINE int dot_next_rows(int left)
{
    int tiles = (left + DOT_TILE_ROWS - 1) / DOT_TILE_ROWS;
    return (left + tiles - 1) / tiles;
}

ALWAYS_INLINE int dot_columns(int rows)
{
    return rows == 1 ? 8 : rows == 2 ? 4 : 2;
}

static inline int64_t dot_pack_floats(int64_t k, int chunks, int rows, enum dtype dtype)
{
    int64_t step = dot_step_elements(dtype), length = k / chunks;
    return (length + step - 1) / step * step * chunks * rows;
}

ALWAYS_INLINE void dot_pack_step(float *out, const float *x, int64_t left, enum dtype dtype)
{
    int n = dot_step_elements(dtype);
    if (dtype != DTYPE_BF16) {
        for (int i = 0; i < n; i++)
            out[i] = i < left ? x[i] : 0;
        return;
    }
    for (int64_t i = 0; i < VW; i++) {
        out[i] = 2 * i < left ? x[2 * i] : 0;
        out[VW + i] = 2 * i + 1 < left ? x[2 * i + 1] : 0;
    }
}

/* One chunk or block of k elements. */
static inline void dot_pack_rows(
        float *out, const float *x, int64_t ldx, int64_t k, int rows, enum dtype dtype)
{
    int64_t step = dot_step_elements(dtype);
    for (int first = 0, n; first < rows; first += n) {
        n = dot_next_rows(rows - first);
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

/* Two vectors of f16, one after the other: converting them takes them from memory. */
ALWAYS_INLINE void dot_step_f16(vf acc[DOT_TILE_ROWS][8], int rows, int cols, const float *x,
        const char *w, int64_t row_bytes)
{
    for (int64_t half = 0; half < 2; half++) {
        vf wv[8];
        for (int c = 0; c < cols; c++)
            wv[c] = v_load_f16(
                    (const uint16_t *)(const void *)(w + c * row_bytes + half * 2 * V_WIDTH));
        for (int64_t r = 0; r < rows; r++) {
            vf xv = v_keep(v_load(x + (2 * r + half) * VW));
            for (int c = 0; c < cols; c++)
                acc[r][c] = v_fma(xv, wv[c], acc[r][c]);
        }
    }
}

ALWAYS_INLINE void dot_step(vf acc[DOT_TILE_ROWS][8], int rows, int cols, enum dtype dtype,
        const float *x, const char *w, int64_t row_bytes)
{
    if (dtype == DTYPE_F32) {
        vf wv[8];
        for (int c = 0; c < cols; c++)
            wv[c] = (vf)v_load_bits(w + c * row_bytes);
        for (int64_t r = 0; r < rows; r++) {
            vf xv = v_keep(v_load(x + r * VW));
            for (int c = 0; c < cols; c++)
                acc[r][c] = v_fma(xv, wv[c], acc[r][c]);
        }
        return;
    }
    if (dtype == DTYPE_F16) {
        dot_step_f16(acc, rows, cols, x, w, row_bytes);
        return;
    }
    vu words[8];
    for (int c = 0; c < cols; c++)
        words[c] = v_load_bits(w + c * row_bytes);
    for (int64_t r = 0; r < rows; r++) {
        vf xv = v_keep(v_load(x + 2 * r * VW));
        for (int c = 0; c < cols; c++)
            acc[r][c] = v_fma(xv, v_bf16_even(words[c]), acc[r][c]);
    }
    for (int64_t r = 0; r < rows; r++) {
        vf xv = v_keep(v_load(x + (2 * r + 1) * VW));
        for (int c = 0; c < cols; c++)
            acc[r][c] = v_fma(xv, v_bf16_odd(words[c]), acc[r][c]);
    }
}

/* The last, partial step reads copies: behind a row lies another, or nothing. */
// NOLINTNEXTLINE(readability-function-size): inlined; a struct would keep its parts out of registers
ALWAYS_INLINE void dot_tail(vf acc[DOT_TILE_ROWS][8], int rows, int cols, enum dtype dtype,
        const float *x, const char *w, int64_t row_bytes, int64_t left)
{
    char copy[8][4 * VW] = {{0}};
    for (int c = 0; c < cols; c++)
        memcpy(copy[c], w + c * row_bytes, (size_t)left * (dtype == DTYPE_F32 ? 4 : 2));
    dot_step(acc, rows, cols, dtype, x, copy[0], sizeof(copy[0]));
}

/* sums[row * cols + column] */
ALWAYS_INLINE void dot_sums(float *sums, vf acc[DOT_TILE_ROWS][8], int rows, int cols)
{
    float four[4];
    for (int64_t r = 0; r < rows && cols >= 4; r++)
        for (int64_t c = 0; c < cols; c += 4)
            v_sum4(sums + r * cols + c, acc[r][c], acc[r][c + 1], acc[r][c + 2], acc[r][c + 3]);
    for (int r = 0; r < rows && cols < 4; r += 2) {
        int next = r + 1 < rows ? r + 1 : r;
        v_sum4(four, acc[r][0], acc[r][cols - 1], acc[next][0], acc[next][cols - 1]);
        for (int c = 0; c < cols; c++) {
            sums[r * cols + c] = four[c];
            sums[next * cols + c] = four[next > r ? 2 + c : c];
        }
    }
}

/* fetch: this tile is the first to read these weights. */
// NOLINTNEXTLINE(readability-function-size): inlined; a struct would keep its parts out of registers
ALWAYS_INLINE void dot_tile(float *sums, int rows, int cols, enum dtype dtype, const float *x,
        const char *w, int64_t row_bytes, int64_t length, bool fetch)
{
    const int64_t step_bytes = 4 * V_WIDTH;
    int64_t step = dot_step_elements(dtype), steps = length / step;
    int64_t x_step = step * rows;
    vf acc[DOT_TILE_ROWS][8];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            acc[r][c] = v_zero();
    if (fetch && cols * row_bytes <= DOT_FAR) {
        for (int64_t i = 0; i < steps; i++, x += x_step, w += step_bytes) {
            for (int c = 0; c < cols; c++)
                __builtin_prefetch(w + (c + cols) * row_bytes, 0, 2);
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
        }
    } else if (fetch) {
        for (int64_t i = 0; i < steps; i++, x += x_step, w += step_bytes) {
            for (int c = 0; c < cols; c++)
                __builtin_prefetch(w + c * row_bytes + DOT_AHEAD, 0, 3);
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
        }
    } else {
        for (int64_t i = 0; i < steps; i++, x += x_step, w += step_bytes)
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
    }
    if (length % step)
        dot_tail(acc, rows, cols, dtype, x, w, row_bytes, length % step);
    dot_sums(sums, acc, rows, cols);
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
    DOT_TILE(dot_5x1_##suffix, 5, 1, dtype) \
    DOT_TILE(dot_6x1_##suffix, 6, 1, dtype) \
    DOT_TILE(dot_3x2_##suffix, 3, 2, dtype) \
    DOT_TILE(dot_4x2_##suffix, 4, 2, dtype) \
    DOT_TILE(dot_5x2_##suffix, 5, 2, dtype) \
    DOT_TILE(dot_6x2_##suffix, 6, 2, dtype) \
    DOT_TILE(dot_2x4_##suffix, 2, 4, dtype) \
    DOT_TILE(dot_1x8_##suffix, 1, 8, dtype)

DOT_TILES(f32, DTYPE_F32)
DOT_TILES(bf16, DTYPE_BF16)
DOT_TILES(f16, DTYPE_F16)

/* [dtype][half the columns][rows] */
static void (*const dot_tiles[3][5][DOT_TILE_ROWS + 1])(float *sums, const float *x, const char *w,
        int64_t row_bytes, int64_t length, bool fetch) = {
        {{NULL, dot_1x1_f32, dot_2x1_f32, dot_3x1_f32, dot_4x1_f32, dot_5x1_f32, dot_6x1_f32},
                {NULL, NULL, NULL, dot_3x2_f32, dot_4x2_f32, dot_5x2_f32, dot_6x2_f32},
                {NULL, NULL, dot_2x4_f32}, {NULL}, {NULL, dot_1x8_f32}},
        {{NULL, dot_1x1_bf16, dot_2x1_bf16, dot_3x1_bf16, dot_4x1_bf16, dot_5x1_bf16, dot_6x1_bf16},
                {NULL, NULL, NULL, dot_3x2_bf16, dot_4x2_bf16, dot_5x2_bf16, dot_6x2_bf16},
                {NULL, NULL, dot_2x4_bf16}, {NULL}, {NULL, dot_1x8_bf16}},
        {{NULL, dot_1x1_f16, dot_2x1_f16, dot_3x1_f16, dot_4x1_f16, dot_5x1_f16, dot_6x1_f16},
                {NULL, NULL, NULL, dot_3x2_f16, dot_4x2_f16, dot_5x2_f16, dot_6x2_f16},
                {NULL, NULL, dot_2x4_f16}, {NULL}, {NULL, dot_1x8_f16}},
};

/* Rows of one tile: weights are read as they lie in memory, whole columns after each other. */
static inline void dot_pack_tile(const struct dot_job *job, const float *x, int64_t ldx)
{
    int64_t length = job->k / job->chunks;
    int64_t floats = dot_pack_floats(length, 1, job->rows, job->dtype);
    for (int chunk = 0; chunk < job->chunks; chunk++)
        dot_pack_rows(job->packed + chunk * floats, x + chunk * length, ldx, length, job->rows,
                job->dtype);
}

/* Chunks are computed apart and added in a binary tree; a bias belongs to the first (op_table.h). */
static inline void dot_run_group(const struct dot_job *job, int64_t col, int cols)
{
    float sums[DOT_CHUNKS][12];
    int64_t element = job->dtype == DTYPE_F32 ? 4 : 2, length = job->k / job->chunks;
    int64_t floats = dot_pack_floats(length, 1, job->rows, job->dtype);
    const char *w = (const char *)job->w + col * job->k * element;
    for (int chunk = 0; chunk < job->chunks; chunk++)
        dot_tiles[job->dtype][cols / 2][job->rows](sums[chunk], job->packed + chunk * floats,
                w + chunk * length * element, job->k * element, length, true);
    for (int i = 0; job->bias && i < job->rows * cols; i++)
        sums[0][i] += job->bias[col + i % cols];
    for (int span = 1; span < job->chunks; span *= 2)
        for (int chunk = 0; chunk < job->chunks; chunk += 2 * span)
            for (int i = 0; i < job->rows * cols; i++)
                sums[chunk][i] += sums[chunk + span][i];
    for (int r = 0; r < job->rows; r++)
        for (int c = 0; c < cols; c++)
            job->y[r * job->ldy + col + c] = sums[0][r * cols + c];
}

static inline void dot_run_tile(const struct dot_job *job)
{
    int width = dot_columns(job->rows);
    for (int64_t col = job->begin; col < job->end;) {
        int cols = job->end - col >= width ? width : 1;
        dot_run_group(job, col, cols);
        col += cols;
    }
}

#endif
