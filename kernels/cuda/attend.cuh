// Attention over a paged cache on tensor cores, online softmax as in FlashAttention (arXiv:2205.14135); long
// sequences are split over blocks and put together by op_attention.cu (flash-decoding).
//
// Rows are pairs (query, head of the group), so that the heads which share keys load them once: a decode step of
// grouped-query attention fills the 16 rows of a tensor-core tile with one query's heads. Latent attention (MLA,
// absorbed) is the same with all heads in one group and values that are the first `dv` elements of the keys.
//
// Warps are wm x wd x wk: 16 rows each, over dv / wd columns of the values each, over tile / wk positions each.
#pragma once

#include "kernels/cuda/layout.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/start.cuh"
#include "kernels/op_table.h"

constexpr float log2_e = 1.4426950408889634f;

struct attend_args {
    const float *q; // [rows, ldq], heads of dqk
    int64_t ldq;
    float *out; // [rows, ldo], heads of dv
    int64_t ldo;
    const void *k, *v;
    const struct attention_seq *seqs; // of the device
    bool compact; // rows of q and out are numbered by sequence and query, not by seqs[].row
    int block_tokens, block_shift;
    int kv_heads, group;
    int64_t q_len; // largest of a sequence
    int splits;
    float scale;
    int64_t window;
    const float *sinks;
    float *part; // [query][head][split][dv + 2]: values, maximum, sum; NULL when not split
};

template <int dqk_, int dv_, bool latent_, int wm_, int wd_, int wk_, int tile_>
struct attend_shape {
    static constexpr int dqk = dqk_, dv = dv_, wm = wm_, wd = wd_, wk = wk_, tile = tile_;
    static constexpr bool latent = latent_;
    static constexpr int rows = 16 * wm, threads = 32 * wm * wd * wk;
    static constexpr int positions = tile / wk; // of a warp
    static constexpr int columns = dv / wd;
    static constexpr int pad = 8; // rows begin in different banks
    static constexpr int k_row = dqk + pad, v_row = dv + pad;
    static constexpr int q_elements = rows * k_row, k_elements = tile * k_row;
    static constexpr int v_elements = latent ? 0 : tile * v_row;
    static constexpr int stage = k_elements + v_elements;
    static constexpr bool q_in_registers = dqk <= 128;
    static constexpr size_t merge_bytes = wk > 1 ? size_t{4} * wk * 16 * (dv + 2) : 0;
    static constexpr size_t loop_bytes = size_t{2} * (q_elements + 2 * stage);
    static constexpr size_t shared_bytes = loop_bytes > merge_bytes ? loop_bytes : merge_bytes;
    static_assert(positions % 16 == 0 && columns % 16 == 0 && dqk % 16 == 0, "whole products");
    static_assert(wk == 1 || (wm == 1 && wd == 1), "warps that share rows are put together once");
};

// One block's work: a tile of rows of one kv head of one sequence, and its part of the keys.
struct attend_block {
    struct attention_seq seq;
    int64_t row0, n_rows; // n_rows: of the sequence in all
    struct layout_keys keys;
    int kv_head, split;
};

__device__ inline int64_t cache_row(
        const struct attend_args &a, const struct attend_block &b, int64_t pos)
{
    int64_t page = a.block_shift >= 0 ? pos >> a.block_shift : pos / a.block_tokens;
    int64_t slot = pos - page * a.block_tokens;
    return (static_cast<int64_t>(b.seq.blocks[page]) * a.kv_heads + b.kv_head) * a.block_tokens
           + slot;
}

__device__ inline int64_t row_of_query(
        const struct attend_args &a, const struct attend_block &b, int64_t query)
{
    return (a.compact ? static_cast<int64_t>(blockIdx.z) * a.q_len : b.seq.row) + query;
}

template <typename S>
__device__ void load_queries(
        __nv_bfloat16 *to, const struct attend_args &a, const struct attend_block &b)
{
    const float scale = a.scale * log2_e;
    for (int i = static_cast<int>(threadIdx.x); i < S::rows * S::dqk; i += S::threads) {
        int64_t row = b.row0 + i / S::dqk;
        int col = i % S::dqk;
        float value = 0.0f;
        if (row < b.n_rows) {
            int64_t query = row / a.group, head = b.kv_head * a.group + row % a.group;
            value = a.q[row_of_query(a, b, query) * a.ldq + head * S::dqk + col] * scale;
        }
        to[i / S::dqk * S::k_row + col] = __float2bfloat16(value);
    }
}

