/*
 * sample - seeded draws from logits: temperature, top-k, top-p.
 *
 * A draw depends on the request's seed, the position of the token and the logits alone, so any plan that
 * gives the same logits gives the same tokens. Greedy choice is an op (OP_SAMPLE), not here.
 */
#ifndef RUNTIME_SAMPLE_H
#define RUNTIME_SAMPLE_H

#include "core/spec/workload.h"
#include "kernels/dev.h"

struct sampler;

MUST_CHECK struct sampler *sampler_open(
        const struct workload *workload, int64_t vocab, struct dev *dev, struct err *err);
void sampler_close(struct sampler *sampler); /* NULL is fine */

/* One row. A row of logits lies in `parts` pieces of vocab / parts, `stride` floats apart. */
struct sample_row {
    const float *logits;
    int parts;
    int64_t stride;
    uint64_t seed;
    int64_t position; /* of the token that is drawn */
};
/* tokens[i] for rows[i]; rows are shared out among the device's threads. */
void sampler_draw(
        struct sampler *sampler, int32_t *tokens, const struct sample_row *rows, int64_t n);

/* Uniform in [0, 1) from a counter: the same everywhere. */
double sample_uniform(uint64_t seed, int64_t position);

#endif
