/*
 * graph - model + split -> the `struct op`s that one rank executes in a step, and the bytes it holds.
 *
 * Planner (costs), profiler (which shapes to measure) and runtime (what to allocate) all ask here, so
 * they cannot disagree; a test compares the list with what the engine executed.
 *
 * Names in the sizes below: T = max_tokens, S = max_seqs, q = heads / tp, kv = KV heads of the rank,
 * hd = head_dim, I = inter / tp, E = experts / ep, X = moe.inter / (n_ranks / ep), K = top_k,
 * R = attention_dp * T * min(K, E): the most rows that can reach the experts of one rank,
 * D = ceil(T / tp), P = n_ranks / ep as below,
 * H = hidden, V = vocab / tp. Weights are in split.dtype, norms, biases and activations f32, indices int32.
 */
#ifndef MODELS_GRAPH_H
#define MODELS_GRAPH_H

#include "core/spec/plan.h"
#include "models/model.h"

struct split {
    int tp, ep, attention_dp, threads;
    int busy; /* ranks of the host that work at once */
    enum dtype dtype, kv_dtype;
    bool deterministic;
    int nodes; /* machines that the tp * attention_dp ranks are spread over, in equal parts; 0 = one */
    int mtp; /* multi-token-prediction layers whose weights and cache the last piece holds, without computing them */
    int expert_slots; /* experts, replicas counted, that each of the ep groups has room for; 0 = experts / ep */
    /* For pricing alone: as imported tables cut a step. Attention modules and expert layers whole, in the ops of
     * their names; rows between ops of another type than f32 (0). */
    bool whole_mla, whole_moe;
    enum dtype activation;
};
/* Experts of an ep group: E below; all groups together have ep times that, which is `experts` in the ops. */
int64_t graph_expert_slots(const struct model *model, const struct split *split);
/* Machines that `ranks` neighbouring ranks of the stage are spread over; 0 = they are on one. For op.nodes. */
int graph_nodes(const struct split *split, int ranks);

struct slice {
    int64_t begin, end; /* [begin, end) */
};

struct seq_shape {
    int64_t q_len, kv_len; /* kv_len includes q_len */
};

