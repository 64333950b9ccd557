// One warp's tensor-core product and what feeds it: 16 x 16 times 16 x 8 of bf16, accumulated in f32
// (PTX ISA, "mma.m16n8k16", "ldmatrix", "cp.async"). A plain C++ compiler gets the same from tests/emulate.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

// Two floats as bf16, the first in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &both, sizeof bits);
    return bits;
}

__device__ inline float lower_bf16(uint32_t bits)
{
    return __uint_as_float(bits << 16);
}

__device__ inline float upper_bf16(uint32_t bits)
{
    return __uint_as_float(bits & 0xffff0000u);
}

#if defined(__CUDACC__)

// d[16 x 8] += a[16 x 16] b[16 x 8]
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of bf16; lane l names row l % 8 of matrix l / 8.
__device__ inline void load_matrices(uint32_t (&r)[4], const void *row)
{
    auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

// The same, each matrix transposed.
__device__ inline void load_transposed(uint32_t (&r)[4], const void *row)
{
    auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

// 16 bytes on their way to shared memory; zeros where not valid, and then `from` is not read.
__device__ inline void copy_16(void *shared, const void *from, bool valid)
{
    auto at = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
                 :
                 : "r"(at), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}

__device__ inline void copy_commit()
{
    asm volatile("cp.async.commit_group;\n" : : : "memory");
}

// All but the `behind` latest groups have arrived, those of this thread.
template <int behind> __device__ inline void copy_wait()
{
    asm volatile("cp.async.wait_group %0;\n" : : "n"(behind) : "memory");
}

#else
#include <cuda_emulated_mma.h>
#endif
