/*
 * graph - model + split -> the `struct op`s that one rank executes in a step, and the bytes it holds.
 *
 * Planner (costs), profiler (which shapes to measure) and runtime (what to allocate) all ask here, so
 * they cannot disagree; a test compares the list with what the engine executed.
 */
#ifndef MODELS_GRAPH_H
#define MODELS_GRAPH_H

#include "core/spec/plan.h"
#include "models/model.h"

struct split {
    int tp, ep, attention_dp, threads;
    int busy;            /* ranks of the host that work at once */
    enum dtype dtype, kv_dtype;
    bool deterministic;
};

struct seq_shape {
    int64_t q_len, kv_len; /* kv_len includes q_len */
};

/* What one attention-dp group computes in a step. */
struct step_shape {
    int64_t tokens;        /* rows */
    int64_t group_tokens;  /* rows of all attention-dp groups: what the experts see */
    const struct seq_shape *prefill;
    int n_prefill;
    int64_t decode_batch, decode_kv_tokens; /* kv summed over the batch */
    int64_t logits_rows;   /* rows that yield a token */
};

struct graph_op {
    struct op op;
    int64_t count;
};

/* A contiguous piece of the model: layers [first, end), plus embedding if first == 0 and the final norm,
 * head and sampling if end == n_layers. */
struct piece {
    int first_layer, end_layer;
};

/* Whether the split fits the model: heads, KV heads, experts, vocabulary, inner dimensions. ERR_NO with the reason. */
MUST_CHECK bool graph_legal(const struct model *model, const struct split *split, struct err *err);

/* Writes at most max ops, equal ops merged, in execution order of first use; returns how many there are.
 * The transfer to the next stage is not in it. */
int graph_step(struct graph_op *out, int max, const struct model *model, const struct split *split,
        struct piece piece, const struct step_shape *shape);
/* Bytes of activations that one rank sends to the next stage for `tokens` rows. */
int64_t graph_boundary_bytes(const struct model *model, const struct split *split, int64_t tokens);

/* Bytes one rank holds, exact: what the runtime allocates. */
int64_t graph_weight_bytes(const struct model *model, const struct split *split, struct piece piece);
int64_t graph_kv_block_bytes(
        const struct model *model, const struct split *split, struct piece piece, int block_tokens);
int64_t graph_work_bytes(const struct model *model, const struct split *split, struct piece piece,
        int max_seqs, int max_tokens);

/* Chunks that a row-parallel product (o over heads, down over inter) is added in on deterministic
 * devices: the largest power of two <= 8 that divides n. A tp rank does 1/tp of them. */
int graph_k_chunks(int64_t n);

/* Slices: [begin, end) of n things for part `index` of `parts` (parts divides n). */
struct slice {
    int64_t begin, end;
};
struct slice graph_slice(int64_t n, int parts, int index);
/* KV heads of a tp rank, replicated when tp > kv_heads. */
struct slice graph_kv_heads(const struct model *model, int tp, int tp_rank);

#endif
