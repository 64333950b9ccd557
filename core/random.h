/*
 * random - counter-based random numbers: the i-th draw of a seed is a function, so any process can make
 * any draw and the order of asking changes nothing.
 *
 * Two rounds of the finaliser of SplitMix64 (Steele, Lea, Flood 2014), seed and counter mixed apart.
 */
#ifndef CORE_RANDOM_H
#define CORE_RANDOM_H

#include <stdint.h>

static inline uint64_t random_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t random_u64(uint64_t seed, uint64_t counter)
{
    return random_mix(random_mix(seed) ^ (counter * UINT64_C(0xd1342543de82ef95)));
}

/* Uniform in [0, 1), 53 bits. */
static inline double random_unit(uint64_t seed, uint64_t counter)
{
    return (double)(random_u64(seed, counter) >> 11) * 0x1p-53;
}

/* Uniform in [0, n). The bias is below n / 2^64. */
static inline int64_t random_below(uint64_t seed, uint64_t counter, int64_t n)
{
    __extension__ typedef unsigned __int128 wide;
    return (int64_t)(((wide)random_u64(seed, counter) * (wide)n) >> 64);
}

#endif
