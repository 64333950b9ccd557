/*
 * rows - what is done to rows of activations, element by element.
 *
 * An element at the end of a row goes through the same vector operations as any other, so that its bits
 * do not depend on how many columns this rank has.
 */
#ifndef KERNELS_CPU_ROWS_H
#define KERNELS_CPU_ROWS_H

#include <math.h>
#include <stdbool.h>

#include "kernels/cpu/vec.h"
#include "kernels/element.h"

ALWAYS_INLINE vf rows_load(const float *x, int64_t left)
{
    if (left >= VW)
        return v_load(x);
    float copy[VW] = {0};
    memcpy(copy, x, sizeof(float) * (size_t)left);
    return v_load(copy);
}

ALWAYS_INLINE void rows_store(float *x, vf v, int64_t left)
{
    if (left >= VW) {
        v_store(x, v);
        return;
    }
    float copy[VW];
    v_store(copy, v);
    memcpy(x, copy, sizeof(float) * (size_t)left);
}

static inline void rows_rmsnorm(
        float *out, float *x, const float *residual, const float *gain, float eps, int64_t n)
{
    vf squares = v_zero();
    for (int64_t i = 0; i < n; i += VW) {
        vf v = rows_load(x + i, n - i);
        if (residual) {
            v += rows_load(residual + i, n - i);
            rows_store(x + i, v, n - i);
        }
        squares = v_fma(v, v, squares);
    }
    float factor = 1 / sqrtf(v_sum(squares) / (float)n + eps);
    for (int64_t i = 0; i < n; i += VW)
        rows_store(out + i, rows_load(x + i, n - i) * v_set1(factor) * rows_load(gain + i, n - i),
                n - i);
}

static inline void rows_widen(float *out, const void *in, enum dtype dtype, int64_t n)
{
    const uint16_t *half = in;
    int64_t i = 0;
    if (dtype == DTYPE_F32) {
        memcpy(out, in, sizeof(float) * (size_t)n);
        return;
    }
    for (; i + VW <= n && dtype == DTYPE_BF16; i += VW)
        v_store(out + i, v_load_bf16(half + i));
    for (; i + VW <= n && dtype == DTYPE_F16; i += VW)
        v_store(out + i, v_load_f16(half + i));
    for (; i < n; i++)
        out[i] = element_load(in, dtype, i);
}

static inline void rows_silu(float *out, const float *gate, const float *up, int64_t n)
{
    const vf one = v_set1(1), most = v_set1(-88);
    for (int64_t i = 0; i < n; i += VW) {
        vf g = rows_load(gate + i, n - i);
        vf e = v_exp(-v_max(g, most)); /* finite; below -88 the result is 0 to f32 anyway */
        rows_store(out + i, g / (one + e) * rows_load(up + i, n - i), n - i);
    }
}

/* Gate at most clamp, up within +-clamp; gate sigmoid(1.702 gate) (up + 1). */
static inline void rows_swiglu_clamped(
        float *out, const float *gate, const float *up, float clamp, int64_t n)
{
    const vf one = v_set1(1), most = v_set1(clamp), least = v_set1(-clamp);
    for (int64_t i = 0; i < n; i += VW) {
        vf g = v_min(rows_load(gate + i, n - i), most);
        vf u = v_max(v_min(rows_load(up + i, n - i), most), least);
        vf e = v_exp(-v_max(g * v_set1(1.702f), v_set1(-88)));
        rows_store(out + i, g / (one + e) * (u + one), n - i);
    }
}

static inline void rows_add_scaled(float *out, const float *x, float scale, int64_t n)
{
    for (int64_t i = 0; i < n; i += VW)
        rows_store(out + i,
                v_fma(v_set1(scale), rows_load(x + i, n - i), rows_load(out + i, n - i)), n - i);
}

static inline float rows_soften(float *x, float most, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i += VW) {
        rows_store(x + i, v_exp(rows_load(x + i, n - i) - v_set1(most)), n - i);
        for (int64_t j = i; j < n && j < i + VW; j++)
            sum += x[j];
    }
    return sum;
}