template <typename S>
__device__ void load_keys(
        __nv_bfloat16 *to, const struct attend_args &a, const struct attend_block &b, int64_t base)
{
    constexpr int chunks = S::dqk / 8;
    const auto *k = static_cast<const __nv_bfloat16 *>(a.k);
    const auto *v = static_cast<const __nv_bfloat16 *>(a.v);
    for (int i = static_cast<int>(threadIdx.x); i < S::tile * chunks; i += S::threads) {
        int row = i / chunks, col = i % chunks * 8;
        int64_t pos = base + row;
        bool valid = pos < b.keys.end;
        int64_t at = valid ? cache_row(a, b, pos) : 0;
        copy_16(to + row * S::k_row + col, k + at * S::dqk + col, valid);
        if (!S::latent)
            copy_16(to + S::k_elements + row * S::v_row + col, v + at * S::dv + col, valid);
    }
    static_assert(S::latent || S::dqk == S::dv, "keys and values are loaded together");
}

__device__ inline float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ inline float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// What a warp keeps: its 16 rows. A lane has rows lane / 4 and lane / 4 + 8, and two columns of every eight.
template <typename S> struct attend_warp {
    uint32_t q[S::q_in_registers ? S::dqk / 16 : 1][4];
    float o[S::columns / 8][4];
    float most[2], sum[2];
    int64_t last[2], low[2]; // positions that the lane's rows see
    int m, d, k, lane;
};

template <typename S>
__device__ void load_row_fragment(uint32_t (&r)[4], const __nv_bfloat16 *rows, int col, int lane)
{
    load_matrices(r, rows + (lane / 8 % 2 * 8 + lane % 8) * S::k_row + col + lane / 16 * 8);
}

template <typename S>
__device__ void scores_of(float (&s)[S::positions / 8][4], const attend_warp<S> &w,
        const __nv_bfloat16 *q, const __nv_bfloat16 *keys)
{
    const __nv_bfloat16 *mine = keys
                                + (w.k * S::positions + w.lane / 16 * 8 + w.lane % 8) * S::k_row
                                + w.lane / 8 % 2 * 8;
#pragma unroll
    for (int j = 0; j < S::positions / 8; j++)
        s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
#pragma unroll(S::q_in_registers ? S::dqk / 16 : 4)
    for (int step = 0; step < S::dqk / 16; step++) {
        uint32_t row[4];
        if (S::q_in_registers) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                row[i] = w.q[S::q_in_registers ? step : 0][i];
        } else {
            load_row_fragment<S>(row, q + w.m * 16 * S::k_row, step * 16, w.lane);
        }
#pragma unroll
        for (int j = 0; j < S::positions / 16; j++) {
            uint32_t b[4];
            load_matrices(b, mine + j * 16 * S::k_row + step * 16);
            mma_bf16(s[2 * j], row, b[0], b[1]);
            mma_bf16(s[2 * j + 1], row, b[2], b[3]);
        }
    }
}

template <typename S>
__device__ void hide(
        float (&s)[S::positions / 8][4], const attend_warp<S> &w, int64_t base, int64_t end)
{
    int64_t first = base + w.k * S::positions + w.lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < S::positions / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int64_t pos = first + j * 8 + i % 2;
            if (pos > w.last[i / 2] || pos < w.low[i / 2] || pos >= end)
                s[j][i] = -INFINITY;
        }
}

// Scores become weights relative to the largest so far; what was summed before is scaled to it.
template <typename S> __device__ void soften(float (&s)[S::positions / 8][4], attend_warp<S> &w)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float most = w.most[r];
#pragma unroll
        for (int j = 0; j < S::positions / 8; j++)
            most = fmaxf(most, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
        most = quad_max(most);
        float base = most == -INFINITY ? 0.0f : most;
        float before = exp2f(w.most[r] - base);
        w.most[r] = most;
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < S::positions / 8; j++)
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; i++) {
                s[j][i] = exp2f(s[j][i] - base);
                sum += s[j][i];
            }
        w.sum[r] = w.sum[r] * before + sum;
#pragma unroll
        for (int j = 0; j < S::columns / 8; j++) {
            w.o[j][2 * r] *= before;
            w.o[j][2 * r + 1] *= before;
        }
    }
}

