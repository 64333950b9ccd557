/*
 * expert_map - which device holds which experts, layer by layer, and how heavy each expert was: the answer
 * of `shardwright experts` and the map it may start from.
 */
#ifndef CORE_SPEC_EXPERT_MAP_H
#define CORE_SPEC_EXPERT_MAP_H

#include "core/conf.h"

struct expert_device {
    const int *experts; /* ascending */
    int n_experts;
    struct pos pos;
};

struct expert_layer {
    int layer; /* row of the file of loads, from 0 */
    double max_load, bound, mean, gap_frac;
    struct expert_device *devices;
    int n_devices;
    struct pos pos;
};

struct expert_map {
    int n_experts, slots; /* slots of one device */
    struct expert_layer *layers;
    int n_layers;
};

extern const struct conf_table expert_map_table; /* "shardwright-experts" 1 */

MUST_CHECK bool expert_map_read_file(
        struct expert_map *out, const char *path, struct arena *arena, struct err *err);
/* Every layer holds every expert, no device more than `slots` or one twice; layers have equal devices. */
MUST_CHECK bool expert_map_check(const struct expert_map *map, struct err *err);

#endif
