#include "planner/stages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/stages_inside.h"

enum {
    MOST_SEQS = 512,     /* of a group */
    LEAST_TOKENS = 64,   /* chunk budgets double from here ... */
    MOST_TOKENS = 16384, /* ... to here */
    POOL_TOKENS = 512    /* ... and from here where prompts have a pool of their own */
};

/* Devices that a group takes up: the smallest equal part of a node that it fits into, or whole nodes. */
static int slot_of(const struct cluster *cluster, int kind, const struct layout *layout)
{
    int node = cost_node_devices(cluster, kind);
    if (layout->budget[kind] == 0 || node < 1)
        return 0;
    if (layout->group >= node)
        return layout->group;
    for (int slot = layout->group; slot < node; slot++)
        if (node % slot == 0)
            return slot;
    return node;
}

/* No stage of any pattern hands the cache of a mean prompt on in less: one that holds a layer alone. */
static double least_transfer_us(struct stages *s)
{
    if (s->least_transfer_us > 0)
        return s->least_transfer_us;
    double least = HUGE_VAL;
    for (int c = 0; c < s->instance.n_configs; c++)
        for (int k = 0; k < s->input->cluster->n_kinds; k++) {
            if (s->layouts[c].budget[k] == 0)
                continue;
            struct split split = stages_split(s, k, c);
            least = fmin(least,
                    stages_cache_us(s, k, &split, (struct piece){0, 1}, stages_prompt_blocks(s)));
        }
    return s->least_transfer_us = least;
}

/* Service objectives as a cap of the time in which a micro-batch comes round (C17). */
static double round_cap_us(struct stages *s, const struct stage_limits *l)
{
    const struct workload *w = s->input->workload;
    double cap = HUGE_VAL;
    if (w->slo.tpot_us > 0 && l->role != ROLE_PREFILL)
        cap = w->slo.tpot_us * s->tighten;
    if (w->slo.ttft_us > 0 && l->role == ROLE_MIXED)
        cap = fmin(cap, w->slo.ttft_us * s->tighten / l->prefill_steps);
    if (w->slo.ttft_us > 0 && l->role == ROLE_PREFILL)
        cap = (w->slo.ttft_us * s->tighten - least_transfer_us(s)) / l->prefill_steps;
    return cap;
}

static void add_limits(struct stages *s, struct instance_limits *limits, struct stage_limits l)
{
    struct steady steady;
    if (!steady_of_role(
                &steady, s->demand, l.role, (double)l.max_seqs / l.groups, l.max_tokens, l.groups))
        return;
    l.prefill_steps = l.role == ROLE_DECODE ? 0 : steady.prefill_steps;
    l.requests_per_step = steady.requests_per_step * l.groups;
    /* More sequences than the chunk budget can feed take memory and serve nobody. */
    for (int i = s->instance.n_limits - 1; i >= 0; i--)
        if (s->limits[i].groups == l.groups && s->limits[i].role == l.role
                && s->limits[i].max_tokens == l.max_tokens && s->limits[i].max_seqs < l.max_seqs
                && s->limits[i].requests_per_step >= l.requests_per_step * (1 - 1e-12))
            return;
    int at = s->instance.n_limits++;
    s->limits[at] = l;
    limits[at] =
            (struct instance_limits){.name = arena_printf(&s->arena, "%s max_seqs=%d max_tokens=%d",
                                             replica_role_names[l.role], l.max_seqs, l.max_tokens),
                    .role = (int)l.role,
                    .family = l.groups,
                    .requests = l.requests_per_step,
                    .round_cap_us = round_cap_us(s, &l)};
}

/* Batch limits of one number of attention-dp groups: sequences and chunks double. */
static void list_mixed(struct stages *s, struct instance_limits *limits, int groups)
{
    for (int64_t seqs = 1; seqs <= MOST_SEQS && (seqs == 1 || seqs * groups < 2 * s->demand->n);
            seqs *= 2) {
        int64_t tokens = LEAST_TOKENS;
        while (tokens < seqs + 16)
            tokens *= 2;
        for (bool enough = false; !enough && tokens <= MOST_TOKENS; tokens *= 2) {
            add_limits(s, limits,
                    (struct stage_limits){.max_seqs = (int)(seqs * groups),
                            .max_tokens = (int)tokens,
                            .groups = groups});
            enough = tokens >= s->demand->max_prompt + seqs;
        }
    }
}

/* The least chunk of separate pools: a whole prompt, if that is not large. */
static int64_t least_chunk(const struct stages *s)
{
    int64_t most = LEAST_TOKENS;
    while (most < s->demand->max_prompt + 16 && most < MOST_TOKENS)
        most *= 2;
    return most < POOL_TOKENS ? most : POOL_TOKENS;
}

/* Chunks double. The sequences of a prefill replica are those that a chunk touches. */
static void list_prefill(struct stages *s, struct instance_limits *limits, int groups)
{
    const struct plan_force force = plan_force_of(&s->input->force, ROLE_PREFILL);
    int64_t least = least_chunk(s);
    for (int64_t tokens = force.max_tokens > 0 ? force.max_tokens : least;
            tokens <= MOST_TOKENS || tokens == force.max_tokens; tokens *= 2) {
        int64_t seqs = 1;
        while ((double)(seqs - 1) * s->demand->prompt < (double)tokens && seqs < MOST_SEQS)
            seqs *= 2;
        add_limits(s, limits,
                (struct stage_limits){.role = ROLE_PREFILL,
                        .max_seqs = force.max_seqs > 0 ? force.max_seqs : (int)(seqs * groups),
                        .max_tokens = (int)tokens,
                        .groups = groups});
        if (seqs * groups >= s->demand->n || force.max_tokens > 0)
            break;
    }
}

