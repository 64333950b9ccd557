/*
 * graph_bytes - what a rank holds: weights, cache and work buffers, by the lists in graph.h.
 */
#include "models/graph.h"

#include <string.h>

#include "models/rope.h"

int graph_k_chunks(int64_t n)
{
    int chunks = 1;
    while (chunks < 8 && n % (2 * (int64_t)chunks) == 0)
        chunks *= 2;
    return chunks;
}

struct slice graph_slice(int64_t n, int parts, int index)
{
    int64_t each = n / parts;
    return (struct slice){each * index, each * (index + 1)};
}

int64_t graph_expert_slots(const struct model *model, const struct split *split)
{
    return split->expert_slots > 0 ? split->expert_slots : model->moe.n / split->ep;
}

struct slice graph_dispatch_rows(int64_t tokens, int tp, int tp_rank)
{
    int64_t each = (tokens + tp - 1) / tp, begin = each * tp_rank, end = begin + each;

    return (struct slice){begin < tokens ? begin : tokens, end < tokens ? end : tokens};
}

struct slice graph_kv_heads(const struct model *model, int tp, int tp_rank)
{
    if (tp <= model->kv_heads)
        return graph_slice(model->kv_heads, tp, tp_rank);
    int64_t head = tp_rank / (tp / model->kv_heads);
    return (struct slice){head, head + 1};
}

/* The letters of graph.h. */
struct sizes {
    int64_t q, kv, hd, inter, experts_local, expert_inter, vocab;
    int64_t hidden, w; /* bytes of a weight */
};

static struct sizes sizes_of(const struct model *model, const struct split *split)
{
    struct slice kv = graph_kv_heads(model, split->tp, 0);
    return (struct sizes){
            .q = model->heads / split->tp,
            .kv = kv.end - kv.begin,
            .hd = model->head_dim,
            .inter = model->inter / split->tp,
            .experts_local = model->moe.n > 0 ? graph_expert_slots(model, split) : 0,
            .expert_inter = model->moe.inter / (split->tp * split->attention_dp / split->ep),
            .vocab = model->vocab / split->tp,
            .hidden = model->hidden,
            .w = dtype_bytes(split->dtype),
    };
}

/* Elements of a row that MLA makes of the residual stream at once. */
static int64_t mla_down(const struct model *model, const struct sizes *s)
{
    int64_t q_rank = model->mla.q_rank, query = s->q * (model->mla.nope_dim + model->mla.rope_dim);

    return (q_rank > 0 ? q_rank : query) + model->mla.kv_rank + model->mla.rope_dim;
}

static void mla_weights(
        int64_t bytes[WEIGHT_COUNT], const struct model *model, const struct sizes *s)
{
    int64_t q_rank = model->mla.q_rank, rank = model->mla.kv_rank;

    bytes[WEIGHT_QKV] = mla_down(model, s) * s->hidden * s->w;
    bytes[WEIGHT_Q_UP] = s->q * (model->mla.nope_dim + model->mla.rope_dim) * q_rank * s->w;
    bytes[WEIGHT_KV_UP] = s->q * (model->mla.nope_dim + model->mla.v_dim) * rank * s->w;
    bytes[WEIGHT_Q_GAIN] = q_rank * 4;
    bytes[WEIGHT_K_GAIN] = rank * 4;
    bytes[WEIGHT_O] = s->hidden * s->q * model->mla.v_dim * s->w;
}

static void attention_weights(
        int64_t bytes[WEIGHT_COUNT], const struct model *model, const struct sizes *s)
{
    int64_t rows = (s->q + 2 * s->kv) * s->hd;

    bytes[WEIGHT_QKV] = rows * s->hidden * s->w;
    bytes[WEIGHT_O] = s->hidden * s->q * s->hd * s->w;
    if (model->attention_bias)
        bytes[WEIGHT_QKV_BIAS] = rows * 4;
    if (model_has_o_bias(model))
        bytes[WEIGHT_O_BIAS] = s->hidden * 4;
    if (model_has_qk_gain(model))
        bytes[WEIGHT_Q_GAIN] = bytes[WEIGHT_K_GAIN] = s->hd * 4;
    if (model->sinks)
        bytes[WEIGHT_SINKS] = s->q * 4;
}

static void moe_weights(int64_t bytes[WEIGHT_COUNT], const struct model *model,
        const struct split *split, const struct sizes *s)
{
    int64_t shared = model->moe.shared_inter / split->tp, local = s->experts_local,
            x = s->expert_inter;

    bytes[WEIGHT_GATE_UP] = 2 * shared * s->hidden * s->w;
    bytes[WEIGHT_DOWN] = shared * s->hidden * s->w;
    bytes[WEIGHT_ROUTER] = model->moe.n * s->hidden * s->w;
    bytes[WEIGHT_ROUTER_BIAS] = model->moe.router_bias ? model->moe.n * 4 : 0;
    bytes[WEIGHT_EXPERT_GATE_UP] = local * 2 * x * s->hidden * s->w;
    bytes[WEIGHT_EXPERT_DOWN] = local * x * s->hidden * s->w;
    bytes[WEIGHT_EXPERT_BIAS] = model->moe.expert_bias ? local * (2 * x + s->hidden) * 4 : 0;
}

