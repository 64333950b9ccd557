/*
 * outer - products of many rows, by outer products over k (Goto and van de Geijn, "Anatomy of
 * high-performance matrix multiplication", 2008).
 *
 * The rows are packed once. A block of k of them at a time stays in the second-level cache; OUTER_COLUMNS rows of
 * the weights are turned into a panel [k][column] that stays in the first-level cache while all rows pass. A tile
 * of the result lives in registers. Each weight is read and turned once, so that costs little beside this many
 * rows; sums over k are added one by one, not by lanes as in dot.h, so the bits are others.
 */
#ifndef KERNELS_CPU_OUTER_H
#define KERNELS_CPU_OUTER_H

#include "kernels/cpu/isa.h"
#include "kernels/cpu/vec.h"
#include "kernels/element.h"

/* Sums of a tile leave registers for two vectors of weights and one value of a row. */
#define OUTER_ROWS    (VW == 16 ? 14 : 6)
#define OUTER_COLUMNS (2 * V_WIDTH)
/* A panel of so many k takes half of a first-level cache. */
#define OUTER_K (VW == 16 ? 192 : 256)
/* Rows of a pass: with OUTER_K they take half of a second-level cache. */
#define OUTER_PASS (VW == 16 ? 37 * 14 : 86 * 6)

ALWAYS_INLINE int64_t outer_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* k is cut into blocks that are about alike, whole eights. */
ALWAYS_INLINE int64_t outer_length(int64_t k)
{
    int64_t blocks = (k + OUTER_K - 1) / OUTER_K;
    return ((k + blocks - 1) / blocks + 7) / 8 * 8;
}

/* Of a block's tile: vectors are stored past its end. */
ALWAYS_INLINE int64_t outer_tile_floats(int64_t length)
{
    return OUTER_ROWS * length + 8;
}

ALWAYS_INLINE int64_t outer_tiles_of(int64_t m)
{
    return (m + OUTER_ROWS - 1) / OUTER_ROWS;
}

static inline int64_t outer_floats(int64_t m, int64_t k)
{
    int64_t length = outer_length(k), blocks = (k + length - 1) / length;
    return blocks * outer_tiles_of(m) * outer_tile_floats(length);
}

static inline int64_t outer_scratch_floats(void)
{
    return OUTER_COLUMNS * OUTER_K;
}

