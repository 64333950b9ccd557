/*
 * config_families - what each architecture says in its own way in config.json.
 */
#include "models/config_reader.h"

#include <string.h>

/* Layers as attention kinds by layer_types; def_window is what sliding layers get. */
static bool get_layer_types(struct config_reader *r, struct model *out, int64_t window)
{
    const struct json_node *types = config_given(r->node, "layer_types");

    if (!types)
        return true;
    if (json_kind(types) != JSON_KIND_ARRAY || json_count(types) != out->n_layers)
        return err_set(r->err, ERR_INPUT,
                "%s: layer_types has %lld entries, expected one for each of %d layers", r->path,
                (long long)json_count(types), out->n_layers);
    for (int i = 0; i < out->n_layers; i++) {
        const char *type = json_text(json_at(types, i), "?");
        struct model_layer *layer = &out->layers[i];
        if (strcmp(type, "full_attention") == 0)
            *layer = (struct model_layer){ATTENTION_FULL, 0, layer->moe, layer->rope};
        else if (strcmp(type, "sliding_attention") == 0)
            *layer = (struct model_layer){ATTENTION_WINDOW, window, layer->moe, layer->rope};
        else if (strcmp(type, "chunked_attention") == 0)
            *layer = (struct model_layer){ATTENTION_CHUNK, window, layer->moe, layer->rope};
        else
            return err_set(r->err, ERR_INPUT,
                    "%s: layer_types[%d] is \"%s\", supported are full_attention, "
                    "sliding_attention and "
                    "chunked_attention",
                    r->path, i, type);
    }
    return true;
}

static bool get_llama(struct config_reader *r, struct model *out)
{
    return get_layer_types(r, out, 0);
}

/* Qwen2 and 3 window their last layers, if at all. */
static bool get_qwen_window(struct config_reader *r, struct model *out)
{
    bool sliding;
    int64_t window, first;

    if (!config_bool(r, "use_sliding_window", &sliding, false)
            || !config_i64(r, "sliding_window", &window, 4096)
            || !config_i64(r, "max_window_layers", &first, 28))
        return false;
    for (int i = 0; sliding && i < out->n_layers; i++)
        if (i >= first)
            out->layers[i] = (struct model_layer){ATTENTION_WINDOW, window, false, true};
    return get_layer_types(r, out, window);
}

/* config.json of Qwen2 says nothing of its biases. */
static bool get_qwen2(struct config_reader *r, struct model *out)
{
    out->attention_bias = true;
    return get_qwen_window(r, out);
}

static bool get_qwen3(struct config_reader *r, struct model *out)
{
    out->qk_norm = true;
    return get_qwen_window(r, out);
}

static bool get_qwen3_moe(struct config_reader *r, struct model *out)
{
    const struct json_node *dense = config_given(r->node, "mlp_only_layers");
    /* transformers 5 writes the name that Mixtral always had. */
    const char *experts =
            config_given(r->node, "num_local_experts") ? "num_local_experts" : "num_experts";
    int64_t step;

    if (!get_qwen3(r, out) || !config_int(r, experts, &out->moe.n, CONFIG_REQUIRED)
            || !config_int(r, "num_experts_per_tok", &out->moe.top_k, CONFIG_REQUIRED)
            || !config_i64(r, "moe_intermediate_size", &out->moe.inter, CONFIG_REQUIRED)
            || !config_bool(r, "norm_topk_prob", &out->moe.norm_top_k, false)
            || !config_i64(r, "decoder_sparse_step", &step, 1))
        return false;
    for (int i = 0; i < out->n_layers; i++)
        out->layers[i].moe = step > 0 && (i + 1) % step == 0;
    for (int64_t i = 0; i < json_count(dense); i++) {
        int64_t layer = json_int(json_at(dense, i), -1);
        if (layer < 0 || layer >= out->n_layers)
            return err_set(r->err, ERR_INPUT, "%s: mlp_only_layers[%lld] is %lld, expected 0 to %d",
                    r->path, (long long)i, (long long)layer, out->n_layers - 1);
        out->layers[layer].moe = false;
    }
    return true;
}

