// Multi-head latent attention, absorbed (arXiv:2405.04434): queries are taken into the space of latents by the rows of
// kv_b that would make keys, attend over latents, and what comes out is made into values by the other rows.
#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/product.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int block_threads = 128;

// The rotated part of each query goes behind its latent one. One block is one query, all its heads.
__global__ void __launch_bounds__(block_threads) copy_rotated(float *to, struct mla_args a,
        int64_t heads, int64_t rank, int64_t rope, bool one_query_each)
{
    int64_t row = blockIdx.x, from = one_query_each ? a.seqs[row].row : a.seqs[0].row + row;
    for (int64_t i = threadIdx.x; i < heads * rope; i += block_threads) {
        int64_t head = i / rope, at = i % rope;
        to[(row * heads + head) * (rank + rope) + rank + at] =
                a.q[from * a.ldq + head * (a.nope + rope) + a.nope + at];
    }
}

const void *rows_from(const struct mla_args *args, int64_t elements)
{
    return static_cast<const char *>(args->kv_b) + elements * (args->dtype == DTYPE_F32 ? 4 : 2);
}

} // namespace

extern "C" const char *cuda_mla(
        const struct cuda_on *on, const struct op *op, const struct mla_args *args)
{
    bool decode = op->kind == OP_MLA_DECODE;
    int64_t rows = decode ? args->n_seqs : op->dim[0], heads = op->dim[2], rank = op->dim[3];
    int64_t rope = op->dim[4], width = rank + rope, expanded = op->dim[5],
            v = expanded - args->nope;
    auto *q = static_cast<float *>(on->room(on->self, CUDA_ROOM_QUERY, rows * heads * width * 4));
    auto *latent =
            static_cast<float *>(on->room(on->self, CUDA_ROOM_LATENT, rows * heads * rank * 4));
    if (q == nullptr || latent == nullptr)
        return "not enough GPU memory for latent attention";
    struct product p = {};
    p.x = args->q;
    p.ldx = args->ldq;
    p.x_batch = args->nope + rope;
    p.x_seqs = args->seqs;
    p.one_query_each = decode;
    p.w = args->kv_b;
    p.dtype = args->dtype;
    p.by_k = true;
    p.w_batch = expanded * rank;
    p.y = q;
    p.ldy = heads * width;
    p.y_batch = width;
    p.m = rows;
    p.n = rank;
    p.k = args->nope;
    product_run(on, &p, heads, 0, product_tile(rows));
    start({on->stream, dim3(static_cast<unsigned>(rows)), block_threads}, copy_rotated, q, *args,
            heads, rank, rope, decode);

    struct attend_args a = {};
    a.q = q;
    a.ldq = heads * width;
    a.out = latent;
    a.ldo = heads * rank;
    a.k = args->cache.k;
    a.seqs = args->seqs;
    a.compact = true;
    a.block_tokens = args->cache.block_tokens;
    a.kv_heads = 1;
    a.group = static_cast<int>(heads);
    a.q_len = decode ? 1 : rows;
    a.scale = args->scale;
    struct attend_run run = {args->cache.dtype, args->n_seqs, op->dim[1], static_cast<int>(width),
            static_cast<int>(rank)};
    const char *why = attention_run(on, &a, &run);
    if (why != nullptr)
        return why;

    struct product values = {};
    values.x = latent;
    values.ldx = heads * rank;
    values.x_batch = rank;
    values.w = rows_from(args, args->nope * rank);
    values.dtype = args->dtype;
    values.w_batch = expanded * rank;
    values.y = args->out;
    values.ldy = args->ldo;
    values.y_batch = v;
    values.y_seqs = args->seqs;
    values.one_query_each = decode;
    values.m = rows;
    values.n = v;
    values.k = rank;
    product_run(on, &values, heads, 0, product_tile(rows));
    return nullptr;
}