#if VW >= 8
ALWAYS_INLINE __m256 outer_eight(const char *row, enum dtype dtype, int64_t at)
{
    if (dtype == DTYPE_F32)
        return _mm256_loadu_ps((const float *)(const void *)row + at);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(row + 2 * at));
    if (dtype == DTYPE_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE void outer_turn(__m256 r[8])
{
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* Up to eight columns of a panel; whole eights of k. */
// NOLINTNEXTLINE(readability-function-size): inlined; a struct would keep its parts out of registers
ALWAYS_INLINE void outer_pack_columns(float *out, int width, const char *rows, int64_t row_bytes,
        int n, int64_t k, enum dtype dtype)
{
    for (int64_t at = 0; at + 8 <= k; at += 8) {
        __m256 v[8];
        for (int i = 0; i < 8; i++)
            v[i] = i < n ? outer_eight(rows + i * row_bytes, dtype, at) : _mm256_setzero_ps();
        outer_turn(v);
        for (int i = 0; i < 8; i++)
            _mm256_storeu_ps(out + (at + i) * width, v[i]);
    }
}
#endif

/*
 * out[k][width] = rows[n][k], columns behind n are 0. Eight columns at a time, since rows lie a power of two apart
 * more often than not, and a set of the first-level cache holds eight lines. The last ones first: their vectors
 * may reach into the next k, which the first ones then write, or past the panel.
 */
// NOLINTNEXTLINE(readability-function-size): inlined; a struct would keep its parts out of registers
ALWAYS_INLINE void outer_pack(float *out, int width, const char *rows, int64_t row_bytes, int n,
        int64_t k, enum dtype dtype)
{
    int64_t at = 0;
#if VW >= 8
    for (int first = (width - 1) / 8 * 8; first >= 0; first -= 8) {
        const char *from = rows + first * row_bytes;
        if (n >= first + 8)
            outer_pack_columns(out + first, width, from, row_bytes, 8, k, dtype);
        else if (n == width)
            outer_pack_columns(out + first, width, from, row_bytes, width % 8, k, dtype);
        else
            outer_pack_columns(out + first, width, from, row_bytes, n - first, k, dtype);
    }
    at = k / 8 * 8;
#endif
    for (; at < k; at++)
        for (int i = 0; i < width; i++)
            out[at * width + i] = i < n ? element_load(rows + i * row_bytes, dtype, at) : 0;
}

/* One tile for one block of k. */
struct outer_step {
    const float *x, *w; /* panels */
    int64_t k;
    float *y;
    int64_t ldy;
    const float *bias;
    int columns;
    bool first; /* block of k: what y holds does not count */
};

ALWAYS_INLINE void outer_store(const struct outer_step *s, vf acc[OUTER_ROWS][2], int rows)
{
    for (int64_t r = 0; r < rows; r++) {
        float *y = s->y + r * s->ldy;
        for (int64_t c = 0; c < 2; c++) {
            vf sum = acc[r][c];
            if (!s->first)
                sum += v_load(y + c * VW);
            if (s->bias)
                sum += v_load(s->bias + c * VW);
            v_store(y + c * VW, sum);
        }
    }
}

/* The last columns of a matrix, fewer than a tile has. */
ALWAYS_INLINE void outer_store_some(const struct outer_step *s, vf acc[OUTER_ROWS][2], int rows)
{
    for (int64_t r = 0; r < rows; r++) {
        float *y = s->y + r * s->ldy, sum[2 * VW];
        v_store(sum, acc[r][0]);
        v_store(sum + VW, acc[r][1]);
        for (int c = 0; c < s->columns; c++)
            y[c] = sum[c] + (s->first ? 0 : y[c]) + (s->bias ? s->bias[c] : 0);
    }
}

ALWAYS_INLINE void outer_tile(const struct outer_step *s, int rows)
{
    const float *x = s->x, *w = s->w;
    vf acc[OUTER_ROWS][2];
    for (int64_t r = 0; r < rows; r++) {
        acc[r][0] = acc[r][1] = v_zero();
        __builtin_prefetch(s->y + r * s->ldy, 1, 3);
    }
    for (int64_t i = 0; i < s->k; i++, x += OUTER_ROWS, w += OUTER_COLUMNS) {
        vf left = v_keep(v_load(w)), right = v_keep(v_load(w + VW));
        for (int64_t r = 0; r < rows; r++) {
            vf value = v_set1(x[r]);
            acc[r][0] = v_fma(value, left, acc[r][0]);
            acc[r][1] = v_fma(value, right, acc[r][1]);
        }
    }
    if (s->columns == OUTER_COLUMNS)
        outer_store(s, acc, rows);
    else
        outer_store_some(s, acc, rows);
}

#define OUTER_TILE(rows)                                      \
    static void outer_tile_##rows(const struct outer_step *s) \
    {                                                         \
        outer_tile(s, rows);                                  \
    }
OUTER_TILE(1)
OUTER_TILE(2)
OUTER_TILE(3)
OUTER_TILE(4)
OUTER_TILE(5)
OUTER_TILE(6)
#if VW == 16
OUTER_TILE(7)
OUTER_TILE(8)
OUTER_TILE(9)
OUTER_TILE(10)
OUTER_TILE(11)
OUTER_TILE(12)
OUTER_TILE(13)
OUTER_TILE(14)
#endif

static void (*const outer_tiles[OUTER_ROWS + 1])(const struct outer_step *s) = {
        NULL, outer_tile_1, outer_tile_2, outer_tile_3, outer_tile_4, outer_tile_5, outer_tile_6,
#if VW == 16
        outer_tile_7, outer_tile_8, outer_tile_9, outer_tile_10, outer_tile_11, outer_tile_12,
        outer_tile_13, outer_tile_14
#endif
};

static inline void outer_pack_job(const struct outer_job *job, int64_t begin, int64_t end)
{
    int64_t length = outer_length(job->k), tile = outer_tile_floats(length);
    float *block = job->packed;
    for (int64_t at = 0; at < job->k; at += length, block += outer_tiles_of(job->m) * tile)
        for (int64_t row = begin; row < end; row += OUTER_ROWS)
            outer_pack(block + row / OUTER_ROWS * tile, OUTER_ROWS,
                    (const char *)(job->x + row * job->ldx + at), job->ldx * 4,
                    (int)outer_least(job->m - row, OUTER_ROWS), outer_least(job->k - at, length),
                    DTYPE_F32);
}

/* The rows for k [at, at + k). */
struct outer_block {
    const struct outer_job *job;
    const float *x; /* packed */
    int64_t at, k;
};

/* Where the weights lie that the next panel is made from: tiles fetch them, a few lines each. */
struct outer_ahead {
    const char *row, *end;
    int64_t row_bytes, line, lines; /* lines of 64 bytes in a row's block */
    int64_t each;
};

ALWAYS_INLINE void outer_fetch(struct outer_ahead *ahead)
{
    for (int64_t i = 0; i < ahead->each && ahead->row < ahead->end; i++) {
        __builtin_prefetch(ahead->row + ahead->line * 64, 0, 2);
        if (++ahead->line == ahead->lines) {
            ahead->line = 0;
            ahead->row += ahead->row_bytes;
        }
    }
}

/* All rows of the block against OUTER_COLUMNS columns. */
static inline void outer_panel(const struct outer_block *b, int64_t col)
{
    const struct outer_job *job = b->job;
    int64_t element = job->dtype == DTYPE_F32 ? 4 : 2, row_bytes = job->k * element;
    const char *w = (const char *)job->w + col * row_bytes + b->at * element;
    int columns = (int)outer_least(job->end - col, OUTER_COLUMNS);
    int64_t tiles = outer_tiles_of(job->m), lines = (b->k * element + 63) / 64;
    int64_t next = outer_least(job->end - col - columns, OUTER_COLUMNS);
    struct outer_ahead ahead = {.row = w + OUTER_COLUMNS * row_bytes,
            .end = w + (OUTER_COLUMNS + next) * row_bytes,
            .row_bytes = row_bytes,
            .lines = lines,
            .each = (lines * OUTER_COLUMNS + tiles - 1) / tiles};
    struct outer_step step = {.w = job->scratch,
            .k = b->k,
            .ldy = job->ldy,
            .bias = job->bias && b->at + b->k == job->k ? job->bias + col : NULL,
            .columns = columns,
            .first = b->at == 0};
    if (job->dtype == DTYPE_F32)
        outer_pack(job->scratch, OUTER_COLUMNS, w, row_bytes, columns, b->k, DTYPE_F32);
    else if (job->dtype == DTYPE_F16)
        outer_pack(job->scratch, OUTER_COLUMNS, w, row_bytes, columns, b->k, DTYPE_F16);
    else
        outer_pack(job->scratch, OUTER_COLUMNS, w, row_bytes, columns, b->k, DTYPE_BF16);
    for (int64_t t = 0; t < tiles; t++) {
        step.x = b->x + t * outer_tile_floats(outer_length(job->k));
        step.y = job->y + t * OUTER_ROWS * job->ldy + col;
        outer_fetch(&ahead);
        outer_tiles[outer_least(job->m - t * OUTER_ROWS, OUTER_ROWS)](&step);
    }
}

static inline void outer_run(const struct outer_job *job)
{
    int64_t length = outer_length(job->k);
    struct outer_block b = {.job = job, .x = job->packed};
    for (; b.at < job->k; b.at += length) {
        b.k = outer_least(job->k - b.at, length);
        for (int64_t col = job->begin; col < job->end; col += OUTER_COLUMNS)
            outer_panel(&b, col);
        b.x += outer_tiles_of(job->m) * outer_tile_floats(length);
    }
}

#endif
