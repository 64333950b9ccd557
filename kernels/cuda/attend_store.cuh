// Where what a warp found goes: to the output, or to the parts that another kernel puts together.
#pragma once

#include "kernels/cuda/attend_shape.cuh"

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
