#include <stdatomic.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

/* A unit is a tile of queries of one sequence and one key and value head. Threads take the next one when
 * they are done, since later queries see more positions. */
struct attention_work {
    struct dev *dev;
    const struct op *op;
    const struct attention_args *args;
    int64_t tile; /* queries */
    _Atomic int64_t next;
};

static int64_t tiles_of(const struct attention_work *work, const struct attention_seq *seq)
{
    return (seq->q_len + work->tile - 1) / work->tile;
}

static void attention_part(void *arg, int part, int parts)
{
    struct attention_work *work = arg;
    const struct cpu_isa *cpu = dev_cpu(work->dev);
    const int64_t *dim = work->op->dim;
    int64_t kv_heads = dim[3], first = 0;
    int rows = (int)(work->tile * (dim[2] / kv_heads)), s = 0;
    float *scratch = dev_scratch(work->dev, part, cpu->attend_floats(rows, dim[4]) * 4);
    (void)parts;
    for (;;) {
        int64_t unit = atomic_fetch_add(&work->next, 1);
        while (s < work->args->n_seqs
                && unit >= first + tiles_of(work, &work->args->seqs[s]) * kv_heads)
            first += tiles_of(work, &work->args->seqs[s++]) * kv_heads;
        if (s == work->args->n_seqs)
            return;
        const struct attention_seq *seq = &work->args->seqs[s];
        /* The last tile first: it takes longest. */
        int64_t begin = (tiles_of(work, seq) - 1 - (unit - first) / kv_heads) * work->tile;
        int64_t end = begin + work->tile;
        struct attend_job job = {.args = work->args,
                .seq = seq,
                .first_head = (unit - first) % kv_heads * (dim[2] / kv_heads),
                .group = dim[2] / kv_heads,
                .kv_heads = kv_heads,
                .kv_head = (unit - first) % kv_heads,
                .head_dim = dim[4],
                .value_dim = dim[4],
                .q_begin = begin,
                .q_end = end < seq->q_len ? end : seq->q_len,
                .scratch = scratch};
        cpu->attend_run(&job);
    }
}

void cpu_attention(struct dev *dev, const struct op *op, const struct op_args *args)
{
    int64_t tile = ATTEND_ROWS / (op->dim[2] / op->dim[3]), longest = 1;
    for (int s = 0; s < args->attention.n_seqs; s++)
        if (args->attention.seqs[s].q_len > longest)
            longest = args->attention.seqs[s].q_len;
    tile = tile < longest ? tile : longest;
    struct attention_work work = {
            .dev = dev, .op = op, .args = &args->attention, .tile = tile > 0 ? tile : 1};
    dev_parallel(dev, attention_part, &work);
}
