/*
 * Between layers the rows are in a state: what the last op left (whole on every rank, parts to be added, or own
 * rows) and where the residual is (whole or own rows). Six states; a layer is a table from state to state.
 */
#include "planner/block_layer.h"

#include <math.h>
#include <string.h>

enum state {
    WHOLE, /* all rows, complete, on every rank */
    PARTS, /* all rows on every rank, to be added up */
    ROWS,  /* each rank its share of the rows */
    SPLIT  /* each rank its share of heads or columns */
};

enum layer_op {
    ENTRY,
    NORM_1,
    QKV,
    ATTENTION,
    OUT,
    NORM_2,
    UP,
    DOWN,
    EXIT,
    N_OPS
};

/* The ways of each op and the state that each leaves. */
static const struct ways {
    const char *op;
    int n;
    struct {
        const char *name;
        enum state state;
    } way[6];
} all_ways[N_OPS] = {
        [NORM_1] = {"norm 1", 2, {{"norm of all rows", WHOLE}, {"norm of own rows", ROWS}}},
        [QKV] = {"qkv", 3,
                {{"qkv by heads", SPLIT}, {"whole qkv", WHOLE}, {"qkv of own rows", ROWS}}},
        [ATTENTION] = {"attention", 2,
                {{"attention by heads", SPLIT}, {"attention of own rows", ROWS}}},
        [OUT] = {"o", 3, {{"o in parts", PARTS}, {"whole o", WHOLE}, {"o of own rows", ROWS}}},
        [NORM_2] = {"norm 2", 2, {{"norm of all rows", WHOLE}, {"norm of own rows", ROWS}}},
        [UP] = {"up", 3, {{"up by columns", SPLIT}, {"whole up", WHOLE}, {"up of own rows", ROWS}}},
        [DOWN] = {"down", 3,
                {{"down in parts", PARTS}, {"whole down", WHOLE}, {"down of own rows", ROWS}}},
};

enum {
    N_STATES = 6, /* of x, then of the residual: PARTS and WHOLE is 1 */
    BETWEEN = 1   /* what the runtime leaves */
};
static const enum state state_x[N_STATES] = {WHOLE, PARTS, ROWS, WHOLE, PARTS, ROWS};
static const enum state state_r[N_STATES] = {WHOLE, WHOLE, WHOLE, ROWS, ROWS, ROWS};

struct layers {
    const struct model *model;
    struct cost_model *costs;
    int kind;
    struct split split;
    const struct step_shape *shape;
    int64_t room_bytes;
};

static int64_t share(int64_t n, int parts)
{
    return (n + parts - 1) / parts;
}

static double op_us(
        const struct layers *l, enum op_kind kind, enum dtype dtype, const int64_t *dims, int n)
{
    struct op op = {.kind = kind,
            .dtype = dtype,
            .degree = op_is_collective(kind) ? l->split.tp : l->split.threads,
            .busy = l->split.busy,
            .nodes = op_is_collective(kind) ? graph_nodes(&l->split, l->split.tp) : 0};
    for (int i = 0; i < n; i++)
        op.dim[i] = dims[i];
    return cost_op(l->costs, l->kind, &op).us;
}

static double gemm_us(const struct layers *l, int64_t m, int64_t n, int64_t k)
{
    return op_us(l, OP_GEMM, l->split.dtype, (const int64_t[]){m, n, k}, 3);
}

/*
 * From one state of `columns` elements a row to another. Rows and shares are cut out of what is whole for nothing;
 * parts can only be added up, and nothing becomes parts.
 */
