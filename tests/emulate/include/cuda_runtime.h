// The language of kernels, for a plain C++ compiler: each thread of a block is a fiber, and all of them meet at
// barriers and shuffles. A barrier that some threads of the block never reach ends the program with a message.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>

#include <cuda_runtime_api.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__      static
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{x, y, z, w};
}
inline float2 make_float2(float x, float y)
{
    return float2{x, y};
}

namespace emulator
{

extern dim3 thread, block, block_size, grid_size;

void launch(dim3 grid, unsigned threads, size_t shared_bytes, void *stream,
        const std::function<void()> &thread_body);
// Work of the stream that is no kernel, with device memory in reach.
void call(void *stream, const std::function<void()> &work);
unsigned char *dynamic_shared();
// Every lane of the warp hands in `bytes` and gets those of all 32; lanes that have ended hand in zeros.
void exchange(const void *mine, void *all, size_t bytes);
void block_barrier();

} // namespace emulator

#define threadIdx emulator::thread
#define blockIdx  emulator::block
#define blockDim  emulator::block_size
#define gridDim   emulator::grid_size

inline void __syncthreads()
{
    emulator::block_barrier();
}

inline void __syncwarp(unsigned = 0xffffffffu)
{
    char nothing = 0, all[32];
    emulator::exchange(&nothing, all, 1);
}

template <typename T> T __shfl_sync(unsigned, T value, int lane)
{
    T all[32];
    emulator::exchange(&value, all, sizeof value);
    return all[lane & 31];
}

template <typename T> T __shfl_xor_sync(unsigned mask, T value, int with)
{
    return __shfl_sync(mask, value, static_cast<int>(threadIdx.x & 31u) ^ with);
}

template <typename T> T __shfl_up_sync(unsigned, T value, unsigned by)
{
    T all[32];
    unsigned lane = threadIdx.x & 31u;
    emulator::exchange(&value, all, sizeof value);
    return lane < by ? value : all[lane - by];
}

inline unsigned __ballot_sync(unsigned, int predicate)
{
    int all[32];
    unsigned bits = 0;
    emulator::exchange(&predicate, all, sizeof predicate);
    for (int i = 0; i < 32; i++)
        bits |= all[i] != 0 ? 1u << i : 0u;
    return bits;
}

inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

inline float __uint_as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline uint32_t __float_as_uint(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float rsqrtf(float x)
{
    return 1.0f / std::sqrt(x);
}

inline float __fdividef(float x, float y)
{
    return x / y;
}

template <typename T> T __ldg(const T *from)
{
    return *from;
}

using std::isfinite;
