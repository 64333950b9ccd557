/*
 * op_table - kind -> implementation. The profiler and the runtime call through it alone, so what is
 * timed is what runs.
 *
 * Activations are f32 row-major. Weights are [n, k] row-major as in HF checkpoints, f32 or bf16, for products f8 or
 * f8_block too, with scales (kernels/scale.h); norms and biases f32. Accumulation is f32. Of the types of 8 bits a host
 * has the reference alone.
 *
 * Deterministic devices: each output element is computed by the same sequence of operations whatever
 * m, n and threads are used for it, the same on AVX2 and AVX-512 (portable code cannot fuse multiply and add,
 * and rounds differently), and gemms with k_chunks > 1 add the chunks in a binary tree over k, so that a
 * tensor-parallel sum over ranks in a binary tree (coll_all_reduce) gives the same bits as one rank. A bias
 * goes to the first chunk: the rank that has it passes it, the others none. mla_prefill always
 * computes as mla_decode does, so that it does not matter whether a position was prefilled or decoded.
 */
#ifndef KERNELS_OP_TABLE_H
#define KERNELS_OP_TABLE_H

#include "core/spec/op.h"
#include "kernels/dev.h"

/* y[m, ldy] = x[m, ldx] w[n, k]^T (+ bias[n]) */
struct gemm_args {
    const float *x;
    int64_t ldx;
    const void *w;
    const float *w_scale; /* of f8 */
    const float *bias;    /* or NULL */
    float *y;
    int64_t ldy;
    int k_chunks; /* deterministic devices: power of two that divides k, 0 = 1 */
};

/* The paged cache of one layer: k and v as [block][kv_head][slot][head_dim]. */
struct kv_layer {
    void *k, *v;
    enum dtype dtype;
    int block_tokens;
};

/* One sequence of a step. */
struct attention_seq {
    int64_t row;           /* first row of it in q and out */
    int64_t q_len, kv_len; /* kv_len includes q_len */
    const int32_t *blocks; /* ceil(kv_len / block_tokens) */
};

/* Causal, grouped-query. The cache already holds this step's k and v. */
struct attention_args {
    const float *q; /* [rows, ldq], heads of this rank side by side */
    int64_t ldq;
    float *out; /* [rows, ldo] */
    int64_t ldo;
    struct kv_layer cache;
    const struct attention_seq *seqs;
    int n_seqs; /* prefill: 1; decode: op.dim[0], q_len 1 each */
    float scale;
    int64_t window; /* 0 = full */
    const float *
            sinks; /* [heads] or NULL: a score that takes its share of the softmax and has no value */
};

/* out = rmsnorm(x) * gain. With residual: x += residual first, and x keeps the sum. */
struct rmsnorm_args {
    float *x;
    const float *residual;
    const float *gain;
    float *out; /* [m, n] */
    float eps;
    int64_t ldx; /* of x; 0 = n, and n with residual */
};

/* Rotates q and k of qkv rows [q heads | k heads | v heads] in place (halves, as HF does), after an
 * optional RMS norm per head, and stores k and v in the cache. */
struct rope_args {
    float *qkv;
    int64_t ld;
    const int32_t *positions;     /* [m] */
    const int32_t *slots;         /* [m]: block * block_tokens + slot in the cache */
    const float *inv_freq;        /* [head_dim / 2] */
    float rope_scale;             /* attention factor on cos and sin; 1 normally */
    const float *q_gain, *k_gain; /* [head_dim] or NULL */
    float eps;
    struct kv_layer cache;
};

/*
 * Multi-head latent attention. A row of the cache (in k; there is no v) is a normed latent of `rank` elements
 * and a rotated part of `rope` that all heads share: [block][slot][rank + rope].
 */
struct mla_rope_args {
    float *q; /* [m, ldq], heads of [nope | rope] side by side; their rope part is rotated in place */
    int64_t ldq;
    const float *latent; /* [m, ldl] of [rank | rope] */
    int64_t ldl;
    const int32_t *positions, *slots; /* as in rope_args */
    const float *inv_freq; /* [rope / 2]; pairs are neighbours, as DeepSeek stores them */
    float rope_scale;
    const float *gain; /* [rank] */
    float eps;
    struct kv_layer cache;
};

/* Causal. The cache already holds this step's rows. */
struct mla_args {
    const float *q; /* [rows, ldq], heads of [nope | rope] */
    int64_t ldq, nope;
    const void *kv_b; /* [heads][nope + v, rank]: what makes keys and values of latents */
    enum dtype dtype; /* of kv_b */
    float *out;       /* [rows, ldo], heads of v = expanded - nope */
    int64_t ldo;
    struct kv_layer cache;
    const struct attention_seq *seqs;
    int n_seqs; /* as in attention_args */
    float scale;
};

/* out[m, n] = silu(x[m, 0..n)) * x[m, n..2n) */
struct activation_args {
    const float *x;
    int64_t ldx;
    float *out;
};

/*
 * Scores x[m, hidden] w[experts, hidden]^T, softmax, the top_k largest (ties: lower index), their weights.
 * With sigmoid (DeepSeek-V3, arXiv:2412.19437): scores are sigmoids; what is chosen by is score + bias, from
 * the top_k_group groups of experts whose two best have the largest sums; the weights are scores alone.
 */
