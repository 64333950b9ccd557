/*
 * vec - one vector type over the instruction sets, chosen by the flags this file is compiled with.
 *
 * The kernels beside it are written once in these terms. VW is the number of floats in a vector.
 * AVX-512 and AVX2 fuse multiply and add; the portable one rounds in between.
 */
#ifndef KERNELS_CPU_VEC_H
#define KERNELS_CPU_VEC_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VW 16
#elif defined(__AVX2__)
#define VW 8
#else
#define VW 4
#endif

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* The same where it meets sizes. */
#define V_WIDTH ((int64_t)VW)

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The only way to name a vector type. */
typedef float vf __attribute__((vector_size(4 * VW)));
typedef uint32_t vu __attribute__((vector_size(4 * VW)));
typedef int32_t vi __attribute__((vector_size(4 * VW)));

ALWAYS_INLINE vf v_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Keeps a value in a register that compilers would rather load again for each use: loads are what tiles
 * run out of first. */
ALWAYS_INLINE vf v_keep(vf v)
{
#if VW >= 8
    __asm__("" : "+x"(v));
#endif
    return v;
}

ALWAYS_INLINE void v_store(float *p, vf v)
{
    memcpy(p, &v, sizeof(v));
}

ALWAYS_INLINE vu v_load_bits(const void *p)
{
    vu v;
    memcpy(&v, p, sizeof(v));
    return v;
}

ALWAYS_INLINE vf v_set1(float x)
{
#if VW == 16
    return (vf)_mm512_set1_ps(x);
#elif VW == 8
    return (vf)_mm256_set1_ps(x);
#else
    return (vf){x, x, x, x};
#endif
}

ALWAYS_INLINE vf v_zero(void)
{
    return (vf){0};
}

/* a * b + c */
ALWAYS_INLINE vf v_fma(vf a, vf b, vf c)
{
#if VW == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VW == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* mask ? a : b, with masks of all ones or all zeros as comparisons give them. */
ALWAYS_INLINE vf v_select(vi mask, vf a, vf b)
{
    return (vf)(((vu)mask & (vu)a) | (~(vu)mask & (vu)b));
}

ALWAYS_INLINE vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
}

ALWAYS_INLINE vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}

/* 2 VW bf16 as VW words: the even elements, the odd elements. One shift or one mask each, where keeping
 * their order would take a shuffle more. */
ALWAYS_INLINE vf v_bf16_even(vu words)
{
    return (vf)(words << 16);
}

ALWAYS_INLINE vf v_bf16_odd(vu words)
{
    return (vf)(words & 0xffff0000u);
}

/* VW bf16 in order. */
ALWAYS_INLINE vf v_load_bf16(const uint16_t *p)
{
#if VW == 16
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#elif VW == 8
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
#else
    vu v = {p[0], p[1], p[2], p[3]};
    return (vf)(v << 16);
#endif
}

/* VW f16 in order. */
ALWAYS_INLINE vf v_load_f16(const uint16_t *p)
{
#if VW == 16
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif VW == 8
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    /* As f16_widen in core/half.h. */
    vu v = {p[0], p[1], p[2], p[3]}, magnitude = (v & 0x7fffu) << 13, sign = (v & 0x8000u) << 16;
    vu finite = (vu)((vf)magnitude * v_set1(0x1p112f)), endless = magnitude | 0x7f800000u;
    vu past = (vu)((v & 0x7c00u) == 0x7c00u);
    return (vf)(sign | (past & endless) | (~past & finite));
#endif
}

/* Sums of the lanes of four vectors. Halves are added first where there are 16, then neighbours, pairs,
 * and the two fours: the same order for each of the four. */
ALWAYS_INLINE void v_sum4(float out[4], vf a, vf b, vf c, vf d)
{
#if VW >= 8
#if VW == 16
#define HALVES(v)                                      \
    _mm256_add_ps(_mm512_castps512_ps256((__m512)(v)), \
            _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd((__m512)(v)), 1)))
#else
#define HALVES(v) ((__m256)(v))
#endif
    __m256 ab = _mm256_hadd_ps(HALVES(a), HALVES(b)), cd = _mm256_hadd_ps(HALVES(c), HALVES(d));
    __m256 all = _mm256_hadd_ps(ab, cd);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
#undef HALVES
#else
    out[0] = (a[0] + a[1]) + (a[2] + a[3]);
    out[1] = (b[0] + b[1]) + (b[2] + b[3]);
    out[2] = (c[0] + c[1]) + (c[2] + c[3]);
    out[3] = (d[0] + d[1]) + (d[2] + d[3]);
#endif
}

ALWAYS_INLINE float v_sum(vf a)
{
    float out[4];
    v_sum4(out, a, a, a, a);
    return out[0];
}

ALWAYS_INLINE float v_max_lane(vf a)
{
    float lane[VW], most;
    v_store(lane, a);
    most = lane[0];
    for (int i = 1; i < VW; i++)
        most = lane[i] > most ? lane[i] : most;
    return most;
}

/*
 * e^x for x <= 88, 0 below -87.3. Relative error below 1.5e-7: x = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in
 * two parts (Cody and Waite), e^r by its Taylor polynomial of degree 7, 2^n put into the exponent.
 */
ALWAYS_INLINE vf v_exp(vf x)
{
    const vf magic = v_set1(0x1.8p23f);
    vf clamped = v_min(v_max(x, v_set1(-87.3f)), v_set1(88.0f));
    vf shifted = v_fma(clamped, v_set1(0x1.715476p0f), magic); /* n in the low bits */
    vf n = shifted - magic;
    vf r = v_fma(n, v_set1(-0x1.62e4p-1f), clamped);
    r = v_fma(n, v_set1(-0x1.7f7d1cp-20f), r);
    vf p = v_set1(1.0f / 5040);
    p = v_fma(p, r, v_set1(1.0f / 720));
    p = v_fma(p, r, v_set1(1.0f / 120));
    p = v_fma(p, r, v_set1(1.0f / 24));
    p = v_fma(p, r, v_set1(1.0f / 6));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1));
    p = v_fma(p, r, v_set1(1));
    vf power = (vf)(((vu)shifted << 23) + 0x3f800000u);
    return v_select(x < v_set1(-87.3f), v_zero(), p * power);
}

#endif
