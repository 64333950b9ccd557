/*
 * What a stage costs: the figures of one layer of each class, added up, and the bytes of a rank.
 */
#include "planner/stages.h"

#include <math.h>

#include "planner/stages_inside.h"

enum {
    WORK_DENSE = 1,
    WORK_MOE = 2,
    WORK_LAST = 4
};

/*
 * What a step of a piece takes, as figures that add up: those of a piece are the sums over its layers, with
 * the embedding and the head where they are, less one constant for each layer but the first (its norm adds a
 * residual).
 */
static void cost_parts_of(struct cost_parts *out, const struct stages *s, struct piece piece,
        const struct step_shape *shape)
{
    struct step_cost cost;
    struct cost_meetings meetings;
    cost_part(&cost, &meetings, s->costs, s->kind, &s->split, piece, shape);
    *out = (struct cost_parts){cost.us, meetings.variance_us2, meetings.count};
}

static void add_parts(struct cost_parts *to, const struct cost_parts *more, double times)
{
    to->us += times * more->us;
    to->variance_us2 += times * more->variance_us2;
    to->meetings += times * more->meetings;
}

static bool same_class(const struct model_layer *a, const struct model_layer *b)
{
    return a->moe == b->moe && a->attention == b->attention && a->window == b->window
           && a->rope == b->rope;
}

bool stages_find_classes(struct stages *s)
{
    const struct model *model = s->input->model;
    s->layer_class = ARENA_NEW(&s->arena, int, model->n_layers);
    s->moe_sum = ARENA_NEW(&s->arena, int, model->n_layers + 1);
    s->pure.sum = ARENA_NEW(&s->arena, struct cost_parts, model->n_layers + 1);
    s->mixed.sum = ARENA_NEW(&s->arena, struct cost_parts, model->n_layers + 1);
    for (int l = 0; l < model->n_layers; l++) {
        int c = 0;
        while (c < s->n_classes && !same_class(&model->layers[s->sample[c]], &model->layers[l]))
            c++;
        if (c == STAGES_CLASSES)
            return false;
        if (c == s->n_classes)
            s->sample[s->n_classes++] = l;
        /* Neither end: an end has the embedding or the head with it. */
        if (l > 0 && l < model->n_layers - 1 && s->sample[c] == 0)
            s->sample[c] = l;
        s->layer_class[l] = c;
        s->moe_sum[l + 1] = s->moe_sum[l] + model->layers[l].moe;
    }
    return true;
}

struct split stages_split(const struct stages *s, int kind, int config)
{
    const struct cluster *cluster = s->input->cluster;
    struct split split = s->layouts[config].split;
    int ranks = split.tp * split.attention_dp;
    int host = cost_node_devices(cluster, kind) / split.threads;
    /* Every device of a host works: nothing takes turns on a cluster that is put to full use. */
    split.busy = host > 0 && host < ranks ? ranks : host;
    split.nodes = cost_group_nodes(cluster, kind, s->layouts[config].group);
    if (split.nodes > 1)
        split.busy = host;
    return split;
}

static void find_step(struct stages *s, struct step_parts *out, const struct step_shape *shape)
{
    int last = s->instance.n_layers;
    struct cost_parts of_class[STAGES_CLASSES];
    struct cost_parts first;
    struct cost_parts end;
    for (int c = 0; c < s->n_classes; c++)
        cost_parts_of(&of_class[c], s, (struct piece){s->sample[c], s->sample[c] + 1}, shape);
    cost_parts_of(&first, s, (struct piece){0, 1}, shape);
    cost_parts_of(&end, s, (struct piece){last - 1, last}, shape);
    for (int l = 0; l < last; l++) {
        const struct cost_parts *inside = l == last - 1 ? &end : &of_class[s->layer_class[l]];
        out->sum[l + 1] = out->sum[l];
        add_parts(&out->sum[l + 1], l == 0 ? &first : inside, 1);
    }
    out->joint = (struct cost_parts){0};
    if (last < 2)
        return;
    cost_parts_of(&out->joint, s, (struct piece){0, 2}, shape);
    cost_parts_of(&end, s, (struct piece){1, 2}, shape);
    add_parts(&out->joint, &first, -1);
    add_parts(&out->joint, &end, -1);
}

