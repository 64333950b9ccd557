/*
 * Operands are made in host memory, whatever the device; a GPU gets copies of the blocks, and of the arguments with
 * every pointer moved. Which members of the arguments are pointers stands in a table.
 */
#include <stddef.h>
#include <string.h>

#include "kernels/dev_host.h"
#include "kernels/operands.h"

#define MOST_POINTERS 10
#define IN(member)    (offsetof(struct op_args, member) + 1) /* 0 ends a list */

static const size_t pointers[OP_KIND_COUNT][MOST_POINTERS + 1] = {
        [OP_GEMM] = {IN(gemm.x), IN(gemm.w), IN(gemm.w_scale), IN(gemm.bias), IN(gemm.y)},
        [OP_LM_HEAD] = {IN(gemm.x), IN(gemm.w), IN(gemm.w_scale), IN(gemm.bias), IN(gemm.y)},
        [OP_ATTENTION_PREFILL] = {IN(attention.q), IN(attention.out), IN(attention.cache.k),
                IN(attention.cache.v), IN(attention.sinks)},
        [OP_ATTENTION_DECODE] = {IN(attention.q), IN(attention.out), IN(attention.cache.k),
                IN(attention.cache.v), IN(attention.sinks)},
        [OP_RMSNORM] = {IN(rmsnorm.x), IN(rmsnorm.residual), IN(rmsnorm.gain), IN(rmsnorm.out)},
        [OP_ROPE] = {IN(rope.qkv), IN(rope.positions), IN(rope.slots), IN(rope.inv_freq),
                IN(rope.q_gain), IN(rope.k_gain), IN(rope.cache.k), IN(rope.cache.v)},
        [OP_ACTIVATION] = {IN(activation.x), IN(activation.out)},
        [OP_ROUTER] = {IN(router.x), IN(router.w), IN(router.bias), IN(router.expert),
                IN(router.weight)},
        [OP_PERMUTE] = {IN(permute.x), IN(permute.expert), IN(permute.rows), IN(permute.pair),
                IN(permute.offsets)},
        [OP_EXPERT_GEMM] = {IN(expert.rows), IN(expert.offsets), IN(expert.gate_up),
                IN(expert.down), IN(expert.out), IN(expert.scratch), IN(expert.up_bias),
                IN(expert.down_bias), IN(expert.gate_up_scale), IN(expert.down_scale)},
        [OP_COMBINE] = {IN(combine.rows), IN(combine.pair), IN(combine.counted), IN(combine.weight),
                IN(combine.out)},
        [OP_EMBEDDING] = {IN(embedding.tokens), IN(embedding.table), IN(embedding.out)},
        [OP_SAMPLE] = {IN(sample.logits), IN(sample.token), IN(sample.value)},
        [OP_COPY] = {IN(copy.from), IN(copy.to)},
        [OP_MLA_PREFILL] = {IN(mla.q), IN(mla.kv_b), IN(mla.out), IN(mla.cache.k)},
        [OP_MLA_DECODE] = {IN(mla.q), IN(mla.kv_b), IN(mla.out), IN(mla.cache.k)},
        [OP_MLA_ROPE] = {IN(mla_rope.q), IN(mla_rope.latent), IN(mla_rope.positions),
                IN(mla_rope.slots), IN(mla_rope.inv_freq), IN(mla_rope.gain), IN(mla_rope.cache.k)},
};

/* Where a host pointer of the operands lies on the GPU. */
static void *moved(const struct operands *operands, const struct operands_remote *remote, char *at)
{
    for (int i = 0; i < operands->n_blocks; i++) {
        char *block = operands->blocks[i];
        if (at >= block && at < block + operands->block_bytes[i])
            return (char *)remote->blocks[i] + (at - block);
    }
    return NULL;
}

static void move_pointers(struct op_args *args, const struct operands *operands,
        const struct operands_remote *remote, enum op_kind kind)
{
    for (const size_t *at = pointers[kind]; *at; at++) {
        char *pointer = NULL;
        memcpy(&pointer, (char *)args + *at - 1, sizeof pointer);
        void *there = pointer ? moved(operands, remote, pointer) : NULL;
        memcpy((char *)args + *at - 1, &there, sizeof there);
    }
}

