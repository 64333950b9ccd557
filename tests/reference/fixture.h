/*
 * fixture - a small model with prompts, the greedy tokens that PyTorch chose and the logits it chose them from,
 * and requests that ask for them: the fixture's own, and more that begin like those, so that prefixes are shared.
 */
#ifndef TESTS_REFERENCE_FIXTURE_H
#define TESTS_REFERENCE_FIXTURE_H

#include "core/spec/op.h"
#include "core/spec/workload.h"
#include "models/model.h"

enum {
    FIXTURE_BLOCK_TOKENS = 4
};

struct fixture {
    const char *path, *name; /* name: "llama-bf16" */
    struct model model;
    enum dtype dtype; /* of the weights */
    double tolerance; /* ||logits - reference|| / ||reference|| */
    struct requests requests;
    int32_t **prompts; /* by request */
    int32_t **want;    /* by request: [output_len] */
    float **logits;    /* by request: [output_len * vocab] */
};

/* Everything is in the arena. Prompts carry the hashes of their blocks. */
MUST_CHECK bool fixture_read(
        struct fixture *out, const char *path, struct arena *arena, struct err *err);

#endif