#define ROUTER_GROUPS 256 /* at most */
struct router_args {
    const float *x;
    const void *w;
    const float *bias; /* [experts] or NULL */
    bool sigmoid;
    int n_group, top_k_group; /* 0 = no groups */
    bool normalise;           /* weights of the chosen sum to 1 */
    float scale;              /* of the weights, last; 0 = 1 */
    int32_t *expert;          /* [m, top_k] */
    float *weight;            /* [m, top_k] */
};

/*
 * Sorts the (token, choice) pairs whose expert is in [first, first + local) by expert, stable, and gathers
 * their rows. offsets[local + 1] counts rows per expert; pair[row] = token * top_k + choice.
 */
struct permute_args {
    const float *x;        /* [m, hidden] */
    const int32_t *expert; /* [m, top_k] */
    int first;
    float *rows; /* [<= m * top_k, hidden] */
    int32_t *pair;
    int32_t *offsets;
};

/*
 * Per local expert e: out rows = act(rows gate^T + bias, rows up^T + bias) down^T + bias, where act is
 * silu(gate) * up, or with clamp (gpt-oss): g sigmoid(1.702 g) (u + 1) of g = min(gate, clamp) and u = up within
 * +-clamp.
 */
struct expert_args {
    const float *rows;
    const int32_t *offsets;                  /* [local + 1] */
    const void *gate_up;                     /* [local][2 * inter, hidden] */
    const void *down;                        /* [local][hidden, inter] */
    const float *gate_up_scale, *down_scale; /* of f8: [local][those of a matrix] */
    float *out;                              /* rows as in, [., hidden] */
    float *scratch;                          /* [rows, 3 * inter] */
    int k_chunks;                            /* of down, deterministic devices */
    const float *up_bias;                    /* [local][2 * inter] or NULL */
    const float
            *down_bias; /* [local][hidden] or NULL; among ranks that share experts, one passes it */
    float clamp;        /* 0 = none */
};

/* out[m, hidden] = sum over choices, in order of choice, of weight * row; pairs that are not in `pair` add
 * nothing. With add set: to what stands in out. With scatter set: rows are only put at
 * out[token * top_k + choice], zeros elsewhere. */
struct combine_args {
    const float *rows;
    const int32_t *pair;
    int64_t n_rows;
    const int32_t *counted; /* GPUs: n_rows stands there, on the device; or NULL */
    const float *weight;    /* [m, top_k] */
    float *out;
    bool scatter, add;
};

struct embedding_args {
    const int32_t *tokens; /* [m] */
    const void *table;     /* [rows, hidden] */
    int64_t first, rows;   /* vocabulary slice of this rank; others give zeros */
    float *out;
};

/* Arg max of each row (ties: lower index). */
struct sample_args {
    const float *logits; /* [m, ld] */
    int64_t ld;
    int64_t first;  /* vocabulary index of column 0 */
    int32_t *token; /* [m] */
    float *value;   /* [m] its logit */
};

struct copy_args {
    const void *from;
    void *to;
};

struct op_args {
    union {
        struct gemm_args gemm; /* and lm_head */
        struct attention_args attention;
        struct rmsnorm_args rmsnorm;
        struct rope_args rope;
        struct mla_rope_args mla_rope;
        struct mla_args mla;
        struct activation_args activation;
        struct router_args router;
        struct permute_args permute;
        struct expert_args expert;
        struct combine_args combine;
        struct embedding_args embedding;
        struct sample_args sample;
        struct copy_args copy;
    };
};

/* From this many rows on a product on a CPU goes another way (docs/decisions/0003): costs may jump between one
 * row less and this, so both are worth measuring. */
#define OP_ROW_EDGE 40

/* Runs a compute op to completion; on a GPU starts it. Shapes come from op; it was checked when the plan was. Never
 * fails on a host; for a GPU ask dev_finish. */
void op_run(struct dev *dev, const struct op *op, const struct op_args *args);

/*
 * An op with its own operands: seeded random data, weights and cache rotated through at least
 * cold_bytes of distinct memory so that each run finds them cold (0 = one hot copy). The profiler times
 * it, the tests compare two devices with it.
 */
struct op_case;
MUST_CHECK struct op_case *op_case_open(
        struct dev *dev, const struct op *op, int64_t cold_bytes, uint64_t seed, struct err *err);
/* The same with what profiles leave out: biases, sinks, windows, groups of experts, clamps, sums that go on. variant: 1
 * to op_case_variants(kind); 0 = op_case_open. */
MUST_CHECK struct op_case *op_case_vary(
        struct dev *dev, const struct op *op, int variant, uint64_t seed, struct err *err);
int op_case_variants(enum op_kind kind);
void op_case_close(struct op_case *c);
void op_case_run(struct op_case *c); /* next copy */
/*
 * Leaves what the op reads as a step leaves it: the op before has written it just now, each thread some columns of
 * all rows, and its weights have passed through the caches of every core since. Only for ops that read activations
 * alone (norms, rope, activation, sampling, routing); for others it does nothing and returns false, because their
 * weights or caches are cold already and weigh more. Such an op is timed once after each call.
 */
bool op_case_stir(struct op_case *c);
/* Goes on with the same operands for op, which has fewer rows (dim[0]) and is equal otherwise. false when it
 * is not, or when the operands of its kind depend on the rows; c is as it was then. */
bool op_case_shrink(struct op_case *c, const struct op *op);
/* What the last run wrote, as floats; *n elements. NULL when nothing has run, or a GPU failed (dev_finish). */
const float *op_case_output(const struct op_case *c, int64_t *n);
/* Memory it takes, to refuse shapes that would not fit. */
int64_t op_case_bytes(const struct op *op, int64_t cold_bytes);

#endif
