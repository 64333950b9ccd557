/*
 * kvcache - the paged cache of this rank's layers. Which blocks belong to whom is decided by core/sched.
 */
#ifndef RUNTIME_KVCACHE_H
#define RUNTIME_KVCACHE_H

#include "kernels/op_table.h"
#include "runtime/place.h"

struct kvcache {
    struct kv_layer *layers; /* of the piece */
    int block_tokens;
    int64_t bytes;
};

/* Memory of the device, touched by its threads so that no step pays for first use. */
MUST_CHECK bool kvcache_alloc(struct kvcache *out, const struct place *place,
        const struct model *model, struct dev *dev, struct arena *arena, struct err *err);

#endif
