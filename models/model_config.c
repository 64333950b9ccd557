/*
 * model_config - HF config.json to struct model. Every family spells a few keys its own way; what they
 * share is read once, then one function per family reads the rest. Absent keys get the default that the
 * family's configuration class in transformers gives them.
 */
#include "models/model.h"

#include <limits.h>
#include <string.h>

#include "models/config_reader.h"

const struct json_node *config_given(const struct json_node *object, const char *key)
{
    const struct json_node *node = json_get(object, key);
    return json_kind(node) == JSON_KIND_NULL ? NULL : node;
}

bool config_i64(struct config_reader *r, const char *key, int64_t *out, int64_t def)
{
    const struct json_node *node = config_given(r->node, key);

    *out = def;
    if (!node && def != CONFIG_REQUIRED)
        return true;
    if (!node)
        return err_set(r->err, ERR_INPUT, "%s: no %s, expected a whole number", r->path, key);
    if (json_kind(node) != JSON_KIND_INT)
        return err_set(r->err, ERR_INPUT, "%s: %s is not a whole number", r->path, key);
    *out = json_int(node, 0);
    if (*out < 0)
        return err_set(r->err, ERR_INPUT, "%s: %s is %lld, expected a positive number", r->path,
                key, (long long)*out);
    return true;
}

bool config_int(struct config_reader *r, const char *key, int *out, int def)
{
    int64_t value;
    if (!config_i64(r, key, &value, def))
        return false;
    *out = (int)value;
    if (value > INT_MAX)
        return err_set(r->err, ERR_INPUT, "%s: %s is %lld, expected at most %d", r->path, key,
                (long long)value, INT_MAX);
    return true;
}

bool config_double(struct config_reader *r, const struct json_node *object, const char *key,
        double *out, double def)
{
    const struct json_node *node = config_given(object, key);

    *out = json_double(node, def);
    if (!node || json_kind(node) == JSON_KIND_INT || json_kind(node) == JSON_KIND_REAL)
        return true;
    return err_set(r->err, ERR_INPUT, "%s: %s is not a number", r->path, key);
}

bool config_bool(struct config_reader *r, const char *key, bool *out, bool def)
{
    const struct json_node *node = config_given(r->node, key);

    *out = json_bool(node, def);
    if (!node || json_kind(node) == JSON_KIND_BOOL)
        return true;
    return err_set(r->err, ERR_INPUT, "%s: %s is not true or false", r->path, key);
}

static bool get_dtype(struct config_reader *r, int *out)
{
    static const struct {
        const char *name;
        enum dtype dtype;
    } names[] = {{"bfloat16", DTYPE_BF16}, {"float32", DTYPE_F32}, {"float16", DTYPE_F16}};
    const struct json_node *node = config_given(r->node, "torch_dtype");

    if (!node)
        node = config_given(r->node, "dtype"); /* transformers 5 */
    if (!node)
        node = config_given(r->top, "torch_dtype");
    if (!node)
        node = config_given(r->top, "dtype");
    *out = DTYPE_BF16;
    if (!node)
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(json_text(node, ""), names[i].name) == 0) {
            *out = (int)names[i].dtype;
            return true;
        }
    }
    return err_set(r->err, ERR_INPUT,
            "%s: torch_dtype is \"%s\", expected \"bfloat16\", \"float32\" or \"float16\"", r->path,
            json_text(node, "?"));
}

/* ---- rotary embedding: rope_theta and rope_scaling, or rope_parameters since transformers 5 ---- */

static bool get_scaling_type(struct config_reader *r, const struct json_node *scaling, int *out)
{
    const char *type = json_text(config_given(scaling, "rope_type"), NULL);

    if (!type)
        type = json_text(config_given(scaling, "type"), "default");
    if (strcmp(type, "default") == 0)
        *out = ROPE_PLAIN;
    else if (strcmp(type, "llama3") == 0)
        *out = ROPE_LLAMA3;
    else if (strcmp(type, "yarn") == 0)
        *out = ROPE_YARN;
    else
        return err_set(r->err, ERR_INPUT,
                "%s: rope_type is \"%s\", supported are default, llama3 and yarn", r->path, type);
    return true;
}

static bool get_rope(struct config_reader *r, struct model *out)
{
    const struct json_node *scaling = config_given(r->node, "rope_scaling");
    const struct json_node *parameters = config_given(r->node, "rope_parameters");
    const struct json_node *theta = config_given(r->node, "rope_theta") ? r->node : parameters;

    if (!scaling)
        scaling = parameters;
    if (scaling && json_kind(scaling) != JSON_KIND_OBJECT)
        return err_set(r->err, ERR_INPUT, "%s: rope_scaling is not an object", r->path);
    if (!config_double(r, theta, "rope_theta", &out->rope.theta, 10000)
            || !get_scaling_type(r, scaling, &out->rope.scaling))
        return false;
    if (out->rope.scaling == ROPE_PLAIN)
        return true;

    const struct json_node *length = config_given(scaling, "original_max_position_embeddings");
    out->rope.original_len = json_int(length, length ? 0 : out->max_len);
    bool ok = config_double(r, scaling, "factor", &out->rope.factor, 0);
    if (ok && out->rope.scaling == ROPE_LLAMA3)
        return config_double(r, scaling, "low_freq_factor", &out->rope.low_freq_factor, 0)
               && config_double(r, scaling, "high_freq_factor", &out->rope.high_freq_factor, 0);
    out->rope.truncate = json_bool(config_given(scaling, "truncate"), true);
    return ok && config_double(r, scaling, "beta_fast", &out->rope.beta_fast, 32)
           && config_double(r, scaling, "beta_slow", &out->rope.beta_slow, 1)
           && config_double(r, scaling, "attention_factor", &out->rope.attention_factor, 0)
           && config_double(r, scaling, "mscale", &out->rope.mscale, 0)
           && config_double(r, scaling, "mscale_all_dim", &out->rope.mscale_all_dim, 0);
}