void graph_layer_weights(int64_t bytes[WEIGHT_COUNT], const struct model *model,
        const struct split *split, int layer)
{
    struct sizes s = sizes_of(model, split);

    memset(bytes, 0, sizeof(*bytes) * WEIGHT_COUNT);
    bytes[WEIGHT_ATTN_NORM] = bytes[WEIGHT_MLP_NORM] = s.hidden * 4;
    if (model->mla.kv_rank > 0)
        mla_weights(bytes, model, &s);
    else
        attention_weights(bytes, model, &s);
    if (model->layers[layer].moe) {
        moe_weights(bytes, model, split, &s);
    } else {
        bytes[WEIGHT_GATE_UP] = 2 * s.inter * s.hidden * s.w;
        bytes[WEIGHT_DOWN] = s.inter * s.hidden * s.w;
    }
}

/* One of them: the layer, the product that joins two rows to one (whole on every rank), and the norms of both and of
 * the head's rows. The head is the model's own. */
static int64_t mtp_layer_bytes(
        const struct model *model, const struct split *split, const struct sizes *s)
{
    int64_t bytes[WEIGHT_COUNT];
    int64_t total = 2 * s->hidden * s->hidden * s->w + 3 * s->hidden * 4;
    graph_layer_weights(bytes, model, split, model->n_layers - 1);
    for (int i = 0; i < WEIGHT_COUNT; i++)
        total += bytes[i];
    return total;
}

void graph_end_weights(int64_t bytes[WEIGHT_COUNT], const struct model *model,
        const struct split *split, struct piece piece)
{
    struct sizes s = sizes_of(model, split);
    bool first = piece.first_layer == 0, last = piece.end_layer == model->n_layers;

    memset(bytes, 0, sizeof(*bytes) * WEIGHT_COUNT);
    if (first)
        bytes[WEIGHT_EMBEDDING] = model->vocab * s.hidden * s.w;
    if (last) {
        bytes[WEIGHT_FINAL_NORM] = s.hidden * 4;
        if (!(first && model->tied_embeddings))
            bytes[WEIGHT_LM_HEAD] = s.vocab * s.hidden * s.w;
    }
    if (last && split->mtp > 0)
        bytes[WEIGHT_MTP] = split->mtp * mtp_layer_bytes(model, split, &s)
                            + (first ? 0 : model->vocab * s.hidden * s.w);
}

static int64_t sum(const int64_t *bytes, int n)
{
    int64_t total = 0;
    for (int i = 0; i < n; i++)
        total += bytes[i];
    return total;
}

/* Layers differ in being dense or MoE alone, as far as weights go. */
static int moe_layers(const struct model *model, struct piece piece, int sample[2])
{
    int n = 0;
    for (int layer = piece.first_layer; layer < piece.end_layer; layer++) {
        bool moe = model->layers[layer].moe;
        n += moe;
        sample[moe] = layer;
    }
    return n;
}

int64_t graph_weight_bytes(const struct model *model, const struct split *split, struct piece piece)
{
    int64_t bytes[WEIGHT_COUNT];
    int sample[2] = {-1, -1};
    int64_t moe = moe_layers(model, piece, sample);
    const int64_t count[2] = {piece.end_layer - piece.first_layer - moe, moe};

    graph_end_weights(bytes, model, split, piece);
    int64_t total = sum(bytes, WEIGHT_COUNT);
    for (int kind = 0; kind < 2; kind++) {
        if (count[kind] > 0) {
            graph_layer_weights(bytes, model, split, sample[kind]);
            total += count[kind] * sum(bytes, WEIGHT_COUNT);
        }
    }
    return total;
}

int graph_kv_copies(const struct model *model, int tp)
{
    if (model->mla.kv_rank > 0)
        return tp;
    return tp > model->kv_heads ? tp / model->kv_heads : 1;
}

int64_t graph_kv_block_bytes(
        const struct model *model, const struct split *split, struct piece piece, int block_tokens)
{
    struct slice kv = graph_kv_heads(model, split->tp, 0);
    int64_t elems = 2 * (kv.end - kv.begin) * model->head_dim;
    if (model->mla.kv_rank > 0)
        elems = model->mla.kv_rank + model->mla.rope_dim;
    int mtp = piece.end_layer == model->n_layers ? split->mtp : 0;
    return (piece.end_layer - piece.first_layer + mtp) * elems * block_tokens
           * dtype_bytes(split->kv_dtype);
}

