/*
 * model - checks, digest and the way from a name to a description.
 */
#include "models/model.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "core/file.h"
#include "core/str.h"

const char *const model_family_names[] = {"llama", "qwen3", "qwen3_moe", "mixtral", "deepseek_v3",
        "gpt_oss", "llama4", "qwen2", NULL};

bool model_has_o_bias(const struct model *model)
{
    return model->attention_bias && model->family != FAMILY_QWEN2;
}

bool model_has_qk_gain(const struct model *model)
{
    return model->qk_norm && model->family != FAMILY_LLAMA4;
}

/* A number that must lie in [min, max]. The limits keep every product of dimensions within 63 bits. */
struct range {
    const char *key;
    int64_t value, min, max;
};

static bool ranges_hold(const struct range *ranges, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct range *r = &ranges[i];
        if (r->value < r->min || r->value > r->max)
            return err_set(err, ERR_INPUT, "%s is %lld, expected %lld to %lld", r->key,
                    (long long)r->value, (long long)r->min, (long long)r->max);
    }
    return true;
}

static bool moe_holds(const struct model *model, struct err *err)
{
    int n = model->moe.n;
    const struct range ranges[] = {
            {"number of experts", n, 0, 4096},
            {"num_experts_per_tok", model->moe.top_k, n > 0, n},
            {"moe_intermediate_size", model->moe.inter, n > 0, n > 0 ? 1 << 20 : 0},
            {"n_shared_experts", model->moe.n_shared, 0, 1024},
            {"shared expert's intermediate size", model->moe.shared_inter, model->moe.n_shared > 0,
                    1 << 20},
            {"n_group", model->moe.n_group, 0, n},
            {"topk_group", model->moe.top_k_group, 0, model->moe.n_group},
            {"num_nextn_predict_layers", model->n_mtp, 0, 64},
    };
    if (!ranges_hold(ranges, sizeof(ranges) / sizeof(ranges[0]), err))
        return false;
    if (model->moe.n_group > 0 && n % model->moe.n_group != 0)
        return err_set(err, ERR_INPUT, "n_group is %d, expected a divisor of the %d experts",
                model->moe.n_group, n);
    if (model->moe.n_group > 0
            && model->moe.top_k > n / model->moe.n_group * model->moe.top_k_group)
        return err_set(err, ERR_INPUT,
                "num_experts_per_tok is %d, but topk_group %d of n_group %d groups have %d experts",
                model->moe.top_k, model->moe.top_k_group, model->moe.n_group,
                n / model->moe.n_group * model->moe.top_k_group);
    return true;
}

static bool attention_holds(const struct model *model, struct err *err)
{
    bool mla = model->mla.kv_rank > 0;
    const struct range ranges[] = {
            {"kv_lora_rank", model->mla.kv_rank, 0, 1 << 16},
            {"q_lora_rank", model->mla.q_rank, 0, 1 << 16},
            {"qk_nope_head_dim", model->mla.nope_dim, mla, 4096},
            {"qk_rope_head_dim", model->mla.rope_dim, mla, 4096},
            {"v_head_dim", model->mla.v_dim, mla, 4096},
    };
    if (!ranges_hold(ranges, sizeof(ranges) / sizeof(ranges[0]), err))
        return false;
    if (model->heads % model->kv_heads != 0)
        return err_set(err, ERR_INPUT,
                "num_attention_heads is %d, expected a multiple of num_key_value_heads (%d)",
                model->heads, model->kv_heads);
    if ((mla ? model->mla.rope_dim : model->head_dim) % 2 != 0)
        return err_set(err, ERR_INPUT, "head_dim is %d, expected an even number: rotary halves",
                model->head_dim);
    return true;
}

static bool rope_holds(const struct model *model, struct err *err)
{
    if (!(model->norm_eps > 0 && model->norm_eps < 1))
        return err_set(
                err, ERR_INPUT, "rms_norm_eps is %g, expected between 0 and 1", model->norm_eps);
    if (!(model->rope.theta > 1 && model->rope.theta < 1e12))
        return err_set(
                err, ERR_INPUT, "rope_theta is %g, expected between 1 and 1e12", model->rope.theta);
    if (model->rope.scaling == ROPE_PLAIN)
        return true;
    if (!(model->rope.factor >= 1 && model->rope.factor <= 1e6))
        return err_set(err, ERR_INPUT, "factor of rope_scaling is %g, expected 1 to 1e6",
                model->rope.factor);
    if (model->rope.original_len < 1 || model->rope.original_len > (int64_t)1 << 30)
        return err_set(err, ERR_INPUT,
                "original_max_position_embeddings of rope_scaling is %lld, expected at least 1",
                (long long)model->rope.original_len);
    if (model->rope.scaling == ROPE_YARN
            && !(model->rope.beta_slow > 0 && model->rope.beta_fast > 0
                    && model->rope.attention_factor >= 0 && model->rope.mscale >= 0
                    && model->rope.mscale_all_dim >= 0))
        return err_set(err, ERR_INPUT,
                "beta_fast %g and beta_slow %g of rope_scaling: expected more than 0, and no "
                "negative attention_factor, mscale or mscale_all_dim",
                model->rope.beta_fast, model->rope.beta_slow);
    if (model->rope.scaling == ROPE_LLAMA3
            && !(model->rope.low_freq_factor > 0
                    && model->rope.high_freq_factor >= model->rope.low_freq_factor))
        return err_set(err, ERR_INPUT,
                "low_freq_factor %g and high_freq_factor %g of rope_scaling: expected 0 < low <= "
                "high",
                model->rope.low_freq_factor, model->rope.high_freq_factor);
    return true;
}