static double exchange_us(const struct layers *l, enum state from, enum state to, int64_t columns)
{
    int64_t all = l->shape->tokens * columns * dtype_bytes(l->split.activation);
    int64_t own = share(all, l->split.tp);
    if (from == to || from == WHOLE)
        return to == PARTS && from != PARTS ? HUGE_VAL : 0;
    if (to == PARTS)
        return HUGE_VAL;
    if (from == PARTS && to == WHOLE)
        return op_us(l, OP_ALL_REDUCE, DTYPE_F32, &all, 1);
    if (from == PARTS)
        return to == ROWS ? op_us(l, OP_REDUCE_SCATTER, DTYPE_F32, &own, 1) : HUGE_VAL;
    if (to == WHOLE)
        return op_us(l, OP_ALL_GATHER, DTYPE_F32, &own, 1);
    return op_us(l, OP_ALL_TO_ALL, DTYPE_F32, &own, 1); /* rows to columns and back */
}

static void set_way(struct block_way *way, double us, int64_t elements, const struct layers *l)
{
    way->us = us;
    way->bytes = elements * dtype_bytes(l->split.dtype);
}

/* A product of n columns over k: by columns or in parts of k, whole, and of own rows. */
static void set_gemm(struct block_op *op, const struct layers *l, int64_t n, int64_t k, bool parts)
{
    int tp = l->split.tp;
    int64_t m = l->shape->tokens;
    set_way(&op->ways[0], parts ? gemm_us(l, m, n, k / tp) : gemm_us(l, m, n / tp, k), n * k / tp,
            l);
    set_way(&op->ways[1], gemm_us(l, m, n, k), n * k, l);
    set_way(&op->ways[2], gemm_us(l, share(m, tp), n, k), n * k, l);
}

static double attention_us(const struct layers *l, const struct model_layer *layer, int64_t seqs,
        int64_t heads, int64_t kv)
{
    const struct model *model = l->model;
    int64_t mean = share(l->shape->decode_kv_tokens, (int)l->shape->decode_batch);
    int64_t seen = layer->attention != ATTENTION_FULL && layer->window > 0 && layer->window < mean
                           ? layer->window
                           : mean;
    const int64_t rope[] = {seqs, heads, kv, model->head_dim, model->qk_norm};
    const int64_t decode[] = {seqs, seen, heads, kv, model->head_dim};
    return op_us(l, OP_ROPE, l->split.kv_dtype, rope, 5)
           + op_us(l, OP_ATTENTION_DECODE, l->split.kv_dtype, decode, 5);
}

/* Rows of the tables above with their times; a layer with experts keeps what is executed, and prices none of it. */
static void set_ops(struct block *b, const struct layers *l, const struct model_layer *layer)
{
    const struct model *model = l->model;
    int tp = l->split.tp;
    int64_t m = l->shape->tokens;
    int64_t hidden = model->hidden;
    int64_t kv = tp >= model->kv_heads ? 1 : model->kv_heads / tp;
    int64_t q = model->heads / tp;
    int64_t dim = model->head_dim;
    for (int n = NORM_1; n <= NORM_2; n += NORM_2 - NORM_1)
        for (int s = 0; s < 2; s++)
            b->ops[n].ways[s].us = op_us(l, OP_RMSNORM, l->split.activation,
                    (const int64_t[]){s == 0 ? m : share(m, tp), hidden, 1}, 3);
    set_gemm(&b->ops[QKV], l, (model->heads + 2 * (int64_t)model->kv_heads) * dim, hidden, false);
    /* KV heads that are replicated: the share is not one tp-th. */
    set_way(&b->ops[QKV].ways[0], gemm_us(l, m, (q + 2 * kv) * dim, hidden),
            (q + 2 * kv) * dim * hidden, l);
    b->ops[ATTENTION].ways[0].us = attention_us(l, layer, l->shape->decode_batch, q, kv);
    b->ops[ATTENTION].ways[1].us = attention_us(
            l, layer, share(l->shape->decode_batch, tp), model->heads, model->kv_heads);
    set_gemm(&b->ops[OUT], l, hidden, model->heads * dim, true);
    if (layer->moe) {
        b->ops[UP].n_ways = b->ops[DOWN].n_ways = 1;
        return;
    }
    set_gemm(&b->ops[UP], l, 2 * model->inter, hidden, false);
    for (int s = 0; s < 3; s++)
        b->ops[UP].ways[s].us += op_us(l, OP_ACTIVATION, l->split.activation,
                (const int64_t[]){
                        s == 2 ? share(m, tp) : m, s == 0 ? model->inter / tp : model->inter},
                2);
    set_gemm(&b->ops[DOWN], l, hidden, model->inter, true);
}

