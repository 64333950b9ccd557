/*
 * The slices are first written down as a list of copies, then the device's threads work it off: the pages
 * are touched by the threads that will read them, and the file is read in parallel.
 */
#include "runtime/load.h"

#include <stdatomic.h>

#include "core/log.h"

struct copy {
    char *to;
    enum dtype dtype;
    const char *name;
    struct slice_2d slice;
};

struct list {
    struct copy *items;
    int64_t n, cap;
    struct arena *arena;
    enum dtype dtype;
};

struct context {
    const struct place *place;
    const struct model *model;
    struct list *list;
};

static int64_t copy_bytes(const struct copy *copy)
{
    return copy->slice.rows * copy->slice.cols * dtype_bytes(copy->dtype);
}

/* Returns the byte behind what will be copied. */
static char *add(
        struct list *list, char *to, enum dtype dtype, const char *name, struct slice_2d slice)
{
    if (list->n == list->cap) {
        int64_t cap = list->cap ? 2 * list->cap : 256;

        list->items = arena_grow(list->arena, list->items, list->n, cap, sizeof *list->items);
        list->cap = cap;
    }
    list->items[list->n] = (struct copy){to, dtype, name, slice};
    return to + copy_bytes(&list->items[list->n++]);
}

static const char *name_of(const struct list *list, int layer, const char *rest)
{
    return arena_printf(list->arena, "model.layers.%d.%s", layer, rest);
}

static struct slice_2d rows_of(struct slice rows, int64_t cols)
{
    return (struct slice_2d){rows.begin, rows.end - rows.begin, 0, cols};
}

static struct slice_2d cols_of(int64_t rows, struct slice cols)
{
    return (struct slice_2d){0, rows, cols.begin, cols.end - cols.begin};
}

static struct slice_2d vector_of(struct slice cols)
{
    return cols_of(1, cols);
}

static struct slice scaled(struct slice slice, int64_t by)
{
    return (struct slice){slice.begin * by, slice.end * by};
}

static void add_vector(struct list *list, void *to, const char *name, int64_t n)
{
    if (to)
        add(list, to, DTYPE_F32, name, vector_of((struct slice){0, n}));
}

static void add_attention(const struct context *c, int layer, void *const *to)
{
    const struct model *model = c->model;
    struct list *list = c->list;
    int64_t dim = model->head_dim, hidden = model->hidden;
    struct slice q = scaled(graph_slice(model->heads, c->place->split.tp, c->place->tp_rank), dim);
    struct slice kv = scaled(graph_kv_heads(model, c->place->split.tp, c->place->tp_rank), dim);
    static const char *const parts[] = {"q", "k", "v"};
    char *at = to[WEIGHT_QKV];

    for (int i = 0; i < 3; i++) {
        const char *base = arena_printf(list->arena, "self_attn.%s_proj", parts[i]);
        struct slice rows = i == 0 ? q : kv;

        at = add(list, at, list->dtype,
                name_of(list, layer, arena_printf(list->arena, "%s.weight", base)),
                rows_of(rows, hidden));
    }
    add(list, to[WEIGHT_O], list->dtype, name_of(list, layer, "self_attn.o_proj.weight"),
            cols_of(hidden, q));
    add_vector(list, to[WEIGHT_Q_GAIN], name_of(list, layer, "self_attn.q_norm.weight"), dim);
    add_vector(list, to[WEIGHT_K_GAIN], name_of(list, layer, "self_attn.k_norm.weight"), dim);
    add_vector(list, to[WEIGHT_ATTN_NORM], name_of(list, layer, "input_layernorm.weight"), hidden);
    add_vector(list, to[WEIGHT_MLP_NORM], name_of(list, layer, "post_attention_layernorm.weight"),
            hidden);
}