static bool layers_hold(const struct model *model, struct err *err)
{
    bool dense = false;
    int64_t window = 0;

    for (int layer = 0; layer < model->n_layers; layer++) {
        const struct model_layer *l = &model->layers[layer];
        dense = dense || !l->moe;
        if (l->moe && model->moe.n == 0)
            return err_set(err, ERR_INPUT, "layer %d has experts, but their number is 0", layer);
        if (l->attention == ATTENTION_FULL)
            continue;
        if (l->window < 1 || l->window > (int64_t)1 << 30)
            return err_set(err, ERR_INPUT,
                    "layer %d attends to a window of %lld tokens, expected at least 1", layer,
                    (long long)l->window);
        if (window != 0 && window != l->window)
            return err_set(err, ERR_INPUT,
                    "layers have windows of %lld and %lld tokens, expected one", (long long)window,
                    (long long)l->window);
        window = l->window;
    }
    if (dense && (model->inter < 1 || model->inter > 1 << 20))
        return err_set(err, ERR_INPUT, "intermediate_size is %lld, expected 1 to %d",
                (long long)model->inter, 1 << 20);
    return true;
}

bool model_check(const struct model *model, struct err *err)
{
    const struct range ranges[] = {
            {"hidden_size", model->hidden, 1, 1 << 17},
            {"num_hidden_layers", model->n_layers, 1, 1024},
            {"num_attention_heads", model->heads, 1, 4096},
            {"num_key_value_heads", model->kv_heads, 1, 4096},
            {"head_dim", model->head_dim, 1, 4096},
            {"vocab_size", model->vocab, 1, 1 << 24},
            {"max_position_embeddings", model->max_len, 1, (int64_t)1 << 30},
    };
    return ranges_hold(ranges, sizeof(ranges) / sizeof(ranges[0]), err)
           && attention_holds(model, err) && moe_holds(model, err) && rope_holds(model, err)
           && layers_hold(model, err);
}

bool model_cut_layers(struct model *model, int n_layers, struct arena *arena, struct err *err)
{
    if (n_layers < 1 || n_layers > model->n_layers)
        return err_set(err, ERR_INPUT, "%d layers asked for, %s has %d: ask for 1 to %d", n_layers,
                model->name, model->n_layers, model->n_layers);
    if (n_layers < model->n_layers)
        model->name = arena_printf(arena, "%s-%d-layers", model->name, n_layers);
    model->n_layers = n_layers;
    model_digest(model, arena);
    return true;
}

void model_digest(struct model *model, struct arena *arena)
{
    char *text = arena_printf(arena, "%d %lld %lld %lld %d %d %d %d %.17g %d%d%d%d", model->family,
            (long long)model->hidden, (long long)model->inter, (long long)model->vocab,
            model->n_layers, model->heads, model->kv_heads, model->head_dim, model->norm_eps,
            model->tied_embeddings, model->qk_norm, model->attention_bias, model->sinks);
    text = arena_printf(arena, "%s rope %.17g %d %.17g %.17g %.17g %.17g %.17g %.17g %.17g %lld %d",
            text, model->rope.theta, model->rope.scaling, model->rope.factor,
            model->rope.low_freq_factor, model->rope.high_freq_factor, model->rope.beta_fast,
            model->rope.beta_slow, model->rope.mscale, model->rope.mscale_all_dim,
            (long long)model->rope.original_len, model->rope.truncate);
    text = arena_printf(arena, "%s mla %lld %lld %lld %lld %lld", text,
            (long long)model->mla.q_rank, (long long)model->mla.kv_rank,
            (long long)model->mla.nope_dim, (long long)model->mla.rope_dim,
            (long long)model->mla.v_dim);
    text = arena_printf(arena, "%s moe %d %d %d %lld %lld %d%d%d%d %d %d %.17g %.17g", text,
            model->moe.n, model->moe.top_k, model->moe.n_shared, (long long)model->moe.inter,
            (long long)model->moe.shared_inter, model->moe.norm_top_k, model->moe.sigmoid,
            model->moe.router_bias, model->moe.expert_bias, model->moe.n_group,
            model->moe.top_k_group, model->moe.scale, model->moe.clamp);
    if (model->rope.attention_factor > 0)
        text = arena_printf(arena, "%s factor %.17g", text, model->rope.attention_factor);

    uint64_t hash = XXH64(text, strlen(text), 0);
    for (int layer = 0; layer < model->n_layers; layer++) {
        const struct model_layer *l = &model->layers[layer];
        const int64_t facts[] = {l->attention, l->window, l->moe, l->rope};
        hash = XXH64(facts, sizeof(facts), hash);
    }
    model->digest = arena_printf(arena, "%016llx", (unsigned long long)hash);
}

