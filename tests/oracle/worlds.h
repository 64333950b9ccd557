/*
 * worlds - random small instances for the tests of the planner: 1 to 3 kinds of devices, 1 to 8 devices, 2 to 8
 * layers, dense, with experts or all layers different, memory that binds or not, service objectives or none.
 *
 * Everything a price needs is in the world, so that a test may change any of it and ask again.
 */
#ifndef TESTS_ORACLE_WORLDS_H
#define TESTS_ORACLE_WORLDS_H

#include "planner/instance.h"

enum {
    WORLD_KINDS = 3,
    WORLD_CONFIGS = 4,
    WORLD_LIMITS = 5,
    WORLD_LAYERS = 8,
    WORLD_DEVICES = 8
};

struct world {
    struct instance in; /* points into the world: do not copy one */
    struct instance_kind kinds[WORLD_KINDS];
    struct instance_config configs[WORLD_CONFIGS];
    struct instance_limits limits[WORLD_LIMITS];
    int layer_class[WORLD_LAYERS];
    double layer_us[WORLD_KINDS][WORLD_CONFIGS][WORLD_LAYERS];
    double ends_us[WORLD_KINDS][2];
    double batch[WORLD_LIMITS]; /* times are those of the layers times this */
    double memory[WORLD_KINDS], layer_bytes[WORLD_LAYERS];
    double send_us;
    bool uneven, experts, tight, slo; /* what it turned out to be */
    uint64_t state;                   /* of the random numbers */
};

struct world_size {
    int layers, devices, limits; /* at most; up to the enums above */
    bool pools;                  /* limits of all roles */
};

void world_make(struct world *w, uint64_t seed, const struct world_size *size);
/* Uniform in [0, 1), and a whole number in [lo, hi], from the world's own stream. */
double world_draw(struct world *w);
int world_pick(struct world *w, int lo, int hi);
/* Kinds, and limits, in the opposite order: the same world. */
void world_turn_kinds(struct world *w);
void world_turn_limits(struct world *w);

#endif