/* The sequences of attention, whose kinds have them at the same place or another. */
static const struct attention_seq **seqs_of(struct op_args *args, enum op_kind kind, int *n)
{
    if (kind == OP_ATTENTION_PREFILL || kind == OP_ATTENTION_DECODE) {
        *n = args->attention.n_seqs;
        return &args->attention.seqs;
    }
    if (kind == OP_MLA_PREFILL || kind == OP_MLA_DECODE) {
        *n = args->mla.n_seqs;
        return &args->mla.seqs;
    }
    *n = 0;
    return NULL;
}

static int64_t pages_of(const struct attention_seq *seq, int block_tokens)
{
    return (seq->kv_len + block_tokens - 1) / block_tokens;
}

/* All copies' sequences with their block tables behind them, as one block of the GPU. */
static bool upload_seqs(struct operands_remote *out, const struct operands *operands,
        enum op_kind kind, struct dev *gpu, struct arena *arena, struct err *err)
{
    int n = 0, block_tokens = 16;
    int64_t n_seqs = 0, n_pages = 0;
    for (int c = 0; c < operands->n_copies; c++) {
        const struct attention_seq **seqs = seqs_of(&out->args[c], kind, &n);
        if (!seqs)
            return true;
        block_tokens = kind == OP_ATTENTION_PREFILL || kind == OP_ATTENTION_DECODE
                               ? out->args[c].attention.cache.block_tokens
                               : out->args[c].mla.cache.block_tokens;
        for (int i = 0; i < n; i++)
            n_pages += pages_of(&(*seqs)[i], block_tokens);
        n_seqs += n;
    }
    int64_t seq_bytes = n_seqs * (int64_t)sizeof(struct attention_seq),
            bytes = seq_bytes + 4 * n_pages;
    char *host = arena_alloc(arena, bytes), *there = dev_alloc(gpu, bytes, err);
    if (!there)
        return false;
    out->blocks[out->n_blocks++] = there;
    struct attention_seq *to = (struct attention_seq *)(void *)host;
    int64_t at = seq_bytes;
    for (int c = 0; c < operands->n_copies; c++) {
        const struct attention_seq **seqs = seqs_of(&out->args[c], kind, &n);
        const struct attention_seq *from = *seqs;
        *seqs = (const struct attention_seq *)(const void *)(there + ((char *)to - host));
        for (int i = 0; i < n; i++, to++) {
            int64_t pages = pages_of(&from[i], block_tokens);
            *to = from[i];
            memcpy(host + at, from[i].blocks, (size_t)pages * 4);
            to->blocks = (const int32_t *)(const void *)(there + at);
            at += pages * 4;
        }
    }
    dev_write(gpu, there, host, bytes);
    return dev_finish(gpu, err);
}

bool operands_upload(struct operands_remote *out, const struct operands *operands,
        const struct op *op, struct dev *gpu, struct arena *arena, struct err *err)
{
    *out = (struct operands_remote){.args = ARENA_NEW(arena, struct op_args, operands->n_copies),
            .blocks = ARENA_NEW(arena, void *, operands->n_blocks + 1)};
    for (int i = 0; i < operands->n_blocks; i++) {
        void *block = dev_alloc(gpu, operands->block_bytes[i], err);
        if (!block) {
            operands_release(out, gpu);
            return false;
        }
        out->blocks[out->n_blocks++] = block;
        dev_write(gpu, block, operands->blocks[i], operands->block_bytes[i]);
    }
    for (int c = 0; c < operands->n_copies; c++) {
        out->args[c] = operands->args[c];
        move_pointers(&out->args[c], operands, out, op->kind);
    }
    if (upload_seqs(out, operands, op->kind, gpu, arena, err) && dev_finish(gpu, err))
        return true;
    operands_release(out, gpu);
    return false;
}

bool operands_download(const struct operands *operands, const struct operands_remote *remote,
        struct dev *gpu, struct err *err)
{
    for (int i = 0; i < operands->n_blocks; i++)
        dev_read(gpu, operands->blocks[i], remote->blocks[i], operands->block_bytes[i]);
    return dev_finish(gpu, err);
}

void operands_release(struct operands_remote *remote, struct dev *gpu)
{
    for (int i = 0; i < remote->n_blocks; i++)
        dev_free(gpu, remote->blocks[i]);
    remote->n_blocks = 0;
}