static bool get_mixtral(struct config_reader *r, struct model *out)
{
    int64_t window;

    out->moe.norm_top_k = true;
    if (!config_int(r, "num_local_experts", &out->moe.n, CONFIG_REQUIRED)
            || !config_int(r, "num_experts_per_tok", &out->moe.top_k, 2)
            || !config_i64(r, "sliding_window", &window, 0))
        return false;
    out->moe.inter = out->inter;
    for (int i = 0; i < out->n_layers; i++)
        out->layers[i] = (struct model_layer){
                window > 0 ? ATTENTION_WINDOW : ATTENTION_FULL, window, true, true};
    return true;
}

static bool get_mla(struct config_reader *r, struct model *out)
{
    if (!config_i64(r, "q_lora_rank", &out->mla.q_rank, 0)
            || !config_i64(r, "kv_lora_rank", &out->mla.kv_rank, CONFIG_REQUIRED)
            || !config_i64(r, "qk_nope_head_dim", &out->mla.nope_dim, CONFIG_REQUIRED)
            || !config_i64(r, "qk_rope_head_dim", &out->mla.rope_dim, CONFIG_REQUIRED)
            || !config_i64(r, "v_head_dim", &out->mla.v_dim, CONFIG_REQUIRED))
        return false;
    if (out->mla.kv_rank == 0 || out->mla.nope_dim > 4096 || out->mla.rope_dim > 4096)
        return err_set(r->err, ERR_INPUT,
                "%s: kv_lora_rank %lld, qk_nope_head_dim %lld, qk_rope_head_dim %lld: expected at "
                "least 1, and "
                "heads of at most 4096",
                r->path, (long long)out->mla.kv_rank, (long long)out->mla.nope_dim,
                (long long)out->mla.rope_dim);
    out->kv_heads =
            out->heads; /* every head has its own expanded keys; num_key_value_heads says nothing */
    out->head_dim = (int)(out->mla.nope_dim + out->mla.rope_dim);
    return true;
}

static bool get_deepseek(struct config_reader *r, struct model *out)
{
    int64_t first, step;
    bool interleaved;
    const char *score = json_text(config_given(r->node, "scoring_func"), "sigmoid");
    const char *method = json_text(config_given(r->node, "topk_method"), "noaux_tc");

    if (!get_mla(r, out) || !config_int(r, "n_routed_experts", &out->moe.n, CONFIG_REQUIRED)
            || !config_int(r, "num_experts_per_tok", &out->moe.top_k, CONFIG_REQUIRED)
            || !config_i64(r, "moe_intermediate_size", &out->moe.inter, CONFIG_REQUIRED)
            || !config_int(r, "n_shared_experts", &out->moe.n_shared, 0)
            || !config_int(r, "n_group", &out->moe.n_group, 0)
            || !config_int(r, "topk_group", &out->moe.top_k_group, 0)
            || !config_bool(r, "norm_topk_prob", &out->moe.norm_top_k, true)
            || !config_double(r, r->node, "routed_scaling_factor", &out->moe.scale, 1)
            || !config_i64(r, "first_k_dense_replace", &first, 0)
            || !config_i64(r, "moe_layer_freq", &step, 1)
            || !config_bool(r, "rope_interleave", &interleaved, true)
            || !config_int(r, "num_nextn_predict_layers", &out->n_mtp, 0))
        return false;
    if (!interleaved)
        return err_set(r->err, ERR_INPUT,
                "%s: rope_interleave is false, supported is true: pairs of neighbours", r->path);
    if (out->moe.inter > 1 << 20 || out->moe.n_shared > 1024)
        return err_set(r->err, ERR_INPUT,
                "%s: moe_intermediate_size %lld and n_shared_experts %d are out of range", r->path,
                (long long)out->moe.inter, out->moe.n_shared);
    out->moe.shared_inter = out->moe.n_shared * out->moe.inter;
    out->moe.sigmoid = strcmp(score, "sigmoid") == 0;
    out->moe.router_bias = strcmp(method, "noaux_tc") == 0;
    for (int i = 0; i < out->n_layers; i++)
        out->layers[i].moe = i >= first && step > 0 && i % step == 0;
    return true;
}