static void add_dense(const struct context *c, int layer, void *const *to)
{
    struct list *list = c->list;
    int64_t hidden = c->model->hidden;
    struct slice inter = graph_slice(c->model->inter, c->place->split.tp, c->place->tp_rank);
    char *at = add(list, to[WEIGHT_GATE_UP], list->dtype,
            name_of(list, layer, "mlp.gate_proj.weight"), rows_of(inter, hidden));

    add(list, at, list->dtype, name_of(list, layer, "mlp.up_proj.weight"), rows_of(inter, hidden));
    add(list, to[WEIGHT_DOWN], list->dtype, name_of(list, layer, "mlp.down_proj.weight"),
            cols_of(hidden, inter));
}

/* Mixtral and Qwen3-MoE have the same tensors by different names. */
struct moe_names {
    const char *block, *gate, *up, *down;
};

static const struct moe_names mixtral_names = {"block_sparse_moe", "w1", "w3", "w2"};
static const struct moe_names qwen3_names = {"mlp", "gate_proj", "up_proj", "down_proj"};

static void add_moe(const struct context *c, int layer, void *const *to)
{
    struct list *list = c->list;
    const struct place *place = c->place;
    int64_t hidden = c->model->hidden;
    const struct moe_names *names =
            c->model->family == FAMILY_MIXTRAL ? &mixtral_names : &qwen3_names;
    struct slice experts = graph_slice(c->model->moe.n, place->split.ep, place->ep_rank);
    struct slice inter = graph_slice(c->model->moe.inter, place->expert_tp, place->expert_tp_rank);
    char *gate_up = to[WEIGHT_EXPERT_GATE_UP], *down = to[WEIGHT_EXPERT_DOWN];

    add(list, to[WEIGHT_ROUTER], list->dtype,
            name_of(list, layer, arena_printf(list->arena, "%s.gate.weight", names->block)),
            (struct slice_2d){0, c->model->moe.n, 0, hidden});
    for (int64_t e = experts.begin; e < experts.end; e++) {
        const char *base = arena_printf(
                list->arena, "model.layers.%d.%s.experts.%d", layer, names->block, (int)e);

        gate_up = add(list, gate_up, list->dtype,
                arena_printf(list->arena, "%s.%s.weight", base, names->gate),
                rows_of(inter, hidden));
        gate_up = add(list, gate_up, list->dtype,
                arena_printf(list->arena, "%s.%s.weight", base, names->up), rows_of(inter, hidden));
        down = add(list, down, list->dtype,
                arena_printf(list->arena, "%s.%s.weight", base, names->down),
                cols_of(hidden, inter));
    }
}

static bool alloc_layers(
        struct rank_weights *out, const struct context *c, struct dev *dev, struct err *err)
{
    const struct place *place = c->place;
    int n = place->piece.end_layer - place->piece.first_layer;
    int64_t bytes[WEIGHT_COUNT];

    out->layers = ARENA_NEW(c->list->arena, struct layer_weights, n);
    for (int i = 0; i < n; i++) {
        graph_layer_weights(bytes, c->model, &place->split, place->piece.first_layer + i);
        for (int b = 0; b < WEIGHT_LAYER_COUNT; b++) {
            if (bytes[b] == 0)
                continue;
            out->layers[i].buffer[b] = dev_alloc(dev, bytes[b], err);
            if (!out->layers[i].buffer[b])
                return err_context(err, "weights of layer %d", place->piece.first_layer + i);
            out->bytes += bytes[b];
        }
    }
    return true;
}

static bool alloc_end(
        void **out, int64_t bytes, struct rank_weights *weights, struct dev *dev, struct err *err)
{
    if (bytes == 0)
        return true;
    *out = dev_alloc(dev, bytes, err);
    weights->bytes += bytes;
    return *out ? true : err_context(err, "embedding and head");
}

