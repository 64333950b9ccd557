/*
 * weights - safetensors: the tensors a model has, a checkpoint's slices mapped into a rank, and seeded
 * random checkpoints.
 *
 * Opening checks everything before a byte is used: header length, JSON, dtype, shape against the model,
 * offsets (in range, no overlap, no hole), shard names (no path in them), missing and extra tensors.
 *
 * F8_E4M3 tensors are read with the scales that lie beside them: NAME_scale_inv or NAME_scale, one for the tensor,
 * one for each row, or one for each 128 x 128 values (DeepSeek-V3, arXiv:2412.19437, 3.3.2). What is copied is the
 * value times its scale: scale_inv is the inverse of what the values were divided by, so both names multiply. Scales
 * of activations (input_scale) are not used.
 */
#ifndef MODELS_WEIGHTS_H
#define MODELS_WEIGHTS_H

#include "models/model.h"

struct tensor_spec {
    const char *name; /* HF name: "model.layers.0.self_attn.q_proj.weight" */
    int n_dims;
    int64_t dim[4];
    enum tensor_role {
        TENSOR_MATRIX,
        TENSOR_NORM,
        TENSOR_BIAS,
        TENSOR_EMBEDDING
    } role;
};

/* Every tensor of the model in checkpoint order (multi-token-prediction layers left out). */
MUST_CHECK bool weights_specs(struct tensor_spec **out, int64_t *n, const struct model *model,
        struct arena *arena, struct err *err);

/* What files may hold, and slices be made as: f32, bf16, f16. */
bool weights_dtype(enum dtype dtype);

struct weights; /* an open checkpoint, mapped read-only */

/* model must outlive it. */
MUST_CHECK struct weights *weights_open(
        const struct model *model, const char *dir, struct err *err);
/* The same values that weights_write puts into files of that dtype, made when copied, without a file. */
MUST_CHECK struct weights *weights_open_random(
        const struct model *model, uint64_t seed, enum dtype dtype, struct err *err);
void weights_close(struct weights *weights);

struct tensor {
    enum dtype dtype; /* as stored */
    int n_dims;
    int64_t dim[4];
    const void *data; /* mapped; NULL when random */
};
/* NULL if absent. */
const struct tensor *weights_find(const struct weights *weights, const char *name);
struct slice_2d {
    int64_t row, rows, col, cols;
};
/* Rows [row, row+rows) and columns [col, col+cols) of a matrix (a vector is one row; leading dimensions of
 * a 3-D tensor are folded into rows), converted to dtype and packed into out. Threads may call
 * it at once. */
MUST_CHECK bool weights_copy(void *out, enum dtype dtype, const struct weights *weights,
        const char *name, struct slice_2d slice, struct err *err);

/* The same with rows and columns exchanged, of every step-th column: element (row + r, col + c * step) becomes
 * out[c * rows + r], for c in [0, cols). */
MUST_CHECK bool weights_copy_turned(void *out, enum dtype dtype, const struct weights *weights,
        const char *name, struct slice_2d slice, int64_t step, struct err *err);

struct weights_options {
    uint64_t seed;
    enum dtype dtype;    /* f32, bf16 or f16 */
    int64_t shard_bytes; /* 0 = one file */
    void (*progress)(void *self, int64_t done_bytes, int64_t total_bytes);
    void *self;
};
/*
 * Writes config.json (a copy of what describes the model), model.safetensors or shards and the index into
 * dir; streaming, on two threads. Matrices are near-normal with variance 1/columns (o and down also divided
 * by the number of layers), norms 1 +- 0.1, biases +- 0.02. Each value depends on seed, tensor name and index alone, so
 * sharding changes nothing. The index (or the single file) gets its name last: a killed or failed call
 * leaves no checkpoint that opens.
 */
MUST_CHECK bool weights_write(const struct model *model, const char *dir,
        const struct weights_options *options, struct err *err);

/* What weights_write will put into dir, without config.json. */
int64_t weights_bytes(const struct model *model, enum dtype dtype);

#endif
