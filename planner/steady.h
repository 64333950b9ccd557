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

#include "core/spec/plan.h"
#include "core/spec/workload.h"
#include "models/graph.h"

/* A workload in a few numbers. */
struct demand {
    int64_t n;             /* of steady arrivals more than there is room for */
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
/* The same where prompts and outputs have pools of their own: a prefill replica lets go of a prompt with its
 * first token. */
int64_t demand_role_blocks(const struct demand *demand, enum replica_role role, int max_seqs,
        int in_flight, int n_groups);

enum {
    STEADY_PROMPTS = 32 /* in one step; more short ones are priced as this many */
};

/* The two kinds of steps of one attention-dp group, and how they mix. */
struct steady {
    struct step_shape pure, mixed; /* mixed.prefill points at seq: use in place, do not copy */
    struct seq_shape seq[STEADY_PROMPTS];
    double mixed_frac;
    double requests_per_step; /* that finish, of one group */
    double prefill_steps;     /* steps a prompt takes */
};
/* seqs: of one group, the mean; max_tokens: chunk budget. False when the limits cannot work. */
bool steady_of(
        struct steady *out, const struct demand *demand, double seqs, int max_tokens, int n_groups);
/*
 * What a replica of a role does: ROLE_PREFILL nothing but prompts, max_tokens of them in every step (pure is
 * never done, mixed_frac 1); ROLE_DECODE nothing but outputs (mixed_frac 0, prefill_steps 0). Requests that finish
 * are those that are handed on. False also where outputs of one token leave nothing to decode.
 */
bool steady_of_role(struct steady *out, const struct demand *demand, enum replica_role role,
        double seqs, int max_tokens, int n_groups);

#endif
