/*
 * weights_state - what an open checkpoint holds; for the files that implement weights.h.
 */
#ifndef MODELS_WEIGHTS_STATE_H
#define MODELS_WEIGHTS_STATE_H

#include "models/weights_random.h"

struct mapping {
    const char *name; /* of the file, without its directory */
    void *base;
    int64_t bytes;
};

struct named {
    const char *name;
    struct tensor tensor;
    const char *file;
    struct random_tensor random;
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

#endif