static enum state left_by(int op, int way)
{
    return all_ways[op].way[way].state;
}

/* What an op needs before it: its own state, but for those that make parts of shares. */
static enum state wanted_by(int op, int way)
{
    enum state state = left_by(op, way);
    return state == PARTS || (state == SPLIT && op == ATTENTION) ? SPLIT
           : state == SPLIT                                      ? WHOLE
                                                                 : state;
}

static void add_edge(struct block *b, const struct layers *l, int from, int to, int64_t columns)
{
    struct block_edge *edge = &b->edges[b->n_edges++];
    edge->from = from;
    edge->to = to;
    for (int s = 0; s < b->ops[from].n_ways; s++)
        for (int t = 0; t < b->ops[to].n_ways; t++)
            edge->us[s][t] = exchange_us(l, left_by(from, s), wanted_by(to, t), columns);
}

/* Rows and residual into the first norm, and out of the last op. */
static void add_ends(struct block *b, const struct layers *l)
{
    struct block_edge *into = &b->edges[b->n_edges++];
    struct block_edge *rows = &b->edges[b->n_edges++];
    struct block_edge *residual = &b->edges[b->n_edges++];
    *into = (struct block_edge){.from = ENTRY, .to = NORM_1};
    *rows = (struct block_edge){.from = DOWN, .to = EXIT};
    *residual = (struct block_edge){.from = NORM_2, .to = EXIT};
    for (int s = 0; s < N_STATES; s++) {
        for (int t = 0; t < 2; t++) {
            into->us[s][t] = exchange_us(l, state_x[s], left_by(NORM_1, t), l->model->hidden)
                             + exchange_us(l, state_r[s], left_by(NORM_1, t), l->model->hidden);
            residual->us[t][s] = left_by(NORM_2, t) == state_r[s] ? 0 : HUGE_VAL;
        }
        for (int t = 0; t < b->ops[DOWN].n_ways; t++)
            rows->us[t][s] = left_by(DOWN, t) == state_x[s] ? 0 : HUGE_VAL;
    }
}

static int64_t executed_bytes(const struct block *b)
{
    int64_t bytes = 0;
    for (int o = NORM_1; o < EXIT; o++)
        bytes += b->ops[o].ways[0].bytes;
    return bytes;
}

static void make_block(struct block *b, const struct layers *l, const struct model_layer *layer)
{
    const struct model *model = l->model;
    memset(b, 0, sizeof *b);
    b->n_ops = N_OPS;
    b->ops[ENTRY].n_ways = b->ops[EXIT].n_ways = N_STATES;
    for (int o = NORM_1; o < EXIT; o++) {
        b->ops[o].name = all_ways[o].op;
        b->ops[o].n_ways = all_ways[o].n;
        for (int s = 0; s < all_ways[o].n; s++)
            b->ops[o].ways[s].name = all_ways[o].way[s].name;
    }
    set_ops(b, l, layer);
    add_edge(b, l, NORM_1, QKV, model->hidden);
    add_edge(b, l, QKV, ATTENTION, (model->heads + 2 * (int64_t)model->kv_heads) * model->head_dim);
    add_edge(b, l, ATTENTION, OUT, (int64_t)model->heads * model->head_dim);
    add_edge(b, l, OUT, NORM_2, model->hidden);
    add_edge(b, l, NORM_1, NORM_2, model->hidden); /* the residual */
    add_edge(b, l, NORM_2, UP, model->hidden);
    add_edge(b, l, UP, DOWN, model->inter);
    add_ends(b, l);
    b->most_bytes = executed_bytes(b) + l->room_bytes;
}

