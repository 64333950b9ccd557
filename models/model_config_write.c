/*
 * model_config_write - struct model to an HF config.json that model_read_config reads back as the same model
 * and that transformers accepts.
 */
#include "core/json.h"
#include "models/model.h"

static const char *const architectures[] = {"LlamaForCausalLM", "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM", "MixtralForCausalLM", "DeepseekV3ForCausalLM", "GptOssForCausalLM",
        "Llama4ForConditionalGeneration", "Qwen2ForCausalLM"};

static void put_rope(struct json_writer *w, const struct model *model)
{
    json_put_double(w, "rope_theta", model->rope.theta);
    if (model->rope.scaling == ROPE_PLAIN) {
        json_put_string(w, "rope_scaling", NULL);
        return;
    }
    json_object_begin(w, "rope_scaling");
    json_put_double(w, "factor", model->rope.factor);
    json_put_int(w, "original_max_position_embeddings", model->rope.original_len);
    if (model->rope.scaling == ROPE_LLAMA3) {
        json_put_double(w, "low_freq_factor", model->rope.low_freq_factor);
        json_put_double(w, "high_freq_factor", model->rope.high_freq_factor);
        json_put_string(w, "rope_type", "llama3");
    } else {
        json_put_double(w, "beta_fast", model->rope.beta_fast);
        json_put_double(w, "beta_slow", model->rope.beta_slow);
        if (model->rope.mscale != 0)
            json_put_double(w, "mscale", model->rope.mscale);
        if (model->rope.mscale_all_dim != 0)
            json_put_double(w, "mscale_all_dim", model->rope.mscale_all_dim);
        if (model->rope.attention_factor > 0)
            json_put_double(w, "attention_factor", model->rope.attention_factor);
        json_put_bool(w, "truncate", model->rope.truncate);
        json_put_string(w, "rope_type", "yarn");
    }
    json_end(w);
}

static void put_attention(struct json_writer *w, const struct model *model)
{
    int64_t window = 0;
    bool every = true;

    json_array_begin(w, "layer_types");
    for (int i = 0; i < model->n_layers; i++) {
        const struct model_layer *layer = &model->layers[i];
        window = layer->window > window ? layer->window : window;
        every = every && layer->attention != ATTENTION_FULL;
        json_put_string(w, NULL,
                layer->attention == ATTENTION_FULL     ? "full_attention"
                : layer->attention == ATTENTION_WINDOW ? "sliding_attention"
                                                       : "chunked_attention");
    }
    json_end(w);
    if (model->family == FAMILY_QWEN2 || model->family == FAMILY_QWEN3
            || model->family == FAMILY_QWEN3_MOE)
        json_put_bool(w, "use_sliding_window", window > 0);
    if (model->family == FAMILY_LLAMA4) {
        json_put_int(w, "attention_chunk_size", window);
        json_put_bool(w, "use_qk_norm", model->qk_norm);
        json_array_begin(w, "no_rope_layers");
        for (int i = 0; i < model->n_layers; i++)
            json_put_int(w, NULL, model->layers[i].rope);
        json_end(w);
    } else if (window > 0) {
        json_put_int(w, "sliding_window", window);
    } else {
        json_put_string(w, "sliding_window", NULL);
    }
}

/* Indices of the layers that are MoE (or dense). */
static void put_layers(struct json_writer *w, const struct model *model, const char *key, bool moe)
{
    json_array_begin(w, key);
    for (int i = 0; i < model->n_layers; i++)
        if (model->layers[i].moe == moe)
            json_put_int(w, NULL, i);
    json_end(w);
}

static void put_deepseek(struct json_writer *w, const struct model *model)
{
    int dense = 0;

    while (dense < model->n_layers && !model->layers[dense].moe)
        dense++;
    if (model->mla.q_rank > 0)
        json_put_int(w, "q_lora_rank", model->mla.q_rank);
    else
        json_put_string(w, "q_lora_rank", NULL);
    json_put_int(w, "kv_lora_rank", model->mla.kv_rank);
    json_put_int(w, "qk_nope_head_dim", model->mla.nope_dim);
    json_put_int(w, "qk_rope_head_dim", model->mla.rope_dim);
    json_put_int(w, "v_head_dim", model->mla.v_dim);
    json_put_int(w, "first_k_dense_replace", dense);
    json_put_int(w, "moe_layer_freq", 1);
    json_put_int(w, "n_routed_experts", model->moe.n);
    json_put_int(w, "n_shared_experts", model->moe.n_shared);
    json_put_int(w, "n_group", model->moe.n_group);
    json_put_int(w, "topk_group", model->moe.top_k_group);
    json_put_double(w, "routed_scaling_factor", model->moe.scale);
    json_put_string(w, "scoring_func", model->moe.sigmoid ? "sigmoid" : "softmax");
    json_put_string(w, "topk_method", model->moe.router_bias ? "noaux_tc" : "greedy");
    json_put_int(w, "num_nextn_predict_layers", model->n_mtp);
    json_put_bool(w, "norm_topk_prob", model->moe.norm_top_k);
    json_put_int(w, "moe_intermediate_size", model->moe.inter);
}