static bool prepare_ends(
        struct rank_weights *out, const struct context *c, struct dev *dev, struct err *err)
{
    const struct place *place = c->place;
    const struct model *model = c->model;
    struct list *list = c->list;
    int64_t bytes[WEIGHT_COUNT];
    void *norm = NULL;
    struct slice vocab = graph_slice(model->vocab, place->split.tp, place->tp_rank);

    graph_end_weights(bytes, model, &place->split, place->piece);
    if (!alloc_end(&out->embedding, bytes[WEIGHT_EMBEDDING], out, dev, err)
            || !alloc_end(&norm, bytes[WEIGHT_FINAL_NORM], out, dev, err)
            || !alloc_end(&out->lm_head, bytes[WEIGHT_LM_HEAD], out, dev, err))
        return false;
    out->final_norm = norm;
    if (out->embedding)
        add(list, out->embedding, list->dtype, "model.embed_tokens.weight",
                (struct slice_2d){0, model->vocab, 0, model->hidden});
    add_vector(list, norm, "model.norm.weight", model->hidden);
    if (out->lm_head)
        add(list, out->lm_head, list->dtype,
                model->tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
                rows_of(vocab, model->hidden));
    else if (place->last)
        out->lm_head =
                (char *)out->embedding + vocab.begin * model->hidden * dtype_bytes(list->dtype);
    return true;
}

/* Large copies are cut, so that one matrix does not keep one thread busy while the others are done. */
static void cut_copies(struct list *list)
{
    const int64_t most = 4 << 20;
    int64_t n = list->n;

    for (int64_t i = 0; i < n; i++) {
        struct copy whole = list->items[i];
        int64_t row_bytes = copy_bytes(&whole) / whole.slice.rows;
        int64_t rows = most / row_bytes > 0 ? most / row_bytes : 1;

        if (whole.slice.rows <= rows)
            continue;
        list->items[i].slice.rows = rows;
        for (int64_t r = rows; r < whole.slice.rows; r += rows) {
            struct slice_2d part = whole.slice;

            part.row += r;
            part.rows = whole.slice.rows - r < rows ? whole.slice.rows - r : rows;
            add(list, whole.to + r * row_bytes, whole.dtype, whole.name, part);
        }
    }
}

struct work {
    const struct list *list;
    const struct weights *from;
    atomic_int_least64_t next;
    atomic_bool failed;
    struct err err; /* of the first thread that failed */
};

static void work_off(void *arg, int part, int parts)
{
    struct work *work = arg;
    (void)parts;

    while (!atomic_load(&work->failed)) {
        int64_t i = atomic_fetch_add(&work->next, 1);
        struct err err = {0};

        if (part == 0)
            log_progress("weights", i < work->list->n ? i : work->list->n, work->list->n, -1);
        if (i >= work->list->n)
            return;
        const struct copy *copy = &work->list->items[i];
        if (!weights_copy(copy->to, copy->dtype, work->from, copy->name, copy->slice, &err)
                && !atomic_exchange(&work->failed, true))
            work->err = err;
    }
}

bool load_weights(struct rank_weights *out, const struct place *place, const struct model *model,
        const struct weights *from, struct dev *dev, struct arena *arena, struct err *err)
{
    struct list list = {.arena = arena, .dtype = place->split.dtype};
    struct context c = {place, model, &list};
    struct work work = {.list = &list, .from = from};

    *out = (struct rank_weights){0};
    if (!alloc_layers(out, &c, dev, err))
        return false;
    for (int layer = place->piece.first_layer; layer < place->piece.end_layer; layer++) {
        void *const *to = out->layers[layer - place->piece.first_layer].buffer;

        add_attention(&c, layer, to);
        if (model->layers[layer].moe)
            add_moe(&c, layer, to);
        else
            add_dense(&c, layer, to);
    }
    if (!prepare_ends(out, &c, dev, err))
        return false;
    cut_copies(&list);
    dev_parallel(dev, work_off, &work);
    if (atomic_load(&work.failed)) {
        *err = work.err;
        return false;
    }
    return true;
}
