#include "core/spec/op.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const dtype_names[] = {
        "f32", "bf16", "f16", "f8", "f8_block", "i8", "int4", "mxfp4", NULL};

const char *const dtype_file_names[] = {"f32", "bf16", "f16", "f8", "f8_block", NULL};

const char *const op_kind_names[] = {"gemm", "lm_head", "attention_prefill", "attention_decode",
        "rmsnorm", "rope", "activation", "router", "permute", "expert_gemm", "combine", "embedding",
        "sample", "copy", "mla_prefill", "mla_decode", "mla_rope", "moe", "mla_module_prefill",
        "mla_module_decode", "all_reduce", "all_gather", "reduce_scatter", "all_to_all",
        "send_recv", "broadcast", NULL};

_Static_assert(
        sizeof dtype_names / sizeof *dtype_names == DTYPE_COUNT + 1, "a name for each dtype");
_Static_assert(
        sizeof op_kind_names / sizeof *op_kind_names == OP_KIND_COUNT + 1, "a name for each kind");

static const char *const dim_names[][OP_DIMS] = {
        [OP_GEMM] = {"m", "n", "k"},
        [OP_LM_HEAD] = {"m", "n", "k"},
        [OP_ATTENTION_PREFILL] = {"q_len", "kv_len", "heads", "kv_heads", "head_dim", "window",
                "others"},
        [OP_ATTENTION_DECODE] = {"batch", "kv_len", "heads", "kv_heads", "head_dim", "window"},
        [OP_RMSNORM] = {"m", "n", "residual"},
        [OP_ROPE] = {"m", "heads", "kv_heads", "head_dim", "qk_norm"},
        [OP_ACTIVATION] = {"m", "n"},
        [OP_ROUTER] = {"m", "hidden", "experts", "top_k"},
        [OP_PERMUTE] = {"m", "hidden", "local", "experts", "top_k"},
        [OP_EXPERT_GEMM] = {"m", "hidden", "inter", "local", "experts", "top_k"},
        [OP_COMBINE] = {"m", "hidden", "local", "experts", "top_k"},
        [OP_EMBEDDING] = {"m", "hidden"},
        [OP_SAMPLE] = {"m", "vocab"},
        [OP_COPY] = {"bytes"},
        [OP_MLA_PREFILL] = {"q_len", "kv_len", "heads", "rank", "rope", "expanded"},
        [OP_MLA_DECODE] = {"batch", "kv_len", "heads", "rank", "rope", "expanded"},
        [OP_MLA_ROPE] = {"m", "heads", "rank", "rope", "nope"},
        [OP_MOE] = {"m", "hidden", "inter", "local", "experts", "top_k", "skew"},
        [OP_MLA_MODULE_PREFILL] = {"q_len", "kv_len", "heads", "hidden", "q_rank", "kv_rank",
                "kv_bits", "others"},
        [OP_MLA_MODULE_DECODE] = {"batch", "kv_len", "heads", "hidden", "q_rank", "kv_rank",
                "kv_bits"},
        [OP_ALL_REDUCE] = {"bytes", "via"},
        [OP_ALL_GATHER] = {"bytes", "via"},
        [OP_REDUCE_SCATTER] = {"bytes", "via"},
        [OP_ALL_TO_ALL] = {"bytes", "via"},
        [OP_SEND_RECV] = {"bytes", "via"},
        [OP_BROADCAST] = {"bytes", "via"},
};

_Static_assert(sizeof dim_names / sizeof *dim_names == OP_KIND_COUNT, "dimensions of every kind");

int dtype_bytes(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_F32:
        return 4;
    case DTYPE_BF16:
    case DTYPE_F16:
        return 2;
    case DTYPE_F8:
    case DTYPE_F8_BLOCK:
    case DTYPE_I8:
    case DTYPE_INT4:
    case DTYPE_MXFP4:
        return 1;
    case DTYPE_COUNT:
        break;
    }
    return 0;
}

bool op_is_collective(enum op_kind kind)
{
    return kind >= OP_ALL_REDUCE;
}

bool op_is_attention(enum op_kind kind)
{
    return kind == OP_ATTENTION_PREFILL || kind == OP_ATTENTION_DECODE || kind == OP_MLA_PREFILL
           || kind == OP_MLA_DECODE;
}

