/*
 * panel - products of more rows than one tile holds: dot.h in blocks over k.
 *
 * A block of the packed rows stays in the first-level cache while the weights of a panel of columns pass by;
 * the partial sums of the panel wait in memory between blocks. They are stored and loaded as they are, so the
 * bits are those of dot.h. Rows are packed [chunk][block][tile][step][row][VW].
 */
#ifndef KERNELS_CPU_PANEL_H
#define KERNELS_CPU_PANEL_H

#include "kernels/cpu/dot.h"

/* Columns of a panel, and of a tile. */
#define PANEL_COLUMNS 48
#define PANEL_WIDTH   2
/* Bytes of packed rows in a block: what the first-level cache holds beside a group of weights. */
#define PANEL_BYTES (24 * 1024)

struct panel {
    const struct dot_job *job;
    int64_t element, length; /* bytes of a weight; k of a chunk */
    int64_t first;           /* column */
    int columns;
    vf *partial; /* [group][tile][row][column] */
    float *sums; /* [chunk], then the same without lanes */
};

/* Elements of k in a block, whole steps. */
static inline int64_t panel_block(int rows, enum dtype dtype)
{
    int64_t k = PANEL_BYTES / 4 / rows, step = dot_step_elements(dtype);
    return k / step * step;
}

static inline void panel_pack(const struct dot_job *job, const float *x, int64_t ldx)
{
    float *out = job->packed;
    int64_t length = job->k / job->chunks, block = panel_block(job->rows, job->dtype);
    for (int chunk = 0; chunk < job->chunks; chunk++) {
        for (int64_t at = 0; at < length; at += block) {
            int64_t k = length - at < block ? length - at : block;
            dot_pack_rows(out, x + chunk * length + at, ldx, k, job->rows, job->dtype);
            out += dot_pack_floats(k, 1, job->rows, job->dtype);
        }
    }
}

static inline int64_t panel_floats(int rows, int chunks)
{
    return (int64_t)rows * PANEL_COLUMNS * (VW + chunks) + VW;
}

/* One block of one tile. */
struct panel_step {
    vf *partial;
    float *sums;
    const float *x;
    const char *w;
    int64_t row_bytes, k;
    int64_t ahead; /* how far on the weights lie that are needed next; 0 = they are here */
    bool first_block, last_block;
};

ALWAYS_INLINE void panel_tile(const struct panel_step *s, int rows, int cols, enum dtype dtype)
{
    const int64_t step = dot_step_elements(dtype), steps = s->k / step, row_bytes = s->row_bytes;
    const float *x = s->x;
    const char *w = s->w;
    vf acc[DOT_TILE_ROWS][8];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            acc[r][c] = s->first_block ? v_zero() : s->partial[r * cols + c];
    if (s->ahead) {
        for (int64_t i = 0; i < steps; i++, x += step * rows, w += 4 * V_WIDTH) {
            for (int c = 0; c < cols; c++)
                __builtin_prefetch(w + c * row_bytes + s->ahead, 0, 2);
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
        }
    } else {
        for (int64_t i = 0; i < steps; i++, x += step * rows, w += 4 * V_WIDTH)
            dot_step(acc, rows, cols, dtype, x, w, row_bytes);
    }
    if (!s->last_block) {
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols; c++)
                s->partial[r * cols + c] = acc[r][c];
        return;
    }
    if (s->k % step)
        dot_tail(acc, rows, cols, dtype, x, w, row_bytes, s->k % step);
    dot_sums(s->sums, acc, rows, cols);
}

#define PANEL_TILE(name, rows, cols, dtype)      \
    static void name(const struct panel_step *s) \
    {                                            \
        panel_tile(s, rows, cols, dtype);        \
    }