static bool get_gpt_oss(struct config_reader *r, struct model *out)
{
    int64_t window;
    double alpha;

    out->sinks = out->moe.router_bias = out->moe.expert_bias = true;
    out->moe.norm_top_k = true; /* softmax over the chosen ones */
    if (!config_bool(r, "attention_bias", &out->attention_bias, true)
            || !config_int(r, "num_local_experts", &out->moe.n, CONFIG_REQUIRED)
            || !config_int(r, "num_experts_per_tok", &out->moe.top_k, CONFIG_REQUIRED)
            || !config_i64(r, "sliding_window", &window, 128)
            || !config_double(r, r->node, "swiglu_limit", &out->moe.clamp, 7)
            || !config_double(r, r->node, "swiglu_alpha", &alpha, 1.702))
        return false;
    if (alpha < 1.7019999 || alpha > 1.7020001)
        return err_set(
                r->err, ERR_INPUT, "%s: swiglu_alpha is %g, supported is 1.702", r->path, alpha);
    out->moe.inter = out->inter;
    for (int i = 0; i < out->n_layers; i++)
        out->layers[i] = i % 2 == 0 ? (struct model_layer){ATTENTION_WINDOW, window, true, true}
                                    : (struct model_layer){ATTENTION_FULL, 0, true, true};
    return get_layer_types(r, out, window);
}

/* no_rope_layers holds 1 for layers WITH rotary embedding. */
static bool get_llama4_rope(struct config_reader *r, struct model *out, int64_t chunk)
{
    const struct json_node *list = config_given(r->node, "no_rope_layers");
    int64_t every;

    if (!config_i64(r, "no_rope_layer_interval", &every, 4))
        return false;
    if (json_count(list) != 0 && json_count(list) != out->n_layers)
        return err_set(r->err, ERR_INPUT,
                "%s: no_rope_layers has %lld entries, expected one for each of %d layers", r->path,
                (long long)json_count(list), out->n_layers);
    for (int i = 0; i < out->n_layers; i++) {
        struct model_layer *layer = &out->layers[i];
        layer->rope = json_count(list) > 0 ? json_int(json_at(list, i), 1) != 0
                                           : every == 0 || (i + 1) % every != 0;
        layer->attention = layer->rope ? ATTENTION_CHUNK : ATTENTION_FULL;
        layer->window = layer->rope ? chunk : 0;
    }
    return get_layer_types(r, out, chunk);
}

static bool get_llama4(struct config_reader *r, struct model *out)
{
    const struct json_node *list = config_given(r->node, "moe_layers");
    int64_t dense_inter, step, chunk;

    if (!config_bool(r, "use_qk_norm", &out->qk_norm, true)
            || !config_int(r, "num_local_experts", &out->moe.n, CONFIG_REQUIRED)
            || !config_int(r, "num_experts_per_tok", &out->moe.top_k, 1)
            || !config_i64(r, "intermediate_size_mlp", &dense_inter, CONFIG_REQUIRED)
            || !config_i64(r, "interleave_moe_layer_step", &step, 1)
            || !config_i64(r, "attention_chunk_size", &chunk, 8192)
            || !get_llama4_rope(r, out, chunk))
        return false;
    out->moe.inter = out->moe.shared_inter =
            out->inter; /* intermediate_size is that of an expert here */
    out->inter = dense_inter;
    out->moe.n_shared = 1;
    out->moe.sigmoid = true;
    for (int i = 0; i < out->n_layers; i++)
        out->layers[i].moe = !list && step > 0 && (i + 1) % step == 0;
    for (int64_t i = 0; i < json_count(list); i++) {
        int64_t layer = json_int(json_at(list, i), -1);
        if (layer < 0 || layer >= out->n_layers)
            return err_set(r->err, ERR_INPUT, "%s: moe_layers[%lld] is %lld, expected 0 to %d",
                    r->path, (long long)i, (long long)layer, out->n_layers - 1);
        out->layers[layer].moe = true;
    }
    return true;
}

bool config_family(struct config_reader *r, struct model *out)
{
    switch ((enum model_family)out->family) {
    case FAMILY_LLAMA:
        return get_llama(r, out);
    case FAMILY_QWEN3:
        return get_qwen3(r, out);
    case FAMILY_QWEN3_MOE:
        return get_qwen3_moe(r, out);
    case FAMILY_MIXTRAL:
        return get_mixtral(r, out);
    case FAMILY_DEEPSEEK_V3:
        return get_deepseek(r, out);
    case FAMILY_GPT_OSS:
        return get_gpt_oss(r, out);
    case FAMILY_LLAMA4:
        return get_llama4(r, out);
    case FAMILY_QWEN2:
        return get_qwen2(r, out);
    }
    return false;
}
