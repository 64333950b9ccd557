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

// What a warp keeps: its 16 rows. A lane has rows lane / 4 and lane / 4 + 8, and two columns of every eight.
template <typename S> struct attend_warp {
    uint32_t q[S::q_in_registers ? S::dqk / 16 : 1][4];
    float o[S::columns / 8][4];
    float most[2], sum[2];
    int64_t last[2], low[2]; // positions that the lane's rows see
    int m, d, k, lane;
};
