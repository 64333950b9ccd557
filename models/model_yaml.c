/*
 * model_yaml - the shipped form of a model: the facts of config.json with units of our own, and the layers
 * as a pattern instead of a list.
 */
#include "models/model.h"

#include <string.h>

struct yaml_model {
    const char *name;
    int family, dtype;
    int64_t hidden, inter, vocab;
    int n_layers, heads, kv_heads, head_dim;
    double norm_eps;
    bool tied_embeddings, qk_norm, attention_bias, sinks;
    int64_t max_len;
    struct yaml_attention {
        int kind;
        int64_t window;
        int full_every;
        bool full_without_rope;
    } attention;
    struct yaml_rope {
        double theta;
        int scaling;
        double factor, low_freq_factor, high_freq_factor, beta_fast, beta_slow, mscale,
                mscale_all_dim;
        int64_t original_len;
        bool truncate;
    } rope;
    struct yaml_mla {
        int64_t q_rank, kv_rank, nope_dim, rope_dim, v_dim;
    } mla;
    struct yaml_moe {
        int experts, top_k, shared;
        int64_t inter, shared_inter;
        int first, every;
        bool norm_top_k, sigmoid, router_bias, expert_bias;
        int groups, top_k_groups;
        double scale, clamp;
    } moe;
    int mtp_layers;
};

static const char *const kind_names[] = {"full", "window", "chunk", NULL};
static const char *const scaling_names[] = {"plain", "llama3", "yarn", NULL};

/* clang-format off */
#define AT(field) offsetof(struct yaml_attention, field)
static const struct conf_field attention_fields[] = {
    {"kind", CONF_ENUM, AT(kind), .names = kind_names, .def = "full", .help = "what layers attend to: full, window or chunk"},
    {"window", CONF_I64, AT(window), .min = 1, .max = 1 << 30, .help = "tokens of the window or chunk"},
    {"full_every", CONF_INT, AT(full_every), .min = 1, .max = 1024, .help = "every n-th layer attends to everything all the same"},
    {"full_without_rope", CONF_BOOL, AT(full_without_rope), .help = "those layers have no rotary embedding"},
    {NULL},
};
#undef AT
#define AT(field) offsetof(struct yaml_rope, field)
static const struct conf_field rope_fields[] = {
    {"theta", CONF_DOUBLE, AT(theta), .required = true, .min = 1, .max = 1e12, .help = "base of the rotary frequencies"},
    {"scaling", CONF_ENUM, AT(scaling), .names = scaling_names, .def = "plain", .help = "plain, llama3 or yarn"},
    {"factor", CONF_DOUBLE, AT(factor), .min = 1, .max = 1e6, .help = "stretch of the context"},
    {"low_freq_factor", CONF_DOUBLE, AT(low_freq_factor), .min = 1e-6, .max = 1e6, .help = "llama3: below it frequencies are stretched"},
    {"high_freq_factor", CONF_DOUBLE, AT(high_freq_factor), .min = 1e-6, .max = 1e6, .help = "llama3: above it they are kept"},
    {"beta_fast", CONF_DOUBLE, AT(beta_fast), .min = 1e-6, .max = 1e6, .help = "yarn: rotations where stretching starts"},
    {"beta_slow", CONF_DOUBLE, AT(beta_slow), .min = 1e-6, .max = 1e6, .help = "yarn: rotations where it is complete"},
    {"mscale", CONF_DOUBLE, AT(mscale), .help = "yarn: scale of the attention"},
    {"mscale_all_dim", CONF_DOUBLE, AT(mscale_all_dim), .help = "yarn: scale of the attention over all dimensions"},
    {"original_len", CONF_I64, AT(original_len), .min = 1, .max = 1 << 30, .help = "context length of the first training"},
    {"truncate", CONF_BOOL, AT(truncate), .def = "false", .help = "yarn: round the boundaries to whole dimensions"},
    {NULL},
};
#undef AT
#define AT(field) offsetof(struct yaml_mla, field)
static const struct conf_field mla_fields[] = {
    {"q_rank", CONF_I64, AT(q_rank), .min = 0, .max = 1 << 16, .help = "rank of the query compression; 0 = none"},
    {"kv_rank", CONF_I64, AT(kv_rank), .required = true, .min = 1, .max = 1 << 16, .help = "rank of the latent row that the cache keeps"},
    {"nope_dim", CONF_I64, AT(nope_dim), .required = true, .min = 1, .max = 4096, .help = "head dimensions without rotary embedding"},
    {"rope_dim", CONF_I64, AT(rope_dim), .required = true, .min = 1, .max = 4096, .help = "head dimensions with it"},
    {"v_dim", CONF_I64, AT(v_dim), .required = true, .min = 1, .max = 4096, .help = "head dimensions of the values"},
    {NULL},
};
#undef AT
#define AT(field) offsetof(struct yaml_moe, field)
static const struct conf_field moe_fields[] = {
    {"experts", CONF_INT, AT(experts), .required = true, .min = 1, .max = 4096, .help = "routed experts of a layer"},
    {"top_k", CONF_INT, AT(top_k), .required = true, .min = 1, .max = 4096, .help = "experts that a token uses"},
    {"inter", CONF_I64, AT(inter), .required = true, .min = 1, .max = 1 << 20, .help = "inner dimension of an expert"},
    {"shared", CONF_INT, AT(shared), .min = 0, .max = 1024, .help = "experts that every token uses besides"},
    {"shared_inter", CONF_I64, AT(shared_inter), .min = 0, .max = 1 << 20, .help = "inner dimension of all shared experts together"},
    {"first", CONF_INT, AT(first), .min = 0, .max = 1024, .help = "dense layers before the first one with experts"},
    {"every", CONF_INT, AT(every), .def = "1", .min = 1, .max = 1024, .help = "every n-th layer has experts"},
    {"norm_top_k", CONF_BOOL, AT(norm_top_k), .help = "weights of the chosen experts sum to 1"},
    {"sigmoid", CONF_BOOL, AT(sigmoid), .help = "scores by sigmoid instead of softmax"},
    {"router_bias", CONF_BOOL, AT(router_bias), .help = "the router has a bias per expert"},
    {"expert_bias", CONF_BOOL, AT(expert_bias), .help = "experts have biases"},
    {"groups", CONF_INT, AT(groups), .min = 0, .max = 4096, .help = "groups that experts are chosen from"},
    {"top_k_groups", CONF_INT, AT(top_k_groups), .min = 0, .max = 4096, .help = "groups that a token may use"},
    {"scale", CONF_DOUBLE, AT(scale), .min = 0, .max = 1e6, .help = "factor on the experts' weights; 0 = 1"},
    {"clamp", CONF_DOUBLE, AT(clamp), .min = 0, .max = 1e6, .help = "limit of the gated activation; 0 = none"},
    {NULL},
};
#undef AT
static const struct conf_table attention_table = {NULL, 0, sizeof(struct yaml_attention), attention_fields, "what layers attend to"};
static const struct conf_table rope_table = {NULL, 0, sizeof(struct yaml_rope), rope_fields, "rotary position embedding"};
static const struct conf_table mla_table = {NULL, 0, sizeof(struct yaml_mla), mla_fields, "multi-head latent attention"};
static const struct conf_table moe_table = {NULL, 0, sizeof(struct yaml_moe), moe_fields, "mixture of experts"};

