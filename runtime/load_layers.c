#include "runtime/load_layers.h"

int64_t load_copy_bytes(const struct load_copy *copy)
{
    return copy->slice.rows * copy->slice.cols * dtype_bytes(copy->dtype);
}

void load_push(struct load *load, struct load_copy copy)
{
    if (load->n == load->cap) {
        int64_t cap = load->cap ? 2 * load->cap : 256;

        load->items = arena_grow(load->arena, load->items, load->n, cap, sizeof *load->items);
        load->cap = cap;
    }
    load->items[load->n++] = copy;
}

char *load_add(struct load *load, char *to, const char *name, struct slice_2d slice)
{
    struct load_copy copy = {to, load->place->split.dtype, name, slice, 0};

    load_push(load, copy);
    return to + load_copy_bytes(&copy);
}

void load_add_vector(struct load *load, void *to, const char *name, struct slice elements)
{
    struct slice_2d row = {0, 1, elements.begin, elements.end - elements.begin};

    if (to)
        load_push(load, (struct load_copy){to, DTYPE_F32, name, row, 0});
}

static const char *name_of(const struct load *load, int layer, const char *rest)
{
    return arena_printf(load->arena, "model.layers.%d.%s", layer, rest);
}

static struct slice_2d rows_of(struct slice rows, int64_t cols)
{
    return (struct slice_2d){rows.begin, rows.end - rows.begin, 0, cols};
}

static struct slice_2d cols_of(int64_t rows, struct slice cols)
{
    return (struct slice_2d){0, rows, cols.begin, cols.end - cols.begin};
}

static struct slice scaled(struct slice slice, int64_t by)
{
    return (struct slice){slice.begin * by, slice.end * by};
}

static struct slice whole(int64_t n)
{
    return (struct slice){0, n};
}

static void add_attention(struct load *load, int layer, void *const *to)
{
    const struct model *model = load->model;
    int tp = load->place->split.tp, tp_rank = load->place->tp_rank;
    int64_t dim = model->head_dim, hidden = model->hidden;
    struct slice heads = graph_slice(model->heads, tp, tp_rank), q = scaled(heads, dim);
    struct slice kv = scaled(graph_kv_heads(model, tp, tp_rank), dim);
    static const char *const parts[] = {"q", "k", "v"};
    char *at = to[WEIGHT_QKV];
    float *bias = to[WEIGHT_QKV_BIAS];

    for (int i = 0; i < 3; i++) {
        const char *base = arena_printf(load->arena, "self_attn.%s_proj", parts[i]);
        struct slice rows = i == 0 ? q : kv;

        at = load_add(load, at, name_of(load, layer, arena_printf(load->arena, "%s.weight", base)),
                rows_of(rows, hidden));
        load_add_vector(
                load, bias, name_of(load, layer, arena_printf(load->arena, "%s.bias", base)), rows);
        bias += bias ? rows.end - rows.begin : 0;
    }
    load_add(load, to[WEIGHT_O], name_of(load, layer, "self_attn.o_proj.weight"),
            cols_of(hidden, q));
    load_add_vector(
            load, to[WEIGHT_O_BIAS], name_of(load, layer, "self_attn.o_proj.bias"), whole(hidden));
    load_add_vector(
            load, to[WEIGHT_Q_GAIN], name_of(load, layer, "self_attn.q_norm.weight"), whole(dim));
    load_add_vector(
            load, to[WEIGHT_K_GAIN], name_of(load, layer, "self_attn.k_norm.weight"), whole(dim));
    load_add_vector(load, to[WEIGHT_SINKS], name_of(load, layer, "self_attn.sinks"), heads);
}