static double step_us(const struct stages *s, const struct step_parts *parts, int first, int end)
{
    struct cost_parts sum = parts->sum[end];
    add_parts(&sum, &parts->sum[first], -1);
    add_parts(&sum, &parts->joint, end - first - 1);
    sum.variance_us2 = fmax(0, sum.variance_us2);
    const struct cost_meetings meetings = {sum.variance_us2, sum.meetings, OP_ALL_REDUCE};
    return sum.us + cost_waiting_us(&meetings, &s->split);
}

/* Prepares for the pieces of one kind, configuration and limits. */
static void turn_to(struct stages *s, int kind, int config, int limits)
{
    const struct stage_limits *l = &s->limits[limits];
    const struct cluster *cluster = s->input->cluster;
    struct steady steady;
    s->kind = kind;
    s->config = config;
    s->at = limits;
    s->split = stages_split(s, kind, config);
    for (int i = 0; i < STAGES_HOLDS; i++)
        s->work[i] = -1;
    for (int i = 0; i < STAGES_MOST; i++)
        s->blocks[i] = demand_role_blocks(s->demand, l->role, l->max_seqs, i + 1, l->groups);
    if (!steady_of_role(&steady, s->demand, l->role, (double)l->max_seqs / l->groups, l->max_tokens,
                l->groups))
        return;
    s->mixed_frac = steady.mixed_frac;
    if (l->role != ROLE_PREFILL)
        find_step(s, &s->pure, &steady.pure);
    if (l->role != ROLE_DECODE)
        find_step(s, &s->mixed, &steady.mixed);
    bool between = cost_between_nodes(cluster);
    s->send_us =
            (1 - s->mixed_frac)
                    * cost_send_us(s->costs, kind, &s->split, steady.pure.tokens, between)
            + s->mixed_frac * cost_send_us(s->costs, kind, &s->split, steady.mixed.tokens, between);
}

static int64_t weight_bytes(const struct stages *s, int config, int first, int end)
{
    const struct config_bytes *b = &s->bytes[config];
    int64_t bytes = b->layer_sum[end] - b->layer_sum[first];
    bool last = end == s->instance.n_layers;
    if (first == 0 && last)
        return bytes + b->both;
    return bytes + (first == 0 ? b->first : 0) + (last ? b->last : 0);
}

/* Work buffers depend on whether a piece has dense layers, experts and the head, and on nothing else. */
static int64_t work_bytes(struct stages *s, struct piece piece)
{
    const struct model *model = s->input->model;
    int holds = piece.end_layer == model->n_layers ? WORK_LAST : 0;
    int moe = s->moe_sum[piece.end_layer] - s->moe_sum[piece.first_layer];
    holds |= moe > 0 ? WORK_MOE : 0;
    holds |= moe < piece.end_layer - piece.first_layer ? WORK_DENSE : 0;
    if (s->work[holds] < 0)
        s->work[holds] = graph_work_bytes(
                model, &s->split, piece, s->limits[s->at].max_seqs, s->limits[s->at].max_tokens);
    return s->work[holds];
}

static int64_t room_bytes(const struct stages *s, int kind, int config)
{
    return s->input->cluster->kinds[kind].memory_bytes * s->layouts[config].split.threads;
}

static int most_in_flight(struct stages *s, struct piece piece)
{
    int64_t room = room_bytes(s, s->kind, s->config)
                   - weight_bytes(s, s->config, piece.first_layer, piece.end_layer)
                   - work_bytes(s, piece);
    int64_t block = graph_kv_block_bytes(s->input->model, &s->split, piece, PLAN_BLOCK_TOKENS);
    int most = 0;
    while (most < STAGES_MOST && s->blocks[most] * block <= room)
        most++;
    return most;
}

int64_t stages_prompt_blocks(const struct stages *s)
{
    return (int64_t)ceil(s->demand->prompt / PLAN_BLOCK_TOKENS);
}

/* A rank of a stage and the cache of a mean prompt. */
double stages_cache_us(const struct stages *s, int kind, const struct split *split,
        struct piece piece, int64_t blocks)
{
    int64_t bytes = blocks * graph_kv_block_bytes(s->input->model, split, piece, PLAN_BLOCK_TOKENS);
    return cost_cache_us(s->costs, kind, split, bytes, cost_between_nodes(s->input->cluster));
}

