// The experts of a rank: two grouped products with the activation between them. How many rows each has stands on the
// device, so a table of tiles is made there, and blocks beyond its end do nothing.
#include "kernels/cuda/product.cuh"
#include "kernels/cuda/start.cuh"
#include "kernels/scale.h"

namespace
{

constexpr int threads = 256, most_local = 1024;

// The table: one block, one expert for each thread in turn.
__global__ void __launch_bounds__(threads) make_tiles(
        int32_t *n_tiles, struct layout_tile *tiles, const int32_t *offsets, int local, int tile)
{
    __shared__ int32_t begin[most_local + 1];
    for (int e = static_cast<int>(threadIdx.x); e < local; e += threads)
        begin[e + 1] = static_cast<int32_t>(layout_ceil(offsets[e + 1] - offsets[e], tile));
    if (threadIdx.x == 0)
        begin[0] = 0;
    __syncthreads();
    for (int e = 1; e <= local && threadIdx.x == 0; e++)
        begin[e] += begin[e - 1];
    __syncthreads();
    for (int e = static_cast<int>(threadIdx.x); e < local; e += threads)
        for (int32_t t = begin[e]; t < begin[e + 1]; t++)
            tiles[t] = layout_tile_of(e, offsets[e], offsets[e + 1], t - begin[e], tile);
    if (threadIdx.x == 0)
        *n_tiles = begin[local];
}

// Rows of both [gate | up] become inner; rows of scratch are both and inner side by side.
__global__ void __launch_bounds__(threads)
        activate(float *scratch, const int32_t *offsets, int local, int64_t inter, float clamp)
{
    int64_t row = blockIdx.x;
    if (row >= offsets[local])
        return;
    float *both = scratch + row * 3 * inter, *inner = both + 2 * inter;
    for (int64_t i = threadIdx.x; i < inter; i += threads) {
        float g = both[i], u = both[inter + i];
        if (clamp > 0.0f) {
            g = fminf(g, clamp);
            u = fmaxf(-clamp, fminf(u, clamp));
            inner[i] = g / (1.0f + expf(-1.702f * g)) * (u + 1.0f);
        } else {
            inner[i] = g / (1.0f + expf(-g)) * u;
        }
    }
}

} // namespace

extern "C" const char *cuda_expert(
        const struct cuda_on *on, const struct op *op, const struct expert_args *args)
{
    int64_t hidden = op->dim[1], inter = op->dim[2], local = op->dim[3];
    int64_t rows = op->dim[0] * op->dim[5]; // at most, whatever the routing
    int64_t most_tiles = layout_most_tiles(rows, local, product_low_tile);
    if (local > most_local)
        return "this device takes up to 1024 experts";
    int64_t table = 16 + most_tiles * static_cast<int64_t>(sizeof(struct layout_tile));
    auto *room = static_cast<char *>(on->room(on->self, CUDA_ROOM_TILES, table));
    if (room == nullptr)
        return "not enough GPU memory for the table of experts";
    auto *n_tiles = reinterpret_cast<int32_t *>(room);
    auto *tiles = reinterpret_cast<struct layout_tile *>(room + 16);

    struct product up = {}, down = {};
    up.x = args->rows;
    up.ldx = hidden;
    up.w = args->gate_up;
    up.w_batch = 2 * inter * hidden;
    up.w_scale = args->gate_up_scale;
    up.scale_batch = scale_count(op->dtype, 2 * inter, hidden);
    up.bias = args->up_bias;
    up.bias_batch = 2 * inter;
    up.y = args->scratch;
    up.ldy = 3 * inter;
    up.n = 2 * inter;
    up.k = hidden;
    down.x = args->scratch + 2 * inter;
    down.ldx = 3 * inter;
    down.w = args->down;
    down.w_batch = hidden * inter;
    down.w_scale = args->down_scale;
    down.scale_batch = scale_count(op->dtype, hidden, inter);
    down.bias = args->down_bias;
    down.bias_batch = hidden;
    down.y = args->out;
    down.ldy = hidden;
    down.n = hidden;
    down.k = inter;
    up.m = down.m = rows;
    up.dtype = down.dtype = op->dtype;
    up.tiles = down.tiles = tiles;
    up.n_tiles = down.n_tiles = n_tiles;

    bool takes = product_takes_tiles(&up) && product_takes_tiles(&down);
    int tile = takes ? product_tile(rows / op->dim[4]) : product_low_tile;
    most_tiles = layout_most_tiles(rows, local, tile);
    start({on->stream, dim3(1), threads}, make_tiles, n_tiles, tiles, args->offsets,
            static_cast<int>(local), tile);
    product_run(on, &up, local, most_tiles, tile);
    start({on->stream, dim3(static_cast<unsigned>(rows)), threads}, activate, args->scratch,
            args->offsets, static_cast<int>(local), inter, args->clamp);
    product_run(on, &down, local, most_tiles, tile);
    return nullptr;
}