bool op_is_prefill(enum op_kind kind)
{
    return kind == OP_ATTENTION_PREFILL || kind == OP_MLA_PREFILL;
}

const char *op_dim_name(enum op_kind kind, int dim)
{
    if (kind < 0 || kind >= OP_KIND_COUNT || dim < 0 || dim >= OP_DIMS)
        return "";
    const char *name = dim_names[kind][dim];
    return name == NULL ? "" : name;
}

static int compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

int op_compare(const struct op *a, const struct op *b)
{
    int order = compare_i64((int64_t)a->kind, (int64_t)b->kind);
    if (order == 0)
        order = compare_i64((int64_t)a->dtype, (int64_t)b->dtype);
    if (order == 0)
        order = compare_i64(a->degree, b->degree);
    if (order == 0)
        order = compare_i64(a->busy, b->busy);
    if (order == 0)
        order = compare_i64(a->nodes, b->nodes);
    for (int i = 0; order == 0 && i < OP_DIMS; i++)
        order = compare_i64(a->dim[i], b->dim[i]);
    return order;
}

bool op_dim_shown(const struct op *op, int dim)
{
    bool seldom = op_is_collective(op->kind) ? dim > 0 : dim > 4;
    return op_dim_name(op->kind, dim)[0] != '\0' && !(seldom && op->dim[dim] == 0);
}

char *op_show(char *buf, const struct op *op)
{
    const size_t room = 160;
    int used = snprintf(buf, room, "%s %s", op_kind_names[op->kind], dtype_names[op->dtype]);
    for (int i = 0; i < OP_DIMS; i++) {
        const char *name = op_dim_name(op->kind, i);
        if (op_dim_shown(op, i) && used < (int)room)
            used += snprintf(buf + used, room - (size_t)used, " %s=%" PRId64, name, op->dim[i]);
    }
    const char *degree = op_is_collective(op->kind) ? "ranks" : "threads";
    if (used < (int)room)
        used += snprintf(buf + used, room - (size_t)used, " %s=%" PRId32 " busy=%" PRId32, degree,
                op->degree, op->busy);
    if (op->nodes > 0 && used < (int)room)
        snprintf(buf + used, room - (size_t)used, " nodes=%" PRId32, op->nodes);
    return buf;
}

/* Rows that uniform routing of m tokens sends to `local` of `experts`. */
static double local_rows(double m, double local, double experts, double top_k)
{
    return experts > 0 ? m * top_k * local / experts : 0;
}

/* Query-key pairs of a causal prefill: query i of q_len sees kv_len - q_len + i + 1 keys, at most window. */
static double causal_pairs(double q_len, double kv_len, double window)
{
    double pairs = q_len * (kv_len - q_len) + q_len * (q_len + 1) / 2;
    if (window <= 0 || window >= kv_len)
        return pairs;
    double over =
            kv_len - window; /* keys that the last query does not see; the one before, one less */
    double cut = over < q_len ? over : q_len;
    return pairs - cut * (2 * over - cut + 1) / 2;
}

/* Keys that a decoding query reads. */
static double seen(double kv_len, double window)
{
    return window > 0 && window < kv_len ? window : kv_len;
}

/* Head sizes of the modules that are imported: keys without and with rotation, values. */
enum {
    MLA_NOPE = 128,
    MLA_ROPE = 64,
    MLA_V = 128
};

/* Weights of a module's projections: down and up for queries, down for keys and values, output. The up
 * projection of keys and values, rank x heads x (nope + v), counts apart: decoding absorbs it. */
static double mla_weights(const double *d)
{
    return d[3] * d[4] + d[4] * d[2] * (MLA_NOPE + MLA_ROPE) + d[3] * (d[5] + MLA_ROPE)
           + d[2] * MLA_V * d[3] + d[5] * d[2] * (MLA_NOPE + MLA_V);
}

static double mla_flop(const double *d, bool decode)
{
    if (decode) /* scores over rank + rope, values over rank */
        return 2 * d[0] * mla_weights(d) + d[0] * d[1] * d[2] * (2 * (2 * d[5] + MLA_ROPE) + 4);
    return (1 + d[7])
           * (2 * d[0] * mla_weights(d)
                   + causal_pairs(d[0], d[1], 0) * d[2] * (2 * (MLA_NOPE + MLA_ROPE + MLA_V) + 4));
}

