// NVIDIA's tensor-core product by shuffles: the fragments are laid out alike, the speed is that of plain arithmetic. AMD's
// matrix instructions have other fragments, for which the kernels would be written anew.
#pragma once

// A lane's registers of `bits`, from another lane of its warp.
template <int n>
__device__ inline void fetch_lane(uint32_t (&to)[n], const uint32_t (&of)[n], int lane)
{
    for (int i = 0; i < n; i++)
        to[i] = __shfl(of[i], lane, 32);
}

__device__ inline float dot_pair(float sum, uint32_t a, uint32_t b)
{
    return sum + lower_bf16(a) * lower_bf16(b) + upper_bf16(a) * upper_bf16(b);
}

// d[16 x 8] += a[16 x 16] b[16 x 8]
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    int lane = static_cast<int>(threadIdx.x & 31u), row = lane / 4, col = lane % 4 * 2;
    const uint32_t b[2] = {b0, b1};
    for (int quad = 0; quad < 4; quad++) {
        uint32_t rows[4], cols[2][2];
        fetch_lane(rows, a, row * 4 + quad);
        fetch_lane(cols[0], b, col * 4 + quad);
        fetch_lane(cols[1], b, (col + 1) * 4 + quad);
        for (int j = 0; j < 2; j++) {
            d[j] = dot_pair(dot_pair(d[j], rows[0], cols[j][0]), rows[2], cols[j][1]);
            d[2 + j] = dot_pair(dot_pair(d[2 + j], rows[1], cols[j][0]), rows[3], cols[j][1]);
        }
    }
}

// The address that a lane named, in two halves.
__device__ inline const __nv_bfloat16 *row_of_lane(const void *row, int lane)
{
    auto at = reinterpret_cast<uintptr_t>(row);
    uint64_t low = __shfl(static_cast<uint32_t>(at), lane, 32);
    uint64_t high = __shfl(static_cast<uint32_t>(at >> 32), lane, 32);
    return reinterpret_cast<const __nv_bfloat16 *>(high << 32 | low);
}

// Four 8 x 8 matrices of bf16; lane l names row l % 8 of matrix l / 8.
__device__ inline void load_matrices(uint32_t (&r)[4], const void *row)
{
    int lane = static_cast<int>(threadIdx.x & 31u);
    for (int i = 0; i < 4; i++) {
        const __nv_bfloat16 *from = row_of_lane(row, i * 8 + lane / 4) + lane % 4 * 2;
        r[i] = from[0].bits | static_cast<uint32_t>(from[1].bits) << 16;
    }
}

// The same, each matrix transposed.
__device__ inline void load_transposed(uint32_t (&r)[4], const void *row)
{
    int lane = static_cast<int>(threadIdx.x & 31u);
    for (int i = 0; i < 4; i++) {
        uint32_t low = row_of_lane(row, i * 8 + lane % 4 * 2)[lane / 4].bits;
        uint32_t high = row_of_lane(row, i * 8 + lane % 4 * 2 + 1)[lane / 4].bits;
        r[i] = low | high << 16;
    }
}

__device__ inline void copy_16(void *shared, const void *from, bool valid)
{
    *static_cast<uint4 *>(shared) = valid ? *static_cast<const uint4 *>(from) : uint4{0, 0, 0, 0};
}

__device__ inline void copy_commit()
{
}

template <int behind> __device__ inline void copy_wait()
{
}
