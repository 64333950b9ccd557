#include "planner/space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/cost.h"

/* Rows of the table that a search writes into. */
struct configs {
    struct config *items;
    int64_t n, cap;
    struct arena *arena;
};

static bool allows_threads(const struct device_kind *kind, int threads)
{
    if (kind->n_threads == 0)
        return threads == 1;
    for (int i = 0; i < kind->n_threads; i++)
        if (kind->threads[i] == threads)
            return true;
    return false;
}

static int most_threads(const struct cluster *cluster)
{
    int most = 1;
    for (int k = 0; k < cluster->n_kinds; k++)
        for (int i = 0; i < cluster->kinds[k].n_threads; i++)
            if (cluster->kinds[k].threads[i] > most)
                most = cluster->kinds[k].threads[i];
    return most;
}

static bool forced_other(int forced, int value)
{
    return forced > 0 && forced != value;
}

/* Groups larger than this are not tried: no model has as many heads and experts to split. */
enum {
    MOST_GROUP = 512
};

/* Devices of the largest group worth trying: a node, or whole nodes together. */
static int most_group(const struct cluster *cluster)
{
    int most = 0;
    for (int k = 0; k < cluster->n_kinds; k++) {
        int node = cost_node_devices(cluster, k);
        int64_t all = node > 0 ? cost_groups(cluster, k, node) * node : 0;
        if (all > MOST_GROUP)
            all = node > MOST_GROUP ? node : MOST_GROUP;
        if (all > most)
            most = (int)all;
    }
    return most;
}

/* Groups of each kind, and their sum. A group lies inside one node, or takes whole nodes. */
/* C5, C8: groups of each kind; none where the kind lists other threads or types (C18). */
static void fill_budget(struct layout *layout, const struct cluster *cluster, struct arena *arena)
{
    int *budget = ARENA_NEW(arena, int, cluster->n_kinds + 1);
    for (int k = 0; k < cluster->n_kinds; k++) {
        if (!allows_threads(&cluster->kinds[k], layout->split.threads)
                || !cluster_kind_allows(&cluster->kinds[k], layout->split.dtype))
            continue;
        int64_t groups = cost_groups(cluster, k, layout->group);
        budget[k] = groups < INT32_MAX ? (int)groups : INT32_MAX;
        layout->groups += budget[k];
    }
    layout->budget = budget;
}

/* Why the forced values leave nothing, rule by rule, in the order a person would check them. */
static bool explain_layouts(const struct planner_input *input, struct err *err)
{
    const struct plan_force *f = &input->force;
    const struct cluster *cluster = input->cluster;
    int node = 0;
    for (int k = 0; k < cluster->n_kinds; k++)
        if (cost_node_devices(cluster, k) > node)
            node = cost_node_devices(cluster, k);
    struct split split = {.tp = f->tp > 0 ? f->tp : 1,
            .attention_dp = f->attention_dp > 0 ? f->attention_dp : 1,
            .ep = f->ep > 0 ? f->ep : 1,
            .threads = f->threads > 0 ? f->threads : 1,
            .dtype = input->dtype,
            .kv_dtype = input->kv_dtype,
            .deterministic = input->deterministic,
            .mtp = input->mtp ? input->model->n_mtp : 0};
    if (f->ep == 0 && split.attention_dp > 1 && input->model->moe.n > 0)
        split.ep = split.attention_dp;
    if (f->tp == 0 && f->ep > 1 && split.attention_dp == 1)
        split.tp = f->ep;
    struct err rule = {0};
    if (!graph_legal(input->model, &split, &rule))
        return err_set(err, ERR_NO, "no legal plan has tp=%d ep=%d adp=%d threads=%d: %s", split.tp,
                split.ep, split.attention_dp, split.threads, rule.text);
    for (int k = 0; k < cluster->n_kinds; k++) {
        const struct device_kind *kind = &cluster->kinds[k];
        if (f->threads > 0 && !allows_threads(kind, f->threads))
            return err_at(err, kind->pos,
                    "no legal plan has threads=%d: device kind %s does not list it under threads; "
                    "force "
                    "another value or add it there",
                    f->threads, kind->name);
    }
    int group = split.tp * split.attention_dp * split.threads;
    return err_set(err, ERR_NO,
            "no legal plan has tp=%d adp=%d threads=%d: one stage takes %d devices of one node or "
            "of whole nodes, and the largest node has %d; force another number",
            split.tp, split.attention_dp, split.threads, group, node);
}

