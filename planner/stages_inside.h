/*
 * stages_inside - the inside of planner/stages.h, for stages.c (what there is) and stages_price.c (what it
 * costs).
 */
#ifndef PLANNER_STAGES_INSIDE_H
#define PLANNER_STAGES_INSIDE_H

#include "planner/stages.h"

enum {
    STAGES_CLASSES = 16, /* of layers */
    STAGES_MOST = 8,     /* of a pipeline */
    STAGES_HOLDS = 8     /* kinds of pieces with work buffers of their own */
};

/* Memory of a rank of one configuration; the same for all limits but for work buffers. */
struct config_bytes {
    int64_t *layer_sum;        /* weights of layers [0, l) */
    int64_t first, last, both; /* weights beyond layers of a piece that holds the ends */
};

struct cost_parts {
    double us; /* without waiting for the slowest rank */
    double variance_us2, meetings;
};

/* One step of the long run, as figures that add up over layers. */
struct step_parts {
    struct cost_parts *sum;  /* of layers [0, l), with the embedding and the head where they are */
    struct cost_parts joint; /* what a layer behind another one adds */
};

struct stages {
    const struct planner_input *input;
    struct cost_model *costs;
    const struct demand *demand;
    const struct layout *layouts;
    double tighten;
    struct arena arena;
    struct instance instance;
    struct stage_limits *limits;
    struct config_bytes *bytes;
    int *layer_class;
    int n_classes,
            sample[STAGES_CLASSES]; /* a layer of each class, inside the model where there is one */
    /* What was asked for last: layers under one kind, configuration and limits. */
    int kind, config, at;
    struct split split;
    struct step_parts pure, mixed;
    int64_t blocks[STAGES_MOST]; /* of the cache, for 1, 2, ... micro-batches in flight */
    double mixed_frac, send_us;
    double least_transfer_us;   /* of a mean prompt, whatever the stages; 0 = not looked at yet */
    int *moe_sum;               /* layers with experts among [0, l) */
    int64_t work[STAGES_HOLDS]; /* by what a piece holds; -1 = not asked for yet */
};

/* Sorts the layers into classes; false when there are too many. */
bool stages_find_classes(struct stages *s);
/* Weights of a configuration, layer by layer. */
void stages_find_bytes(struct stages *s, int config);
/* Blocks of a mean prompt, and how long a rank of a stage is busy with handing the cache of so many on. */
int64_t stages_prompt_blocks(const struct stages *s);
double stages_cache_us(const struct stages *s, int kind, const struct split *split,
        struct piece piece, int64_t blocks);
/* instance.price of the instance; self is a struct stages. */
void stages_price(void *self, struct instance_price *out, int kind, int config, int limits,
        int first, int end);

#endif
