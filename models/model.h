/*
 * model - dimensions and layer list of a decoder-only transformer.
 *
 * From an HF config.json, a directory that holds one, or a shipped models/NAME.yaml of the same facts.
 */
#ifndef MODELS_MODEL_H
#define MODELS_MODEL_H

#include "core/conf.h"
#include "core/spec/op.h"

enum model_family {
    FAMILY_LLAMA,
    FAMILY_QWEN3,
    FAMILY_QWEN3_MOE,
    FAMILY_MIXTRAL,
    FAMILY_DEEPSEEK_V3,
    FAMILY_GPT_OSS,
    FAMILY_LLAMA4,
    FAMILY_QWEN2
};

enum attention_kind {
    ATTENTION_FULL,
    ATTENTION_WINDOW,
    ATTENTION_CHUNK
};
enum rope_scaling {
    ROPE_PLAIN,
    ROPE_LLAMA3,
    ROPE_YARN
};

struct model_layer {
    int attention;  /* enum attention_kind */
    int64_t window; /* tokens, for window and chunk */
    bool moe;
    bool rope; /* Llama 4 leaves it out on full layers */
};

struct model {
    const char *name;
    const char *path;   /* directory of the checkpoint, or NULL for a shipped description */
    const char *digest; /* of the dimensions */
    int family;         /* enum model_family */
    int dtype; /* torch_dtype: of quantised weights, what they are widened to; enum dtype */
    int64_t hidden, inter, vocab;
    int n_layers;
    int heads, kv_heads, head_dim;
    double norm_eps;
    bool tied_embeddings, qk_norm;
    bool attention_bias; /* of q, k, v and, but for Qwen2, o */
    bool sinks;          /* gpt-oss: a learned logit per head in the softmax */
    struct {
        double theta;
        int scaling; /* enum rope_scaling */
        double factor, low_freq_factor, high_freq_factor, beta_fast, beta_slow;
        double mscale, mscale_all_dim;
        double attention_factor; /* 0 = by factor and mscale */
        int64_t original_len;
        bool truncate;
    } rope;
    int64_t max_len; /* max_position_embeddings */
    struct { /* MLA; q_rank 0 with kv_rank > 0 = no query compression; kv_rank 0 = not MLA */
        int64_t q_rank, kv_rank, nope_dim, rope_dim, v_dim;
    } mla;
    struct { /* n == 0 = dense */
        int n, top_k, n_shared;
        int64_t inter, shared_inter;
        bool norm_top_k, sigmoid, router_bias, expert_bias;
        int n_group, top_k_group;
        double scale; /* routed_scaling_factor */
        double clamp; /* swiglu_limit; 0 = none */
    } moe;
    int n_mtp;                  /* multi-token-prediction layers, counted apart */
    struct model_layer *layers; /* n_layers */
};

/* Facts that follow from the dimensions; formulas in docs/method.md. */
struct model_facts {
    int64_t total_params, active_params, active_params_no_embed, non_embedding_params;
    int64_t embed_params, lm_head_params; /* lm_head_params is 0 when tied */
    int64_t attn_params_per_layer, dense_mlp_params, expert_params, router_params;
    int64_t kv_elems_per_token_per_layer, kv_bytes_per_token_bf16, kv_bytes_per_token_bf16_growing;
    int kv_full_layers, kv_windowed_layers, moe_layers, dense_layers;
    int64_t linear_flops_per_token, attn_flops_per_token_per_ctx;
    int64_t attn_flops_absorbed_per_ctx; /* MLA decode over the latent; 0 otherwise */
    int64_t mtp_params, weight_bytes_bf16;
};

/* Of the YAML form, which writes layers as a pattern; model_yaml.c turns it into a struct model. */
extern const struct conf_table model_table;    /* "shardwright-model" 1 */
extern const char *const model_family_names[]; /* as model_type in config.json; NULL-terminated */

/* what: a path to config.json, a directory with one, a model YAML, or the name of a shipped model. */
MUST_CHECK bool model_read(struct model *out, const char *what, const char *data_dir,
        struct arena *arena, struct err *err);
MUST_CHECK bool model_read_config(struct model *out, const char *text, int64_t len,
        const char *path, struct arena *arena, struct err *err);
MUST_CHECK bool model_read_yaml(struct model *out, const char *text, int64_t len, const char *path,
        struct arena *arena, struct err *err);
/* HF config.json that reads back as the same model; in the arena. dtype as torch_dtype. */
MUST_CHECK bool model_write_config(char **text, const struct model *model, enum dtype dtype,
        struct arena *arena, struct err *err);
/* Every number in range and consistent. Messages name the key of config.json. */
MUST_CHECK bool model_check(const struct model *model, struct err *err);
/* The same model cut to its first n layers, for small variants. ERR_INPUT when it has fewer. */
MUST_CHECK bool model_cut_layers(
        struct model *model, int n_layers, struct arena *arena, struct err *err);
/* Sets digest; readers and model_cut_layers call it. */
void model_digest(struct model *model, struct arena *arena);
/* Llama 4 normalises q and k without a learned gain. */
bool model_has_qk_gain(const struct model *model);
/* Qwen2 has biases on q, k and v alone. */
bool model_has_o_bias(const struct model *model);
void model_facts(struct model_facts *out, const struct model *model);
/* Whether the bundled runtime executes this model; the reason when not. */
MUST_CHECK bool model_runs(const struct model *model, struct err *err);

#endif
