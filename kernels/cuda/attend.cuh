// The walk of attention over its keys (attend_shape.cuh says what is what).
#pragma once

#include "kernels/cuda/attend_store.cuh"

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