#define PANEL_TILES(suffix, dtype)              \
    PANEL_TILE(panel_3x1_##suffix, 3, 1, dtype) \
    PANEL_TILE(panel_4x1_##suffix, 4, 1, dtype) \
    PANEL_TILE(panel_5x1_##suffix, 5, 1, dtype) \
    PANEL_TILE(panel_6x1_##suffix, 6, 1, dtype) \
    PANEL_TILE(panel_3x2_##suffix, 3, 2, dtype) \
    PANEL_TILE(panel_4x2_##suffix, 4, 2, dtype) \
    PANEL_TILE(panel_5x2_##suffix, 5, 2, dtype) \
    PANEL_TILE(panel_6x2_##suffix, 6, 2, dtype)

PANEL_TILES(f32, DTYPE_F32)
PANEL_TILES(bf16, DTYPE_BF16)
PANEL_TILES(f16, DTYPE_F16)

/* [dtype][columns: 1, 2][rows]; more than one tile have at least three rows each */
static void (*const panel_tiles[3][2][DOT_TILE_ROWS + 1])(const struct panel_step *s) = {
        {{NULL, NULL, NULL, panel_3x1_f32, panel_4x1_f32, panel_5x1_f32, panel_6x1_f32},
                {NULL, NULL, NULL, panel_3x2_f32, panel_4x2_f32, panel_5x2_f32, panel_6x2_f32}},
        {{NULL, NULL, NULL, panel_3x1_bf16, panel_4x1_bf16, panel_5x1_bf16, panel_6x1_bf16},
                {NULL, NULL, NULL, panel_3x2_bf16, panel_4x2_bf16, panel_5x2_bf16, panel_6x2_bf16}},
        {{NULL, NULL, NULL, panel_3x1_f16, panel_4x1_f16, panel_5x1_f16, panel_6x1_f16},
                {NULL, NULL, NULL, panel_3x2_f16, panel_4x2_f16, panel_5x2_f16, panel_6x2_f16}},
};

/* Groups of tiles: the columns that start at `at` in the panel, and how many. */
ALWAYS_INLINE int panel_group(const struct panel *p, int at)
{
    return p->columns - at >= PANEL_WIDTH ? PANEL_WIDTH : 1;
}

/* All tiles of the panel for [from, from + k) of a chunk; x: that block of the packed rows. */
static inline void panel_run_block(
        const struct panel *p, const float *x, int chunk, int64_t from, int64_t k)
{
    const struct dot_job *job = p->job;
    int64_t row_bytes = job->k * p->element, at_k = (chunk * p->length + from) * p->element;
    int64_t ahead = PANEL_WIDTH * row_bytes; /* the next group of columns, as in dot.h */
    const char *w = (const char *)job->w + p->first * row_bytes + at_k;
    float *sums = p->sums + (int64_t)chunk * job->rows * PANEL_COLUMNS;
    for (int at = 0; at < p->columns;) {
        int cols = panel_group(p, at);
        for (int first = 0, rows; first < job->rows; first += rows) {
            rows = dot_next_rows(job->rows - first);
            int64_t place = (int64_t)at * job->rows + (int64_t)first * cols;
            struct panel_step step = {.partial = p->partial + place,
                    .sums = sums + place,
                    .x = x + dot_pack_floats(k, 1, first, job->dtype),
                    .w = w + at * row_bytes,
                    .row_bytes = row_bytes,
                    .k = k,
                    .ahead = first == 0 ? ahead : 0,
                    .first_block = from == 0,
                    .last_block = from + k == p->length};
            panel_tiles[job->dtype][cols - 1][rows](&step);
        }
        at += cols;
    }
}

/* To the first chunk, as op_table.h says. */
static inline void panel_add_bias(const struct panel *p)
{
    const struct dot_job *job = p->job;
    for (int at = 0; at < p->columns;) {
        int cols = panel_group(p, at);
        for (int i = 0; i < job->rows * cols; i++)
            p->sums[at * job->rows + i] += job->bias[p->first + at + i % cols];
        at += cols;
    }
}

/* Adds the chunks in a binary tree and puts the sums where they belong. */
static inline void panel_store(const struct panel *p)
{
    const struct dot_job *job = p->job;
    int64_t n = (int64_t)job->rows * PANEL_COLUMNS;
    if (job->bias)
        panel_add_bias(p);
    for (int span = 1; span < job->chunks; span *= 2)
        for (int chunk = 0; chunk < job->chunks; chunk += 2 * span)
            for (int64_t i = 0; i < n; i++)
                p->sums[chunk * n + i] += p->sums[(chunk + span) * n + i];
    for (int at = 0; at < p->columns;) {
        int cols = panel_group(p, at);
        for (int row = 0; row < job->rows; row++) {
            const float *sums = p->sums + (int64_t)at * job->rows + (int64_t)row * cols;
            float *y = job->y + row * job->ldy + p->first + at;
            for (int c = 0; c < cols; c++)
                y[c] = sums[c];
        }
        at += cols;
    }
}

static inline void panel_run(const struct dot_job *job)
{
    int64_t block = panel_block(job->rows, job->dtype);
    /* up to the alignment of vectors; dot_scratch_floats has room for it */
    size_t past = (uintptr_t)job->scratch % sizeof(vf) / sizeof(float);
    struct panel p = {.job = job,
            .element = job->dtype == DTYPE_F32 ? 4 : 2,
            .length = job->k / job->chunks,
            .partial = (vf *)(void *)(job->scratch + (past ? VW - past : 0))};
    p.sums = (float *)(p.partial + (int64_t)job->rows * PANEL_COLUMNS);
    for (p.first = job->begin; p.first < job->end; p.first += PANEL_COLUMNS) {
        const float *x = job->packed;
        p.columns = (int)(job->end - p.first < PANEL_COLUMNS ? job->end - p.first : PANEL_COLUMNS);
        for (int chunk = 0; chunk < job->chunks; chunk++) {
            for (int64_t from = 0; from < p.length; from += block) {
                int64_t k = p.length - from < block ? p.length - from : block;
                panel_run_block(&p, x, chunk, from, k);
                x += dot_pack_floats(k, 1, job->rows, job->dtype);
            }
        }
        panel_store(&p);
    }
}

/* By tile or by panel: whatever suits the number of rows. */
static inline void dot_pack(const struct dot_job *job, const float *x, int64_t ldx)
{
    if (job->rows <= DOT_TILE_ROWS)
        dot_pack_tile(job, x, ldx);
    else
        panel_pack(job, x, ldx);
}

static inline void dot_run(const struct dot_job *job)
{
    if (job->rows <= DOT_TILE_ROWS)
        dot_run_tile(job);
    else
        panel_run(job);
}

#endif