/* What reads the residual stream is one matrix: the query or its latent, then the latent of keys and values. */
static void add_mla(struct load *load, int layer, void *const *to)
{
    const struct model *model = load->model;
    int64_t hidden = model->hidden, q_rank = model->mla.q_rank, rank = model->mla.kv_rank;
    struct slice heads = graph_slice(model->heads, load->place->split.tp, load->place->tp_rank);
    struct slice query = scaled(heads, model->mla.nope_dim + model->mla.rope_dim);
    char *at = to[WEIGHT_QKV];

    if (q_rank > 0) {
        at = load_add(load, at, name_of(load, layer, "self_attn.q_a_proj.weight"),
                rows_of(whole(q_rank), hidden));
        load_add(load, to[WEIGHT_Q_UP], name_of(load, layer, "self_attn.q_b_proj.weight"),
                rows_of(query, q_rank));
        load_add_vector(load, to[WEIGHT_Q_GAIN],
                name_of(load, layer, "self_attn.q_a_layernorm.weight"), whole(q_rank));
    } else {
        at = load_add(
                load, at, name_of(load, layer, "self_attn.q_proj.weight"), rows_of(query, hidden));
    }
    load_add(load, at, name_of(load, layer, "self_attn.kv_a_proj_with_mqa.weight"),
            rows_of(whole(rank + model->mla.rope_dim), hidden));
    load_add_vector(load, to[WEIGHT_K_GAIN],
            name_of(load, layer, "self_attn.kv_a_layernorm.weight"), whole(rank));
    load_add(load, to[WEIGHT_KV_UP], name_of(load, layer, "self_attn.kv_b_proj.weight"),
            rows_of(scaled(heads, model->mla.nope_dim + model->mla.v_dim), rank));
    load_add(load, to[WEIGHT_O], name_of(load, layer, "self_attn.o_proj.weight"),
            cols_of(hidden, scaled(heads, model->mla.v_dim)));
}

/* The three matrices of an MLP by the names of its family. */
struct mlp_names {
    const char *block, *gate, *up, *down;
};

static const struct mlp_names dense_names = {"mlp", "gate_proj", "up_proj", "down_proj"};
static const struct mlp_names shared_names = {
        "mlp.shared_experts", "gate_proj", "up_proj", "down_proj"};
static const struct mlp_names mixtral_names = {"block_sparse_moe", "w1", "w3", "w2"};

/* One MLP, or `expert` of it where that is not negative; moves both pointers on. */
static void add_mlp(struct load *load, int layer, const struct mlp_names *names, int expert,
        struct slice inter, char **gate_up, char **down)
{
    int64_t hidden = load->model->hidden;
    const char *base = name_of(load, layer, names->block);

    if (expert >= 0)
        base = arena_printf(load->arena, "%s.experts.%d", base, expert);
    *gate_up = load_add(load, *gate_up,
            arena_printf(load->arena, "%s.%s.weight", base, names->gate), rows_of(inter, hidden));
    *gate_up = load_add(load, *gate_up, arena_printf(load->arena, "%s.%s.weight", base, names->up),
            rows_of(inter, hidden));
    *down = load_add(load, *down, arena_printf(load->arena, "%s.%s.weight", base, names->down),
            cols_of(hidden, inter));
}

static void add_dense(
        struct load *load, int layer, const struct mlp_names *names, int64_t inter, void *const *to)
{
    char *gate_up = to[WEIGHT_GATE_UP], *down = to[WEIGHT_DOWN];

    if (inter > 0)
        add_mlp(load, layer, names, -1,
                graph_slice(inter, load->place->split.tp, load->place->tp_rank), &gate_up, &down);
}

/* A row of a turned tensor is one that the runtime multiplies with. */
static char *add_turned(
        struct load *load, char *to, const char *name, struct slice_2d slice, int64_t step)
{
    struct load_copy copy = {to, load->place->split.dtype, name, slice, step};

    load_push(load, copy);
    return to + load_copy_bytes(&copy);
}

