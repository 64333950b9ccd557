/*
 * attend - softmax(q k^T) v over a paged cache, for the heads that share one key and value head.
 *
 * Positions go in blocks of ATTEND_BLOCK from 0; each block updates a running maximum, sum and weighted
 * sum of values (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). A row does
 * the same operations in the same order whatever rows share its tile: a position that it may not see has
 * weight 0, and a block without any it may see is passed over. So prefill in chunks of any size and decode
 * give the same bits. Keys and values are read once for all rows of a tile.
 */
#ifndef KERNELS_CPU_ATTEND_H
#define KERNELS_CPU_ATTEND_H

#include <math.h>

#include "kernels/cpu/dot.h"

/* Where the keys and values of a block lie. */
struct attend_place {
    int64_t n; /* positions; 0 = there is no such block */
    const char *key[ATTEND_BLOCK], *value[ATTEND_BLOCK];
};

/* Where things lie in the scratch memory of a job. */
struct attend_state {
    const struct attend_job *job;
    int rows, group;
    int64_t cell;  /* elements that one load of values gives: evens and odds for bf16 */
    int64_t width; /* head_dim rounded up to cells */
    float *packed; /* queries for dot.h */
    float *scores; /* [rows][ATTEND_BLOCK], then the weights */
    float *sum;    /* [rows][width], elements as loads give them */
    float *most, *total, *scale;
    int64_t *begin, *end; /* positions that a row sees */
    int64_t seen, last;   /* positions [seen, last) are seen by some row */
    struct attend_place places[2], *here, *next;
};

static inline int64_t attend_floats(int rows, int64_t head_dim)
{
    int64_t width = head_dim + 2 * V_WIDTH;
    return rows * (3 * width + ATTEND_BLOCK + 8) + 64;
}

static inline void attend_open(struct attend_state *s, const struct attend_job *job)
{
    const struct attention_args *a = job->args;
    int64_t first = job->seq->kv_len - job->seq->q_len;
    int group = (int)job->group, rows = (int)(job->q_end - job->q_begin) * group;
    *s = (struct attend_state){.job = job, .rows = rows, .group = group};
    s->cell = dot_step_elements(a->cache.dtype);
    s->width = (job->head_dim + s->cell - 1) / s->cell * s->cell;
    s->packed = job->scratch;
    s->sum = s->packed + rows * s->width;
    s->scores = s->sum + rows * s->width;
    s->most = s->scores + rows * ATTEND_BLOCK;
    s->total = s->most + rows;
    s->scale = s->total + rows;
    s->begin = (int64_t *)(s->scale + rows + rows % 2);
    s->end = s->begin + rows;
    /* Queries, gathered into what is the sum later. */
    for (int r = 0; r < rows; r++) {
        int64_t row = job->q_begin + r / group;
        const float *q = a->q + (job->seq->row + row) * a->ldq
                         + (job->first_head + r % group) * job->head_dim;
        for (int64_t i = 0; i < job->head_dim; i++)
            s->sum[r * job->head_dim + i] = q[i] * a->scale;
        s->end[r] = first + row + 1;
        s->begin[r] = a->window > 0 && s->end[r] > a->window ? s->end[r] - a->window : 0;
        /* A sink is a score that was seen before all others. */
        s->most[r] = a->sinks ? a->sinks[job->first_head + r % group] : -INFINITY;
        s->total[r] = a->sinks ? 1 : 0;
    }
    dot_pack_rows(s->packed, s->sum, job->head_dim, job->head_dim, rows, a->cache.dtype);
    memset(s->sum, 0, sizeof(float) * (size_t)(rows * s->width));
}

/* Positions before the first one that a row sees may not be kept any more: they get weight 0, and another
 * position stands in for them. */
static inline void attend_find(
        const struct attend_state *s, struct attend_place *place, int64_t block)
{
    const struct kv_layer *cache = &s->job->args->cache;
    int64_t bytes = s->job->head_dim * (cache->dtype == DTYPE_F32 ? 4 : 2);
    int64_t n = s->last - block;
    place->n = n < 0 ? 0 : n < ATTEND_BLOCK ? n : ATTEND_BLOCK;
    for (int64_t j = 0, run = 1; j < place->n; j += run) {
        int64_t pos = block + j < s->seen ? s->seen : block + j;
        int64_t within = pos % cache->block_tokens;
        int64_t at = (s->job->seq->blocks[pos / cache->block_tokens] * s->job->kv_heads
                             + s->job->kv_head)
                             * cache->block_tokens
                     + within;
        const char *key = (const char *)cache->k + at * bytes;
        const char *value = (const char *)(cache->v ? cache->v : cache->k) + at * bytes;
        /* The rest of a block of the cache lies behind. */
        int64_t left = cache->block_tokens - within;
        run = block + j < s->seen ? 1 : left < place->n - j ? left : place->n - j;
        for (int64_t i = 0; i < run; i++) {
            place->key[j + i] = key + i * bytes;
            place->value[j + i] = value + i * bytes;
        }
    }
}

