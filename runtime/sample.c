/*
 * top-k and top-p keep a prefix of the tokens in order of falling logit (ties: lower index first). The last
 * one kept is found by quickselect on the accumulated weight (1 each for top-k, the probability for
 * top-p), so a row costs O(vocab) and nothing is sorted. The draw then walks the kept tokens in order of
 * index, which makes it independent of how the selection went.
 */
#include "runtime/sample.h"

#include <math.h>
#include <stdlib.h>

struct scratch {
    float *logit;   /* [vocab], scaled by the temperature */
    double *weight; /* exp(logit - largest) */
    int32_t *order; /* candidates of the selection */
};

struct sampler {
    struct dev *dev;
    int64_t vocab, top_k;
    double temperature, top_p;
    struct scratch *scratch; /* one per thread */
    int threads;
};

struct sampler *sampler_open(
        const struct workload *workload, int64_t vocab, struct dev *dev, struct err *err)
{
    struct sampler *s = calloc(1, sizeof *s);
    bool ok = s != NULL;

    if (ok) {
        *s = (struct sampler){.dev = dev,
                .vocab = vocab,
                .top_k = workload->sampling.top_k,
                .temperature = workload->sampling.temperature,
                .top_p = workload->sampling.top_p,
                .threads = dev_threads(dev)};
        s->scratch = calloc((size_t)s->threads, sizeof *s->scratch);
        ok = s->scratch != NULL;
    }
    for (int t = 0; ok && t < s->threads; t++) {
        struct scratch *own = &s->scratch[t];

        own->logit = calloc((size_t)vocab, sizeof *own->logit);
        own->weight = calloc((size_t)vocab, sizeof *own->weight);
        own->order = calloc((size_t)vocab, sizeof *own->order);
        ok = own->logit && own->weight && own->order;
    }
    if (ok)
        return s;
    sampler_close(s);
    err_set(err, ERR_ENV, "not enough memory to sample from %lld tokens", (long long)vocab);
    return NULL;
}

void sampler_close(struct sampler *s)
{
    if (!s)
        return;
    for (int t = 0; s->scratch && t < s->threads; t++) {
        free(s->scratch[t].logit);
        free(s->scratch[t].weight);
        free(s->scratch[t].order);
    }
    free(s->scratch);
    free(s);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double sample_uniform(uint64_t seed, int64_t position)
{
    return (double)(mix(mix(seed) ^ (uint64_t)position) >> 11) * 0x1p-53;
}

/* Falling logit, then rising index. */
static bool before(const float *logit, int32_t a, int32_t b)
{
    return logit[a] > logit[b] || (logit[a] == logit[b] && a < b);
}

static void swap(int32_t *a, int32_t *b)
{
    int32_t t = *a;

    *a = *b;
    *b = t;
}

/* Moves those before the pivot to the front of order[lo, hi); returns where the pivot ends up. */
static int64_t partition(const float *logit, int32_t *order, int64_t lo, int64_t hi)
{
    int64_t mid = lo + (hi - lo) / 2, at = lo;

    if (before(logit, order[mid], order[lo]))
        swap(&order[mid], &order[lo]);
    if (before(logit, order[hi - 1], order[lo]))
        swap(&order[hi - 1], &order[lo]);
    if (before(logit, order[mid], order[hi - 1]))
        swap(&order[mid], &order[hi - 1]); /* the median is last now */
    for (int64_t i = lo; i < hi - 1; i++)
        if (before(logit, order[i], order[hi - 1]))
            swap(&order[i], &order[at++]);
    swap(&order[at], &order[hi - 1]);
    return at;
}

/* The last token of the smallest prefix whose weights reach `want`; weight NULL counts 1 each. */
static int32_t last_kept(
        const float *logit, const double *weight, int32_t *order, int64_t n, double want)
{
    int64_t lo = 0, hi = n;
    double have = 0;

    while (hi - lo > 1) {
        int64_t at = partition(logit, order, lo, hi);
        double part = 0;

        for (int64_t i = lo; i < at; i++)
            part += weight ? weight[order[i]] : 1;
        if (have + part >= want && at > lo) {
            hi = at;
            continue;
        }
        have += part;
        part = weight ? weight[order[at]] : 1;
        if (have + part >= want || at + 1 == hi)
            return order[at];
        have += part;
        lo = at + 1;
    }
    return order[lo];
}

/* Drops what comes behind `last`; returns the sum of what stays. */
static double cut(struct scratch *own, int64_t vocab, int32_t last)
{
    double sum = 0;

    for (int64_t i = 0; i < vocab; i++) {
        if (before(own->logit, last, (int32_t)i))
            own->weight[i] = 0;
        sum += own->weight[i];
    }
    return sum;
}

static int32_t walk(const struct scratch *own, int64_t vocab, double want)
{
    double sum = 0;
    int32_t chosen = 0;

    for (int64_t i = 0; i < vocab; i++) {
        if (own->weight[i] <= 0)
            continue;
        chosen = (int32_t)i;
        sum += own->weight[i];
        if (sum > want)
            return chosen;
    }
    return chosen;
}

static int32_t draw(const struct sampler *s, struct scratch *own, const struct sample_row *row)
{
    int64_t each = s->vocab / row->parts, n = 0;
    double sum = 0, largest = -(double)INFINITY;

    for (int p = 0; p < row->parts; p++)
        for (int64_t i = 0; i < each; i++, n++) {
            own->logit[n] = row->logits[p * row->stride + i];
            own->order[n] = (int32_t)n;
            if ((double)own->logit[n] > largest)
                largest = (double)own->logit[n];
        }
    for (int64_t i = 0; i < s->vocab; i++) {
        own->weight[i] = exp(((double)own->logit[i] - largest) / s->temperature);
        sum += own->weight[i];
    }
    if (s->top_k > 0 && s->top_k < s->vocab)
        sum = cut(
                own, s->vocab, last_kept(own->logit, NULL, own->order, s->vocab, (double)s->top_k));
    if (s->top_p < 1)
        sum = cut(own, s->vocab,
                last_kept(own->logit, own->weight, own->order, s->vocab, s->top_p * sum));
    return walk(own, s->vocab, sample_uniform(row->seed, row->position) * sum);
}

struct job {
    struct sampler *sampler;
    int32_t *tokens;
    const struct sample_row *rows;
    int64_t n;
};

static void draw_part(void *arg, int part, int parts)
{
    const struct job *job = arg;

    for (int64_t i = part; i < job->n; i += parts)
        job->tokens[i] = draw(job->sampler, &job->sampler->scratch[part], &job->rows[i]);
}

void sampler_draw(
        struct sampler *sampler, int32_t *tokens, const struct sample_row *rows, int64_t n)
{
    dev_parallel(sampler->dev, draw_part, &(struct job){sampler, tokens, rows, n});
}
