// Weights of 8 bits are widened to bf16, scale and all, on their way into shared memory: they cost half the memory
// traffic, the products are those of bf16. On GPUs that multiply f8 themselves cuBLASLt does (gemm_f8.c).
#include "kernels/cuda/product.cuh"

#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/start.cuh"
#include "kernels/scale.h"

namespace
{

constexpr int step_k = 32;

// Warps are wm x wn, each with fm x fn products of 16 x 8.
template <int wm_, int wn_, int fm_, int fn_, bool by_k_, bool exact_, bool small_>
struct shape_of {
    static constexpr int wm = wm_, wn = wn_, fm = fm_, fn = fn_;
    static constexpr bool by_k = by_k_, exact = exact_, small = small_; // small: w is f8
    static constexpr int rows = 16 * wm * fm, cols = 8 * wn * fn, threads = 32 * wm * wn;
    static constexpr int pad = 8;
    static constexpr int x_row = step_k + pad, w_row = by_k ? cols + pad : step_k + pad;
    static constexpr int x_elements = rows * x_row, w_elements = (by_k ? step_k : cols) * w_row;
    static constexpr int stage = x_elements * (exact ? 2 : 1) + w_elements;
    static constexpr int x_loads = rows * step_k / 4 / threads;
    static constexpr int w_loads = cols * step_k / 16 / threads; // of f8
    static constexpr size_t shared_bytes = size_t{2} * 2 * stage;
    static_assert(rows * step_k / 4 % threads == 0 && fn % 2 == 0, "whole loads and products");
    static_assert(cols * step_k / 16 % threads == 0 && !(small && by_k), "whole loads of f8");
};

// The rows of a block, and which matrix they are for.
struct block_rows {
    int64_t first, end, batch;
};

__device__ inline bool find_rows(struct block_rows &r, const struct product &p, int tile)
{
    if (p.tiles == nullptr) {
        r.first = static_cast<int64_t>(blockIdx.y) * tile;
        r.end = r.first + tile < p.m ? r.first + tile : p.m;
        r.batch = blockIdx.z;
        return true;
    }
    if (static_cast<int32_t>(blockIdx.y) >= *p.n_tiles)
        return false;
    struct layout_tile t = p.tiles[blockIdx.y];
    r.first = t.first;
    r.end = t.end;
    r.batch = t.expert;
    return true;
}

__device__ inline int64_t row_in(const struct attention_seq *seqs, bool one_query_each, int64_t row)
{
    if (seqs == nullptr)
        return row;
    return one_query_each ? seqs[row].row : seqs[0].row + row;
}

// What a batch adds to a pointer: with a table the rows themselves tell batches apart.
__device__ inline int64_t offset_of(
        const struct product &p, const struct block_rows &r, int64_t stride)
{
    return p.tiles == nullptr ? r.batch * stride : 0;
}

template <typename S>
__device__ void fetch_x(
        float4 (&to)[S::x_loads], const struct product &p, const struct block_rows &r, int64_t k0)
{
#pragma unroll
    for (int i = 0; i < S::x_loads; i++) {
        int at = static_cast<int>(threadIdx.x) + i * S::threads;
        int64_t row = r.first + at / (step_k / 4), col = k0 + at % (step_k / 4) * 4;
        to[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (row < r.end && col < p.k)
            to[i] = *reinterpret_cast<const float4 *>(
                    p.x + offset_of(p, r, p.x_batch)
                    + row_in(p.x_seqs, p.one_query_each, row) * p.ldx + col);
    }
}

__device__ inline float left_over(float x)
{
    return x - __bfloat162float(__float2bfloat16(x));
}

template <typename S>
__device__ void store_x(__nv_bfloat16 *stage, const float4 (&from)[S::x_loads])
{
#pragma unroll
    for (int i = 0; i < S::x_loads; i++) {
        int at = static_cast<int>(threadIdx.x) + i * S::threads;
        __nv_bfloat16 *to = stage + at / (step_k / 4) * S::x_row + at % (step_k / 4) * 4;
        float4 v = from[i];
        uint2 bits = {pack_bf16(v.x, v.y), pack_bf16(v.z, v.w)};
        *reinterpret_cast<uint2 *>(to) = bits;
        if (S::exact) {
            bits = {pack_bf16(left_over(v.x), left_over(v.y)),
                    pack_bf16(left_over(v.z), left_over(v.w))};
            *reinterpret_cast<uint2 *>(to + S::x_elements) = bits;
        }
    }
}

template <typename S>
__device__ void load_w(
        __nv_bfloat16 *to, const struct product &p, const struct block_rows &r, int64_t k0)
{
    constexpr int chunks = (S::by_k ? S::cols : step_k) / 8, lines = S::by_k ? step_k : S::cols;
    const auto *w = static_cast<const __nv_bfloat16 *>(p.w) + r.batch * p.w_batch;
    int64_t n0 = static_cast<int64_t>(blockIdx.x) * S::cols;
    for (int i = static_cast<int>(threadIdx.x); i < lines * chunks; i += S::threads) {
        int line = i / chunks, at = i % chunks * 8;
        int64_t k = S::by_k ? k0 + line : k0 + at, n = S::by_k ? n0 + at : n0 + line;
        bool valid = k < p.k && n < p.n;
        int64_t from = S::by_k ? k * p.n + n : n * p.k + k;
        copy_16(to + line * S::w_row + at, w + (valid ? from : 0), valid);
    }
}

// Sixteen f8 of one row of w, which share a scale.
struct f8_part {
    uint4 bits;
    float scale;
};

template <typename S>
__device__ void fetch_f8(struct f8_part (&to)[S::w_loads], const struct product &p,
        const struct block_rows &r, int64_t k0)
{
    const auto *w = static_cast<const unsigned char *>(p.w) + r.batch * p.w_batch;
    const float *scale = p.w_scale + r.batch * p.scale_batch;
    int64_t n0 = static_cast<int64_t>(blockIdx.x) * S::cols;
#pragma unroll
    for (int i = 0; i < S::w_loads; i++) {
        int at = static_cast<int>(threadIdx.x) + i * S::threads;
        int64_t n = n0 + at / (step_k / 16), k = k0 + at % (step_k / 16) * 16;
        to[i] = {{0, 0, 0, 0}, 0.0f};
        if (n < p.n && k < p.k)
            to[i] = {*reinterpret_cast<const uint4 *>(w + n * p.k + k),
                    scale[scale_at(p.dtype, p.k, n, k)]};
    }
}

__device__ inline uint2 widen_four(uint32_t bits, float scale)
{
    return {pack_bf16(widen_f8(bits) * scale, widen_f8(bits >> 8) * scale),
            pack_bf16(widen_f8(bits >> 16) * scale, widen_f8(bits >> 24) * scale)};
}

template <typename S>
__device__ void store_f8(__nv_bfloat16 *stage, const struct f8_part (&from)[S::w_loads])
{
#pragma unroll
    for (int i = 0; i < S::w_loads; i++) {
        int at = static_cast<int>(threadIdx.x) + i * S::threads;
        auto *to = reinterpret_cast<uint2 *>(
                stage + at / (step_k / 16) * S::w_row + at % (step_k / 16) * 16);
        to[0] = widen_four(from[i].bits.x, from[i].scale);
        to[1] = widen_four(from[i].bits.y, from[i].scale);
        to[2] = widen_four(from[i].bits.z, from[i].scale);
        to[3] = widen_four(from[i].bits.w, from[i].scale);
    }
}

template <typename S>
__device__ void multiply(
        float (&acc)[S::fm][S::fn][4], const __nv_bfloat16 *x, const __nv_bfloat16 *w)
{
    int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const __nv_bfloat16 *x_mine =
            x + (warp % S::wm * S::fm * 16 + lane / 8 % 2 * 8 + lane % 8) * S::x_row
            + lane / 16 * 8;
    int n_mine = warp / S::wm * S::fn * 8;
#pragma unroll
    for (int k = 0; k < step_k; k += 16) {
        uint32_t b[S::fn / 2][4];
#pragma unroll
        for (int j = 0; j < S::fn / 2; j++) {
            int n = n_mine + j * 16;
            if (S::by_k)
                load_transposed(
                        b[j], w + (k + lane / 8 % 2 * 8 + lane % 8) * S::w_row + n + lane / 16 * 8);
            else
                load_matrices(
                        b[j], w + (n + lane / 16 * 8 + lane % 8) * S::w_row + k + lane / 8 % 2 * 8);
        }
#pragma unroll
        for (int part = 0; part < (S::exact ? 2 : 1); part++)
#pragma unroll
            for (int i = 0; i < S::fm; i++) {
                uint32_t a[4];
                load_matrices(a, x_mine + part * S::x_elements + i * 16 * S::x_row + k);
#pragma unroll
                for (int j = 0; j < S::fn / 2; j++) {
                    mma_bf16(acc[i][2 * j], a, b[j][0], b[j][1]);
                    mma_bf16(acc[i][2 * j + 1], a, b[j][2], b[j][3]);
                }
            }
    }
}

template <typename S>
__device__ void store_y(
        const float (&acc)[S::fm][S::fn][4], const struct product &p, const struct block_rows &r)
{
    int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const float *bias = p.bias == nullptr ? nullptr : p.bias + r.batch * p.bias_batch;
#pragma unroll
    for (int i = 0; i < S::fm; i++)
#pragma unroll
        for (int j = 0; j < S::fn; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int64_t row = r.first + warp % S::wm * S::fm * 16 + i * 16 + lane / 4 + c / 2 * 8;
                int64_t col = static_cast<int64_t>(blockIdx.x) * S::cols + warp / S::wm * S::fn * 8
                              + j * 8 + lane % 4 * 2 + c % 2;
                if (row >= r.end || col >= p.n)
                    continue;
                p.y[offset_of(p, r, p.y_batch) + row_in(p.y_seqs, p.one_query_each, row) * p.ldy
                        + col] = acc[i][j][c] + (bias == nullptr ? 0.0f : bias[col]);
            }
}

// grid: columns, rows or tiles, batches
template <typename S> __global__ void __launch_bounds__(S::threads) multiply_tiles(struct product p)
{
    DYNAMIC_SHARED(shared);
    auto *stages = reinterpret_cast<__nv_bfloat16 *>(shared);
    constexpr int w_at = S::x_elements * (S::exact ? 2 : 1);
    struct block_rows r;
    if (!find_rows(r, p, S::rows))
        return;
    float acc[S::fm][S::fn][4] = {};
    float4 x[S::x_loads];
    [[maybe_unused]] struct f8_part w[S::w_loads];
    int64_t steps = layout_ceil(p.k, step_k);
    fetch_x<S>(x, p, r, 0);
    if constexpr (S::small)
        fetch_f8<S>(w, p, r, 0);
    else
        load_w<S>(stages + w_at, p, r, 0);
    copy_commit();
    store_x<S>(stages, x);
    if constexpr (S::small)
        store_f8<S>(stages + w_at, w);
    for (int64_t t = 0; t < steps; t++) {
        __nv_bfloat16 *here = stages + t % 2 * S::stage, *next = stages + (t + 1) % 2 * S::stage;
        bool more = t + 1 < steps;
        copy_wait<0>();
        __syncthreads(); // the stage is there, and everybody is done with the other one
        if (more) {
            fetch_x<S>(x, p, r, (t + 1) * step_k);
            if constexpr (S::small)
                fetch_f8<S>(w, p, r, (t + 1) * step_k);
            else
                load_w<S>(next + w_at, p, r, (t + 1) * step_k);
        }
        copy_commit();
        multiply<S>(acc, here, here + w_at);
        if (more)
            store_x<S>(next, x);
        if constexpr (S::small)
            if (more)
                store_f8<S>(next + w_at, w);
    }
    store_y<S>(acc, p, r);
}

constexpr int plain = product_low_tile; // rows and columns of a block, and its steps of k

template <typename T>
__device__ float weight_of(const struct product &p, int64_t batch, int64_t row, int64_t col)
{
    const T *weights = static_cast<const T *>(p.w) + batch * p.w_batch;
    return to_float(weights[p.by_k ? col * p.n + row : row * p.k + col]);
}

template <>
__device__ inline float weight_of<struct f8>(
        const struct product &p, int64_t batch, int64_t row, int64_t col)
{
    const auto *weights = static_cast<const struct f8 *>(p.w) + batch * p.w_batch;
    return to_float(weights[row * p.k + col])
           * p.w_scale[batch * p.scale_batch + scale_at(p.dtype, p.k, row, col)];
}

// Any type, any alignment.
template <typename T>
__global__ void __launch_bounds__(plain *plain) multiply_plain(struct product p)
{
    __shared__ float x[plain][plain + 1], w[plain][plain + 1];
    struct block_rows r;
    if (!find_rows(r, p, plain))
        return;
    int i = static_cast<int>(threadIdx.x) / plain, j = static_cast<int>(threadIdx.x) % plain;
    int64_t row = r.first + i, col = static_cast<int64_t>(blockIdx.x) * plain + j;
    int64_t w_row = static_cast<int64_t>(blockIdx.x) * plain + i; // the one this thread loads
    const float *from = p.x + offset_of(p, r, p.x_batch)
                        + (row < r.end ? row_in(p.x_seqs, p.one_query_each, row) * p.ldx : 0);
    float sum = 0.0f;
    for (int64_t k = 0; k < p.k; k += plain) {
        x[i][j] = row < r.end && k + j < p.k ? from[k + j] : 0.0f;
        w[i][j] = w_row < p.n && k + j < p.k ? weight_of<T>(p, r.batch, w_row, k + j) : 0.0f;
        __syncthreads();
#pragma unroll
        for (int s = 0; s < plain; s++)
            sum += x[i][s] * w[j][s];
        __syncthreads();
    }
    if (row < r.end && col < p.n)
        p.y[offset_of(p, r, p.y_batch) + row_in(p.y_seqs, p.one_query_each, row) * p.ldy + col] =
                sum + (p.bias == nullptr ? 0.0f : p.bias[r.batch * p.bias_batch + col]);
}

template <typename S>
void run_tiles(
        const struct cuda_on *on, const struct product &p, int64_t batches, int64_t most_tiles)
{
    dim3 grid(blocks_for(p.n, S::cols),
            p.tiles != nullptr ? static_cast<unsigned>(most_tiles) : blocks_for(p.m, S::rows),
            static_cast<unsigned>(p.tiles != nullptr ? 1 : batches));
    start({on->stream, grid, S::threads, S::shared_bytes}, multiply_tiles<S>, p);
}

bool aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

template <bool by_k, bool exact, bool small>
void run_height(const struct cuda_on *on, const struct product &p, int64_t batches,
        int64_t most_tiles, int tile)
{
    using low = shape_of<1, 4, 1, 4, by_k, exact, small>;
    using high = shape_of<2, 4, 4, 4, by_k, exact, small>;
    if (tile == low::rows)
        run_tiles<low>(on, p, batches, most_tiles);
    else
        run_tiles<high>(on, p, batches, most_tiles);
}

void run_plain(
        const struct cuda_on *on, const struct product &p, int64_t batches, int64_t most_tiles)
{
    dim3 grid(blocks_for(p.n, plain),
            p.tiles != nullptr ? static_cast<unsigned>(most_tiles) : blocks_for(p.m, plain),
            static_cast<unsigned>(p.tiles != nullptr ? 1 : batches));
    if (p.dtype == DTYPE_BF16)
        start({on->stream, grid, plain * plain}, multiply_plain<__nv_bfloat16>, p);
    else if (scale_wanted(p.dtype))
        start({on->stream, grid, plain * plain}, multiply_plain<struct f8>, p);
    else
        start({on->stream, grid, plain * plain}, multiply_plain<float>, p);
}

} // namespace

bool product_takes_tiles(const struct product *p)
{
    bool small = scale_wanted(p->dtype);
    int64_t whole = small ? 16 : 8; // elements of w that are loaded at once
    return (p->dtype == DTYPE_BF16 || small) && p->k % whole == 0 && (!p->by_k || p->n % 8 == 0)
           && p->w_batch % whole == 0 && p->ldx % 4 == 0 && p->x_batch % 4 == 0 && aligned(p->x)
           && aligned(p->w);
}

int product_tile(int64_t rows)
{
    return rows <= 48 ? product_low_tile : 128;
}

void product_run(const struct cuda_on *on, const struct product *p, int64_t batches,
        int64_t most_tiles, int tile)
{
    if (p->m == 0 || p->n == 0)
        return;
    if (!product_takes_tiles(p))
        run_plain(on, *p, batches, most_tiles);
    else if (scale_wanted(p->dtype))
        run_height<false, false, true>(on, *p, batches, most_tiles, tile);
    else if (p->exact)
        run_height<false, true, false>(on, *p, batches, most_tiles, tile);
    else if (p->by_k)
        run_height<true, false, false>(on, *p, batches, most_tiles, tile);
    else
        run_height<false, false, false>(on, *p, batches, most_tiles, tile);
}

extern "C" void cuda_gemm_own(
        const struct cuda_on *on, const struct op *op, const struct gemm_args *args)
{
    struct product p = {};
    p.x = args->x;
    p.ldx = args->ldx;
    p.w = args->w;
    p.w_scale = args->w_scale;
    p.dtype = op->dtype;
    p.bias = args->bias;
    p.y = args->y;
    p.ldy = args->ldy;
    p.m = op->dim[0];
    p.n = op->dim[1];
    p.k = op->dim[2];
    product_run(on, &p, 1, 0, product_tile(p.m));
}
