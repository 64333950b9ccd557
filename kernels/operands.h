/*
 * operands - random operands for an op: what op_case runs on.
 *
 * Weights and caches come in several copies, activations in one: in a step, weights are read from
 * memory and activations were written a moment ago.
 */
#ifndef KERNELS_OPERANDS_H
#define KERNELS_OPERANDS_H

#include "core/arena.h"
#include "kernels/op_table.h"

/* A piece of what an op writes. */
struct operand_span {
    const void *data;
    bool integers; /* int32_t; otherwise floats of dtype */
    enum dtype dtype;
    int64_t count;
};

#define OPERAND_SPANS 64

struct operands {
    struct op_args *args; /* n_copies */
    int n_copies;
    void **blocks; /* of the device, for dev_free */
    int64_t *block_bytes;
    int n_blocks;
    int64_t bytes;
    struct operand_span (*outputs)(const struct operands *o, const struct op *op, int copy, int i);
};

struct operands_wish {
    int64_t cold_bytes;
    uint64_t seed;
    int variant; /* op_case_vary */
};
/* dev NULL: allocates nothing and only counts bytes. */
MUST_CHECK bool operands_make(struct operands *out, struct dev *dev, const struct op *op,
        const struct operands_wish *wish, struct arena *arena, struct err *err);
void operands_free(struct operands *operands, struct dev *dev);

/* What operands of host memory look like on a GPU: the same arguments, with pointers to copies of their blocks and
 * of the sequences of attention. */
struct operands_remote {
    struct op_args *args; /* n_copies */
    void **blocks;        /* as operands.blocks, and one more */
    int n_blocks;
};
MUST_CHECK bool operands_upload(struct operands_remote *out, const struct operands *operands,
        const struct op *op, struct dev *gpu, struct arena *arena, struct err *err);
/* Brings the blocks back. */
MUST_CHECK bool operands_download(const struct operands *operands,
        const struct operands_remote *remote, struct dev *gpu, struct err *err);
void operands_release(struct operands_remote *remote, struct dev *gpu);

#endif