static void put_moe(struct json_writer *w, const struct model *model)
{
    if (model->moe.n == 0)
        return;
    json_put_int(w, "num_experts_per_tok", model->moe.top_k);
    switch ((enum model_family)model->family) {
    case FAMILY_LLAMA:
    case FAMILY_QWEN2:
    case FAMILY_QWEN3:
        break;
    case FAMILY_QWEN3_MOE:
        json_put_int(w, "num_experts", model->moe.n);
        json_put_int(w, "moe_intermediate_size", model->moe.inter);
        json_put_bool(w, "norm_topk_prob", model->moe.norm_top_k);
        json_put_int(w, "decoder_sparse_step", 1);
        put_layers(w, model, "mlp_only_layers", false);
        break;
    case FAMILY_DEEPSEEK_V3:
        put_deepseek(w, model);
        break;
    case FAMILY_MIXTRAL:
        json_put_int(w, "num_local_experts", model->moe.n);
        break;
    case FAMILY_GPT_OSS:
        json_put_int(w, "num_local_experts", model->moe.n);
        /* 7 is the default; written as a whole number it would not pass for a float in transformers. */
        if (model->moe.clamp != 7)
            json_put_double(w, "swiglu_limit", model->moe.clamp);
        break;
    case FAMILY_LLAMA4:
        json_put_int(w, "num_local_experts", model->moe.n);
        json_put_int(w, "intermediate_size_mlp", model->inter);
        put_layers(w, model, "moe_layers", true);
        break;
    }
}

bool model_write_config(char **text, const struct model *model, enum dtype dtype,
        struct arena *arena, struct err *err)
{
    static const char *const dtypes[] = {"float32", "bfloat16", "float16"};
    struct json_writer w = {.pretty = true};
    bool expert_inter = model->family == FAMILY_LLAMA4 || model->family == FAMILY_MIXTRAL
                        || model->family == FAMILY_GPT_OSS;

    if (dtype > DTYPE_F16)
        return err_set(err, ERR_INPUT,
                "weights of dtype %s cannot be described, use f32, bf16 or f16",
                dtype_names[dtype]);
    json_object_begin(&w, NULL);
    json_array_begin(&w, "architectures");
    json_put_string(&w, NULL, architectures[model->family]);
    json_end(&w);
    json_put_string(&w, "model_type", model_family_names[model->family]);
    if (model->family
            == FAMILY_LLAMA4) { /* published with its vision tower: the text model is nested */
        json_object_begin(&w, "text_config");
        json_put_string(&w, "model_type", "llama4_text");
    }
    json_put_string(&w, "torch_dtype", dtypes[dtype]);
    json_put_int(&w, "hidden_size", model->hidden);
    json_put_int(&w, "intermediate_size", expert_inter ? model->moe.inter : model->inter);
    json_put_int(&w, "vocab_size", model->vocab);
    json_put_int(&w, "num_hidden_layers", model->n_layers);
    json_put_int(&w, "num_attention_heads", model->heads);
    json_put_int(&w, "num_key_value_heads", model->kv_heads);
    if (model->mla.kv_rank == 0)
        json_put_int(&w, "head_dim", model->head_dim);
    json_put_string(&w, "hidden_act", "silu");
    json_put_double(&w, "rms_norm_eps", model->norm_eps);
    json_put_int(&w, "max_position_embeddings", model->max_len);
    json_put_bool(&w, "tie_word_embeddings", model->tied_embeddings);
    json_put_bool(&w, "attention_bias", model->attention_bias);
    put_rope(&w, model);
    put_attention(&w, model);
    put_moe(&w, model);
    if (model->family == FAMILY_LLAMA4)
        json_end(&w);
    json_end(&w);
    *text = arena_strndup(arena, w.text, w.len);
    json_writer_free(&w);
    return true;
}