template <typename S>
__device__ void add_values(
        attend_warp<S> &w, const float (&s)[S::positions / 8][4], const __nv_bfloat16 *values)
{
    constexpr int stride = S::latent ? S::k_row : S::v_row;
    const __nv_bfloat16 *mine = values
                                + (w.k * S::positions + w.lane / 8 % 2 * 8 + w.lane % 8) * stride
                                + w.d * S::columns + w.lane / 16 * 8;
#pragma unroll
    for (int step = 0; step < S::positions / 16; step++) {
        uint32_t p[4] = {pack_bf16(s[2 * step][0], s[2 * step][1]),
                pack_bf16(s[2 * step][2], s[2 * step][3]),
                pack_bf16(s[2 * step + 1][0], s[2 * step + 1][1]),
                pack_bf16(s[2 * step + 1][2], s[2 * step + 1][3])};
#pragma unroll
        for (int j = 0; j < S::columns / 16; j++) {
            uint32_t b[4];
            load_transposed(b, mine + step * 16 * stride + j * 16);
            mma_bf16(w.o[2 * j], p, b[0], b[1]);
            mma_bf16(w.o[2 * j + 1], p, b[2], b[3]);
        }
    }
}

template <typename S>
__device__ void begin_warp(
        attend_warp<S> &w, const struct attend_args &a, const struct attend_block &b)
{
    int warp = static_cast<int>(threadIdx.x) / 32;
    w.lane = static_cast<int>(threadIdx.x) % 32;
    w.m = warp % S::wm;
    w.d = warp / S::wm % S::wd;
    w.k = warp / (S::wm * S::wd);
    for (int r = 0; r < 2; r++) {
        int64_t row = b.row0 + w.m * 16 + w.lane / 4 + 8 * r;
        w.most[r] = -INFINITY;
        w.sum[r] = 0.0f;
        w.last[r] = row < b.n_rows ? b.seq.kv_len - b.seq.q_len + row / a.group : -1;
        w.low[r] = a.window > 0 ? w.last[r] - a.window + 1 : 0;
    }
#pragma unroll
    for (int j = 0; j < S::columns / 8; j++)
        w.o[j][0] = w.o[j][1] = w.o[j][2] = w.o[j][3] = 0.0f;
}

// Where a row's result goes: final, or the part of a split.
__device__ inline float *part_of(
        const struct attend_args &a, const struct attend_block &b, int64_t row, int dv)
{
    int64_t query = row / a.group, head = b.kv_head * a.group + row % a.group;
    int64_t at = (static_cast<int64_t>(blockIdx.z) * a.q_len + query) * a.kv_heads * a.group + head;
    return a.part + (at * a.splits + b.split) * (dv + 2);
}

// Final sums may get a sink, which takes its share and has no value.
__device__ inline float share_of(const struct attend_args &a, int64_t head, float most, float sum)
{
    if (a.sinks == nullptr)
        return 1.0f / sum;
    float sink = a.sinks[head] * log2_e, top = fmaxf(most, sink);
    float scale = exp2f(most - top);
    return scale / (sum * scale + exp2f(sink - top));
}

template <typename S>
__device__ void store_pair(const struct attend_args &a, const struct attend_block &b, int64_t row,
        int col, float2 value, float2 state)
{
    if (row >= b.n_rows)
        return;
    int64_t query = row / a.group, head = b.kv_head * a.group + row % a.group;
    if (a.part != nullptr) {
        float *to = part_of(a, b, row, S::dv);
        to[col] = value.x;
        to[col + 1] = value.y;
        if (col == 0) {
            to[S::dv] = state.x;
            to[S::dv + 1] = state.y;
        }
        return;
    }
    float share = share_of(a, head, state.x, state.y);
    float *to = a.out + row_of_query(a, b, query) * a.ldo + head * S::dv + col;
    to[0] = value.x * share;
    to[1] = value.y * share;
}

template <typename S>
__device__ void store_rows(
        const attend_warp<S> &w, const struct attend_args &a, const struct attend_block &b)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int64_t row = b.row0 + w.m * 16 + w.lane / 4 + 8 * r;
#pragma unroll
        for (int j = 0; j < S::columns / 8; j++)
            store_pair<S>(a, b, row, w.d * S::columns + j * 8 + w.lane % 4 * 2,
                    make_float2(w.o[j][2 * r], w.o[j][2 * r + 1]),
                    make_float2(w.most[r], w.sum[r]));
    }
}

