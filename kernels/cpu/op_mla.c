/*
 * Two ways to the same sums. A prompt has many queries for each key, so keys and values are made of the latents,
 * one head and a tile of positions at a time, and never stand in memory whole. A decoded token has one: its query
 * goes through the weights into the latents' space and all heads attend there, as if they shared one key and
 * value head; what comes out goes through the weights into the heads' values.
 */
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"
#include "kernels/element.h"

/* Positions that are expanded at once, and queries that meet them: their scores fit the second-level cache. */
#define TILE INT64_C(256)
/* Queries, and what they become, of as many rows as fit are absorbed at once. */
#define SLAB_BYTES (INT64_C(32) << 20)
#define SLAB_ROWS  256

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static const char *cache_row(
        const struct kv_layer *cache, const struct attention_seq *seq, int64_t pos, int64_t width)
{
    int64_t slot = (int64_t)seq->blocks[pos / cache->block_tokens] * cache->block_tokens
                   + pos % cache->block_tokens;
    return element_at(cache->k, cache->dtype, slot * width);
}

/* ---- expanded ---- */

struct expand_work {
    struct dev *dev;
    const struct op *op;
    const struct mla_args *args;
    float *memory; /* `floats` for each thread */
    int64_t floats;
    _Atomic int64_t next; /* head */
};

/* One head of one sequence on one thread. */
struct expand {
    struct dev *dev;
    const struct cpu_isa *cpu;
    const struct mla_args *args;
    const struct attention_seq *seq;
    int part;
    int64_t head, rank, rope, nope, v, key; /* key = nope + rope */
    float *latents;                         /* [TILE, rank] */
    float *weights;                         /* [v, rank] */
    float *keys;                            /* [TILE, key] */
    float *values;                          /* [v, n] */
    float *scores;                          /* [TILE, TILE] */
    float *product;                         /* [TILE, v] */
    float *sum, *most, *total;              /* [q_len, v], [q_len], [q_len] */
};

static int64_t expand_floats(const struct op *op, int64_t nope)
{
    int64_t rank = op->dim[3], v = op->dim[5] - nope;
    int64_t n = TILE * (rank + nope + op->dim[4] + TILE + 2 * v) + v * rank + op->dim[0] * (v + 2);
    return (n + 15) / 16 * 16;
}

static void expand_open(struct expand *e, const struct expand_work *work, int part)
{
    const int64_t *dim = work->op->dim;
    *e = (struct expand){.dev = work->dev,
            .cpu = dev_cpu(work->dev),
            .args = work->args,
            .seq = work->args->seqs,
            .part = part,
            .rank = dim[3],
            .rope = dim[4],
            .nope = work->args->nope,
            .v = dim[5] - work->args->nope,
            .key = work->args->nope + dim[4],
            .latents = work->memory + part * work->floats};
    e->weights = e->latents + TILE * e->rank;
    e->keys = e->weights + e->v * e->rank;
    e->values = e->keys + TILE * e->key;
    e->scores = e->values + TILE * e->v;
    e->product = e->scores + TILE * TILE;
    e->sum = e->product + TILE * e->v;
    e->most = e->sum + e->seq->q_len * e->v;
    e->total = e->most + e->seq->q_len;
}

/* y[m, n] = x[m, k] w[n, k]^T on this thread. */
static void multiply(const struct expand *e, const struct span_job *job)
{
    struct span_job span = *job;
    span.dev = e->dev;
    span.part = e->part;
    cpu_gemm_span(&span);
}

/* Keys and (transposed) values of positions [from, from + n). */
static void expand_tile(const struct expand *e, int64_t from, int64_t n)
{
    const struct mla_args *a = e->args;
    for (int64_t j = 0; j < n; j++) {
        const char *row = cache_row(&a->cache, e->seq, from + j, e->rank + e->rope);
        e->cpu->widen(e->latents + j * e->rank, row, a->cache.dtype, e->rank);
        e->cpu->widen(e->keys + j * e->key + e->nope, element_at(row, a->cache.dtype, e->rank),
                a->cache.dtype, e->rope);
    }
    multiply(e, &(struct span_job){.x = e->latents,
                        .ldx = e->rank,
                        .w = element_at(a->kv_b, a->dtype, e->head * (e->nope + e->v) * e->rank),
                        .dtype = a->dtype,
                        .m = n,
                        .k = e->rank,
                        .y = e->keys,
                        .ldy = e->key,
                        .end = e->nope});
    multiply(e, &(struct span_job){.x = e->weights,
                        .ldx = e->rank,
                        .w = e->latents,
                        .m = e->v,
                        .k = e->rank,
                        .y = e->values,
                        .ldy = n,
                        .end = n});
}

/* Scores of a query become weights relative to its largest score so far. */
static void soften(const struct expand *e, float *score, int64_t row, int64_t n, int64_t seen)
{
    for (int64_t i = 0; i < seen; i++)
        score[i] *= e->args->scale;
    float most = fmaxf(e->most[row], score[e->cpu->arg_max(score, seen)]);
    float factor = expf(e->most[row] - most), *sum = e->sum + row * e->v;
    e->total[row] = e->total[row] * factor + e->cpu->soften(score, most, seen);
    e->most[row] = most;
    memset(score + seen, 0, sizeof(float) * (size_t)(n - seen));
    for (int64_t i = 0; i < e->v && factor != 1; i++)
        sum[i] *= factor;
}

