/*
 * weights_random - the values of a seeded random checkpoint. Each depends on the seed, the tensor's name and
 * the element's index alone, so that files, shards and slices made in memory agree.
 */
#ifndef MODELS_WEIGHTS_RANDOM_H
#define MODELS_WEIGHTS_RANDOM_H

#include "models/weights.h"

/* What the elements of one tensor are drawn from. */
struct random_tensor {
    uint64_t key;
    float scale, offset;
    bool uniform; /* norms and biases; else near-normal */
};

struct random_tensor random_tensor(
        const struct tensor_spec *spec, const struct model *model, uint64_t seed);
/* Elements [first, first + n) as f32. */
void random_f32(float *out, const struct random_tensor *tensor, int64_t first, int64_t n);
/* ... rounded. */
void random_bf16(uint16_t *out, const struct random_tensor *tensor, int64_t first, int64_t n);
void random_f16(uint16_t *out, const struct random_tensor *tensor, int64_t first, int64_t n);

#endif