#define AT(field) offsetof(struct yaml_model, field)
static const struct conf_field model_fields[] = {
    {"name", CONF_STRING, AT(name), .required = true, .help = "what the model is called"},
    {"family", CONF_ENUM, AT(family), .required = true, .names = model_family_names, .help = "architecture, as model_type in config.json"},
    {"dtype", CONF_ENUM, AT(dtype), .names = dtype_file_names, .def = "bf16", .help = "of the published weights"},
    {"hidden", CONF_I64, AT(hidden), .required = true, .min = 1, .max = 1 << 17, .help = "width of the residual stream"},
    {"inter", CONF_I64, AT(inter), .min = 0, .max = 1 << 20, .help = "inner dimension of the dense MLP"},
    {"vocab", CONF_I64, AT(vocab), .required = true, .min = 1, .max = 1 << 24, .help = "vocabulary entries"},
    {"layers", CONF_INT, AT(n_layers), .required = true, .min = 1, .max = 1024, .help = "decoder layers"},
    {"heads", CONF_INT, AT(heads), .required = true, .min = 1, .max = 4096, .help = "attention heads"},
    {"kv_heads", CONF_INT, AT(kv_heads), .required = true, .min = 1, .max = 4096, .help = "key and value heads"},
    {"head_dim", CONF_INT, AT(head_dim), .required = true, .min = 1, .max = 4096, .help = "dimensions of a head"},
    {"norm_eps", CONF_DOUBLE, AT(norm_eps), .required = true, .min = 1e-12, .max = 0.1, .help = "epsilon of the RMS norms"},
    {"tied_embeddings", CONF_BOOL, AT(tied_embeddings), .help = "the head uses the embedding table"},
    {"qk_norm", CONF_BOOL, AT(qk_norm), .help = "queries and keys are normalised per head"},
    {"attention_bias", CONF_BOOL, AT(attention_bias), .help = "projections of attention have biases"},
    {"sinks", CONF_BOOL, AT(sinks), .help = "a learned logit per head joins the softmax"},
    {"max_len", CONF_I64, AT(max_len), .required = true, .min = 1, .max = 1 << 30, .help = "longest sequence"},
    {"rope", CONF_STRUCT, AT(rope), .required = true, .sub = &rope_table, .help = "rotary position embedding"},
    {"attention", CONF_STRUCT, AT(attention), .sub = &attention_table, .help = "windows; left out = every layer attends to everything"},
    {"mla", CONF_STRUCT, AT(mla), .sub = &mla_table, .help = "multi-head latent attention; left out = none"},
    {"moe", CONF_STRUCT, AT(moe), .sub = &moe_table, .help = "experts; left out = dense"},
    {"mtp_layers", CONF_INT, AT(mtp_layers), .min = 0, .max = 64, .help = "multi-token-prediction layers, counted apart"},
    {NULL},
};
#undef AT
/* clang-format on */