/* While a block is scored, the keys of the next one come into the second-level cache, and while its values are
 * added up, the values: pages lie anywhere, and the hardware does not know where. */
ALWAYS_INLINE void attend_fetch(const char *row, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(row + at, 0, 2);
}

/* Scores of a block for all rows; several at a time where they lie in one run of the cache. */
static inline void attend_score(struct attend_state *s)
{
    enum dtype dtype = s->job->args->cache.dtype;
    const struct attend_place *here = s->here;
    int64_t k = s->job->head_dim, bytes = k * (dtype == DTYPE_F32 ? 4 : 2);
    int width = dot_columns(s->rows);
    for (int64_t j = 0; j < here->n;) {
        bool run = j + width <= here->n
                   && here->key[j + width - 1] - here->key[j] == (width - 1) * bytes;
        int cols = run ? width : 1;
        for (int c = 0; c < cols; c++)
            if (j + c < s->next->n)
                attend_fetch(s->next->key[j + c], bytes);
        for (int first = 0, rows; first < s->rows; first += rows) {
            float sums[12];
            rows = dot_next_rows(s->rows - first);
            dot_tiles[dtype][cols / 2][rows](
                    sums, s->packed + first * s->width, here->key[j], bytes, k, false);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < cols; c++)
                    s->scores[(first + r) * ATTEND_BLOCK + j + c] = sums[cols * r + c];
        }
        j += cols;
    }
}

/* Scores become weights, relative to the new maximum; scale brings what was summed so far there. */
static inline void attend_soften(struct attend_state *s, int r, int64_t block)
{
    float *score = s->scores + r * ATTEND_BLOCK;
    int64_t from = s->begin[r] - block, to = s->end[r] - block;
    if (from >= ATTEND_BLOCK || to <= 0) {
        memset(score, 0, sizeof(float) * ATTEND_BLOCK);
        s->scale[r] = 1;
        return;
    }
    for (int64_t j = 0; j < from; j++)
        score[j] = -INFINITY;
    for (int64_t j = to; j < ATTEND_BLOCK; j++)
        score[j] = -INFINITY;
    vf most = v_set1(s->most[r]), total = v_zero();
    for (int j = 0; j < ATTEND_BLOCK; j += VW)
        most = v_max(most, v_load(score + j));
    float now = v_max_lane(most);
    for (int j = 0; j < ATTEND_BLOCK; j += VW) {
        vf weight = v_exp(v_load(score + j) - v_set1(now));
        v_store(score + j, weight);
        total += weight;
    }
    float factor[VW];
    v_store(factor, v_exp(v_set1(s->most[r] - now)));
    s->scale[r] = factor[0];
    s->total[r] = s->total[r] * factor[0] + v_sum(total);
    s->most[r] = now;
}

/* Some cells of some rows. */
struct attend_span {
    int64_t first, at; /* row, element */
    int64_t n;         /* positions */
    int64_t left;      /* elements of a partial cell, 0 = whole */
};

/* `cells` cells of values, evens and odds apart for bf16. */
ALWAYS_INLINE void attend_load(
        vf v[4], const char *value, int64_t cells, enum dtype dtype, int64_t left)
{
    char copy[4 * VW] = {0};
    if (left) {
        memcpy(copy, value, (size_t)left * (dtype == DTYPE_F32 ? 4 : 2));
        value = copy;
    }
    for (int64_t c = 0; c < cells; c++) {
        vu words = v_load_bits(value + c * 4 * VW);
        if (dtype == DTYPE_F32) {
            v[c] = (vf)words;
        } else if (dtype == DTYPE_F16) {
            const uint16_t *half = (const uint16_t *)(const void *)(value + c * 4 * VW);
            v[2 * c] = v_load_f16(half);
            v[2 * c + 1] = v_load_f16(half + VW);
        } else {
            v[2 * c] = v_bf16_even(words);
            v[2 * c + 1] = v_bf16_odd(words);
        }
    }
}

