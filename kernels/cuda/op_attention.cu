// Which of the attention kernels takes a case, and the two that are no matter of tensor cores: the plain one for
// any head size and type, and the one that puts splits together.
#include "kernels/cuda/attention.cuh"

#include "kernels/cuda/attend.cuh"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

//                          dqk  dv  latent  wm wd wk tile
using decode_64 = attend_shape<64, 64, false, 1, 1, 4, 64>;
using decode_128 = attend_shape<128, 128, false, 1, 1, 4, 64>;
using prefill_64 = attend_shape<64, 64, false, 4, 1, 1, 64>;
using prefill_128 = attend_shape<128, 128, false, 4, 1, 1, 64>;
using latent_576 = attend_shape<576, 512, true, 1, 4, 1, 32>;

constexpr int merge_threads = 128;

// One block is one head of one query.
__global__ void __launch_bounds__(merge_threads) merge_parts(struct attend_args a, int dv)
{
    struct attention_seq seq = a.seqs[blockIdx.z];
    int64_t query = blockIdx.y, head = blockIdx.x, heads = gridDim.x;
    if (query >= seq.q_len)
        return;
    const float *parts =
            a.part + ((blockIdx.z * a.q_len + query) * heads + head) * a.splits * (dv + 2);
    float most = -INFINITY, sum = 0.0f;
    for (int s = 0; s < a.splits; s++)
        most = fmaxf(most, parts[s * (dv + 2) + dv]);
    for (int s = 0; s < a.splits; s++)
        sum += parts[s * (dv + 2) + dv + 1] * exp2f(parts[s * (dv + 2) + dv] - most);
    float share = share_of(a, head, most, sum);
    int64_t row = a.compact ? blockIdx.z * a.q_len + query : seq.row + query;
    for (int i = static_cast<int>(threadIdx.x); i < dv; i += merge_threads) {
        float value = 0.0f;
        for (int s = 0; s < a.splits; s++) {
            const float *part = parts + s * (dv + 2);
            if (part[dv + 1] > 0.0f) // others saw no key, and wrote nothing that counts
                value += part[i] * exp2f(part[dv] - most);
        }
        a.out[row * a.ldo + head * dv + i] = value * share;
    }
}

constexpr int plain_warps = 4, plain_columns = 16; // of a lane: dv <= 512

struct plain_row {
    float most, sum, o[plain_columns];
};

template <typename T>
__device__ void see(
        struct plain_row &row, const float *q, const T *key, const T *value, int dqk, int dv)
{
    int lane = static_cast<int>(threadIdx.x) % 32;
    float score = 0.0f;
    for (int i = lane; i < dqk; i += 32)
        score += q[i] * to_float(key[i]);
    score = warp_sum(score);
    float most = fmaxf(row.most, score), before = exp2f(row.most - most),
          weight = exp2f(score - most);
    row.most = most;
    row.sum = row.sum * before + weight;
#pragma unroll
    for (int c = 0; c < plain_columns; c++)
        if (lane + 32 * c < dv)
            row.o[c] = row.o[c] * before + weight * to_float(value[lane + 32 * c]);
}

// One block is one head of one query; its warps take positions in turn. k_row: elements of a row of the cache.
template <typename T>
__global__ void __launch_bounds__(32 * plain_warps)
        attend_plain(struct attend_args a, int dqk, int dv)
{
    DYNAMIC_SHARED(shared);
    float *q = reinterpret_cast<float *>(shared), *merged = q + dqk;
    struct attend_block b;
    b.seq = a.seqs[blockIdx.z];
    int64_t query = blockIdx.y, head = blockIdx.x;
    if (query >= b.seq.q_len)
        return;
    b.kv_head = static_cast<int>(head / a.group);
    int64_t row = a.compact ? blockIdx.z * a.q_len + query : b.seq.row + query;
    int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    for (int i = static_cast<int>(threadIdx.x); i < dqk; i += 32 * plain_warps)
        q[i] = a.q[row * a.ldq + head * dqk + i] * a.scale * log2_e;
    __syncthreads();
    struct plain_row mine = {-INFINITY, 0.0f, {}};
    struct layout_keys keys =
            layout_keys_of(query, query + 1, 1, b.seq.q_len, b.seq.kv_len, a.window);
    for (int64_t pos = keys.begin + warp; pos < keys.end; pos += plain_warps) {
        int64_t at = cache_row(a, b, pos);
        const T *key = static_cast<const T *>(a.k) + at * dqk;
        const T *value = a.v == nullptr ? key : static_cast<const T *>(a.v) + at * dv;
        see(mine, q, key, value, dqk, dv);
    }
    float *to = merged + warp * (dv + 2);
#pragma unroll
    for (int c = 0; c < plain_columns; c++)
        if (lane + 32 * c < dv)
            to[lane + 32 * c] = mine.o[c];
    to[dv] = mine.most; // of all lanes alike
    to[dv + 1] = mine.sum;
    __syncthreads();
    float most = -INFINITY, sum = 0.0f;
    for (int w = 0; w < plain_warps; w++)
        most = fmaxf(most, merged[w * (dv + 2) + dv]);
    for (int w = 0; w < plain_warps; w++)
        sum += merged[w * (dv + 2) + dv + 1] * exp2f(merged[w * (dv + 2) + dv] - most);
    float share = share_of(a, head, most, sum);
    for (int i = static_cast<int>(threadIdx.x); i < dv; i += 32 * plain_warps) {
        float value = 0.0f;
        for (int w = 0; w < plain_warps; w++)
            value += merged[w * (dv + 2) + i] * exp2f(merged[w * (dv + 2) + dv] - most);
        a.out[row * a.ldo + head * dv + i] = value * share;
    }
}

