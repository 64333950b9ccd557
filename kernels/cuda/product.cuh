// y = x w^T (+ bias) by kernels of our own, for the products that cuBLASLt has no good name for: experts with rows
// of their own, one matrix per head, and everything where the library is missing.
#pragma once

#include "kernels/cuda/launch.h"
#include "kernels/cuda/layout.h"

struct product {
    const float *x; // [m, ldx]
    int64_t ldx, x_batch;
    const void *w; // [n, k], or [k, n] with by_k
    enum dtype dtype;
    bool by_k;
    int64_t w_batch;      // elements from one matrix to the next
    const float *w_scale; // of f8 (kernels/scale.h)
    int64_t scale_batch;
    const float *bias;
    int64_t bias_batch;
    float *y; // [m, ldy]
    int64_t ldy, y_batch;
    int64_t m, n, k;
    // x in two bf16 parts where it is f32: as exact as f32, twice the work.
    bool exact;
    // Rows of x or y are those of sequences: seqs[i].row for one query each, else seqs[0].row + i.
    const struct attention_seq *x_seqs, *y_seqs;
    bool one_query_each;
    // Grouped: batches are experts, their rows are tiles in this table (and ldx, ldy are of all rows).
    const struct layout_tile *tiles;
    const int32_t *n_tiles;
};

// Whether the tensor-core kernels take it; the plain one takes everything.
bool product_takes_tiles(const struct product *p);
// Height of tiles for about this many rows of each matrix.
int product_tile(int64_t rows);
// The height that every kernel takes.
constexpr int product_low_tile = 16;
// batches: matrices. most_tiles: of the table, where there is one. tile: its height; product_low_tile where p, or another
// product with the same table, does not take tiles.
void product_run(const struct cuda_on *on, const struct product *p, int64_t batches,
        int64_t most_tiles, int tile);