/* What one attention-dp group computes in a step. */
struct step_shape {
    int64_t tokens;       /* rows */
    int64_t group_tokens; /* rows of all attention-dp groups: what the experts see; 0 = tokens */
    const struct seq_shape *prefill;
    int n_prefill;
    int64_t decode_batch, decode_kv_tokens; /* kv summed over the batch */
    int64_t logits_rows;                    /* rows that yield a token */
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

/*
 * Writes at most max ops, equal ops merged, in execution order of first use; returns how many there are.
 * The transfer to the next stage is not in it. An op with a zero dimension that counts rows or bytes is
 * left out (a group without rows still takes part in the collectives).
 *
 * gemm, lm_head, embedding, router and expert_gemm carry split.dtype; rope, attention and mla kv_dtype;
 * everything else, collectives included, f32. In a layer, in order:
 *   rmsnorm(T,H,residual; residual 0 only for the very first of the piece), gemm(T,(q+2kv)hd,H), rope,
 *   attention_prefill per prefill sequence, attention_decode once, gemm(T,H,q*hd),
 *   [tp>1: all_reduce(T*H*4)], rmsnorm(T,H,1), then
 *   dense: gemm(T,2I,H), activation(T,I), gemm(T,H,I), [tp>1: all_reduce(T*H*4)]
 *   MoE, attention_dp 1: router(T,H,experts,K), permute(T,H,E,experts,K), expert_gemm(T,H,X,E,experts,K),
 *     combine(T,H,E,experts,K), [tp>1: all_reduce(T*H*4)]; deterministic and tp>1 instead of the last two:
 *     combine(T,H,E,experts,K) with scatter, all_reduce(T*K*H*4), combine(T,H,experts,experts,K)
 *   MoE, attention_dp>1, G = rows of all groups, D = ceil(T / tp): the rows that this rank of its group
 *     sends out, P = n_ranks / ep: ranks that share an expert:
 *     router(D), permute(D,H,experts,experts,K), all_to_all(experts*P*4: row counts), [P>1: copy(D*K*P*H*4)],
 *     all_to_all(D*K*P*H*4), copy(c: received rows to expert order), expert_gemm(G,H,X,E,experts,K),
 *     copy(c: back), all_to_all(c), [P>1: copy(D*K*P*H*4): the parts of each row are added],
 *     combine(D,H,experts,experts,K), [tp>1: all_reduce(T*H*4): everybody gets all rows],
 *     where c = ceil(G*K*E/experts)*H*4, the rows that uniform routing brings here. D is that of the first
 *     ranks of a group: the last ones may have fewer.
 * With split.whole_mla an attention module of the imported sizes is mla_module_prefill per prefill sequence and
 * mla_module_decode once instead of its parts; with split.whole_moe permute, expert_gemm, combine and copies are moe.
 * Last: rmsnorm(rows,H,1) on the gathered rows that yield tokens, lm_head(rows,V,H), sample(rows,V),
 *   [tp>1: all_gather(rows*8: token and logit)].
 * MLA, between its rmsnorm and the gemm of o (k = q*v): gemm(T,D,H), D = (q_rank, or q*(nope+rope) without) +
 *   kv_rank + rope; with q_rank rmsnorm(T,q_rank) and gemm(T,q*(nope+rope),q_rank); mla_rope, mla_prefill per
 *   prefill sequence, mla_decode once.
 * A shared expert is a dense MLP behind the router: gemm, activation, gemm, and [deterministic and tp>1:
 *   all_reduce(T*H*4)]; combine adds to it.
 * Windows clip kv_len. Biases and sinks add no op.
 */
int graph_step(struct graph_op *out, int max, const struct model *model, const struct split *split,
        struct piece piece, const struct step_shape *shape);
/* Rows of a group's `tokens` that rank tp_rank of it sends to the experts where attention_dp > 1. */
struct slice graph_dispatch_rows(int64_t tokens, int tp, int tp_rank);
/* Bytes of activations that one rank sends to the next stage for `tokens` rows. */
int64_t graph_boundary_bytes(const struct model *model, const struct split *split, int64_t tokens);

/*
 * The packed weight buffers of a rank. A buffer of 0 bytes does not exist. The embedding table is whole on
 * every rank of the first piece; a tied head is a view into its rows when the piece holds both ends.
 */
enum weight_buffer {
    WEIGHT_ATTN_NORM, /* [H] */
    WEIGHT_QKV, /* [(q + 2 kv) hd, H], q | k | v; MLA: [D, H], q or its latent | kv latent | rope */
    WEIGHT_QKV_BIAS,    /* [(q + 2 kv) hd] */
    WEIGHT_Q_GAIN,      /* [hd]; MLA: [q_rank] */
    WEIGHT_K_GAIN,      /* [hd]; MLA: [kv_rank] */
    WEIGHT_SINKS,       /* [q] */
    WEIGHT_Q_UP,        /* MLA with q_rank: [q (nope + rope), q_rank] */
    WEIGHT_KV_UP,       /* MLA: [q (nope + v), kv_rank] */
    WEIGHT_O,           /* [H, q hd]; MLA: [H, q v] */
    WEIGHT_O_BIAS,      /* [H] */
    WEIGHT_MLP_NORM,    /* [H] */
    WEIGHT_GATE_UP,     /* [2 I, H], gate | up; of the shared expert in MoE layers that have one */
    WEIGHT_DOWN,        /* [H, I] */
    WEIGHT_ROUTER,      /* [experts, H] */
    WEIGHT_ROUTER_BIAS, /* [experts] */
    WEIGHT_EXPERT_GATE_UP,                 /* [E][2 X, H] */
    WEIGHT_EXPERT_DOWN,                    /* [E][H, X] */
    WEIGHT_EXPERT_BIAS,                    /* [E][2 X], then [E][H] */
    WEIGHT_LAYER_COUNT,                    /* the ones above exist per layer */
    WEIGHT_EMBEDDING = WEIGHT_LAYER_COUNT, /* [vocab, H], first piece */
    WEIGHT_FINAL_NORM,                     /* [H], last piece */
    WEIGHT_LM_HEAD,                        /* [V, H], last piece */
    WEIGHT_MTP, /* last piece, split.mtp: each a layer like the last one, [H, 2 H] whole, three norms; and the embedding
                 * table where the piece has none */
    WEIGHT_COUNT
};
/* Sizes of one layer; entries from WEIGHT_LAYER_COUNT on are 0. */
void graph_layer_weights(int64_t bytes[WEIGHT_COUNT], const struct model *model,
        const struct split *split, int layer);
/* Sizes of what the piece holds besides layers. */
void graph_end_weights(int64_t bytes[WEIGHT_COUNT], const struct model *model,
        const struct split *split, struct piece piece);

/*
 * The work buffers of a rank: allocated once, before the first step. A buffer of 0 bytes does not exist.
 * Host-side lists of a step (items, block tables) and scratch inside kernels are not counted.
 */
enum work_buffer {
    WORK_X,          /* [T, H] residual stream; received into from the stage before */
    WORK_R,          /* [T, H] output of o and down, reduced in place, the next norm's residual */
    WORK_H,          /* [T, H] normed */
    WORK_QKV,        /* [T, (q + 2 kv) hd]; MLA: [T, D] */
    WORK_Q_LATENT,   /* [T, q_rank] normed; MLA with q_rank, as the next */
    WORK_Q,          /* [T, q (nope + rope)] */
    WORK_ATTENTION,  /* [T, q hd] */
    WORK_GATE_UP,    /* [T, 2 I] pieces with dense layers or shared experts */
    WORK_ACTIVATION, /* [T, I] the same */
    WORK_EXPERT,     /* [T, K] int32; MoE pieces, as all down to WORK_COUNTS */
    WORK_EXPERT_WEIGHT, /* [T, K] */
    WORK_PAIR,          /* [T * K] int32 */
    WORK_OFFSETS, /* attention_dp 1: [E + 1] int32; else [experts + 1 + E + 1], home | received */
    WORK_ROWS, /* attention_dp 1: [R, H] in expert order; else [D * K * P, H] home rows, out and back */
    WORK_ROWS_SORTED, /* [R, H] attention_dp 1: output of the experts; else: received rows in expert
                           order, and later the expert outputs in order of arrival */
    WORK_ROWS_IN,     /* [R, H] attention_dp > 1: rows as they arrive; later the expert outputs */
    WORK_SCRATCH,     /* [R, 3 X] */
    WORK_SCATTER,     /* [T * K, H] deterministic with tp > 1 */
    WORK_IDENTITY,    /* [T * K] int32 0, 1, 2, ...: the pairs of scattered rows */
    WORK_COUNTS,      /* [2 * experts * P] int32 attention_dp > 1: row counts sent | received */
    WORK_INPUTS,      /* [3 T] int32: tokens | positions | slots */
    WORK_INV_FREQ,    /* [rotated dimensions / 2] */
    WORK_SEND,        /* [2][T, H] pieces that are not the last: rows on their way, in turn */
    WORK_LAST_X,      /* [S, H] last piece, as all below: rows of X that yield tokens */
    WORK_LAST_R,      /* [S, H] ... of R */
    WORK_LAST_H,      /* [S, H] normed */
    WORK_LOGITS,      /* [S, V] */
    WORK_SAMPLED,     /* [2 S]: int32 tokens of the rows | f32 logits of the rows, without a gap */
    WORK_GATHER, /* [S, vocab] tp > 1: all ranks' logits (seeded sampling) or their WORK_SAMPLED */
    WORK_COUNT
};
void graph_work(int64_t bytes[WORK_COUNT], const struct model *model, const struct split *split,
        struct piece piece, int max_seqs, int max_tokens);

/* Bytes one rank holds, exact: the sums of the lists above. */
int64_t graph_weight_bytes(
        const struct model *model, const struct split *split, struct piece piece);
int64_t graph_work_bytes(const struct model *model, const struct split *split, struct piece piece,
        int max_seqs, int max_tokens);
/* Ranks of a tensor group that hold one and the same cache: all with MLA, tp / kv_heads where KV heads are
 * replicated, else 1. */
int graph_kv_copies(const struct model *model, int tp);
/* Per layer k and v as [block][kv][block_tokens][hd] (MLA: one latent row). Windowed layers keep all. */
int64_t graph_kv_block_bytes(
        const struct model *model, const struct split *split, struct piece piece, int block_tokens);

/*
 * Chunks that a row-parallel product is added in on deterministic devices: the largest power of two <= 8
 * that divides n, where n = heads for o, inter for down, moe.inter for the experts' down. A rank that holds
 * 1/p of the columns does 1/p of the chunks, as gemm_args.k_chunks and expert_args.k_chunks.
 */
int graph_k_chunks(int64_t n);

/* Part `index` of `parts` of n things; parts divides n. */
struct slice graph_slice(int64_t n, int parts, int index);
/* KV heads of a tp rank, replicated when tp > kv_heads. */
struct slice graph_kv_heads(const struct model *model, int tp, int tp_rank);

#endif