/* Queries [row, row + m) over the expanded positions [from, from + n). */
static void expand_attend(const struct expand *e, int64_t row, int64_t m, int64_t from, int64_t n)
{
    const struct mla_args *a = e->args;
    int64_t before = e->seq->kv_len - e->seq->q_len;
    multiply(e, &(struct span_job){.x = a->q + (e->seq->row + row) * a->ldq + e->head * e->key,
                        .ldx = a->ldq,
                        .w = e->keys,
                        .m = m,
                        .k = e->key,
                        .y = e->scores,
                        .ldy = n,
                        .end = n});
    for (int64_t i = 0; i < m; i++)
        soften(e, e->scores + i * n, row + i, n, min_i64(n, before + row + i + 1 - from));
    multiply(e, &(struct span_job){.x = e->scores,
                        .ldx = n,
                        .w = e->values,
                        .m = m,
                        .k = n,
                        .y = e->product,
                        .ldy = e->v,
                        .end = e->v});
    for (int64_t i = 0; i < m; i++)
        e->cpu->add_scaled(e->sum + (row + i) * e->v, e->product + i * e->v, 1, e->v);
}

static void expand_head(struct expand *e, int64_t head)
{
    const struct mla_args *a = e->args;
    int64_t q_len = e->seq->q_len, before = e->seq->kv_len - q_len;
    e->head = head;
    e->cpu->widen(e->weights,
            element_at(a->kv_b, a->dtype, (head * (e->nope + e->v) + e->nope) * e->rank), a->dtype,
            e->v * e->rank);
    memset(e->sum, 0, sizeof(float) * (size_t)(q_len * e->v));
    for (int64_t i = 0; i < q_len; i++) {
        e->most[i] = -INFINITY;
        e->total[i] = 0;
    }
    for (int64_t from = 0; from < e->seq->kv_len; from += TILE) {
        int64_t n = min_i64(TILE, e->seq->kv_len - from), row = from > before ? from - before : 0;
        expand_tile(e, from, n);
        for (; row < q_len; row += TILE)
            expand_attend(e, row, min_i64(TILE, q_len - row), from, n);
    }
    for (int64_t i = 0; i < q_len; i++) {
        float *out = a->out + (e->seq->row + i) * a->ldo + head * e->v;
        for (int64_t k = 0; k < e->v; k++)
            out[k] = e->sum[i * e->v + k] / e->total[i];
    }
}

static void expand_part(void *arg, int part, int parts)
{
    struct expand_work *work = arg;
    struct expand e;
    (void)parts;
    expand_open(&e, work, part);
    for (;;) {
        int64_t head = atomic_fetch_add(&work->next, 1);
        if (head >= work->op->dim[2])
            return;
        expand_head(&e, head);
    }
}

void cpu_mla_prefill(struct dev *dev, const struct op *op, const struct op_args *args)
{
    /* Few queries do not pay for expanding what they attend to: 8 heads of DeepSeek-V3 over 2,048 positions take 5 ms
     * instead of 35 for 16 queries, as much for 128, 83 instead of 62 for 256. Deterministic devices always absorb:
     * bits must not depend on whether a position was prefilled or decoded. */
    if (dev_deterministic(dev) || op_mla_absorbs(op)) {
        cpu_mla_decode(dev, op, args);
        return;
    }
    struct expand_work work = {
            .dev = dev, .op = op, .args = &args->mla, .floats = expand_floats(op, args->mla.nope)};
    work.memory = dev_shared(dev, dev_threads(dev) * work.floats * 4);
    dev_parallel(dev, expand_part, &work);
}

/* ---- absorbed ---- */

/* Rows that follow one another, of parts of some sequences. */
struct slab {
    struct dev *dev;
    const struct op *op;
    const struct mla_args *args;
    struct attention_seq seqs[SLAB_ROWS];
    int n_seqs;
    int64_t first, rows; /* in q and out */
    int64_t group;       /* heads that attend together */
    float *query;        /* [rows, heads, rank + rope] */
    float *latent;       /* [rows, heads, rank] */
    void (*unit)(const struct slab *s, int part, int64_t unit);
    int64_t n_units;
    _Atomic int64_t next;
};

static void slab_part(void *arg, int part, int parts)
{
    struct slab *s = arg;
    (void)parts;
    for (;;) {
        int64_t unit = atomic_fetch_add(&s->next, 1);
        if (unit >= s->n_units)
            return;
        s->unit(s, part, unit);
    }
}

static void slab_run(
        struct slab *s, int64_t n, void (*unit)(const struct slab *s, int part, int64_t unit))
{
    s->unit = unit;
    s->n_units = n;
    atomic_store(&s->next, 0);
    dev_parallel(s->dev, slab_part, s);
}