/* All ops in their first way, between the states that it leaves. */
static double executed_us(const struct block *b)
{
    int way[BLOCK_OPS] = {0};
    way[ENTRY] = way[EXIT] = BETWEEN;
    return block_value(b, way);
}

/* The ways of a layer among many: from the state to itself that costs least. */
static bool show_ways(const char **out, const struct block *b, const double *table,
        struct arena *arena, struct err *err)
{
    int fixed[BLOCK_OPS];
    int best = 0;
    struct block_answer answer;
    for (int o = 0; o < N_OPS; o++)
        fixed[o] = -1;
    for (int s = 1; s < N_STATES; s++)
        if (table[s * N_STATES + s] < table[best * N_STATES + best])
            best = s;
    fixed[ENTRY] = fixed[EXIT] = best;
    if (!block_solve(&answer, b, fixed, arena, err))
        return false;
    char *text = NULL;
    for (int o = NORM_1; o < EXIT; o++)
        if (b->ops[o].n_ways > 1)
            text = arena_printf(arena, "%s%s%s", text != NULL ? text : "", text != NULL ? ", " : "",
                    b->ops[o].ways[answer.way[o]].name);
    *out = text;
    return true;
}

static bool alike(const struct model_layer *a, const struct model_layer *b)
{
    return a->moe == b->moe && a->attention == b->attention && a->window == b->window;
}

/* Layers [at, end) that are alike, chained to what came before. */
static bool add_run(struct block_sharding *out, double *chain, struct layers *l, int at, int end,
        struct arena *arena, struct err *err)
{
    struct block b;
    double table[N_STATES * N_STATES];
    double power[N_STATES * N_STATES];
    double joined[N_STATES * N_STATES];
    make_block(&b, l, &l->model->layers[at]);
    if (!block_table(table, &b, ENTRY, EXIT, arena, err))
        return false;
    block_power(power, table, N_STATES, end - at, arena);
    block_join(joined, chain, power, N_STATES);
    memcpy(chain, joined, sizeof joined);
    out->executed_us += (end - at) * executed_us(&b);
    return show_ways(&out->ways, &b, table, arena, err);
}

/* All layers of the piece, run by run; the ways of the longest run are told. */
static bool chain_layers(struct block_sharding *out, double *chain, struct layers *l,
        struct piece piece, struct arena *arena, struct err *err)
{
    const char *most = NULL;
    int longest = 0;
    for (int at = piece.first_layer; at < piece.end_layer;) {
        int end = at + 1;
        while (end < piece.end_layer && alike(&l->model->layers[at], &l->model->layers[end]))
            end++;
        if (!add_run(out, chain, l, at, end, arena, err))
            return false;
        most = end - at > longest ? out->ways : most;
        longest = end - at > longest ? end - at : longest;
        at = end;
    }
    out->ways = most;
    return true;
}

bool block_shard_layers(struct block_sharding *out, const struct block_stage *stage,
        struct arena *arena, struct err *err)
{
    struct layers l = {cost_model_of(stage->costs), stage->costs, stage->kind,
            cost_priced_split(stage->costs, stage->kind, &stage->split), stage->shape,
            stage->room_bytes};
    double chain[N_STATES * N_STATES];
    *out = (struct block_sharding){
            .known = l.model->mla.kv_rank == 0 && l.split.tp > 1 && l.shape->decode_batch > 0};
    if (!out->known)
        return true;
    for (int i = 0; i < N_STATES * N_STATES; i++)
        chain[i] = i % (N_STATES + 1) == 0 ? 0 : HUGE_VAL;
    if (!chain_layers(out, chain, &l, stage->piece, arena, err))
        return false;
    /* Whole rows come in, and go out. */
    out->best_us = HUGE_VAL;
    for (int t = 0; t < N_STATES; t++)
        out->best_us =
                fmin(out->best_us, chain[t] + exchange_us(&l, state_x[t], WHOLE, l.model->hidden)
                                           + exchange_us(&l, state_r[t], WHOLE, l.model->hidden));
    return true;
}