static void moe_work(int64_t bytes[WORK_COUNT], const struct model *model,
        const struct split *split, const struct sizes *s, int64_t tokens)
{
    int64_t pairs = tokens * model->moe.top_k, local = s->experts_local,
            experts = local * split->ep;
    int64_t at_most = model->moe.top_k < local ? model->moe.top_k : local;
    int64_t rows = split->attention_dp * tokens * at_most;
    bool spread = split->attention_dp > 1;
    int64_t parts = (int64_t)split->tp * split->attention_dp / split->ep;
    int64_t sent = graph_dispatch_rows(tokens, split->tp, 0).end * model->moe.top_k * parts;

    bytes[WORK_EXPERT] = bytes[WORK_EXPERT_WEIGHT] = bytes[WORK_PAIR] = pairs * 4;
    bytes[WORK_OFFSETS] = (local + 1 + (spread ? experts + 1 : 0)) * 4;
    bytes[WORK_ROWS] = (spread ? sent : rows) * s->hidden * 4;
    bytes[WORK_ROWS_SORTED] = rows * s->hidden * 4;
    bytes[WORK_ROWS_IN] = spread ? rows * s->hidden * 4 : 0;
    bytes[WORK_SCRATCH] = rows * 3 * s->expert_inter * 4;
    bytes[WORK_COUNTS] = spread ? 2 * experts * parts * 4 : 0;
    if (split->deterministic && split->tp > 1 && !spread) {
        bytes[WORK_SCATTER] = pairs * s->hidden * 4;
        bytes[WORK_IDENTITY] = pairs * 4;
    }
}

static void last_work(int64_t bytes[WORK_COUNT], const struct model *model,
        const struct split *split, int64_t seqs)
{
    bytes[WORK_LAST_X] = bytes[WORK_LAST_R] = bytes[WORK_LAST_H] = seqs * model->hidden * 4;
    bytes[WORK_LOGITS] = seqs * (model->vocab / split->tp) * 4;
    bytes[WORK_SAMPLED] = seqs * 8;
    if (split->tp > 1)
        bytes[WORK_GATHER] = seqs * model->vocab * 4;
}

static void mla_work(
        int64_t bytes[WORK_COUNT], const struct model *model, const struct sizes *s, int64_t tokens)
{
    bytes[WORK_QKV] = tokens * mla_down(model, s) * 4;
    bytes[WORK_ATTENTION] = tokens * s->q * model->mla.v_dim * 4;
    if (model->mla.q_rank == 0)
        return;
    bytes[WORK_Q_LATENT] = tokens * model->mla.q_rank * 4;
    bytes[WORK_Q] = tokens * s->q * (model->mla.nope_dim + model->mla.rope_dim) * 4;
}

void graph_work(int64_t bytes[WORK_COUNT], const struct model *model, const struct split *split,
        struct piece piece, int max_seqs, int max_tokens)
{
    struct sizes s = sizes_of(model, split);
    int64_t row = s.hidden * 4, tokens = max_tokens;
    int sample[2] = {-1, -1};
    int64_t moe = moe_layers(model, piece, sample);
    int64_t inter = sample[0] >= 0 ? s.inter : 0, shared = model->moe.shared_inter / split->tp;

    memset(bytes, 0, sizeof(*bytes) * WORK_COUNT);
    if (moe > 0 && shared > inter)
        inter = shared;
    bytes[WORK_X] = bytes[WORK_R] = bytes[WORK_H] = tokens * row;
    bytes[WORK_QKV] = tokens * (s.q + 2 * s.kv) * s.hd * 4;
    bytes[WORK_ATTENTION] = tokens * s.q * s.hd * 4;
    if (model->mla.kv_rank > 0)
        mla_work(bytes, model, &s, tokens);
    bytes[WORK_GATE_UP] = tokens * 2 * inter * 4;
    bytes[WORK_ACTIVATION] = tokens * inter * 4;
    if (moe > 0)
        moe_work(bytes, model, split, &s, tokens);
    bytes[WORK_INPUTS] = 3 * tokens * 4;
    bytes[WORK_INV_FREQ] = rope_dims(model) / 2 * 4;
    if (piece.end_layer == model->n_layers)
        last_work(bytes, model, split, max_seqs);
    else
        bytes[WORK_SEND] = 2 * tokens * row;
}

int64_t graph_work_bytes(const struct model *model, const struct split *split, struct piece piece,
        int max_seqs, int max_tokens)
{
    int64_t bytes[WORK_COUNT];
    graph_work(bytes, model, split, piece, max_seqs, max_tokens);
    return sum(bytes, WORK_COUNT);
}
