// What kernels/cuda/mma.cuh writes in PTX, by the layouts that the PTX ISA gives for the fragments.
#pragma once

#include <cuda_runtime.h>

inline float emulated_half(uint32_t bits, int which)
{
    return __uint_as_float(which ? bits & 0xffff0000u : bits << 16);
}

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    struct fragments {
        uint32_t a[4], b[2];
    } mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}}, all[32];
    int lane = static_cast<int>(threadIdx.x & 31u);
    emulator::exchange(&mine, all, sizeof mine);
    for (int i = 0; i < 4; i++) {
        int row = lane / 4, upper = i / 2, col = lane % 4 * 2 + i % 2;
        double sum = 0;
        for (int k = 0; k < 16; k++) {
            int half = k / 8, pair = k % 8 / 2;
            float x = emulated_half(all[row * 4 + pair].a[upper + 2 * half], k % 2);
            float y = emulated_half(all[col * 4 + pair].b[half], k % 2);
            sum += static_cast<double>(x) * static_cast<double>(y);
        }
        d[i] = static_cast<float>(static_cast<double>(d[i]) + sum);
    }
}

inline void emulated_load(uint32_t (&r)[4], const void *row, bool transposed)
{
    const void *all[32];
    int lane = static_cast<int>(threadIdx.x & 31u);
    emulator::exchange(&row, all, sizeof row);
    for (int i = 0; i < 4; i++) {
        uint16_t part[2];
        for (int j = 0; j < 2; j++) {
            int at_row = transposed ? lane % 4 * 2 + j : lane / 4;
            int at_col = transposed ? lane / 4 : lane % 4 * 2 + j;
            memcpy(&part[j], static_cast<const uint16_t *>(all[i * 8 + at_row]) + at_col, 2);
        }
        r[i] = part[0] | static_cast<uint32_t>(part[1]) << 16;
    }
    __syncwarp();
}

inline void load_matrices(uint32_t (&r)[4], const void *row)
{
    emulated_load(r, row, false);
}

inline void load_transposed(uint32_t (&r)[4], const void *row)
{
    emulated_load(r, row, true);
}

inline void copy_16(void *shared, const void *from, bool valid)
{
    if ((reinterpret_cast<uintptr_t>(shared) | (valid ? reinterpret_cast<uintptr_t>(from) : 0))
            % 16) {
        fprintf(stderr, "copy_16 between addresses that are not multiples of 16\n");
        abort();
    }
    if (valid)
        memcpy(shared, from, 16);
    else
        memset(shared, 0, 16);
}

inline void copy_commit()
{
}

template <int behind> inline void copy_wait()
{
}
