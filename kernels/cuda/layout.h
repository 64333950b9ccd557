/*
 * layout - how kernels of this folder cut their work: plain arithmetic, shared by the launches, the kernels and
 * the tests on machines without a GPU.
 */
#ifndef KERNELS_CUDA_LAYOUT_H
#define KERNELS_CUDA_LAYOUT_H

#include <stdint.h>

#ifdef __cplusplus
#include <cuda_runtime.h>
#define LAYOUT_FN __host__ __device__ static inline
#else
#define LAYOUT_FN static inline
#endif

LAYOUT_FN int64_t layout_ceil(int64_t n, int64_t each)
{
    return (n + each - 1) / each;
}

/* log2 of a power of two, else -1: positions are divided by block_tokens for every row that is loaded. */
LAYOUT_FN int layout_shift(int64_t n)
{
    int shift = 0;
    while (shift < 62 && (INT64_C(1) << shift) < n)
        shift++;
    return (INT64_C(1) << shift) == n ? shift : -1;
}

/* Rows of attention are pairs of a query and a head of its group: row = query * group + head. */
struct layout_keys {
    int64_t begin, end; /* positions that any of the rows sees */
};

/* What rows [first, end) of a sequence see. window 0 = all. */
LAYOUT_FN struct layout_keys layout_keys_of(
        int64_t first, int64_t end, int64_t group, int64_t q_len, int64_t kv_len, int64_t window)
{
    int64_t before = kv_len - q_len, low = before + first / group;
    struct layout_keys keys = {0, before + (end - 1) / group + 1};
    if (window > 0 && low >= window)
        keys.begin = low - window + 1;
    return keys;
}

/* Part `split` of `splits` of them, in whole tiles; empty parts have end <= begin. */
LAYOUT_FN struct layout_keys layout_part(
        struct layout_keys keys, int64_t split, int64_t splits, int64_t tile)
{
    int64_t each = layout_ceil(layout_ceil(keys.end - keys.begin, tile), splits) * tile;
    struct layout_keys part = {keys.begin + split * each, keys.begin + (split + 1) * each};
    part.end = part.end < keys.end ? part.end : keys.end;
    return part;
}

#define LAYOUT_MOST_SPLITS 128

/* Over how many blocks the keys of one row tile are spread, where `blocks` of them would run unsplit: until the
 * multiprocessors have `busy` blocks each, but never fewer than two tiles to a block. */
LAYOUT_FN int layout_splits(
        int64_t blocks, int64_t kv_len, int64_t tile, int multiprocessors, int busy)
{
    int64_t wanted = layout_ceil((int64_t)multiprocessors * busy, blocks < 1 ? 1 : blocks);
    int64_t most = kv_len / (2 * tile);
    wanted = wanted < most ? wanted : most;
    wanted = wanted < LAYOUT_MOST_SPLITS ? wanted : LAYOUT_MOST_SPLITS;
    return wanted < 1 ? 1 : (int)wanted;
}

/* One tile of rows of a grouped product. */
struct layout_tile {
    int32_t expert, first, end; /* rows */
};

/* Upper bound of the tiles that `rows` rows of `experts` experts need, whatever their offsets are. */
LAYOUT_FN int64_t layout_most_tiles(int64_t rows, int64_t experts, int64_t tile)
{
    return rows / tile + (experts < rows ? experts : rows);
}

/* Tile `at` of an expert with rows [offset, end). */
LAYOUT_FN struct layout_tile layout_tile_of(
        int32_t expert, int32_t offset, int32_t end, int64_t at, int64_t tile)
{
    struct layout_tile t = {expert, (int32_t)(offset + at * tile), 0};
    t.end = (int32_t)(t.first + tile) < end ? (int32_t)(t.first + tile) : end;
    return t;
}

#endif
