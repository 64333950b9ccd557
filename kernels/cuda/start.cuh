// Starting kernels, spelled once for nvcc, for hipcc and for a plain C++ compiler, where a stand-in for
// cuda_runtime.h executes the threads of a block one after the other (tests/emulate).
#pragma once

#include <cuda_runtime.h>

#if defined(__CUDACC__) || defined(__HIPCC__)
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#else
#define DYNAMIC_SHARED(name) unsigned char *name = emulator::dynamic_shared()
#endif

// A block gets more than this only after the kernel's limit was raised.
constexpr size_t plain_shared_bytes = 48 << 10;

struct on {
    void *stream;
    dim3 grid;
    unsigned threads;
    size_t shared_bytes = 0;
};

// Errors show at the next cudaGetLastError.
template <typename... P, typename... A>
void start(const struct on &where, void (*kernel)(P...), A... args)
{
#if defined(__CUDACC__) || defined(__HIPCC__)
    if (where.shared_bytes > plain_shared_bytes)
        cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(where.shared_bytes));
    kernel<<<where.grid, where.threads, where.shared_bytes,
            static_cast<cudaStream_t>(where.stream)>>>(static_cast<P>(args)...);
#else
    emulator::launch(where.grid, where.threads, where.shared_bytes, where.stream,
            [=] { kernel(static_cast<P>(args)...); });
#endif
}

inline unsigned blocks_for(int64_t n, int64_t each)
{
    return static_cast<unsigned>((n + each - 1) / each);
}