struct stages_transfer stages_transfer(const struct stages *s, const struct pattern *pattern)
{
    struct stages_transfer out = {0};
    double block_us = 0;
    int64_t blocks = stages_prompt_blocks(s);
    int64_t block_bytes = 0;
    for (int i = 0; i < pattern->n_stages; i++) {
        const struct pattern_stage *at = &pattern->stages[i];
        struct split split = stages_split(s, at->kind, at->config);
        struct piece piece = {at->first, at->end};
        double us = stages_cache_us(s, at->kind, &split, piece, blocks);
        if (us >= out.us) {
            out.us = us;
            block_us = stages_cache_us(s, at->kind, &split, piece, 1);
        }
        block_bytes += graph_kv_block_bytes(s->input->model, &split, piece, PLAN_BLOCK_TOKENS)
                       * split.tp / graph_kv_copies(s->input->model, split.tp);
    }
    out.bytes = (double)(block_bytes * blocks);
    /* A line through one block and a mean prompt. */
    out.latency_us = blocks > 1 ? block_us - (out.us - block_us) / (double)(blocks - 1) : 0;
    out.latency_us = fmin(fmax(0, out.latency_us), out.us);
    if (out.us > out.latency_us)
        out.rate = out.bytes / (out.us - out.latency_us) * 1e6;
    return out;
}

void stages_price(void *self, struct instance_price *out, int kind, int config, int limits,
        int first, int end)
{
    struct stages *s = self;
    if (kind != s->kind || config != s->config || limits != s->at)
        turn_to(s, kind, config, limits);
    out->most_in_flight = most_in_flight(s, (struct piece){first, end});
    out->us = out->send_us = 0;
    if (out->most_in_flight == 0)
        return;
    const struct stage_limits *l = &s->limits[limits];
    if (l->role != ROLE_PREFILL)
        out->us += (1 - s->mixed_frac) * step_us(s, &s->pure, first, end);
    if (l->role != ROLE_DECODE)
        out->us += s->mixed_frac * step_us(s, &s->mixed, first, end);
    /* Caches come and go while the stage computes (C16): the links may be what sets its pace. */
    if (l->role != ROLE_MIXED)
        out->us =
                fmax(out->us, l->requests_per_step / l->groups
                                      * stages_cache_us(s, kind, &s->split,
                                              (struct piece){first, end}, stages_prompt_blocks(s)));
    out->send_us = s->send_us;
}

int64_t stages_kv_blocks(const struct stages *s, const struct pattern *pattern)
{
    const struct stage_limits *l = &s->limits[pattern->limits];
    int64_t seqs = ((int64_t)l->max_seqs * pattern->in_flight + l->groups - 1) / l->groups;
    int64_t blocks = seqs * demand_longest_blocks(s->demand) + 1;
    for (int i = 0; i < pattern->n_stages; i++) {
        const struct pattern_stage *at = &pattern->stages[i];
        struct split split = stages_split(s, at->kind, at->config);
        struct piece piece = {at->first, at->end};
        int64_t room =
                room_bytes(s, at->kind, at->config)
                - weight_bytes(s, at->config, at->first, at->end)
                - graph_work_bytes(s->input->model, &split, piece, l->max_seqs, l->max_tokens);
        int64_t block = graph_kv_block_bytes(s->input->model, &split, piece, PLAN_BLOCK_TOKENS);
        if (block > 0 && room / block < blocks)
            blocks = room / block;
    }
    return blocks;
}

void stages_find_bytes(struct stages *s, int config)
{
    const struct model *model = s->input->model;
    const struct split *split = &s->layouts[config].split;
    struct config_bytes *b = &s->bytes[config];
    int last = model->n_layers;
    b->layer_sum = ARENA_NEW(&s->arena, int64_t, last + 1);
    for (int l = 0; l < last; l++) {
        int64_t bytes[WEIGHT_COUNT];
        graph_layer_weights(bytes, model, split, l);
        b->layer_sum[l + 1] = b->layer_sum[l];
        for (int i = 0; i < WEIGHT_COUNT; i++)
            b->layer_sum[l + 1] += bytes[i];
    }
    const struct piece pieces[] = {{0, last - 1}, {1, last}, {0, last}};
    int64_t *out[] = {&b->first, &b->last, &b->both};
    for (int i = 0; i < 3; i++) {
        int64_t bytes[WEIGHT_COUNT];
        graph_end_weights(bytes, model, split, pieces[i]);
        for (int j = 0; j < WEIGHT_COUNT; j++)
            *out[i] += bytes[j];
    }
}