enum {
    MODEL_RUNS_GROUPS = 256 /* ROUTER_GROUPS of kernels/op_table.h */
};

bool model_runs(const struct model *model, struct err *err)
{
    const char *lacks = NULL;

    if (model->family == FAMILY_LLAMA4)
        lacks = "this architecture";
    else if (model->mla.kv_rank > 0 && model->attention_bias)
        lacks = "biases in latent attention";
    else if (model->moe.n_group > 1 && !model->moe.sigmoid)
        lacks = "groups of experts with softmax scores";
    else if (model->moe.n_group > MODEL_RUNS_GROUPS)
        lacks = "more than 256 groups of experts";
    for (int layer = 0; layer < model->n_layers; layer++)
        if (model->layers[layer].attention == ATTENTION_CHUNK)
            lacks = lacks ? lacks : "attention in chunks";
    if (!lacks)
        return true;
    return err_set(err, ERR_NO,
            "%s (%s): the bundled runtime does not execute %s; it runs llama, qwen2, qwen3, "
            "qwen3_moe, mixtral, deepseek_v3 and gpt_oss, others can be planned for",
            model->name, model_family_names[model->family], lacks);
}

/* ---- from a name to a description ---- */

static bool read_file(struct model *out, const char *path, struct arena *arena, struct err *err)
{
    char *text;
    int64_t len;
    size_t n = strlen(path);

    if (!file_read(&text, &len, path, arena, err))
        return false;
    if (n > 5 && strcmp(path + n - 5, ".json") == 0)
        return model_read_config(out, text, len, path, arena, err);
    return model_read_yaml(out, text, len, path, arena, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the shipped models, sorted. */
static const char **shipped_names(int *n, const char *folder, struct arena *arena)
{
    const char **names = NULL;
    int cap = 0;
    DIR *dir = opendir(folder);

    *n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        const char *end = strstr(entry->d_name, ".yaml");
        if (!end || end[5] != '\0')
            continue;
        if (*n == cap) {
            cap = cap ? 2 * cap : 32;
            names = arena_grow(arena, names, *n, cap, sizeof(*names));
        }
        names[(*n)++] = arena_strndup(arena, entry->d_name, end - entry->d_name);
    }
    if (dir)
        closedir(dir);
    if (*n > 0)
        qsort(names, (size_t)*n, sizeof(*names), by_text);
    return names;
}

static bool unknown(const char *what, const char *folder, struct arena *arena, struct err *err)
{
    int n;
    const char **names = shipped_names(&n, folder, arena);
    const char *nearest = str_nearest(what, names, n);
    char *list = arena_strdup(arena, "");

    for (int i = 0; i < n; i++)
        list = arena_printf(arena, "%s%s%s", list, i > 0 ? ", " : "", names[i]);
    if (nearest)
        return err_set(err, ERR_INPUT,
                "%s: no such file, directory or shipped model; did you mean %s? Shipped: %s", what,
                nearest, list);
    return err_set(err, ERR_INPUT,
            "%s: no such file, directory or shipped model; give a config.json, a directory that "
            "holds one, a "
            "model YAML, or one of: %s",
            what, list);
}

bool model_read(struct model *out, const char *what, const char *data_dir, struct arena *arena,
        struct err *err)
{
    struct stat st;

    if (strcmp(what, "-") == 0 || (stat(what, &st) == 0 && !S_ISDIR(st.st_mode)))
        return read_file(out, what, arena, err);
    if (stat(what, &st) == 0) {
        if (!read_file(out, arena_printf(arena, "%s/config.json", what), arena, err))
            return err_context(err, "reading the model in %s", what);
        return true;
    }
    const char *folder = arena_printf(arena, "%s/models", file_data_dir(data_dir, arena));
    const char *path = arena_printf(arena, "%s/%s.yaml", folder, what);
    if (strchr(what, '/') || stat(path, &st) != 0)
        return unknown(what, folder, arena, err);
    return read_file(out, path, arena, err);
}
