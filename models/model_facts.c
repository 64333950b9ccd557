/*
 * model_facts - parameter counts, cache bytes and FLOP that follow from the dimensions. The formulas count
 * every tensor of the checkpoint once; a test compares them with published figures.
 */
#include "models/model.h"

#include <string.h>

/* Parameters of one layer's attention: what takes part in a product, and the rest (gains, biases, sinks). */
struct split_params {
    int64_t matrix, other;
};

static struct split_params attention_params(const struct model *model)
{
    int64_t hidden = model->hidden, heads = model->heads, kv = model->kv_heads,
            dim = model->head_dim;
    struct split_params p = {0};

    if (model->mla.kv_rank > 0) {
        int64_t q_rank = model->mla.q_rank, rank = model->mla.kv_rank;
        int64_t query = heads * (model->mla.nope_dim + model->mla.rope_dim);
        p.matrix = q_rank > 0 ? q_rank * (hidden + query) : hidden * query;
        p.matrix += hidden * (rank + model->mla.rope_dim);
        p.matrix += rank * heads * (model->mla.nope_dim + model->mla.v_dim);
        p.matrix += heads * model->mla.v_dim * hidden;
        p.other = q_rank + rank;
        return p;
    }
    p.matrix = hidden * (heads + 2 * kv) * dim + heads * dim * hidden;
    if (model_has_qk_gain(model))
        p.other += 2 * dim;
    if (model->attention_bias)
        p.other += (heads + 2 * kv) * dim;
    if (model_has_o_bias(model))
        p.other += hidden;
    if (model->sinks)
        p.other += heads;
    return p;
}

static void count_layers(struct model_facts *out, const struct model *model)
{
    for (int layer = 0; layer < model->n_layers; layer++) {
        const struct model_layer *l = &model->layers[layer];
        out->moe_layers += l->moe;
        out->kv_windowed_layers += l->attention != ATTENTION_FULL;
    }
    out->dense_layers = model->n_layers - out->moe_layers;
    out->kv_full_layers = model->n_layers - out->kv_windowed_layers;
}

static void cache_facts(struct model_facts *out, const struct model *model)
{
    int64_t layers = model->n_layers, qk = model->head_dim, v = model->head_dim;

    out->kv_elems_per_token_per_layer = 2 * (int64_t)model->kv_heads * model->head_dim;
    if (model->mla.kv_rank > 0) {
        int64_t latent = model->mla.kv_rank + model->mla.rope_dim;
        out->kv_elems_per_token_per_layer = latent;
        qk = model->mla.nope_dim + model->mla.rope_dim;
        v = model->mla.v_dim;
        out->attn_flops_absorbed_per_ctx =
                2 * layers * model->heads * (latent + model->mla.kv_rank);
    }
    out->kv_bytes_per_token_bf16 = 2 * layers * out->kv_elems_per_token_per_layer;
    out->kv_bytes_per_token_bf16_growing =
            2 * (int64_t)out->kv_full_layers * out->kv_elems_per_token_per_layer;
    out->attn_flops_per_token_per_ctx = 2 * layers * model->heads * (qk + v);
}

void model_facts(struct model_facts *out, const struct model *model)
{
    memset(out, 0, sizeof(*out));
    count_layers(out, model);
    cache_facts(out, model);

    int64_t hidden = model->hidden, layers = model->n_layers, moe = out->moe_layers;
    struct split_params attn = attention_params(model);
    int64_t expert = 3 * hidden * model->moe.inter;
    int64_t expert_bias = model->moe.expert_bias ? 2 * model->moe.inter + hidden : 0;
    int64_t router = model->moe.n * hidden, router_bias = model->moe.router_bias ? model->moe.n : 0;
    int64_t shared = 3 * hidden * model->moe.shared_inter, dense = 3 * hidden * model->inter;
    int64_t norms = 2 * hidden * layers + hidden;

    out->embed_params = model->vocab * hidden;
    out->lm_head_params = model->tied_embeddings ? 0 : out->embed_params;
    out->attn_params_per_layer = attn.matrix + attn.other;
    out->dense_mlp_params = out->dense_layers > 0 ? dense : 0;
    out->expert_params = moe > 0 ? expert + expert_bias : 0;
    out->router_params = moe > 0 ? router + router_bias : 0;

    int64_t common = out->embed_params + out->lm_head_params + norms
                     + layers * out->attn_params_per_layer + out->dense_layers * dense
                     + moe * (shared + router + router_bias);
    out->total_params = common + moe * model->moe.n * out->expert_params;
    out->active_params = common + moe * model->moe.top_k * out->expert_params;
    out->active_params_no_embed =
            out->active_params - (model->tied_embeddings ? 0 : out->embed_params);
    out->non_embedding_params = out->total_params - out->embed_params - out->lm_head_params;
    out->weight_bytes_bf16 = 2 * out->total_params;
    /* Every matrix row meets a token once, the head included, tied or not; the embedding is a look-up. */
    out->linear_flops_per_token =
            2
            * (out->embed_params + layers * attn.matrix + out->dense_layers * dense
                    + moe * (shared + router + model->moe.top_k * expert));
    if (model->n_mtp
            > 0) /* a whole layer, the projection of two hidden states, three norms (arXiv:2412.19437) */
        out->mtp_params = model->n_mtp
                          * (out->attn_params_per_layer + 2 * hidden + shared + router + router_bias
                                  + model->moe.n * out->expert_params + (moe > 0 ? 0 : dense)
                                  + 2 * hidden * hidden + 3 * hidden);
}