static double mla_bytes(const double *d, double size, bool decode)
{
    double rows = decode ? d[0] : d[0] * (1 + d[7]);
    double cached = decode ? d[0] * d[1] : d[1] * (1 + d[7]);
    return size * mla_weights(d) + cached * (d[5] + MLA_ROPE) * d[6] / 8 + 8 * rows * d[3];
}

/* Latents to keys and values, then as attention_prefill. */
static double expanded_flop(const double *d, double pairs)
{
    return d[2] * (2 * d[1] * d[3] * d[5] + pairs * (2 * (d[5] + d[4]) + 4));
}

/* Queries into the latents' space, attention over those, and out of it. */
static double absorbed_flop(const double *d, double pairs)
{
    return d[2] * (2 * d[0] * d[3] * d[5] + pairs * (4 * d[3] + 2 * d[4] + 4));
}

bool op_mla_absorbs(const struct op *op)
{
    double d[OP_DIMS];
    for (int i = 0; i < OP_DIMS; i++)
        d[i] = (double)op->dim[i];
    double pairs = causal_pairs(d[0], d[1], 0);
    return absorbed_flop(d, pairs) < expanded_flop(d, pairs);
}

/*
 * Multiplications and additions count one each. Exponentials, divisions and roots count one, which is far
 * from their price; the ops that have many are bound by memory.
 */
double op_flop(const struct op *op)
{
    double d[OP_DIMS];
    for (int i = 0; i < OP_DIMS; i++)
        d[i] = (double)op->dim[i];
    switch (op->kind) {
    case OP_GEMM:
    case OP_LM_HEAD:
        return 2 * d[0] * d[1] * d[2];
    case OP_ATTENTION_PREFILL: /* scores and values: 2 flop each per pair and dimension; softmax 4 */
        return (1 + d[6]) * causal_pairs(d[0], d[1], d[5]) * d[2] * (4 * d[4] + 4);
    case OP_ATTENTION_DECODE:
        return d[0] * seen(d[1], d[5]) * d[2] * (4 * d[4] + 4);
    case OP_RMSNORM:
        return d[0] * d[1] * (d[2] > 0 ? 5 : 4);
    case OP_ROPE:
        return d[0] * (d[1] + d[2]) * d[3] * (d[4] > 0 ? 7 : 3);
    case OP_ACTIVATION:
        return d[0] * d[1] * 4;
    case OP_ROUTER:
        return 2 * d[0] * d[1] * d[2] + d[0] * d[2] * (3 + d[3]);
    case OP_MLA_MODULE_PREFILL:
    case OP_MLA_MODULE_DECODE:
        return mla_flop(d, op->kind == OP_MLA_MODULE_DECODE);
    case OP_MOE:
    case OP_EXPERT_GEMM: /* gate, up and down products, silu(gate) * up */
        return local_rows(d[0], d[3], d[4], d[5]) * (6 * d[1] * d[2] + 4 * d[2]);
    case OP_COMBINE:
        return local_rows(d[0], d[2], d[3], d[4]) * d[1] * 2;
    case OP_SAMPLE:
        return d[0] * d[1];
    case OP_MLA_PREFILL: {
        double pairs = causal_pairs(d[0], d[1], 0);
        return op_mla_absorbs(op) ? absorbed_flop(d, pairs) : expanded_flop(d, pairs);
    }
    case OP_MLA_DECODE:
        return absorbed_flop(d, d[0] * d[1]);
    case OP_MLA_ROPE:
        return d[0] * (4 * d[2] + 3 * (d[1] + 1) * d[3]);
    case OP_ALL_REDUCE:
    case OP_REDUCE_SCATTER:
        return d[0] / 4 * (op->degree > 1 ? 1 : 0);
    case OP_PERMUTE:
    case OP_EMBEDDING:
    case OP_COPY:
    case OP_ALL_GATHER:
    case OP_ALL_TO_ALL:
    case OP_SEND_RECV:
    case OP_BROADCAST:
    case OP_KIND_COUNT:
        break;
    }
    return 0;
}

/* Expected number of `local` experts that at least one of the m * top_k choices reaches. */
static double touched_experts(double m, double local, double experts, double top_k)
{
    if (experts <= 0)
        return 0;
    return local * (1 - pow(1 - top_k / experts, m));
}

