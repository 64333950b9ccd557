/*
 * weights_state - what an open checkpoint holds; for the files that implement weights.h.
 */
#ifndef MODELS_WEIGHTS_STATE_H
#define MODELS_WEIGHTS_STATE_H

#include <string.h>

#include "core/half.h"
#include "models/weights_random.h"

struct mapping {
    const char *name; /* of the file, without its directory */
    void *base;
    int64_t bytes;
};

/* Element (row, col) of an f8 tensor is multiplied by values[row / rows * ld + col / cols]. */
struct f8_scales {
    struct tensor values;
    int64_t rows, cols, ld;
};

struct named {
    const char *name;
    struct tensor tensor;
    const char *file;
    struct random_tensor random;
    struct f8_scales scales; /* of f8 tensors */
};

struct weights {
    struct arena arena;
    const char *dir;
    struct mapping *mappings;
    int n_mappings;
    struct named *tensors; /* by name */
    int64_t n, cap;
    bool random;
};

int weights_by_name(const void *a, const void *b); /* struct named */
/* NULL if absent; tensors are sorted. */
const struct named *weights_named(const struct weights *weights, const char *name);
/* Maps the files in w->dir, checks each by itself and all with the index, and sorts the tensors. */
MUST_CHECK bool weights_map(struct weights *w, struct err *err);
/* Finds the scales of every f8 tensor; tensors are sorted. */
MUST_CHECK bool weights_find_scales(struct weights *w, struct err *err);
/* Whether a tensor's name says that it is a scale of an f8 tensor of w. */
bool weights_is_scale(const struct weights *w, const char *name);
/* Elements [first, first + n) of an f8 tensor times their scales. */
void weights_widen_f8(float *out, const struct named *t, int64_t first, int64_t n);
/* "[512, 128]"; buf of 96 bytes. */
const char *weights_show_shape(char *buf, const int64_t *dim, int n_dims);

/* Data in a file may lie at any address, hence memcpy. An f8 as it is stored, without its scale. */
static inline float weights_stored(const void *data, enum dtype dtype, int64_t i)
{
    uint16_t half;
    float value;

    if (dtype == DTYPE_F8)
        return f8_widen(((const uint8_t *)data)[i]);
    if (dtype == DTYPE_F32) {
        memcpy(&value, (const char *)data + 4 * i, sizeof(value));
        return value;
    }
    memcpy(&half, (const char *)data + 2 * i, sizeof(half));
    return dtype == DTYPE_BF16 ? bf16_widen(half) : f16_widen(half);
}

#endif