// Warps that saw different positions of the same rows: scaled to the largest of their maxima, and added.
template <typename S>
__device__ void merge_warps(const attend_warp<S> &w, const struct attend_args &a,
        const struct attend_block &b, float *shared)
{
    constexpr int stride = S::dv + 2;
    __syncthreads();
    for (int r = 0; r < 2; r++) {
        float *to = shared + (w.k * 16 + w.lane / 4 + 8 * r) * stride;
#pragma unroll
        for (int j = 0; j < S::columns / 8; j++) {
            to[j * 8 + w.lane % 4 * 2] = w.o[j][2 * r];
            to[j * 8 + w.lane % 4 * 2 + 1] = w.o[j][2 * r + 1];
        }
        if (w.lane % 4 == 0) {
            to[S::dv] = w.most[r];
            to[S::dv + 1] = w.sum[r];
        }
    }
    __syncthreads();
    for (int i = 2 * static_cast<int>(threadIdx.x); i < 16 * S::dv; i += 2 * S::threads) {
        const float *from = shared + i / S::dv * stride;
        float most = -INFINITY, sum = 0.0f;
        float2 value = make_float2(0.0f, 0.0f);
        for (int k = 0; k < S::wk; k++)
            most = fmaxf(most, from[k * 16 * stride + S::dv]);
        for (int k = 0; k < S::wk && most > -INFINITY; k++) {
            const float *part = from + k * 16 * stride;
            float scale = exp2f(part[S::dv] - most);
            sum += part[S::dv + 1] * scale;
            value.x += part[i % S::dv] * scale;
            value.y += part[i % S::dv + 1] * scale;
        }
        store_pair<S>(a, b, b.row0 + i / S::dv, i % S::dv, value, make_float2(most, sum));
    }
}

template <typename S>
__device__ void walk_keys(attend_warp<S> &w, const struct attend_args &a,
        const struct attend_block &b, __nv_bfloat16 *shared)
{
    __nv_bfloat16 *q = shared, *stages = shared + S::q_elements;
    int64_t tiles = b.keys.end > b.keys.begin ? layout_ceil(b.keys.end - b.keys.begin, S::tile) : 0;
    // A tile that all rows see whole needs no masks.
    int64_t first_query = b.seq.kv_len - b.seq.q_len + b.row0 / a.group;
    int64_t last_row = b.row0 + S::rows < b.n_rows ? b.row0 + S::rows : b.n_rows;
    int64_t last_query = b.seq.kv_len - b.seq.q_len + (last_row - 1) / a.group;
    bool partial_rows = b.row0 + S::rows > b.n_rows;
    load_queries<S>(q, a, b);
    if (tiles > 0)
        load_keys<S>(stages, a, b, b.keys.begin);
    copy_commit();
    __syncthreads();
    if (S::q_in_registers) {
#pragma unroll
        for (int step = 0; step < (S::q_in_registers ? S::dqk / 16 : 1); step++)
            load_row_fragment<S>(w.q[step], q + w.m * 16 * S::k_row, step * 16, w.lane);
    }
    for (int64_t t = 0; t < tiles; t++) {
        int64_t base = b.keys.begin + t * S::tile;
        const __nv_bfloat16 *keys = stages + t % 2 * S::stage;
        if (t + 1 < tiles)
            load_keys<S>(stages + (t + 1) % 2 * S::stage, a, b, base + S::tile);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        float s[S::positions / 8][4];
        scores_of<S>(s, w, q, keys);
        if (base + S::tile - 1 > first_query || base + S::tile > b.keys.end || partial_rows
                || (a.window > 0 && base <= last_query - a.window))
            hide<S>(s, w, base, b.keys.end);
        soften<S>(s, w);
        add_values<S>(w, s, S::latent ? keys : keys + S::k_elements);
        __syncthreads();
    }
}

// grid: row tiles x splits, kv heads, sequences
template <typename S> __global__ void __launch_bounds__(S::threads) attend(struct attend_args a)
{
    DYNAMIC_SHARED(shared);
    struct attend_block b;
    b.seq = a.seqs[blockIdx.z];
    b.n_rows = b.seq.q_len * a.group;
    // Later queries see more keys: they go first.
    b.row0 = static_cast<int64_t>((gridDim.x - 1 - blockIdx.x) / a.splits) * S::rows;
    b.split = static_cast<int>((gridDim.x - 1 - blockIdx.x) % a.splits);
    b.kv_head = static_cast<int>(blockIdx.y);
    if (b.row0 >= b.n_rows)
        return;
    int64_t end = b.row0 + S::rows < b.n_rows ? b.row0 + S::rows : b.n_rows;
    struct layout_keys all =
            layout_keys_of(b.row0, end, a.group, b.seq.q_len, b.seq.kv_len, a.window);
    b.keys = layout_part(all, b.split, a.splits, S::tile);
    attend_warp<S> w;
    begin_warp<S>(w, a, b);
    walk_keys<S>(w, a, b, reinterpret_cast<__nv_bfloat16 *>(shared));
    for (int r = 0; r < 2; r++)
        w.sum[r] = quad_sum(w.sum[r]);
    if (S::wk > 1)
        merge_warps<S>(w, a, b, reinterpret_cast<float *>(shared));
    else
        store_rows<S>(w, a, b);
}
