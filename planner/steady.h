/*
 * steady - what a replica does in the long run: the mean step that the integer program prices.
 *
 * With d sequences decoding, each request takes D = output - 1 decode steps and its prompt of P tokens
 * once. So prompts arrive at d P / D tokens a step; they come in prefill steps of q tokens, which are the
 * share phi = d P / (D q) of all steps. A step costs phi * t(decodes and q prompt tokens) + (1 - phi) *
 * t(decodes). Derived in docs/ilp.md.
 */
#ifndef PLANNER_STEADY_H
#define PLANNER_STEADY_H

#include "core/spec/workload.h"
#include "models/graph.h"

/* A workload in a few numbers. */
struct demand {
    int64_t n; /* of steady arrivals more than there is room for */
    double prompt, output; /* means */
    int64_t max_len, max_prompt;
    double requests_per_s; /* offered; HUGE_VAL when all are there from the start */
};
void demand_of(struct demand *out, const struct requests *requests);

enum {
    PLAN_BLOCK_TOKENS = 16 /* of the paged cache */
};
/* KV blocks of the longest sequence. */
int64_t demand_longest_blocks(const struct demand *demand);
/* Of one attention-dp group: what its mean sequences hold, and room for the longest one and a block. */
int64_t demand_blocks(const struct demand *demand, int max_seqs, int in_flight, int n_groups);

/* The two kinds of steps of one attention-dp group, and how they mix. */
struct steady {
    struct step_shape pure, mixed; /* mixed.prefill points at seq: use in place, do not copy */
    struct seq_shape seq;
    double mixed_frac;
    double requests_per_step; /* that finish, of one group */
    double prefill_steps;     /* steps a prompt takes */
};
/* seqs: of one group, the mean; max_tokens: chunk budget. False when the limits cannot work. */
bool steady_of(
        struct steady *out, const struct demand *demand, double seqs, int max_tokens, int n_groups);

#endif