/* Activations are f32 (4 bytes); dtype is that of the weights or of the cache. */
double op_bytes(const struct op *op)
{
    double d[OP_DIMS];
    for (int i = 0; i < OP_DIMS; i++)
        d[i] = (double)op->dim[i];
    double size =
            op->dtype == DTYPE_INT4 || op->dtype == DTYPE_MXFP4 ? 0.5 : dtype_bytes(op->dtype);
    switch (op->kind) {
    case OP_GEMM:
    case OP_LM_HEAD:
        return size * d[1] * d[2] + 4 * d[0] * (d[1] + d[2]);
    case OP_ATTENTION_PREFILL:
        return (1 + d[6]) * (2 * size * d[1] * d[3] * d[4] + 8 * d[0] * d[2] * d[4]);
    case OP_ATTENTION_DECODE:
        return d[0] * (2 * size * seen(d[1], d[5]) * d[3] * d[4] + 8 * d[2] * d[4]);
    case OP_RMSNORM: /* x in, out; with residual also residual in and x out */
        return size * d[1] * (d[0] * (d[2] > 0 ? 4 : 2) + 1);
    case OP_ROPE: /* q and k in and out, v in; k and v to the cache */
        return d[0] * d[3] * (8 * (d[1] + d[2]) + 4 * d[2] + 2 * size * d[2]);
    case OP_ACTIVATION:
        return 3 * size * d[0] * d[1];
    case OP_ROUTER:
        return size * d[1] * d[2] + 4 * d[0] * d[1] + 8 * d[0] * d[3];
    case OP_PERMUTE:
        return 8 * local_rows(d[0], d[2], d[3], d[4]) * d[1] + 4 * d[0] * d[4];
    case OP_MLA_MODULE_PREFILL:
    case OP_MLA_MODULE_DECODE:
        return mla_bytes(d, size, op->kind == OP_MLA_MODULE_DECODE);
    case OP_MOE: /* and the rows of the tokens in and out */
    case OP_EXPERT_GEMM:
        return (op->kind == OP_MOE ? 8 * d[0] * d[1] : 0)
               + touched_experts(d[0], d[3], d[4], d[5]) * 3 * size * d[1] * d[2]
               + local_rows(d[0], d[3], d[4], d[5]) * (8 * d[1] + 24 * d[2]);
    case OP_COMBINE:
        return 4 * d[1] * (local_rows(d[0], d[2], d[3], d[4]) + d[0]);
    case OP_EMBEDDING:
        return d[0] * d[1] * (size + 4);
    case OP_SAMPLE:
        return 4 * d[0] * d[1] + 8 * d[0];
    case OP_COPY:
        return 2 * d[0];
    case OP_MLA_PREFILL:
        return size * d[3] * d[2] * d[5] + size * d[1] * (d[3] + d[4])
               + 4 * d[0] * d[2] * (d[5] + d[4]);
    case OP_MLA_DECODE:
        return size * d[3] * d[2] * d[5]
               + d[0] * (size * d[1] * (d[3] + d[4]) + 4 * d[2] * (d[5] + d[4]));
    case OP_MLA_ROPE: /* the rotated part of q in and out, the latent in and to the cache */
        return d[0] * (8 * d[1] * d[3] + (4 + size) * (d[2] + d[3]));
    case OP_ALL_REDUCE:
    case OP_ALL_GATHER:
    case OP_REDUCE_SCATTER:
    case OP_ALL_TO_ALL:
    case OP_SEND_RECV:
    case OP_BROADCAST:
        return d[0];
    case OP_KIND_COUNT:
        break;
    }
    return 0;
}

/* Gathers, scatters and all-to-all: their sizes here are one rank's. */
static bool counts_all_ranks(enum op_kind kind)
{
    return kind == OP_ALL_GATHER || kind == OP_REDUCE_SCATTER || kind == OP_ALL_TO_ALL;
}

double op_exchange_bytes(const struct op *op)
{
    if (!op_is_collective(op->kind))
        return 0;
    /* all_to_all's size already holds the parts for all destinations */
    bool times = op->kind == OP_ALL_GATHER || op->kind == OP_REDUCE_SCATTER;
    return (double)op->dim[0] * (times ? op->degree : 1);
}

double op_bus_share(const struct op *op)
{
    double n = op->degree > 1 ? op->degree : 1;
    if (op->kind == OP_ALL_REDUCE)
        return 2 * (n - 1) / n;
    return counts_all_ranks(op->kind) ? (n - 1) / n : 1;
}
