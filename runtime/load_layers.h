/*
 * load_layers - which slices of which tensors fill the buffers of a layer, as a list of copies. Private to load.
 */
#ifndef RUNTIME_LOAD_LAYERS_H
#define RUNTIME_LOAD_LAYERS_H

#include "runtime/load.h"

struct load_copy {
    char *to;
    enum dtype dtype;
    const char *name;
    struct slice_2d slice;
    int64_t step; /* 0 = as it lies; else weights_copy_turned with that step */
};

struct load {
    const struct place *place;
    const struct model *model;
    struct arena *arena;
    struct load_copy *items;
    int64_t n, cap;
};

int64_t load_copy_bytes(const struct load_copy *copy);
void load_push(struct load *load, struct load_copy copy);
/* In the weights' dtype; returns the byte behind what will be copied. */
char *load_add(struct load *load, char *to, const char *name, struct slice_2d slice);
/* Elements of a vector as f32. Nothing where `to` is NULL. */
void load_add_vector(struct load *load, void *to, const char *name, struct slice elements);
/* Everything of a layer; `to` by enum weight_buffer. */
void load_layer(struct load *load, int layer, void *const *to);

#endif
