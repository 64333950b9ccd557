#include <math.h>

#include "kernels/element.h"
#include "kernels/ref/ref.h"

/* The rotated pair i of neighbours in x. */
static void rotated(
        float out[2], const struct mla_rope_args *a, int32_t position, const float *x, int64_t i)
{
    double angle = (double)((float)position * a->inv_freq[i]);
    double c = cos(angle) * (double)a->rope_scale, s = sin(angle) * (double)a->rope_scale;
    double first = (double)x[2 * i], second = (double)x[2 * i + 1];
    out[0] = (float)(first * c - second * s);
    out[1] = (float)(second * c + first * s);
}

static void keep(const struct op *op, const struct mla_rope_args *a, int64_t row)
{
    int64_t rank = op->dim[2], rope = op->dim[3];
    const float *latent = a->latent + row * a->ldl;
    int64_t at = a->slots[row] * (rank + rope);
    double squares = 0;
    for (int64_t i = 0; i < rank; i++)
        squares += (double)latent[i] * (double)latent[i];
    double factor = 1 / sqrt(squares / (double)rank + (double)a->eps);
    for (int64_t i = 0; i < rank; i++)
        element_store(a->cache.k, a->cache.dtype, at + i,
                (float)((double)latent[i] * factor * (double)a->gain[i]));
    for (int64_t i = 0; i < rope / 2; i++) {
        float pair[2];
        rotated(pair, a, a->positions[row], latent + rank, i);
        element_store(a->cache.k, a->cache.dtype, at + rank + 2 * i, pair[0]);
        element_store(a->cache.k, a->cache.dtype, at + rank + 2 * i + 1, pair[1]);
    }
}

void ref_mla_rope(const struct op *op, const struct op_args *args)
{
    const struct mla_rope_args *a = &args->mla_rope;
    int64_t rope = op->dim[3], nope = op->dim[4];
    for (int64_t row = 0; row < op->dim[0]; row++) {
        keep(op, a, row);
        for (int64_t head = 0; head < op->dim[1]; head++) {
            float *q = a->q + row * a->ldq + head * (nope + rope) + nope;
            for (int64_t i = 0; i < rope / 2; i++)
                rotated(q + 2 * i, a, a->positions[row], q, i);
        }
    }
}

/* One query of one head over one position's key or value, which is a product of its latent. */
struct view {
    const struct op *op;
    const struct mla_args *a;
    const struct attention_seq *seq;
    int64_t head;
};

static int64_t row_at(const struct view *v, int64_t pos)
{
    const struct kv_layer *cache = &v->a->cache;
    int64_t block = v->seq->blocks[pos / cache->block_tokens];
    return (block * cache->block_tokens + pos % cache->block_tokens)
           * (v->op->dim[3] + v->op->dim[4]);
}

/* Element i of the head's keys and values at pos. */
static double expanded(const struct view *v, int64_t pos, int64_t i)
{
    int64_t rank = v->op->dim[3], row = (v->head * v->op->dim[5] + i) * rank, at = row_at(v, pos);
    double sum = 0;
    for (int64_t k = 0; k < rank; k++)
        sum += (double)element_load(v->a->kv_b, v->a->dtype, row + k)
               * (double)element_load(v->a->cache.k, v->a->cache.dtype, at + k);
    return sum;
}

static double score(const struct view *v, const float *q, int64_t pos)
{
    int64_t rank = v->op->dim[3], rope = v->op->dim[4], at = row_at(v, pos) + rank;
    double sum = 0;
    for (int64_t i = 0; i < v->a->nope; i++)
        sum += (double)q[i] * expanded(v, pos, i);
    for (int64_t i = 0; i < rope; i++)
        sum += (double)q[v->a->nope + i]
               * (double)element_load(v->a->cache.k, v->a->cache.dtype, at + i);
    return sum * (double)v->a->scale;
}

/* Two passes over the positions: the largest score, then weights relative to it. */
static void attend(const struct view *v, int64_t row)
{
    const struct mla_args *a = v->a;
    int64_t rope = v->op->dim[4], width = v->op->dim[5] - a->nope;
    int64_t pos = v->seq->kv_len - v->seq->q_len + row;
    const float *q = a->q + (v->seq->row + row) * a->ldq + v->head * (a->nope + rope);
    float *out = a->out + (v->seq->row + row) * a->ldo + v->head * width;
    double most = -HUGE_VAL, total = 0;
    for (int64_t i = 0; i < width; i++)
        out[i] = 0;
    for (int64_t j = 0; j <= pos; j++)
        most = fmax(most, score(v, q, j));
    for (int64_t j = 0; j <= pos; j++) {
        double weight = exp(score(v, q, j) - most);
        total += weight;
        for (int64_t i = 0; i < width; i++)
            out[i] = (float)((double)out[i] + weight * expanded(v, j, a->nope + i));
    }
    for (int64_t i = 0; i < width; i++)
        out[i] = (float)((double)out[i] / total);
}

void ref_mla(const struct op *op, const struct op_args *args)
{
    const struct mla_args *a = &args->mla;
    for (int s = 0; s < a->n_seqs; s++)
        for (int64_t head = 0; head < op->dim[2]; head++)
            for (int64_t row = 0; row < a->seqs[s].q_len; row++)
                attend(&(struct view){op, a, &a->seqs[s], head}, row);
}