/* ---- what the families share ---- */

static bool get_activation(struct config_reader *r)
{
    const char *act = json_text(config_given(r->node, "hidden_act"), "silu");
    bool bias;

    if (strcmp(act, "silu") != 0)
        return err_set(r->err, ERR_INPUT, "%s: hidden_act is \"%s\", only \"silu\" is supported",
                r->path, act);
    if (!config_bool(r, "mlp_bias", &bias, false))
        return false;
    return bias ? err_set(r->err, ERR_INPUT, "%s: mlp_bias is not supported", r->path) : true;
}

static bool get_common(struct config_reader *r, struct model *out)
{
    bool tied_on_top = json_bool(config_given(r->top, "tie_word_embeddings"), false);

    if (!config_i64(r, "hidden_size", &out->hidden, CONFIG_REQUIRED)
            || !config_i64(r, "vocab_size", &out->vocab, CONFIG_REQUIRED)
            || !config_int(r, "num_hidden_layers", &out->n_layers, CONFIG_REQUIRED)
            || !config_int(r, "num_attention_heads", &out->heads, CONFIG_REQUIRED)
            || !config_int(r, "num_key_value_heads", &out->kv_heads, out->heads)
            || !config_i64(r, "intermediate_size", &out->inter, CONFIG_REQUIRED)
            || !config_i64(r, "max_position_embeddings", &out->max_len, CONFIG_REQUIRED))
        return false;
    /* model_check judges the numbers; these two are needed before. */
    if (out->heads < 1)
        return err_set(
                r->err, ERR_INPUT, "%s: num_attention_heads is 0, expected at least 1", r->path);
    if (out->n_layers < 1 || out->n_layers > 1024)
        return err_set(r->err, ERR_INPUT, "%s: num_hidden_layers is %d, expected 1 to 1024",
                r->path, out->n_layers);
    if (!config_given(r->node, "head_dim") && out->hidden % out->heads != 0)
        return err_set(r->err, ERR_INPUT,
                "%s: hidden_size %lld is no multiple of num_attention_heads %d, and there is no "
                "head_dim",
                r->path, (long long)out->hidden, out->heads);
    return config_int(r, "head_dim", &out->head_dim, (int)(out->hidden / out->heads % INT_MAX))
           && config_double(r, r->node, "rms_norm_eps", &out->norm_eps, 1e-6)
           && config_bool(r, "tie_word_embeddings", &out->tied_embeddings, tied_on_top)
           && config_bool(r, "attention_bias", &out->attention_bias, false)
           && get_dtype(r, &out->dtype) && get_rope(r, out) && get_activation(r);
}

static void new_layers(struct config_reader *r, struct model *out)
{
    out->layers = ARENA_NEW(r->arena, struct model_layer, out->n_layers);
    for (int i = 0; i < out->n_layers; i++)
        out->layers[i].rope = true;
}

static bool get_family(struct config_reader *r, int *out)
{
    const char *type = json_text(config_given(r->top, "model_type"), NULL);

    if (!type)
        return err_set(r->err, ERR_INPUT, "%s: no model_type, expected the config.json of a model",
                r->path);
    for (int i = 0; model_family_names[i]; i++) {
        if (strcmp(type, model_family_names[i]) == 0) {
            *out = i;
            return true;
        }
    }
    if (strcmp(type, "llama4_text") == 0) { /* the text model saved alone */
        *out = FAMILY_LLAMA4;
        return true;
    }
    return err_set(r->err, ERR_INPUT,
            "%s: model_type \"%s\" is not supported; supported are llama, qwen3, qwen3_moe, "
            "mixtral, "
            "deepseek_v3, gpt_oss, llama4 and qwen2",
            r->path, type);
}

static bool get_model(struct config_reader *r, struct model *out)
{
    if (json_kind(config_given(r->top, "text_config")) == JSON_KIND_OBJECT)
        r->node = json_get(r->top, "text_config");
    if (!get_family(r, &out->family) || !get_common(r, out))
        return false;
    new_layers(r, out);
    if (!config_family(r, out))
        return false;
    return model_check(out, r->err) || err_context(r->err, "%s", r->path);
}

/* The directory of path; the model is called after the last part of it that says something. */
static void set_names(struct model *out, const char *path, struct arena *arena)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;

    out->path = slash ? arena_strndup(arena, path, slash - path) : ".";
    if (slash == path)
        out->path = "/";
    if (strcmp(base, "config.json") == 0 && slash && slash != path) {
        const char *dir = strrchr(out->path, '/');
        out->name = dir ? dir + 1 : out->path;
        return;
    }
    const char *dot = strrchr(base, '.');
    out->name = dot && dot != base ? arena_strndup(arena, base, dot - base) : base;
}

bool model_read_config(struct model *out, const char *text, int64_t len, const char *path,
        struct arena *arena, struct err *err)
{
    memset(out, 0, sizeof(*out));
    struct json *doc = json_read(text, len, path, err);
    if (!doc)
        return false;

    const struct json_node *root = json_root(doc);
    struct config_reader r = {root, root, path, arena, err};
    bool ok = json_kind(root) == JSON_KIND_OBJECT
                      ? get_model(&r, out)
                      : err_set(err, ERR_INPUT, "%s: not a JSON object", path);
    if (ok) {
        set_names(out, path, arena);
        model_digest(out, arena);
    }
    json_close(doc);
    return ok;
}