/* The largest of each lane with where it was first, then the best lane. */
static inline int64_t rows_arg_max(const float *x, int64_t n)
{
    vf most = v_set1(-INFINITY);
    vi at = {0};
    int64_t whole = n / VW * VW, best = 0;
    for (int64_t i = 0; i < whole; i += VW) {
        vf v = v_load(x + i);
        vi more = v > most;
        most = v_select(more, v, most);
        vi here = (vi){0} + (int32_t)(i / VW);
        at = (more & here) | (~more & at);
    }
    float value = -INFINITY;
    for (int lane = 0; lane < VW && whole; lane++) {
        int64_t where = (int64_t)at[lane] * VW + lane;
        if (most[lane] > value || (most[lane] == value && where < best)) {
            value = most[lane];
            best = where;
        }
    }
    for (int64_t i = whole; i < n; i++) {
        if (x[i] > value) {
            value = x[i];
            best = i;
        }
    }
    return best;
}

/* Cosines and sines of position * frequency, times scale. Above 1e5 the reduction below loses digits. */
static inline void rows_angles(
        float *cosine, float *sine, float position, const float *frequency, float scale, int64_t n)
{
#if VW >= 8
    for (int64_t i = 0; i < n && position <= 1e5f; i += VW) {
        /* x = q pi / 2 + r, pi / 2 in three parts (Cody and Waite); polynomials of Cephes sinf, cosf */
        vf x = rows_load(frequency + i, n - i) * v_set1(position);
        vf shifted = v_fma(x, v_set1(0x1.45f306p-1f), v_set1(0x1.8p23f));
        vf q = shifted - v_set1(0x1.8p23f);
        vf r = v_fma(q, v_set1(-0x1.921fb6p0f), x);
        r = v_fma(q, v_set1(0x1.777a5cp-25f), r);
        r = v_fma(q, v_set1(0x1.ee59dap-50f), r);
        vf r2 = r * r;
        vf s = v_fma(v_set1(-1.9515295891e-4f), r2, v_set1(8.3321608736e-3f));
        s = v_fma(v_fma(s, r2, v_set1(-1.6666654611e-1f)), r2 * r, r);
        vf c = v_fma(v_set1(2.443315711809948e-5f), r2, v_set1(-1.388731625493765e-3f));
        c = v_fma(c, r2, v_set1(4.166664568298827e-2f));
        c = v_fma(c, r2 * r2, v_fma(v_set1(-0.5f), r2, v_set1(1)));
        vu quadrant = (vu)shifted;
        vi odd = (vi)(0u - (quadrant & 1u));
        vu sine_sign = (quadrant & 2u) << 30, cosine_sign = ((quadrant + 1u) & 2u) << 30;
        vf sines = (vf)((vu)v_select(odd, c, s) ^ sine_sign);
        vf cosines = (vf)((vu)v_select(odd, s, c) ^ cosine_sign);
        rows_store(sine + i, sines * v_set1(scale), n - i);
        rows_store(cosine + i, cosines * v_set1(scale), n - i);
    }
    if (position <= 1e5f)
        return;
#endif
    for (int64_t i = 0; i < n; i++) {
        cosine[i] = cosf(position * frequency[i]) * scale;
        sine[i] = sinf(position * frequency[i]) * scale;
    }
}

static inline void rows_rotate(float *x, const float *cosine, const float *sine, int64_t half)
{
    for (int64_t i = 0; i < half; i += VW) {
        int64_t left = half - i;
        vf lower = rows_load(x + i, left), upper = rows_load(x + half + i, left);
        vf c = rows_load(cosine + i, left), s = rows_load(sine + i, left);
        rows_store(x + i, v_fma(lower, c, -(upper * s)), left);
        rows_store(x + half + i, v_fma(upper, c, lower * s), left);
    }
}

#endif
