#include "tests/mpi/plan_layouts.h"

#include <stdlib.h>

struct shapes {
    struct shape items[64];
    int n;
};

struct space {
    const struct model *model;
    struct shapes by_ranks[LAYOUT_RANKS + 1];
    struct layouts *out;
};

int layout_ranks(const struct shape *shape)
{
    return shape->tp * shape->adp;
}

int layout_ep(const struct layout *layout)
{
    int ep = layout->stages[0][0].ep;

    for (int r = 0; r < layout->n_replicas; r++)
        for (int s = 0; s < layout->n_stages[r]; s++)
            if (layout->stages[r][s].ep != ep)
                return 0;
    return ep;
}

static struct split split_of(const struct shape *shape, int threads)
{
    return (struct split){.tp = shape->tp,
            .ep = shape->ep,
            .attention_dp = shape->adp,
            .threads = threads,
            .busy = 1,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .deterministic = true};
}

static void find_shapes(struct space *space, int n_ranks)
{
    for (int n = 1; n <= n_ranks; n++)
        for (int tp = 1; tp <= n; tp++)
            for (int ep = 1; n % tp == 0 && ep <= n; ep++) {
                struct shape shape = {tp, n / tp, ep};
                struct split split = split_of(&shape, 1);
                struct err ignored = {0};
                struct shapes *to = &space->by_ranks[n];

                if (n % ep == 0 && graph_legal(space->model, &split, &ignored))
                    to->items[to->n++] = shape;
            }
}

static void add_layout(struct layouts *to, const struct layout *layout)
{
    if (to->n == to->cap) {
        to->cap = to->cap ? 2 * to->cap : 256;
        to->items = realloc(to->items, sizeof *to->items * (size_t)to->cap);
        if (!to->items)
            abort();
    }
    to->items[to->n++] = *layout;
}

/* Goes on with stage `stage` of replica `replica`: `left` ranks of the job and `own` of the replica have no place
 * yet. Replicas do not grow, so that no plan comes twice in another order. */
static void extend(struct space *space, struct layout *layout, int left, int own, int size)
{
    int replica = layout->n_replicas - 1, stage = layout->n_stages[replica];

    if (own == 0) {
        if (left == 0)
            add_layout(space->out, layout);
        for (int next = 1; next <= left && next <= size; next++) {
            layout->n_replicas++;
            layout->n_stages[replica + 1] = 0;
            extend(space, layout, left - next, next, next);
            layout->n_replicas--;
        }
        return;
    }
    if (stage == LAYOUT_STAGES || stage == space->model->n_layers)
        return;
    for (int n = 1; n <= own; n++)
        for (int i = 0; i < space->by_ranks[n].n; i++) {
            layout->stages[replica][stage] = space->by_ranks[n].items[i];
            layout->n_stages[replica] = stage + 1;
            extend(space, layout, left, own - n, size);
            layout->n_stages[replica] = stage;
        }
}

void layouts_find(struct layouts *out, const struct model *model, int n_ranks)
{
    struct layout layout = {0};
    struct space whole = {.model = model, .out = out}, *space = &whole;

    *out = (struct layouts){0};
    find_shapes(space, n_ranks);

    for (int size = 1; size <= n_ranks; size++) {
        layout.n_replicas = 1;
        layout.n_stages[0] = 0;
        extend(space, &layout, n_ranks - size, size, size);
    }
}

void layout_place_experts(
        struct expert_map *map, const struct model *model, int ep, struct arena *arena)
{
    int n = (int)model->moe.n, each = n / ep;

    *map = (struct expert_map){.n_experts = n,
            .slots = each + 1,
            .layers = ARENA_NEW(arena, struct expert_layer, model->n_layers)};
    for (int l = 0; l < model->n_layers; l++) {
        struct expert_layer *layer = &map->layers[map->n_layers];

        if (!model->layers[l].moe)
            continue;
        *layer = (struct expert_layer){.layer = map->n_layers++,
                .devices = ARENA_NEW(arena, struct expert_device, ep),
                .n_devices = ep};
        for (int d = 0; d < ep; d++) {
            int first = (d + l) % ep * each, more = (first + each) % n;
            int *experts = ARENA_NEW(arena, int, each + 1), at = 0;

            if (d > 0 && more < first)
                experts[at++] = more;
            for (int e = 0; e < each; e++)
                experts[at++] = first + e;
            if (d > 0 && more > first)
                experts[at++] = more;
            layer->devices[d] = (struct expert_device){.experts = experts, .n_experts = at};
        }
    }
}
