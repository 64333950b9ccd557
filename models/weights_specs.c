/*
 * weights_specs - the tensors of each family under their HF names, in checkpoint order.
 */
#include "models/weights.h"

#include <stdio.h>

struct builder {
    struct tensor_spec *items;
    int64_t n, cap;
    const struct model *model;
    struct arena *arena;
    char prefix[64]; /* "model.layers.3." */
};

/* cols 0 = a vector. */
static void add(
        struct builder *b, const char *name, enum tensor_role role, int64_t rows, int64_t cols)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        b->items = arena_grow(b->arena, b->items, b->n, b->cap, sizeof(*b->items));
    }
    b->items[b->n++] = (struct tensor_spec){
            .name = arena_printf(b->arena, "%s%s", b->prefix, name),
            .n_dims = cols > 0 ? 2 : 1,
            .dim = {rows, cols},
            .role = role,
    };
}

/* Experts fused in one tensor: [experts, in, out]. */
static void add_fused(struct builder *b, const char *name, int64_t rows, int64_t cols)
{
    add(b, name, TENSOR_MATRIX, rows, cols);
    struct tensor_spec *spec = &b->items[b->n - 1];
    spec->n_dims = 3;
    spec->dim[0] = b->model->moe.n;
    spec->dim[1] = rows;
    spec->dim[2] = cols;
}

/* gate, up and down of one MLP under `under` with the three names of the family. */
static void add_mlp(struct builder *b, const char *under, const char *const names[3], int64_t inter)
{
    char name[96];
    for (int i = 0; i < 3; i++) {
        bool down = i == 2;
        snprintf(name, sizeof(name), "%s%s.weight", under, names[i]);
        add(b, name, TENSOR_MATRIX, down ? b->model->hidden : inter,
                down ? inter : b->model->hidden);
    }
}

static const char *const proj_names[3] = {"gate_proj", "up_proj", "down_proj"};
static const char *const mixtral_names[3] = {"w1", "w3", "w2"};

static void add_experts(struct builder *b, const char *under, const char *const names[3])
{
    char name[64];
    for (int i = 0; i < b->model->moe.n; i++) {
        snprintf(name, sizeof(name), "%s%d.", under, i);
        add_mlp(b, name, names, b->model->moe.inter);
    }
}

static void add_mla(struct builder *b)
{
    const struct model *m = b->model;
    int64_t query = m->heads * (m->mla.nope_dim + m->mla.rope_dim), rank = m->mla.kv_rank;

    if (m->mla.q_rank > 0) {
        add(b, "self_attn.q_a_proj.weight", TENSOR_MATRIX, m->mla.q_rank, m->hidden);
        add(b, "self_attn.q_a_layernorm.weight", TENSOR_NORM, m->mla.q_rank, 0);
        add(b, "self_attn.q_b_proj.weight", TENSOR_MATRIX, query, m->mla.q_rank);
    } else {
        add(b, "self_attn.q_proj.weight", TENSOR_MATRIX, query, m->hidden);
    }
    add(b, "self_attn.kv_a_proj_with_mqa.weight", TENSOR_MATRIX, rank + m->mla.rope_dim, m->hidden);
    add(b, "self_attn.kv_a_layernorm.weight", TENSOR_NORM, rank, 0);
    add(b, "self_attn.kv_b_proj.weight", TENSOR_MATRIX, m->heads * (m->mla.nope_dim + m->mla.v_dim),
            rank);
    add(b, "self_attn.o_proj.weight", TENSOR_MATRIX, m->hidden, m->heads * m->mla.v_dim);
}

static void add_attention(struct builder *b)
{
    const struct model *m = b->model;
    int64_t q = (int64_t)m->heads * m->head_dim, kv = (int64_t)m->kv_heads * m->head_dim;
    const struct {
        const char *weight, *bias;
        int64_t rows, cols;
    } parts[] = {
            {"self_attn.q_proj.weight", "self_attn.q_proj.bias", q, m->hidden},
            {"self_attn.k_proj.weight", "self_attn.k_proj.bias", kv, m->hidden},
            {"self_attn.v_proj.weight", "self_attn.v_proj.bias", kv, m->hidden},
            {"self_attn.o_proj.weight", "self_attn.o_proj.bias", m->hidden, q},
    };

    for (int i = 0; i < 4; i++) {
        add(b, parts[i].weight, TENSOR_MATRIX, parts[i].rows, parts[i].cols);
        if (i < 3 ? m->attention_bias : model_has_o_bias(m))
            add(b, parts[i].bias, TENSOR_BIAS, parts[i].rows, 0);
    }
    if (model_has_qk_gain(m)) {
        add(b, "self_attn.q_norm.weight", TENSOR_NORM, m->head_dim, 0);
        add(b, "self_attn.k_norm.weight", TENSOR_NORM, m->head_dim, 0);
    }
    if (m->sinks)
        add(b, "self_attn.sinks", TENSOR_BIAS, m->heads, 0);
}

