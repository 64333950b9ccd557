/*
 * load - this rank's slices of the weights, packed as the engine wants them: q, k and v in one matrix, gate
 * and up in one, experts one behind the other. The buffers are those of graph.h, byte for byte.
 */
#ifndef RUNTIME_LOAD_H
#define RUNTIME_LOAD_H

#include "kernels/dev.h"
#include "models/weights.h"
#include "runtime/place.h"

struct layer_weights {
    void *buffer[WEIGHT_LAYER_COUNT]; /* by enum weight_buffer; NULL = this layer has none */
};

struct rank_weights {
    struct layer_weights *layers; /* of the piece, from its first layer on */
    void *embedding, *lm_head;    /* a tied head is a view into the embedding when both are here */
    float *final_norm;
    int64_t bytes;
};

/* Copies with all threads of the device. The buffers belong to the device. */
MUST_CHECK bool load_weights(struct rank_weights *out, const struct place *place,
        const struct model *model, const struct weights *from, struct dev *dev, struct arena *arena,
        struct err *err);

#endif
