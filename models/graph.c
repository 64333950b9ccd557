/*
 * graph - the op list. Layers of one class (attention kind, window, dense or MoE) execute the same ops, so a
 * step is written once per class with a count; nothing is allocated and nothing loops over experts.
 */
#include "models/graph.h"

#include <stddef.h>

/* The list under construction. */
struct sink {
    struct graph_op *out;
    int max, n;
};

/* What the ops of one class of layers need to know. */
struct class_shape {
    struct model_layer layer;
    int64_t count;
    bool first; /* holds the first layer of the piece, whose norm has no residual */
};

enum {
    MAX_CLASSES = 16
};

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static bool same_op(const struct op *a, const struct op *b)
{
    if (a->kind != b->kind || a->dtype != b->dtype || a->degree != b->degree
            || a->nodes != b->nodes)
        return false;
    for (int i = 0; i < OP_DIMS; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

static void add(struct sink *sink, struct op op, int64_t count)
{
    if (op.dim[0] <= 0 || count <= 0)
        return;
    int known = sink->n < sink->max ? sink->n : sink->max;
    for (int i = 0; i < known; i++) {
        if (same_op(&sink->out[i].op, &op)) {
            sink->out[i].count += count;
            return;
        }
    }
    if (sink->n < sink->max)
        sink->out[sink->n] = (struct graph_op){op, count};
    sink->n++;
}

static struct op op_of(const struct split *split, enum op_kind kind, enum dtype dtype)
{
    return (struct op){.kind = kind, .dtype = dtype, .degree = split->threads, .busy = split->busy};
}

static void add_gemm(struct sink *sink, const struct split *split, int64_t m, int64_t n, int64_t k,
        int64_t count)
{
    struct op op = op_of(split, OP_GEMM, split->dtype);
    op.dim[0] = m;
    op.dim[1] = n;
    op.dim[2] = k;
    if (n > 0 && k > 0)
        add(sink, op, count);
}

static int64_t row_bytes_of(const struct model *model, const struct split *split)
{
    return model->hidden * dtype_bytes(split->activation);
}

static void add_norm(struct sink *sink, const struct split *split, int64_t m, int64_t n,
        int residual, int64_t count)
{
    struct op op = op_of(split, OP_RMSNORM, split->activation);
    op.dim[0] = m;
    op.dim[1] = n;
    op.dim[2] = residual;
    add(sink, op, count);
}

int graph_nodes(const struct split *split, int ranks)
{
    int per_node = split->nodes > 1 ? split->tp * split->attention_dp / split->nodes : ranks;
    return ranks <= per_node || per_node < 1 ? 0 : ranks / per_node;
}

static void add_bytes(struct sink *sink, const struct split *split, enum op_kind kind,
        int64_t bytes, int64_t count)
{
    struct op op = op_of(split, kind, DTYPE_F32);
    if (kind == OP_ALL_TO_ALL)
        op.degree = split->tp * split->attention_dp;
    else if (kind != OP_COPY)
        op.degree = split->tp;
    if (kind != OP_COPY)
        op.nodes = graph_nodes(split, op.degree);
    op.dim[0] = bytes;
    if (kind == OP_COPY || op.degree > 1)
        add(sink, op, count);
}

/* Keys that a query can see at most; a chunked layer is priced as a window of the chunk's length. */
static int64_t visible(const struct model_layer *layer, int64_t q_len, int64_t kv_len)
{
    if (layer->attention == ATTENTION_FULL || layer->window <= 0)
        return kv_len;
    return min_i64(kv_len, layer->window + q_len - 1);
}

/* The ops of a layer's attention: all their dimensions but the first two, which say how much of it there is. */
struct attention {
    enum op_kind prefill, decode;
    int64_t dim[4];
};

static void add_attention(struct sink *sink, const struct split *split,
        const struct attention *attention, enum op_kind kind, const int64_t size[2], int64_t count)
{
    struct op op = op_of(split, kind, split->kv_dtype);
    op.dim[0] = size[0];
    op.dim[1] = size[1];
    for (int i = 0; i < 4; i++)
        op.dim[2 + i] = attention->dim[i];
    add(sink, op, count);
}

static void add_sequences(struct sink *sink, const struct split *split,
        const struct step_shape *shape, const struct class_shape *class,
        const struct attention *attention)
{
    for (int i = 0; i < shape->n_prefill; i++) {
        const struct seq_shape *seq = &shape->prefill[i];
        const int64_t size[2] = {seq->q_len, visible(&class->layer, seq->q_len, seq->kv_len)};
        add_attention(sink, split, attention, attention->prefill, size, class->count);
    }
    if (shape->decode_batch <= 0)
        return;
    int64_t mean = ceil_div(shape->decode_kv_tokens, shape->decode_batch);
    const int64_t size[2] = {shape->decode_batch, visible(&class->layer, 1, mean)};
    add_attention(sink, split, attention, attention->decode, size, class->count);
}

static void add_rope(struct sink *sink, const struct model *model, const struct split *split,
        const int64_t dims[4], int64_t count)
{
    struct op op = op_of(split, OP_ROPE, split->kv_dtype);
    for (int i = 0; i < 4; i++)
        op.dim[i] = dims[i];
    op.dim[4] = model->qk_norm;
    add(sink, op, count);
}

static int64_t local_kv_heads(const struct model *model, int tp)
{
    return tp >= model->kv_heads ? 1 : model->kv_heads / tp;
}

static void add_gqa(struct sink *sink, const struct model *model, const struct split *split,
        const struct step_shape *shape, const struct class_shape *class)
{
    int64_t heads = model->heads / split->tp, kv = local_kv_heads(model, split->tp);
    int64_t dim = model->head_dim, m = shape->tokens, n = class->count;
    struct attention attention = {OP_ATTENTION_PREFILL, OP_ATTENTION_DECODE, {heads, kv, dim}};

    add_gemm(sink, split, m, (heads + 2 * kv) * dim, model->hidden, n);
    add_rope(sink, model, split, (const int64_t[4]){m, heads, kv, dim}, n);
    add_sequences(sink, split, shape, class, &attention);
    add_gemm(sink, split, m, model->hidden, heads * dim, n);
}

/* The sizes that the tables' modules have (core/spec/op.h). */
static bool module_sizes(const struct model *model)
{
    return model->mla.nope_dim == 128 && model->mla.rope_dim == 64 && model->mla.v_dim == 128
           && model->mla.q_rank > 0;
}

/* An attention module whole. Sequences of a step that are alike are still priced one by one. */
static void add_mla_module(struct sink *sink, const struct model *model, const struct split *split,
        const struct step_shape *shape, int64_t count)
{
    struct op op = op_of(split, OP_MLA_MODULE_PREFILL, split->dtype);
    op.dim[2] = model->heads / split->tp;
    op.dim[3] = model->hidden;
    op.dim[4] = model->mla.q_rank;
    op.dim[5] = model->mla.kv_rank;
    op.dim[6] = INT64_C(8) * dtype_bytes(split->kv_dtype);
    for (int i = 0; i < shape->n_prefill; i++) {
        op.dim[0] = shape->prefill[i].q_len;
        op.dim[1] = shape->prefill[i].kv_len;
        add(sink, op, count);
    }
    if (shape->decode_batch <= 0)
        return;
    op.kind = OP_MLA_MODULE_DECODE;
    op.dim[0] = shape->decode_batch;
    op.dim[1] = ceil_div(shape->decode_kv_tokens, shape->decode_batch);
    add(sink, op, count);
}

/* Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434); what reads the residual stream is one product. */
static void add_mla(struct sink *sink, const struct model *model, const struct split *split,
        const struct step_shape *shape, const struct class_shape *class)
{
    int64_t heads = model->heads / split->tp, m = shape->tokens, n = class->count;
    int64_t nope = model->mla.nope_dim, rope = model->mla.rope_dim, v = model->mla.v_dim;
    int64_t rank = model->mla.kv_rank, q_rank = model->mla.q_rank, query = heads * (nope + rope);
    struct attention attention = {OP_MLA_PREFILL, OP_MLA_DECODE, {heads, rank, rope, nope + v}};
    struct op op = op_of(split, OP_MLA_ROPE, split->kv_dtype);
    const int64_t dims[5] = {m, heads, rank, rope, nope};

    for (int i = 0; i < 5; i++)
        op.dim[i] = dims[i];
    add_gemm(sink, split, m, (q_rank > 0 ? q_rank : query) + rank + rope, model->hidden, n);
    if (q_rank > 0) {
        add_norm(sink, split, m, q_rank, 0, n);
        add_gemm(sink, split, m, query, q_rank, n);
    }
    add(sink, op, n);
    add_sequences(sink, split, shape, class, &attention);
    add_gemm(sink, split, m, model->hidden, heads * v, n);
}

static void add_latent(struct sink *sink, const struct model *model, const struct split *split,
        const struct step_shape *shape, const struct class_shape *class)
{
    if (split->whole_mla && module_sizes(model))
        add_mla_module(sink, model, split, shape, class->count);
    else
        add_mla(sink, model, split, shape, class);
}

static void add_mlp(struct sink *sink, const struct model *model, const struct split *split,
        int64_t m, int64_t inter, int64_t count)
{
    if (inter <= 0)
        return;
    struct op op = op_of(split, OP_ACTIVATION, split->activation);
    op.dim[0] = m;
    op.dim[1] = inter;
    add_gemm(sink, split, m, 2 * inter, model->hidden, count);
    add(sink, op, count);
    add_gemm(sink, split, m, model->hidden, inter, count);
}

/* permute and combine have the same dimensions. */
static void add_rows(struct sink *sink, const struct model *model, const struct split *split,
        enum op_kind kind, int64_t local, const int64_t m_count[2])
{
    struct op op = op_of(split, kind, DTYPE_F32);
    op.dim[0] = m_count[0];
    op.dim[1] = model->hidden;
    op.dim[2] = local;
    op.dim[3] = split->ep * graph_expert_slots(model, split);
    op.dim[4] = model->moe.top_k;
    add(sink, op, m_count[1]);
}

static void add_expert_gemm(struct sink *sink, const struct model *model, const struct split *split,
        int64_t m, int64_t count)
{
    struct op op = op_of(split, split->whole_moe ? OP_MOE : OP_EXPERT_GEMM, split->dtype);
    op.dim[0] = m;
    op.dim[1] = model->hidden;
    op.dim[2] = model->moe.inter / (split->tp * split->attention_dp / split->ep);
    op.dim[3] = graph_expert_slots(model, split);
    op.dim[4] = split->ep * op.dim[3];
    op.dim[5] = model->moe.top_k;
    add(sink, op, count);
}

static void add_moe(struct sink *sink, const struct model *model, const struct split *split,
        const struct step_shape *shape, int64_t count)
{
    int64_t m = shape->tokens, local = graph_expert_slots(model, split);
    int64_t experts = local * split->ep;
    int64_t row_bytes = row_bytes_of(model, split), home_rows = m * model->moe.top_k;
    const int64_t here[2] = {m, count};
    bool spread = split->attention_dp > 1;
    struct slice sent = graph_dispatch_rows(m, split->tp, 0);
    struct op router = op_of(split, OP_ROUTER, split->dtype);

    router.dim[0] = spread ? sent.end : m;
    router.dim[1] = model->hidden;
    router.dim[2] = model->moe.n;
    router.dim[3] = model->moe.top_k;
    add(sink, router, count);
    add_mlp(sink, model, split, m, model->moe.shared_inter / split->tp, count);
    if (split->deterministic && model->moe.shared_inter > 0)
        add_bytes(sink, split, OP_ALL_REDUCE, m * row_bytes, count);
    if (spread) {
        const int64_t mine[2] = {sent.end, count};
        int64_t group = max_i64(shape->group_tokens, m);
        int64_t parts = (int64_t)split->tp * split->attention_dp / split->ep;
        int64_t out_bytes = sent.end * model->moe.top_k * parts * row_bytes;
        int64_t brought = ceil_div(group * model->moe.top_k * local, experts) * row_bytes;
        bool parts_of_it = !split->whole_moe;
        if (parts_of_it)
            add_rows(sink, model, split, OP_PERMUTE, experts, mine);
        add_bytes(sink, split, OP_ALL_TO_ALL, group > 0 ? experts * parts * 4 : 0, count);
        add_bytes(sink, split, OP_COPY, parts_of_it && parts > 1 ? out_bytes : 0, 2 * count);
        add_bytes(sink, split, OP_ALL_TO_ALL, out_bytes, count);
        add_bytes(sink, split, OP_COPY, parts_of_it ? brought : 0, 2 * count);
        add_expert_gemm(sink, model, split, group, count);
        add_bytes(sink, split, OP_ALL_TO_ALL, brought, count);
        if (parts_of_it)
            add_rows(sink, model, split, OP_COMBINE, experts, mine);
        return;
    }
    if (!split->whole_moe)
        add_rows(sink, model, split, OP_PERMUTE, local, here);
    add_expert_gemm(sink, model, split, m, count);
    if (!split->whole_moe)
        add_rows(sink, model, split, OP_COMBINE, local, here);
    if (split->deterministic && split->tp > 1) {
        add_bytes(sink, split, OP_ALL_REDUCE, home_rows * row_bytes, count);
        add_rows(sink, model, split, OP_COMBINE, experts, here);
    }
}

static void add_layers(struct sink *sink, const struct model *model, const struct split *split,
        const struct step_shape *shape, const struct class_shape *class)
{
    int64_t m = shape->tokens, reduced = m * row_bytes_of(model, split);
    int64_t fresh = class->first ? 1 : 0;

    add_norm(sink, split, m, model->hidden, 0, fresh);
    add_norm(sink, split, m, model->hidden, 1, class->count - fresh);
    if (model->mla.kv_rank > 0)
        add_latent(sink, model, split, shape, class);
    else
        add_gqa(sink, model, split, shape, class);
    add_bytes(sink, split, OP_ALL_REDUCE, reduced, class->count);
    add_norm(sink, split, m, model->hidden, 1, class->count);
    if (!class->layer.moe) {
        add_mlp(sink, model, split, m, model->inter / split->tp, class->count);
        add_bytes(sink, split, OP_ALL_REDUCE, reduced, class->count);
        return;
    }
    add_moe(sink, model, split, shape, class->count);
    /* Elsewhere sums were made before combining; shares of rows are put together in any case. */
    if (!split->deterministic || split->attention_dp > 1)
        add_bytes(sink, split, OP_ALL_REDUCE, reduced, class->count);
}

static void add_head(
        struct sink *sink, const struct model *model, const struct split *split, int64_t rows)
{
    int64_t vocab = model->vocab / split->tp;
    struct op head = op_of(split, OP_LM_HEAD, split->dtype),
              sample = op_of(split, OP_SAMPLE, DTYPE_F32);

    head.dim[0] = rows;
    head.dim[1] = vocab;
    head.dim[2] = model->hidden;
    sample.dim[0] = rows;
    sample.dim[1] = vocab;
    add_norm(sink, split, rows, model->hidden, 1, 1);
    add(sink, head, 1);
    add(sink, sample, 1);
    add_bytes(sink, split, OP_ALL_GATHER, rows * 8, 1);
}

/* Classes in order of first layer; returns how many. */
static int classify(struct class_shape *classes, const struct model *model, struct piece piece)
{
    int n = 0;
    for (int layer = piece.first_layer; layer < piece.end_layer; layer++) {
        const struct model_layer *l = &model->layers[layer];
        int i = 0;
        while (i < n
                && (classes[i].layer.moe != l->moe || classes[i].layer.attention != l->attention
                        || classes[i].layer.window != l->window))
            i++;
        if (i == MAX_CLASSES)
            i--; /* model_check refuses models with more classes */
        if (i == n)
            classes[n++] = (struct class_shape){*l, 0, layer == piece.first_layer};
        classes[i].count++;
    }
    return n;
}

int graph_step(struct graph_op *out, int max, const struct model *model, const struct split *split,
        struct piece piece, const struct step_shape *shape)
{
    struct sink sink = {out, max, 0};
    struct class_shape classes[MAX_CLASSES];
    int n = classify(classes, model, piece);

    if (piece.first_layer == 0) {
        struct op op = op_of(split, OP_EMBEDDING, split->dtype);
        op.dim[0] = shape->tokens;
        op.dim[1] = model->hidden;
        add(&sink, op, 1);
    }
    for (int i = 0; i < n; i++)
        add_layers(&sink, model, split, shape, &classes[i]);
    if (piece.end_layer == model->n_layers)
        add_head(&sink, model, split, shape->logits_rows);
    return sink.n;
}

int64_t graph_boundary_bytes(const struct model *model, const struct split *split, int64_t tokens)
{
    return tokens * row_bytes_of(model, split); /* every rank of a stage holds whole rows */
}