/* A head's queries into the latents' space; their rotated part goes along. */
static void absorb(const struct slab *s, int part, int64_t head)
{
    const struct mla_args *a = s->args;
    int64_t heads = s->op->dim[2], rank = s->op->dim[3], rope = s->op->dim[4];
    int64_t width = rank + rope, key = a->nope + rope;
    const float *q = a->q + s->first * a->ldq + head * key;
    struct mix_job job = {.x = q,
            .ldx = a->ldq,
            .w = element_at(a->kv_b, a->dtype, head * s->op->dim[5] * rank),
            .dtype = a->dtype,
            .y = s->query + head * width,
            .ldy = heads * width,
            .rows = s->rows,
            .n = rank,
            .k = a->nope};
    (void)part;
    dev_cpu(s->dev)->mix(&job);
    for (int64_t row = 0; row < s->rows; row++)
        memcpy(s->query + (row * heads + head) * width + rank, q + row * a->ldq + a->nope,
                sizeof(float) * (size_t)rope);
}

/* One row and `group` heads of it over the latents. */
static void attend(const struct slab *s, int part, int64_t unit)
{
    const struct cpu_isa *cpu = dev_cpu(s->dev);
    int64_t heads = s->op->dim[2], rank = s->op->dim[3], width = rank + s->op->dim[4];
    int64_t row = unit / (heads / s->group);
    struct attention_args args = {.q = s->query,
            .ldq = heads * width,
            .out = s->latent,
            .ldo = heads * rank,
            .cache = s->args->cache,
            .scale = s->args->scale};
    int i = 0;
    while (row >= s->seqs[i].row + s->seqs[i].q_len)
        i++;
    struct attend_job job = {.args = &args,
            .seq = &s->seqs[i],
            .first_head = unit % (heads / s->group) * s->group,
            .group = s->group,
            .kv_heads = 1,
            .head_dim = width,
            .value_dim = rank,
            .q_begin = row - s->seqs[i].row,
            .q_end = row - s->seqs[i].row + 1,
            .scratch = dev_scratch(s->dev, part, cpu->attend_floats((int)s->group, width) * 4)};
    cpu->attend_run(&job);
}

/* What a head attended to, as its values. */
static void release(const struct slab *s, int part, int64_t head)
{
    const struct mla_args *a = s->args;
    int64_t heads = s->op->dim[2], rank = s->op->dim[3], v = s->op->dim[5] - a->nope;
    struct span_job job = {.dev = s->dev,
            .part = part,
            .x = s->latent + head * rank,
            .ldx = heads * rank,
            .w = element_at(a->kv_b, a->dtype, (head * s->op->dim[5] + a->nope) * rank),
            .dtype = a->dtype,
            .m = s->rows,
            .k = rank,
            .y = a->out + s->first * a->ldo + head * v,
            .ldy = a->ldo,
            .end = v};
    cpu_gemm_span(&job);
}

/* As many rows as fit, from row `done` of sequence `*seq` on; both move on. */
static void slab_fill(struct slab *s, int64_t most, int *seq, int64_t *done)
{
    s->n_seqs = 0;
    s->rows = 0;
    s->first = s->args->seqs[*seq].row + *done;
    while (*seq < s->args->n_seqs && s->rows < most && s->n_seqs < SLAB_ROWS) {
        const struct attention_seq *of = &s->args->seqs[*seq];
        int64_t n = min_i64(of->q_len - *done, most - s->rows);
        if (of->row + *done != s->first + s->rows)
            return;
        s->seqs[s->n_seqs++] = (struct attention_seq){.row = s->rows,
                .q_len = n,
                .kv_len = of->kv_len - of->q_len + *done + n,
                .blocks = of->blocks};
        s->rows += n;
        *done += n;
        if (*done == of->q_len) {
            *done = 0;
            ++*seq;
        }
    }
}

/* Heads of one unit: few enough for the cache, and for all threads to have some. */
static int64_t head_group(int64_t heads, int64_t rows, int threads)
{
    int64_t most = rows >= threads ? ATTEND_ROWS : (heads * rows + threads - 1) / threads;
    int64_t group = min_i64(heads, min_i64(most, ATTEND_ROWS));
    while (heads % group != 0)
        group--;
    return group;
}

void cpu_mla_decode(struct dev *dev, const struct op *op, const struct op_args *args)
{
    struct slab s = {.dev = dev, .op = op, .args = &args->mla};
    int64_t heads = op->dim[2], rank = op->dim[3], width = rank + op->dim[4], all = 0, done = 0;
    int64_t most = SLAB_BYTES / (heads * (width + rank) * 4);
    int seq = 0;
    for (int i = 0; i < args->mla.n_seqs; i++)
        all += args->mla.seqs[i].q_len;
    most = min_i64(most < 1 ? 1 : most > SLAB_ROWS ? SLAB_ROWS : most, all);
    s.query = dev_shared(dev, most * heads * (width + rank) * 4);
    s.latent = s.query + most * heads * width;
    while (seq < args->mla.n_seqs) {
        slab_fill(&s, most, &seq, &done);
        s.group = head_group(heads, s.rows, dev_threads(dev));
        slab_run(&s, heads, absorb);
        slab_run(&s, s.rows * (heads / s.group), attend);
        slab_run(&s, heads, release);
    }
}