static int n_types(const struct planner_input *input)
{
    return input->n_dtypes > 0 ? input->n_dtypes : 1;
}

/* The types that stages may have, one after the other. */
static struct dtype_pair dtypes_of(const struct planner_input *input, int i)
{
    return input->n_dtypes > 0 ? input->dtypes[i]
                               : (struct dtype_pair){input->dtype, input->kv_dtype};
}

static void try_layout(struct layout *out, int *n, const struct planner_input *input,
        struct split split, struct arena *arena)
{
    const struct plan_force *f = &input->force;
    struct err reason = {0};
    if (forced_other(f->tp, split.tp) || forced_other(f->ep, split.ep)
            || forced_other(f->attention_dp, split.attention_dp)
            || forced_other(f->threads, split.threads)
            || !graph_legal(input->model, &split, &reason))
        return;
    struct layout layout = {.split = split, .group = split.tp * split.attention_dp * split.threads};
    fill_budget(&layout, input->cluster, arena);
    if (layout.groups > 0)
        out[(*n)++] = layout;
}

/* A shape with every ep, and with every type. */
static void try_experts_and_types(struct layout *out, int *n, const struct planner_input *input,
        struct split split, struct arena *arena)
{
    const int eps[3] = {1, split.tp, split.tp * split.attention_dp};
    for (int i = 0; i < 3; i++) {
        if (i > 0 && eps[i] == eps[i - 1])
            continue;
        split.ep = eps[i];
        for (int d = 0; d < n_types(input); d++) {
            split.dtype = dtypes_of(input, d).weights;
            split.kv_dtype = dtypes_of(input, d).kv;
            try_layout(out, n, input, split, arena);
        }
    }
}

bool space_layouts(struct layout **out, int *n, const struct planner_input *input,
        struct arena *arena, struct err *err)
{
    const struct cluster *cluster = input->cluster;
    int node = most_group(cluster);
    int threads_end = most_threads(cluster);
    /* Group shapes: tp * attention_dp * threads <= node, three values of ep each. */
    int64_t cap = 0;
    for (int threads = 1; threads <= threads_end; threads++)
        for (int tp = 1; tp * threads <= node; tp++)
            cap += (int64_t)3 * (node / (tp * threads));
    *out = ARENA_NEW(arena, struct layout, cap * n_types(input) + 1);
    *n = 0;
    for (int tp = 1; tp <= node; tp++)
        for (int adp = 1; tp * adp <= node; adp++)
            for (int threads = 1; threads <= threads_end && tp * adp * threads <= node; threads++) {
                struct split split = {.tp = tp,
                        .ep = 1,
                        .attention_dp = adp,
                        .threads = threads,
                        .busy = 1,
                        .deterministic = input->deterministic,
                        .mtp = input->mtp ? input->model->n_mtp : 0};
                try_experts_and_types(*out, n, input, split, arena);
            }
    return *n > 0 || explain_layouts(input, err);
}

static void add_config(struct configs *to, const struct config *config)
{
    if (to->n == to->cap) {
        to->cap = to->cap > 0 ? to->cap * 2 : 256;
        to->items = arena_grow(to->arena, to->items, to->n, to->cap, sizeof *to->items);
    }
    to->items[to->n++] = *config;
}

/* Doubling steps from first to last, last included. */
static int ladder(int *out, int max, int64_t first, int64_t last)
{
    int n = 0;
    for (int64_t v = first; v < last && n < max - 1; v *= 2)
        out[n++] = (int)v;
    out[n++] = (int)last;
    return n;
}

enum {
    LADDER = 16,
    MOST_SEQS = 256,
    LEAST_TOKENS = 64,
    MOST_TOKENS = 2048
};

