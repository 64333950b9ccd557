/*
 * op - one kernel-level operation with its exact shape: the unit that is measured, priced and executed.
 *
 * `struct op` is a lookup key: two ops that compare equal cost the same. Activations are f32 on CPU;
 * dtype is that of the weights (of the KV cache for attention and rope). Dimensions by kind, unused
 * ones 0:
 *
 *   kind               d0      d1        d2        d3        d4        d5        d6        d7
 *   gemm, lm_head      m       n         k                                    y[m,n] = x[m,k] w[n,k]^T
 *   attention_prefill  q_len   kv_len    heads     kv_heads  head_dim  window    others    one sequence and `others` like it;
 *                                                                                         kv_len includes q_len
 *   attention_decode   batch   kv_len    heads     kv_heads  head_dim  window              kv_len = mean, rounded up
 *   rmsnorm            m       n         residual                             residual 1: x += r first, and x is kept
 *   rope               m       heads     kv_heads  head_dim  qk_norm          rotates q, k; writes k, v to the cache
 *   activation         m       n                                              silu(gate) * up over n columns each
 *   router             m       hidden    experts   top_k                      scores, top-k, weights
 *   permute            m       hidden    local     experts   top_k            rows to expert order
 *   expert_gemm        m       hidden    inter     local     experts   top_k  gate_up, silu, down of the local experts
 *   combine            m       hidden    local     experts   top_k            weighted sum of the rows of each token
 *   embedding          m       hidden
 *   sample             m       vocab                                          arg max (greedy)
 *   copy               bytes
 *   mla_prefill        q_len   kv_len    heads     rank      rope      expanded  one sequence; over expanded latents, or as mla_decode
 *   mla_decode         batch   kv_len    heads     rank      rope      expanded  over the latents themselves
 *   mla_rope           m       heads     rank      rope      nope             norms and rotates, writes latents to the cache
 *   moe                m       hidden    inter     local     experts   top_k     skew      permute, expert_gemm and combine in one
 *   mla_module_prefill q_len   kv_len    heads     hidden    q_rank    kv_rank   kv_bits   others
 *   mla_module_decode  batch   kv_len    heads     hidden    q_rank    kv_rank   kv_bits   a whole attention module, projections
 *                                                                                         included; head sizes 128 + 64 and 128
 *   collectives        bytes   via                                            per rank; degree = ranks in the group
 *
 * window: keys that a query sees at most, 0 = all; kv_len counts what is stored. skew: of the routing, hundredths
 * of the exponent of a power law over the experts, 0 = balanced. via: 0 the library (NCCL, MPI), 1 the engine's own
 * kernel in a graph, 2 the same launched alone. The last three kinds and via > 0 come from imports only; the runtime
 * calls their parts (docs/decisions/0006-imported-costs.md).
 *
 * Multi-head latent attention (arXiv:2405.04434): the cache holds one row of rank + rope elements a position;
 * a head's keys (nope + rope) and values are products of it with `expanded` = nope + v rows of weights, which
 * count as halves of it where an op is measured. dtype is that of the cache, the weights are measured in it too.
 *
 * m counts tokens of the step; expert_gemm, permute and combine see the rows that uniform routing of
 * m tokens sends to `local` of `experts`.
 */
#ifndef CORE_SPEC_OP_H
#define CORE_SPEC_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

enum dtype {
    DTYPE_F32,
    DTYPE_BF16,
    DTYPE_F16,
    DTYPE_F8,       /* one scale a tensor or row */
    DTYPE_F8_BLOCK, /* one scale per 128 x 128 weights */
    DTYPE_I8,
    DTYPE_INT4,  /* weights alone, activations of 16 bits */
    DTYPE_MXFP4, /* the same with a scale per 32 */
    DTYPE_COUNT
};

enum op_kind {
    OP_GEMM,
    OP_LM_HEAD,
    OP_ATTENTION_PREFILL,
    OP_ATTENTION_DECODE,
    OP_RMSNORM,
    OP_ROPE,
    OP_ACTIVATION,
    OP_ROUTER,
    OP_PERMUTE,
    OP_EXPERT_GEMM,
    OP_COMBINE,
    OP_EMBEDDING,
    OP_SAMPLE,
    OP_COPY,
    OP_MLA_PREFILL,
    OP_MLA_DECODE,
    OP_MLA_ROPE,
    OP_MOE,
    OP_MLA_MODULE_PREFILL,
    OP_MLA_MODULE_DECODE,
    OP_ALL_REDUCE,     /* first collective */
    OP_ALL_GATHER,     /* bytes = what each rank contributes */
    OP_REDUCE_SCATTER, /* bytes = what each rank keeps */
    OP_ALL_TO_ALL,     /* bytes = what each rank sends in all, its own part included */
    OP_SEND_RECV,
    OP_BROADCAST,
    OP_KIND_COUNT
};

#define OP_DIMS 8

struct op {
    enum op_kind kind;
    enum dtype dtype;
    int32_t degree; /* threads of the rank (compute ops); ranks of the group (collectives) */
    int32_t busy; /* ranks of the host that work at the same time; memory bandwidth is shared. 0 = any
                       number: the device shares nothing (imports) */
    int64_t dim[OP_DIMS];
    int32_t nodes; /* collectives: machines that the group is spread over, in equal parts; 0 = all its
                       ranks are on one. 0 for compute ops */
};

extern const char *const dtype_names[]; /* "f32" ...; NULL-terminated */
extern const char
        *const dtype_file_names[]; /* the first of them: what weights and caches of a plan may be */
extern const char *const op_kind_names[]; /* "gemm" ...; NULL-terminated */

/* Of one element; types of 4 bits count half a byte in op_bytes and a whole one here. */
int dtype_bytes(enum dtype dtype);
bool op_is_collective(enum op_kind kind);
/* Kinds with two sizes: d0 queries, d1 keys. */
bool op_is_attention(enum op_kind kind);
/* ... whose keys include their queries: d1 >= d0. */
bool op_is_prefill(enum op_kind kind);
/* mla_prefill of queries so few that attending over the latents, as mla_decode does, is less arithmetic than
 * expanding them. */
bool op_mla_absorbs(const struct op *op);
/* Names of the dimensions of a kind, for tables and CSV; "" for unused ones. */
const char *op_dim_name(enum op_kind kind, int dim);
/* Whether a text shows the dimension: it has a name, and is not one that only imports have and that is 0. */
bool op_dim_shown(const struct op *op, int dim);
/* Total order over all fields; 0 = same key. */
int op_compare(const struct op *a, const struct op *b);
/* "gemm bf16 m=8 n=1024 k=3072 threads=2 busy=1", "all_reduce f32 bytes=4096 ranks=2 busy=1 nodes=2"; buf of at
 * least 160 bytes; returns buf. Dimensions that only imports have are left out where they are 0. */
char *op_show(char *buf, const struct op *op);
/* Arithmetic and memory traffic (bytes read and written once, weights included), for rooflines. */
double op_flop(const struct op *op);
double op_bytes(const struct op *op);

/* Bytes of an exchange as nccl-tests count them: what all ranks bring together for gathers, scatters and
 * all-to-all, else what one does. algbw = these / time. 0 for compute ops. */
double op_exchange_bytes(const struct op *op);
/* busbw / algbw: the share of those bytes that must cross each rank's link (nccl-tests, doc/PERFORMANCE.md). */
double op_bus_share(const struct op *op);

#endif