/* gpt-oss: all experts in one tensor [experts, in, out], gate and up in turn, and a bias for everything. */
static void add_fused_experts(struct load *load, int layer, struct slice inter, void *const *to)
{
    int64_t hidden = load->model->hidden, all = load->model->moe.inter;
    int64_t x = inter.end - inter.begin;
    const char *base = name_of(load, layer, "mlp.experts.");
    const char *gate_up = arena_printf(load->arena, "%sgate_up_proj", base);
    const char *down = arena_printf(load->arena, "%sdown_proj", base);
    char *up_to = to[WEIGHT_EXPERT_GATE_UP], *down_to = to[WEIGHT_EXPERT_DOWN];
    float *bias = to[WEIGHT_EXPERT_BIAS];

    int slots = (int)graph_expert_slots(load->model, &load->place->split);
    float *down_bias = bias + INT64_C(2) * slots * x;

    for (int s = 0; s < slots; s++, down_bias += hidden) {
        int64_t e = place_expert(load->place, load->model, layer, load->place->ep_rank, s);

        if (e < 0)
            break; /* the slots behind are empty too */
        for (int part = 0; part < 2; part++) {
            int64_t col = 2 * inter.begin + part;

            up_to = add_turned(
                    load, up_to, gate_up, (struct slice_2d){e * hidden, hidden, col, x}, 2);
            load_push(load,
                    (struct load_copy){(char *)bias, DTYPE_F32,
                            arena_printf(load->arena, "%s_bias", gate_up), {e, 1, col, x}, 2});
            bias += x;
        }
        down_to = add_turned(
                load, down_to, down, (struct slice_2d){e * all + inter.begin, x, 0, hidden}, 1);
        load_push(load, (struct load_copy){(char *)down_bias, DTYPE_F32,
                                arena_printf(load->arena, "%s_bias", down), {e, 1, 0, hidden}, 0});
    }
}

static void add_moe(struct load *load, int layer, void *const *to)
{
    const struct model *model = load->model;
    const struct place *place = load->place;
    const struct mlp_names *names = model->family == FAMILY_MIXTRAL ? &mixtral_names : &dense_names;
    struct slice inter = graph_slice(model->moe.inter, place->expert_tp, place->expert_tp_rank);
    bool fused = model->family == FAMILY_GPT_OSS;
    char *gate_up = to[WEIGHT_EXPERT_GATE_UP], *down = to[WEIGHT_EXPERT_DOWN];
    const char *gate = arena_printf(load->arena, "%s.%s", names->block, fused ? "router" : "gate");

    load_add(load, to[WEIGHT_ROUTER],
            name_of(load, layer, arena_printf(load->arena, "%s.weight", gate)),
            rows_of(whole(model->moe.n), model->hidden));
    load_add_vector(load, to[WEIGHT_ROUTER_BIAS],
            name_of(load, layer,
                    arena_printf(load->arena, "%s.%s", gate,
                            fused ? "bias" : "e_score_correction_bias")),
            whole(model->moe.n));
    if (fused)
        add_fused_experts(load, layer, inter, to);
    for (int s = 0; s < graph_expert_slots(model, &place->split) && !fused; s++) {
        int expert = place_expert(place, model, layer, place->ep_rank, s);

        if (expert >= 0)
            add_mlp(load, layer, names, expert, inter, &gate_up, &down);
    }
    add_dense(load, layer, &shared_names, model->moe.shared_inter, to);
}

void load_layer(struct load *load, int layer, void *const *to)
{
    const struct model *model = load->model;

    if (model->mla.kv_rank > 0)
        add_mla(load, layer, to);
    else
        add_attention(load, layer, to);
    load_add_vector(load, to[WEIGHT_ATTN_NORM], name_of(load, layer, "input_layernorm.weight"),
            whole(model->hidden));
    load_add_vector(load, to[WEIGHT_MLP_NORM],
            name_of(load, layer, "post_attention_layernorm.weight"), whole(model->hidden));
    if (model->layers[layer].moe)
        add_moe(load, layer, to);
    else
        add_dense(load, layer, &dense_names, model->inter, to);
}