static void add_limits(struct configs *to, struct config config, const struct planner_input *input,
        const struct demand *demand)
{
    const struct plan_force *f = &input->force;
    int groups = config.layout->split.attention_dp;
    /* More sequences at once than a replica has requests is never of use. */
    int64_t requests = (demand->n + config.dp - 1) / config.dp;
    int64_t most = (requests + config.in_flight - 1) / config.in_flight;
    if (most < groups)
        most = groups;
    int seqs[LADDER];
    int n_seqs = ladder(seqs, LADDER, groups, most < MOST_SEQS ? most : MOST_SEQS);
    if (f->max_seqs > 0)
        n_seqs = ladder(seqs, LADDER, f->max_seqs, f->max_seqs);
    for (int i = 0; i < n_seqs; i++) {
        if (seqs[i] < groups)
            continue;
        config.max_seqs = seqs[i];
        int per_group = (seqs[i] + groups - 1) / groups;
        int64_t least = LEAST_TOKENS;
        while (least < per_group + 16)
            least *= 2;
        int64_t enough = least;
        while (enough < demand->max_prompt + per_group && enough < MOST_TOKENS)
            enough *= 2;
        int tokens[LADDER];
        int n_tokens = ladder(tokens, LADDER, least, enough);
        if (f->max_tokens > 0)
            n_tokens = ladder(tokens, LADDER, f->max_tokens, f->max_tokens);
        for (int j = 0; j < n_tokens; j++) {
            config.max_tokens = tokens[j];
            config.kv_blocks = f->kv_blocks > 0
                                       ? f->kv_blocks
                                       : demand_blocks(demand, seqs[i], config.in_flight, groups);
            struct steady steady;
            if (steady_of(&steady, demand, (double)seqs[i] / groups, tokens[j], groups))
                add_config(to, &config);
        }
    }
}

static void add_pipelines(struct configs *to, const struct layout *layout,
        const struct planner_input *input, const struct demand *demand)
{
    const struct plan_force *f = &input->force;
    int64_t dp_end = layout->groups < demand->n ? layout->groups : demand->n;
    for (int dp = 1; dp <= dp_end; dp++) {
        if (forced_other(f->dp, dp))
            continue;
        int64_t pp_end = layout->groups / dp;
        if (pp_end > input->model->n_layers)
            pp_end = input->model->n_layers;
        for (int pp = 1; pp <= pp_end; pp++) {
            if (forced_other(f->pp, pp) || forced_other(f->n_layers, pp))
                continue;
            for (int in_flight = 1; in_flight <= pp; in_flight++) {
                /* Between one and all only when asked: either end wins. */
                if (forced_other(f->in_flight, in_flight)
                        || (f->in_flight == 0 && in_flight != 1 && in_flight != pp))
                    continue;
                struct config config = {
                        .layout = layout, .dp = dp, .pp = pp, .in_flight = in_flight};
                add_limits(to, config, input, demand);
            }
        }
    }
}

static bool explain_configs(const struct planner_input *input, const struct layout *layouts,
        int n_layouts, const struct demand *demand, struct err *err)
{
    const struct plan_force *f = &input->force;
    int64_t groups = 0;
    for (int i = 0; i < n_layouts; i++)
        if (layouts[i].groups > groups)
            groups = layouts[i].groups;
    int pp = f->pp > 0 ? f->pp : f->n_layers;
    int dp = f->dp > 0 ? f->dp : 1;
    if (pp > input->model->n_layers)
        return err_set(err, ERR_NO,
                "no legal plan has pp=%d: %s has %d layers, one per stage at least", pp,
                input->model->name, input->model->n_layers);
    if (f->dp > demand->n)
        return err_set(err, ERR_NO,
                "no plan has dp=%d: the workload has %lld requests, one per replica at least",
                f->dp, (long long)demand->n);
    if ((int64_t)dp * (pp > 0 ? pp : 1) > groups)
        return err_set(err, ERR_NO,
                "no legal plan has dp=%d pp=%d: that takes %lld groups of devices and the cluster "
                "has "
                "%lld; force less",
                dp, pp > 0 ? pp : 1, (long long)dp * (pp > 0 ? pp : 1), (long long)groups);
    if (f->in_flight > (pp > 0 ? pp : 1))
        return err_set(err, ERR_NO,
                "no plan has in_flight=%d: a pipeline of %d stages takes 1 to %d micro-batches",
                f->in_flight, pp > 0 ? pp : 1, pp > 0 ? pp : 1);
    return err_set(err, ERR_NO,
            "no plan has max_seqs=%d max_tokens=%d: a step must have room for every sequence and 8 "
            "more "
            "tokens; raise max_tokens or lower max_seqs",
            f->max_seqs, f->max_tokens);
}

bool space_configs(struct config_list *out, const struct layout *layouts, int n_layouts,
        const struct planner_input *input, const struct demand *demand, struct arena *arena,
        struct err *err)
{
    struct configs configs = {.arena = arena};
    for (int i = 0; i < n_layouts; i++)
        add_pipelines(&configs, &layouts[i], input, demand);
    *out = (struct config_list){configs.items, configs.n};
    return configs.n > 0 || explain_configs(input, layouts, n_layouts, demand, err);
}