static void add_gpt_oss_experts(struct builder *b)
{
    const struct model *m = b->model;

    add(b, "mlp.router.weight", TENSOR_MATRIX, m->moe.n, m->hidden);
    add(b, "mlp.router.bias", TENSOR_BIAS, m->moe.n, 0);
    add_fused(b, "mlp.experts.gate_up_proj", m->hidden, 2 * m->moe.inter);
    add(b, "mlp.experts.gate_up_proj_bias", TENSOR_BIAS, m->moe.n, 2 * m->moe.inter);
    add_fused(b, "mlp.experts.down_proj", m->moe.inter, m->hidden);
    add(b, "mlp.experts.down_proj_bias", TENSOR_BIAS, m->moe.n, m->hidden);
}

static void add_deepseek_experts(struct builder *b)
{
    const struct model *m = b->model;

    add(b, "mlp.gate.weight", TENSOR_MATRIX, m->moe.n, m->hidden);
    if (m->moe.router_bias)
        add(b, "mlp.gate.e_score_correction_bias", TENSOR_BIAS, m->moe.n, 0);
    add_experts(b, "mlp.experts.", proj_names);
    if (m->moe.shared_inter > 0)
        add_mlp(b, "mlp.shared_experts.", proj_names, m->moe.shared_inter);
}

static void add_moe(struct builder *b)
{
    const struct model *m = b->model;

    switch ((enum model_family)m->family) {
    case FAMILY_LLAMA:
    case FAMILY_QWEN2:
    case FAMILY_QWEN3:
        break;
    case FAMILY_QWEN3_MOE:
        add(b, "mlp.gate.weight", TENSOR_MATRIX, m->moe.n, m->hidden);
        add_experts(b, "mlp.experts.", proj_names);
        break;
    case FAMILY_MIXTRAL:
        add(b, "block_sparse_moe.gate.weight", TENSOR_MATRIX, m->moe.n, m->hidden);
        add_experts(b, "block_sparse_moe.experts.", mixtral_names);
        break;
    case FAMILY_DEEPSEEK_V3:
        add_deepseek_experts(b);
        break;
    case FAMILY_GPT_OSS:
        add_gpt_oss_experts(b);
        break;
    case FAMILY_LLAMA4:
        add(b, "feed_forward.router.weight", TENSOR_MATRIX, m->moe.n, m->hidden);
        add_fused(b, "feed_forward.experts.gate_up_proj", m->hidden, 2 * m->moe.inter);
        add_fused(b, "feed_forward.experts.down_proj", m->moe.inter, m->hidden);
        add_mlp(b, "feed_forward.shared_expert.", proj_names, m->moe.shared_inter);
        break;
    }
}

bool weights_specs(struct tensor_spec **out, int64_t *n, const struct model *model,
        struct arena *arena, struct err *err)
{
    struct builder b = {.model = model, .arena = arena};
    bool nested = model->family == FAMILY_LLAMA4;
    const char *base = nested ? "language_model." : "";

    if (!model_check(model, err))
        return false;
    snprintf(b.prefix, sizeof(b.prefix), "%smodel.", base);
    add(&b, "embed_tokens.weight", TENSOR_EMBEDDING, model->vocab, model->hidden);
    for (int layer = 0; layer < model->n_layers; layer++) {
        snprintf(b.prefix, sizeof(b.prefix), "%smodel.layers.%d.", base, layer);
        add(&b, "input_layernorm.weight", TENSOR_NORM, model->hidden, 0);
        if (model->mla.kv_rank > 0)
            add_mla(&b);
        else
            add_attention(&b);
        add(&b, "post_attention_layernorm.weight", TENSOR_NORM, model->hidden, 0);
        if (model->layers[layer].moe)
            add_moe(&b);
        else
            add_mlp(&b, nested ? "feed_forward." : "mlp.", proj_names, model->inter);
    }
    snprintf(b.prefix, sizeof(b.prefix), "%s", base);
    add(&b, "model.norm.weight", TENSOR_NORM, model->hidden, 0);
    if (!model->tied_embeddings)
        add(&b, "lm_head.weight", TENSOR_MATRIX, model->vocab, model->hidden);
    *out = b.items;
    *n = b.n;
    return true;
}