/* sum[rows][cells] = sum * scale + weights values, over the positions. */
ALWAYS_INLINE void attend_tile(struct attend_state *s, const struct attend_span *span, int64_t rows,
        int64_t cells, enum dtype dtype)
{
    const int64_t vectors = cells * (dtype == DTYPE_F32 ? 1 : 2);
    const int64_t offset = span->at * (dtype == DTYPE_F32 ? 4 : 2);
    float *sum = s->sum + span->first * s->width + span->at;
    const float *weight = s->scores + span->first * ATTEND_BLOCK;
    /* Keys that are values, too, have come already. */
    const bool fetch = span->first == 0 && span->at == 0 && s->job->args->cache.v;
    const int64_t row_bytes = s->job->value_dim * (dtype == DTYPE_F32 ? 4 : 2);
    vf acc[4][4], v[4];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < vectors; i++)
            acc[r][i] = v_load(sum + r * s->width + i * VW) * v_set1(s->scale[span->first + r]);
    for (int64_t j = 0; j < span->n; j++) {
        if (fetch && j < s->next->n)
            attend_fetch(s->next->value[j], row_bytes);
        attend_load(v, s->here->value[j] + offset, cells, dtype, span->left);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < vectors; i++)
                acc[r][i] = v_fma(v_set1(weight[r * ATTEND_BLOCK + j]), v[i], acc[r][i]);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < vectors; i++)
            v_store(sum + r * s->width + i * VW, acc[r][i]);
}

/* All cells of some rows: as many at once as fill the registers, then one by one. */
ALWAYS_INLINE void attend_rows(
        struct attend_state *s, int first, int rows, int64_t n, enum dtype dtype)
{
    const int64_t cells = (rows == 4 ? 2 : 4) / (dtype == DTYPE_F32 ? 1 : 2);
    int64_t dim = s->job->value_dim, cell = dot_step_elements(dtype);
    struct attend_span span = {.first = first, .n = n};
    for (; span.at + cells * cell <= dim; span.at += cells * cell)
        attend_tile(s, &span, rows, cells, dtype);
    for (; span.at + cell <= dim; span.at += cell)
        attend_tile(s, &span, rows, 1, dtype);
    span.left = dim - span.at;
    if (span.left)
        attend_tile(s, &span, rows, 1, dtype);
}

ALWAYS_INLINE void attend_add(struct attend_state *s, int64_t n, enum dtype dtype)
{
    int r = 0;
    for (; r + 4 <= s->rows; r += 4)
        attend_rows(s, r, 4, n, dtype);
    for (; r + 2 <= s->rows; r += 2)
        attend_rows(s, r, 2, n, dtype);
    if (r < s->rows)
        attend_rows(s, r, 1, n, dtype);
}

/* Elements of a row stand where loads put them: evens of a cell before its odds for bf16. */
static inline void attend_store(const struct attend_state *s, int r, float *out)
{
    const float *sum = s->sum + r * s->width;
    const int64_t dim = s->job->value_dim;
    float total = s->total[r];
    if (s->job->args->cache.dtype != DTYPE_BF16) {
        for (int64_t i = 0; i < dim; i++)
            out[i] = sum[i] / total;
        return;
    }
    for (int64_t cell = 0; cell < dim; cell += 2 * V_WIDTH) {
        for (int64_t i = 0; i < 2 * V_WIDTH && cell + i < dim; i++)
            out[cell + i] = sum[cell + i / 2 + (i % 2 ? V_WIDTH : 0)] / total;
    }
}

static inline void attend_run(const struct attend_job *job)
{
    struct attend_state s;
    attend_open(&s, job);
    int64_t block = s.begin[0] / ATTEND_BLOCK * ATTEND_BLOCK;
    s.seen = s.begin[0];
    s.last = s.end[s.rows - 1];
    s.here = &s.places[0];
    s.next = &s.places[1];
    attend_find(&s, s.here, block);
    for (; block < s.last; block += ATTEND_BLOCK) {
        struct attend_place *here = s.here;
        attend_find(&s, s.next, block + ATTEND_BLOCK);
        attend_score(&s);
        for (int r = 0; r < s.rows; r++)
            attend_soften(&s, r, block);
        if (job->args->cache.dtype == DTYPE_F32)
            attend_add(&s, here->n, DTYPE_F32);
        else if (job->args->cache.dtype == DTYPE_F16)
            attend_add(&s, here->n, DTYPE_F16);
        else
            attend_add(&s, here->n, DTYPE_BF16);
        s.here = s.next;
        s.next = here;
    }
    for (int r = 0; r < s.rows; r++) {
        int64_t row = job->seq->row + job->q_begin + r / s.group;
        attend_store(&s, r,
                job->args->out + row * job->args->ldo
                        + (job->first_head + r % s.group) * job->value_dim);
    }
}

#endif
