#include <math.h>

#include "kernels/element.h"
#include "kernels/ref/ref.h"

/* Index of the first element of position `pos` of one head in the paged cache. */
static int64_t cache_index(const struct op *op, const struct attention_args *a,
        const struct attention_seq *seq, int64_t pos, int64_t kv_head)
{
    int64_t kv_heads = op->dim[3], head_dim = op->dim[4];
    int64_t block = seq->blocks[pos / a->cache.block_tokens];
    int64_t slot = pos % a->cache.block_tokens;
    return ((block * kv_heads + kv_head) * a->cache.block_tokens + slot) * head_dim;
}

static double score(const struct op *op, const struct attention_args *a, const float *q, int64_t at)
{
    double sum = 0;
    for (int64_t i = 0; i < op->dim[4]; i++)
        sum += (double)q[i] * (double)element_load(a->cache.k, a->cache.dtype, at + i);
    return sum * (double)a->scale;
}

/* One query head at position pos: two passes over the positions it sees. */
static void attend(const struct op *op, const struct attention_args *a,
        const struct attention_seq *seq, int64_t row, int64_t head)
{
    int64_t heads = op->dim[2], kv_heads = op->dim[3], head_dim = op->dim[4];
    int64_t pos = seq->kv_len - seq->q_len + row;
    int64_t first = a->window > 0 && pos >= a->window ? pos - a->window + 1 : 0;
    int64_t kv_head = head / (heads / kv_heads);
    const float *q = a->q + (seq->row + row) * a->ldq + head * head_dim;
    float *out = a->out + (seq->row + row) * a->ldo + head * head_dim;

    double most = a->sinks ? (double)a->sinks[head] : -HUGE_VAL, total = 0;
    for (int64_t j = first; j <= pos; j++)
        most = fmax(most, score(op, a, q, cache_index(op, a, seq, j, kv_head)));
    for (int64_t j = first; j <= pos; j++)
        total += exp(score(op, a, q, cache_index(op, a, seq, j, kv_head)) - most);
    if (a->sinks)
        total += exp((double)a->sinks[head] - most);
    for (int64_t i = 0; i < head_dim; i++)
        out[i] = 0;
    for (int64_t j = first; j <= pos; j++) {
        int64_t at = cache_index(op, a, seq, j, kv_head);
        double p = exp(score(op, a, q, at) - most) / total;
        for (int64_t i = 0; i < head_dim; i++)
            out[i] = (float)((double)out[i]
                             + p * (double)element_load(a->cache.v, a->cache.dtype, at + i));
    }
}

void ref_attention(const struct op *op, const struct op_args *args)
{
    const struct attention_args *a = &args->attention;
    for (int s = 0; s < a->n_seqs; s++)
        for (int64_t row = 0; row < a->seqs[s].q_len; row++)
            for (int64_t head = 0; head < op->dim[2]; head++)
                attend(op, a, &a->seqs[s], row, head);
}