template <typename S>
const char *run_tiles(const struct cuda_on *on, struct attend_args a, const struct attend_run &run)
{
    int64_t tiles = layout_ceil(a.q_len * a.group, S::rows);
    a.splits = layout_splits(tiles * a.kv_heads * run.n_seqs, run.kv_len, S::tile,
            on->multiprocessors, S::wk > 1 ? 4 : 2);
    if (a.splits > 1) {
        int64_t parts = run.n_seqs * a.q_len * a.kv_heads * a.group * a.splits;
        a.part = static_cast<float *>(on->room(on->self, CUDA_ROOM_PARTS, parts * (S::dv + 2) * 4));
        if (a.part == nullptr)
            return "not enough GPU memory for the parts of split attention";
    }
    dim3 grid(static_cast<unsigned>(tiles * a.splits), static_cast<unsigned>(a.kv_heads),
            static_cast<unsigned>(run.n_seqs));
    start({on->stream, grid, S::threads, S::shared_bytes}, attend<S>, a);
    if (a.splits > 1) {
        dim3 rows(static_cast<unsigned>(a.kv_heads * a.group), static_cast<unsigned>(a.q_len),
                static_cast<unsigned>(run.n_seqs));
        start({on->stream, rows, merge_threads}, merge_parts, a, static_cast<int>(S::dv));
    }
    return nullptr;
}

template <typename T>
const char *run_plain(
        const struct cuda_on *on, const struct attend_args &a, const struct attend_run &run)
{
    if (run.dv > 32 * plain_columns)
        return "attention on this device takes head sizes up to 512";
    dim3 grid(static_cast<unsigned>(a.kv_heads * a.group), static_cast<unsigned>(a.q_len),
            static_cast<unsigned>(run.n_seqs));
    size_t shared = sizeof(float) * static_cast<size_t>(run.dqk + plain_warps * (run.dv + 2));
    start({on->stream, grid, 32 * plain_warps, shared}, attend_plain<T>, a, run.dqk, run.dv);
    return nullptr;
}

// Rows of the cache that tensor-core kernels load by 16 bytes.
bool aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

const char *run_some(const struct cuda_on *on, struct attend_args a, const struct attend_run &run)
{
    bool by_tiles = run.dtype == DTYPE_BF16 && aligned(a.k) && aligned(a.v);
    bool decode = a.q_len * a.group <= 16;
    bool square = run.dqk == run.dv && a.v != nullptr;
    if (by_tiles && square && run.dqk == 128)
        return decode ? run_tiles<decode_128>(on, a, run) : run_tiles<prefill_128>(on, a, run);
    if (by_tiles && square && run.dqk == 64)
        return decode ? run_tiles<decode_64>(on, a, run) : run_tiles<prefill_64>(on, a, run);
    if (by_tiles && run.dqk == 576 && run.dv == 512 && a.v == nullptr)
        return run_tiles<latent_576>(on, a, run);
    return run.dtype == DTYPE_BF16 ? run_plain<__nv_bfloat16>(on, a, run)
                                   : run_plain<float>(on, a, run);
}

constexpr int most_in_grid = 65535; // sequences, queries of the plain kernel and of merging

} // namespace

const char *attention_run(
        const struct cuda_on *on, const struct attend_args *args, const struct attend_run *run)
{
    if (run->dtype != DTYPE_BF16 && run->dtype != DTYPE_F32)
        return "the cache on this device is f32 or bf16";
    if (args->q_len > most_in_grid || run->n_seqs > most_in_grid)
        return "attention on this device takes up to 65535 queries and sequences in a step";
    struct attend_args a = *args;
    a.block_shift = layout_shift(a.block_tokens);
    a.splits = 1;
    a.part = nullptr;
    return run_some(on, a, *run);
}

extern "C" const char *cuda_attention(
        const struct cuda_on *on, const struct op *op, const struct attention_args *args)
{
    bool decode = op->kind == OP_ATTENTION_DECODE;
    struct attend_args a = {};
    a.q = args->q;
    a.ldq = args->ldq;
    a.out = args->out;
    a.ldo = args->ldo;
    a.k = args->cache.k;
    a.v = args->cache.v;
    a.seqs = args->seqs;
    a.block_tokens = args->cache.block_tokens;
    a.kv_heads = static_cast<int>(op->dim[3]);
    a.group = static_cast<int>(op->dim[2] / op->dim[3]);
    a.q_len = decode ? 1 : op->dim[0];
    a.scale = args->scale;
    a.window = args->window;
    a.sinks = args->sinks;
    int head_dim = static_cast<int>(op->dim[4]);
    struct attend_run run = {args->cache.dtype, args->n_seqs, op->dim[1], head_dim, head_dim};
    return attention_run(on, &a, &run);
}
