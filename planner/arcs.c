#include "planner/arcs.h"

#include <stdlib.h>
#include <string.h>

#include "planner/memo.h"

enum {
    MAX_CLASSES = 16, /* as in models/graph.c */
    CLASSES_PER_WORD = 4
};

struct arcs {
    struct cost_model *costs;
    const struct demand *demand;
    struct memo *memo;
    int *class_of; /* per layer */
    struct arena arena;
};

struct arcs *arcs_open(struct cost_model *costs, const struct demand *demand, struct err *err)
{
    struct arcs *arcs = calloc(1, sizeof *arcs);
    if (arcs == NULL) {
        err_set(err, ERR_ENV, "no memory to price stages");
        return NULL;
    }
    const struct model *model = cost_model_of(costs);
    arcs->costs = costs;
    arcs->demand = demand;
    arcs->memo = memo_open(sizeof(struct arc_price), MEMO_MOST);
    arcs->class_of = ARENA_NEW(&arcs->arena, int, model->n_layers);
    int first[MAX_CLASSES];
    int n = 0;
    for (int l = 0; l < model->n_layers; l++) {
        const struct model_layer *layer = &model->layers[l];
        int c = 0;
        while (c < n
                && (model->layers[first[c]].moe != layer->moe
                        || model->layers[first[c]].attention != layer->attention
                        || model->layers[first[c]].window != layer->window))
            c++;
        if (c == n && n < MAX_CLASSES)
            first[n++] = l;
        arcs->class_of[l] = c < MAX_CLASSES ? c : MAX_CLASSES - 1;
    }
    return arcs;
}

void arcs_close(struct arcs *arcs)
{
    if (arcs == NULL)
        return;
    memo_close(arcs->memo);
    arena_free(&arcs->arena);
    free(arcs);
}

struct split arcs_split(const struct arcs *arcs, const struct config *config, int kind)
{
    struct split split = config->layout->split;
    int ranks = split.tp * split.attention_dp;
    int host = cost_node_devices(cost_cluster(arcs->costs), kind) / split.threads;
    split.busy = cost_busy(config->dp, config->pp, ranks, config->in_flight, host > 0 ? host : 1);
    split.nodes = cost_group_nodes(cost_cluster(arcs->costs), kind, config->layout->group);
    return split;
}

int64_t arcs_capacity(const struct arcs *arcs, const struct config *config, int kind)
{
    return cost_cluster(arcs->costs)->kinds[kind].memory_bytes * config->layout->split.threads;
}

static struct arc_price price_piece(const struct arcs *arcs, const struct config *config, int kind,
        const struct split *split, struct piece piece)
{
    struct steady steady;
    struct arc_price price = {0};
    int groups = split->attention_dp;
    if (steady_of(&steady, arcs->demand, (double)config->max_seqs / groups, config->max_tokens,
                groups)) {
        struct step_cost pure;
        struct step_cost mixed;
        cost_piece(&pure, arcs->costs, kind, split, piece, &steady.pure);
        cost_piece(&mixed, arcs->costs, kind, split, piece, &steady.mixed);
        price.us = (1 - steady.mixed_frac) * pure.us + steady.mixed_frac * mixed.us;
    }
    const struct plan_replica limits = {
            .max_seqs = config->max_seqs, .max_tokens = config->max_tokens, .kv_blocks = 1};
    struct rank_bytes bytes = cost_memory(arcs->costs, split, piece, &limits, PLAN_BLOCK_TOKENS);
    price.fixed_bytes = bytes.weight + bytes.work;
    price.block_bytes = bytes.kv;
    return price;
}

struct arc_price arcs_price(
        struct arcs *arcs, const struct config *config, int kind, struct piece piece)
{
    struct split split = arcs_split(arcs, config, kind);
    bool first = piece.first_layer == 0;
    bool last = piece.end_layer == cost_model_of(arcs->costs)->n_layers;
    struct memo_key key = {{
            (int64_t)split.dtype << 48 | (int64_t)split.kv_dtype << 40 | (int64_t)kind << 8
                    | (int64_t)first << 1 | (int64_t)last,
            (int64_t)config->max_seqs << 32 | config->max_tokens,
            (int64_t)split.tp << 48 | (int64_t)split.ep << 32 | (int64_t)split.attention_dp << 16
                    | split.threads,
            split.busy,
    }};
    for (int l = piece.first_layer; l < piece.end_layer; l++) {
        int c = arcs->class_of[l];
        key.at[4 + c / CLASSES_PER_WORD] += (int64_t)1 << 16 * (c % CLASSES_PER_WORD);
    }
    const struct arc_price *known = memo_find(arcs->memo, &key);
    if (known != NULL)
        return *known;
    struct arc_price price = price_piece(arcs, config, kind, &split, piece);
    *(struct arc_price *)memo_add(arcs->memo, &key) = price;
    return price;
}

double arcs_send_us(struct arcs *arcs, const struct config *config, int kind)
{
    struct steady steady;
    struct split split = arcs_split(arcs, config, kind);
    int groups = split.attention_dp;
    if (config->pp == 1
            || !steady_of(&steady, arcs->demand, (double)config->max_seqs / groups,
                    config->max_tokens, groups))
        return 0;
    int per_node = cost_node_devices(cost_cluster(arcs->costs), kind) / config->layout->group;
    bool between = per_node < config->pp;
    double pure_us = cost_send_us(arcs->costs, kind, &split, steady.pure.tokens, between);
    double mixed_us = cost_send_us(arcs->costs, kind, &split, steady.mixed.tokens, between);
    return (1 - steady.mixed_frac) * pure_us + steady.mixed_frac * mixed_us;
}

/* Whether a forced list of layers has a stage [first, end). */
static bool is_forced_stage(const int *layers, int n, int first, int end)
{
    int at = 0;
    for (int s = 0; s < n; s++) {
        if (at == first && at + layers[s] == end)
            return true;
        at += layers[s];
    }
    return false;
}

int arcs_list(struct partition_arc **out, struct arcs *arcs, const struct config *config,
        int64_t kv_blocks, const int *layers, struct arena *arena)
{
    int n_layers = cost_model_of(arcs->costs)->n_layers;
    int n_kinds = cost_cluster(arcs->costs)->n_kinds;
    int n = 0;
    *out = ARENA_NEW(
            arena, struct partition_arc, (int64_t)n_kinds * n_layers * (n_layers + 1) / 2 + 1);
    for (int k = 0; k < n_kinds; k++) {
        if (config->layout->budget[k] < config->dp)
            continue;
        int64_t capacity = arcs_capacity(arcs, config, k);
        double send_us = arcs_send_us(arcs, config, k);
        for (int first = 0; first < n_layers; first++)
            for (int end = first + 1; end <= n_layers; end++) {
                if (layers != NULL && !is_forced_stage(layers, config->pp, first, end))
                    continue;
                /* Every other stage holds a layer at least. */
                if (end - first > n_layers - (config->pp - 1))
                    break;
                struct arc_price price = arcs_price(arcs, config, k, (struct piece){first, end});
                if (price.fixed_bytes + kv_blocks * price.block_bytes > capacity)
                    continue; /* C6: the arc is no column */
                (*out)[n++] = (struct partition_arc){.kind = k,
                        .first = first,
                        .end = end,
                        .us = price.us,
                        .send_us = end == n_layers ? 0 : send_us};
            }
    }
    return n;
}