const struct conf_table model_table = {"shardwright-model", 1, sizeof(struct yaml_model),
        model_fields, "dimensions of a decoder-only transformer"};

static void copy_dimensions(struct model *out, const struct yaml_model *y)
{
    out->name = y->name;
    out->family = y->family;
    out->dtype = y->dtype;
    out->hidden = y->hidden;
    out->inter = y->inter;
    out->vocab = y->vocab;
    out->n_layers = y->n_layers;
    out->heads = y->heads;
    out->kv_heads = y->kv_heads;
    out->head_dim = y->head_dim;
    out->norm_eps = y->norm_eps;
    out->tied_embeddings = y->tied_embeddings;
    out->qk_norm = y->qk_norm;
    out->attention_bias = y->attention_bias;
    out->sinks = y->sinks;
    out->max_len = y->max_len;
    out->n_mtp = y->mtp_layers;
    out->mla.q_rank = y->mla.q_rank;
    out->mla.kv_rank = y->mla.kv_rank;
    out->mla.nope_dim = y->mla.nope_dim;
    out->mla.rope_dim = y->mla.rope_dim;
    out->mla.v_dim = y->mla.v_dim;
}

static void copy_rope(struct model *out, const struct yaml_rope *y)
{
    out->rope.theta = y->theta;
    out->rope.scaling = y->scaling;
    out->rope.factor = y->factor;
    out->rope.low_freq_factor = y->low_freq_factor;
    out->rope.high_freq_factor = y->high_freq_factor;
    out->rope.beta_fast = y->beta_fast;
    out->rope.beta_slow = y->beta_slow;
    out->rope.mscale = y->mscale;
    out->rope.mscale_all_dim = y->mscale_all_dim;
    out->rope.original_len = y->original_len;
    out->rope.truncate = y->truncate;
}

static void copy_moe(struct model *out, const struct yaml_moe *y)
{
    out->moe.n = y->experts;
    out->moe.top_k = y->top_k;
    out->moe.n_shared = y->shared;
    out->moe.inter = y->inter;
    out->moe.shared_inter = y->shared_inter;
    out->moe.norm_top_k = y->norm_top_k;
    out->moe.sigmoid = y->sigmoid;
    out->moe.router_bias = y->router_bias;
    out->moe.expert_bias = y->expert_bias;
    out->moe.n_group = y->groups;
    out->moe.top_k_group = y->top_k_groups;
    out->moe.scale = y->scale;
    out->moe.clamp = y->clamp;
}

static void make_layers(struct model *out, const struct yaml_model *y, struct arena *arena)
{
    int every = y->moe.every > 0 ? y->moe.every : 1;

    out->layers = ARENA_NEW(arena, struct model_layer, out->n_layers);
    for (int i = 0; i < out->n_layers; i++) {
        struct model_layer *layer = &out->layers[i];
        bool full = y->attention.full_every > 0 && (i + 1) % y->attention.full_every == 0;
        layer->attention = full ? ATTENTION_FULL : y->attention.kind;
        layer->window = layer->attention == ATTENTION_FULL ? 0 : y->attention.window;
        layer->rope = !(full && y->attention.full_without_rope);
        layer->moe = y->moe.experts > 0 && i >= y->moe.first && (i + 1) % every == 0;
    }
}

bool model_read_yaml(struct model *out, const char *text, int64_t len, const char *path,
        struct arena *arena, struct err *err)
{
    struct yaml_model y;

    memset(out, 0, sizeof(*out));
    if (!conf_read(&y, &model_table, text, len, path, arena, err))
        return false;
    copy_dimensions(out, &y);
    copy_rope(out, &y.rope);
    copy_moe(out, &y.moe);
    make_layers(out, &y, arena);
    if (!model_check(out, err))
        return err_context(err, "%s", path);
    model_digest(out, arena);
    return true;
}