/* Sequences double; the chunk of a decode replica is for those that were preempted. */
static void list_decode(struct stages *s, struct instance_limits *limits, int groups)
{
    /* The runtime hands caches over to one group (runtime/place.c). */
    for (int k = 0; k < s->input->cluster->n_kinds; k++)
        if (s->input->cluster->kinds[k].type == DEVICE_CPU && groups > 1)
            return;
    const struct plan_force force = plan_force_of(&s->input->force, ROLE_DECODE);
    int64_t least = least_chunk(s);
    for (int64_t seqs = 1; seqs <= MOST_SEQS && (seqs == 1 || seqs * groups < 2 * s->demand->n);
            seqs *= 2) {
        int64_t tokens = least;
        while (tokens < seqs + 16)
            tokens *= 2;
        add_limits(s, limits,
                (struct stage_limits){.role = ROLE_DECODE,
                        .max_seqs = force.max_seqs > 0 ? force.max_seqs : (int)(seqs * groups),
                        .max_tokens = force.max_tokens > 0 ? force.max_tokens : (int)tokens,
                        .groups = groups});
        if (force.max_seqs > 0)
            break;
    }
}

/* C18: a cache that is handed over is copied, not converted: pools need one type for all stages. */
static bool one_cache_type(const struct planner_input *input)
{
    for (int i = 1; i < input->n_dtypes; i++)
        if (input->dtypes[i].kv != input->dtypes[0].kv)
            return false;
    return true;
}

static void list_limits(struct stages *s, struct instance_limits *limits, int groups)
{
    if (s->input->serving != SERVING_DISAGGREGATED)
        list_mixed(s, limits, groups);
    if (s->input->serving != SERVING_AGGREGATED && one_cache_type(s->input)) {
        list_prefill(s, limits, groups);
        list_decode(s, limits, groups);
    }
}

static void list_configs(struct stages *s, const struct layout *layouts, int n)
{
    const struct cluster *cluster = s->input->cluster;
    struct instance_config *configs = ARENA_NEW(&s->arena, struct instance_config, n);
    struct instance_limits *limits = ARENA_NEW(&s->arena, struct instance_limits, (int64_t)n * 160);
    s->limits = ARENA_NEW(&s->arena, struct stage_limits, (int64_t)n * 160);
    s->bytes = ARENA_NEW(&s->arena, struct config_bytes, n);
    s->instance.n_configs = n;
    for (int c = 0; c < n; c++) {
        const struct split *split = &layouts[c].split;
        bool new_family = true;
        for (int i = 0; i < c; i++)
            new_family = new_family && layouts[i].split.attention_dp != split->attention_dp;
        if (new_family)
            list_limits(s, limits, split->attention_dp);
        configs[c] = (struct instance_config){
                .name = arena_printf(&s->arena, "tp=%d ep=%d adp=%d threads=%d", split->tp,
                        split->ep, split->attention_dp, split->threads),
                .family = split->attention_dp};
        for (int k = 0; k < cluster->n_kinds; k++)
            configs[c].devices[k] = slot_of(cluster, k, &layouts[c]);
        stages_find_bytes(s, c);
    }
    s->instance.configs = configs;
    s->instance.limits = limits;
}

static void list_kinds(struct stages *s)
{
    const struct cluster *cluster = s->input->cluster;
    struct instance_kind *kinds = ARENA_NEW(&s->arena, struct instance_kind, cluster->n_kinds);
    for (int k = 0; k < cluster->n_kinds; k++) {
        kinds[k] = (struct instance_kind){
                .name = cluster->kinds[k].name, .price = cluster->kinds[k].price_per_hour / 3600};
        for (int i = 0; i < cluster->n_nodes; i++)
            if (strcmp(cluster->nodes[i].kind, cluster->kinds[k].name) == 0)
                kinds[k].devices += (int64_t)cluster->nodes[i].count * cluster->nodes[i].devices;
    }
    s->instance.kinds = kinds;
    s->instance.n_kinds = cluster->n_kinds;
}

struct stages *stages_open(const struct planner_input *input, struct cost_model *costs,
        const struct demand *demand, const struct layout *layouts, int n_layouts, double tighten,
        struct err *err)
{
    struct stages *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(err, ERR_ENV, "no memory to price the stages of %s", input->model->name);
        return NULL;
    }
    s->input = input;
    s->costs = costs;
    s->demand = demand;
    s->layouts = layouts;
    s->tighten = tighten;
    s->kind = -1;
    if (input->cluster->n_kinds > INSTANCE_KINDS || !stages_find_classes(s)) {
        err_set(err, ERR_NO, "%s on %s has more than %d device kinds or classes of layers",
                input->model->name, input->cluster->name, INSTANCE_KINDS);
        stages_close(s);
        return NULL;
    }
    s->instance = (struct instance){.name = input->cluster->name,
            .n_layers = input->model->n_layers,
            .layer_class = s->layer_class,
            .max_stages = STAGES_MOST,
            .objective = input->objective == OBJECTIVE_PRICE ? INSTANCE_PRICE : INSTANCE_THROUGHPUT,
            .demand = demand->requests_per_s,
            .price = stages_price,
            .self = s};
    list_kinds(s);
    list_configs(s, layouts, n_layouts);
    return s;
}

void stages_close(struct stages *s)
{
    if (s == NULL)
        return;
    arena_free(&s->arena);
    free(s);
}

const struct instance *stages_instance(const struct stages *s)
{
    return &s->instance;
}

const struct stage_limits *stages_limits(const struct stages *s, int limits)
{
    return &s->limits[limits];
}
