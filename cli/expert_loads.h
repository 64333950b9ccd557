/*
 * expert_loads - how much work each expert of each layer had: a table of numbers, one row per layer and one
 * column per expert, as CSV (with or without a header line) or as a JSON array of arrays.
 */
#ifndef CLI_EXPERT_LOADS_H
#define CLI_EXPERT_LOADS_H

#include "core/arena.h"
#include "core/err.h"

struct expert_loads {
    double *load; /* n_layers * n_experts */
    int n_layers, n_experts;
};

/* What begins with [ is JSON. Rows are equally long, loads are finite and not negative. */
MUST_CHECK bool expert_loads_read(
        struct expert_loads *out, const char *path, struct arena *arena, struct err *err);

#endif
