#include "planner/cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_OPS = 128 /* graph_step writes about 30 for one prefill sequence */
};

void step_cost_add(struct step_cost *to, const struct step_cost *more, double times)
{
    to->us += times * more->us;
    to->lo_us += times * more->lo_us;
    to->hi_us += times * more->hi_us;
    for (int s = 0; s < COST_SOURCES; s++)
        to->source_us[s] += times * more->source_us[s];
    to->memory_us += times * more->memory_us;
    for (int k = 0; k < OP_KIND_COUNT; k++) {
        to->kind_us[k] += times * more->kind_us[k];
        to->estimated_kind_us[k] += times * more->estimated_kind_us[k];
    }
}

double step_cost_network_us(const struct step_cost *cost)
{
    double us = 0;
    for (int k = OP_ALL_REDUCE; k < OP_KIND_COUNT; k++)
        us += cost->kind_us[k];
    return us;
}

struct cost_model {
    const struct model *model;
    const struct cluster *cluster;
    struct lookup **lookups; /* by device kind */
    bool upper;              /* cost_inflate */
    double compute, network;
};

static bool open_kind(struct cost_model *costs, int k, const struct profile *profiles,
        int n_profiles, struct err *err)
{
    const struct device_kind *kind = &costs->cluster->kinds[k];
    const struct profile *profile = NULL;
    for (int i = 0; i < n_profiles && profile == NULL; i++)
        if (profiles[i].n > 0
                && (profiles[i].device == NULL || strcmp(profiles[i].device, kind->name) == 0))
            profile = &profiles[i];
    struct lookup_device device = {
            .flops = kind->flops, .flops_f8 = kind->flops_f8, .bytes_per_s = kind->memory_rate};
    const struct cluster_link *inside =
            cluster_best_link(costs->cluster, kind->name, true, &device.link_bytes_per_s);
    const struct cluster_link *between =
            cluster_best_link(costs->cluster, kind->name, false, &device.between_bytes_per_s);
    device.link_us = inside != NULL ? inside->latency_us : 0;
    device.between_us = between != NULL ? between->latency_us : 0;
    costs->lookups[k] = lookup_open_device(profile, &device, err);
    if (costs->lookups[k] == NULL)
        return false;
    if (!lookup_has_ceilings(costs->lookups[k]))
        return err_at(err, kind->pos,
                "device kind %s was not measured and states no flops and memory_rate: run "
                "`shardwright "
                "profile` there, or add both figures of its datasheet",
                kind->name);
    return true;
}

struct cost_model *cost_open(const struct model *model, const struct cluster *cluster,
        const struct profile *profiles, int n_profiles, struct err *err)
{
    struct cost_model *costs = calloc(1, sizeof *costs);
    if (costs != NULL)
        costs->lookups = calloc((size_t)cluster->n_kinds + 1, sizeof(struct lookup *));
    if (costs == NULL || costs->lookups == NULL) {
        err_set(err, ERR_ENV, "no memory for the cost model");
        cost_close(costs);
        return NULL;
    }
    costs->model = model;
    costs->compute = costs->network = 1;
    costs->cluster = cluster;
    for (int k = 0; k < cluster->n_kinds; k++)
        if (!open_kind(costs, k, profiles, n_profiles, err)) {
            cost_close(costs);
            return NULL;
        }
    return costs;
}

void cost_close(struct cost_model *costs)
{
    if (costs == NULL)
        return;
    for (int k = 0; costs->lookups != NULL && costs->cluster != NULL && k < costs->cluster->n_kinds;
            k++)
        lookup_close(costs->lookups[k]);
    free(costs->lookups);
    free(costs);
}

const struct model *cost_model_of(const struct cost_model *costs)
{
    return costs->model;
}

const struct cluster *cost_cluster(const struct cost_model *costs)
{
    return costs->cluster;
}

struct lookup *cost_lookup(struct cost_model *costs, int kind)
{
    return costs->lookups[kind];
}

void cost_inflate(struct cost_model *costs, bool upper, double compute, double network)
{
    costs->upper = upper;
    costs->compute = compute;
    costs->network = network;
}

struct cost cost_op(struct cost_model *costs, int kind, const struct op *op)
{
    struct cost cost = lookup_cost(costs->lookups[kind], op);
    double times = op_is_collective(op->kind) ? costs->network : costs->compute;
    if (costs->upper)
        cost.us = cost.lo_us = cost.hi_us;
    cost.us *= times;
    cost.lo_us *= times;
    cost.hi_us *= times;
    return cost;
}

/* Expected maximum of 2^i standard normal values; published tables of normal order statistics. */
static double normal_maximum(int n)
{
    static const double of_power[] = {0, 0.5642, 1.0294, 1.4236, 1.7660, 2.0697, 2.3437, 2.5946};
    const int most = (int)(sizeof of_power / sizeof *of_power) - 1;
    double power = log2(n < 1 ? 1 : n);
    int below = power < most ? (int)power : most - 1;
    return of_power[below] + (power - below) * (of_power[below + 1] - of_power[below]);
}

/* Rows that uniform routing brings to the local experts are binomial: m * top_k draws, share local / experts. */
static double routing_sd_frac(const struct op *op)
{
    if (op->kind != OP_EXPERT_GEMM || op->dim[3] >= op->dim[4])
        return 0;
    double share = (double)op->dim[3] / (double)op->dim[4];
    return sqrt((1 - share) / ((double)(op->dim[0] * op->dim[5]) * share));
}

static void meetings_add(
        struct cost_meetings *meetings, const struct op *op, const struct cost *cost, double times)
{
    if (!op_is_collective(op->kind)) {
        double routing = routing_sd_frac(op);
        double variance_frac2 = cost->sd_frac * cost->sd_frac + routing * routing;
        meetings->variance_us2 += times * cost->us * cost->us * variance_frac2;
        return;
    }
    if (meetings->count == 0)
        meetings->kind = op->kind;
    meetings->count += times;
}

double cost_waiting_us(const struct cost_meetings *meetings, const struct split *split)
{
    if (meetings->count <= 0)
        return 0;
    return normal_maximum(split->tp * split->attention_dp)
           * sqrt(meetings->count * meetings->variance_us2);
}

/* How the device kind's costs cut a step: imported tables have modules whole, and 16-bit activations. */
struct split cost_priced_split(const struct cost_model *costs, int kind, const struct split *split)
{
    const struct lookup *lookup = costs->lookups[kind];
    struct split priced = *split;
    priced.whole_moe = lookup_has_imported(lookup, OP_MOE);
    priced.whole_mla = lookup_has_imported(lookup, OP_MLA_MODULE_PREFILL)
                       && lookup_has_imported(lookup, OP_MLA_MODULE_DECODE);
    priced.activation = lookup_has_imported(lookup, OP_GEMM) ? DTYPE_BF16 : DTYPE_F32;
    return priced;
}

void cost_part(struct step_cost *out, struct cost_meetings *meetings, struct cost_model *costs,
        int kind, const struct split *split, struct piece piece, const struct step_shape *shape)
{
    struct graph_op ops[MAX_OPS];
    struct lookup *lookup = costs->lookups[kind];
    memset(out, 0, sizeof *out);
    *meetings = (struct cost_meetings){0};
    const struct split priced = cost_priced_split(costs, kind, split);
    int n = graph_step(ops, MAX_OPS, costs->model, &priced, piece, shape);
    for (int i = 0; i < n && i < MAX_OPS; i++) {
        const struct op *op = &ops[i].op;
        struct cost cost = cost_op(costs, kind, op);
        double times = (double)ops[i].count;
        out->us += times * cost.us;
        out->lo_us += times * cost.lo_us;
        out->hi_us += times * cost.hi_us;
        out->kind_us[op->kind] += times * cost.us;
        meetings_add(meetings, op, &cost, times);
        out->source_us[cost.source] += times * cost.us;
        if (cost.source == COST_ESTIMATED)
            out->estimated_kind_us[op->kind] += times * cost.us;
        bool memory = false;
        if (!op_is_collective(op->kind))
            lookup_roof_us(lookup, op, &memory);
        if (memory)
            out->memory_us += times * cost.us;
    }
}

void cost_piece(struct step_cost *out, struct cost_model *costs, int kind,
        const struct split *split, struct piece piece, const struct step_shape *shape)
{
    struct cost_meetings meetings;
    cost_part(out, &meetings, costs, kind, split, piece, shape);
    double us = cost_waiting_us(&meetings, split);
    out->us += us;
    out->lo_us += us;
    out->hi_us += us;
    out->kind_us[meetings.kind] += us;
}

double cost_send_us(struct cost_model *costs, int kind, const struct split *split, int64_t tokens,
        bool between_nodes)
{
    const struct split priced = cost_priced_split(costs, kind, split);
    return cost_cache_us(
            costs, kind, split, graph_boundary_bytes(costs->model, &priced, tokens), between_nodes);
}

bool cost_between_nodes(const struct cluster *cluster)
{
    return cluster->n_nodes > 1 || cluster->nodes[0].count > 1;
}

double cost_cache_us(struct cost_model *costs, int kind, const struct split *split, int64_t bytes,
        bool between_nodes)
{
    if (bytes <= 0)
        return 0;
    struct op op = {.kind = OP_SEND_RECV,
            .dtype = DTYPE_F32,
            .degree = 2,
            .busy = split->busy,
            .nodes = between_nodes ? 2 : 0,
            .dim = {bytes}};
    return cost_op(costs, kind, &op).us;
}

struct rank_bytes cost_memory(const struct cost_model *costs, const struct split *split,
        struct piece piece, const struct plan_replica *limits, int block_tokens)
{
    return (struct rank_bytes){
            .weight = graph_weight_bytes(costs->model, split, piece),
            .kv = limits->kv_blocks
                  * graph_kv_block_bytes(costs->model, split, piece, block_tokens),
            .work = graph_work_bytes(
                    costs->model, split, piece, limits->max_seqs, limits->max_tokens),
    };
}

int cost_busy(int n_replicas, int n_stages, int stage_ranks, int in_flight, int64_t host_ranks)
{
    int64_t together = in_flight > 1 ? n_stages : 1;
    int64_t busy = together * stage_ranks * n_replicas;
    return (int)(busy < host_ranks ? busy : host_ranks);
}

double cost_price_per_hour(const struct plan *plan, const struct cluster *cluster)
{
    double price = 0;
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            const struct device_kind *kind = cluster_kind(cluster, stage->kind);
            if (kind != NULL)
                price += kind->price_per_hour * stage->n_ranks * stage->threads;
        }
    return price;
}

int cost_node_devices(const struct cluster *cluster, int kind)
{
    int most = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        if (strcmp(cluster->nodes[i].kind, cluster->kinds[kind].name) == 0
                && cluster->nodes[i].devices > most)
            most = cluster->nodes[i].devices;
    return most;
}

int cost_group_nodes(const struct cluster *cluster, int kind, int group)
{
    int node = cost_node_devices(cluster, kind);
    return node < 1 || group <= node ? 0 : group % node == 0 ? group / node : -1;
}

int64_t cost_groups(const struct cluster *cluster, int kind, int group)
{
    int64_t groups = 0;
    int64_t whole = 0;
    int node = cost_node_devices(cluster, kind);
    int nodes = cost_group_nodes(cluster, kind, group);
    for (int i = 0; i < cluster->n_nodes; i++) {
        const struct cluster_node *at = &cluster->nodes[i];
        if (strcmp(at->kind, cluster->kinds[kind].name) != 0)
            continue;
        groups += (int64_t)at->count * (at->devices / group);
        whole += at->devices == node ? at->count : 0;
    }
    return nodes > 1 ? whole / nodes : nodes < 0 ? 0 : groups;
}

struct split cost_plan_split(const struct plan *plan, const struct plan_replica *replica,
        const struct plan_stage *stage, const struct cluster *cluster, int *kind)
{
    *kind = -1;
    for (int k = 0; k < cluster->n_kinds && stage->kind != NULL; k++)
        if (strcmp(cluster->kinds[k].name, stage->kind) == 0)
            *kind = k;
    int host = *kind >= 0 ? cost_node_devices(cluster, *kind)
                                    / (stage->threads > 0 ? stage->threads : 1)
                          : stage->n_ranks;
    return (struct split){
            .tp = stage->tp,
            .ep = stage->ep,
            .attention_dp = stage->attention_dp,
            .threads = stage->threads,
            .busy = cost_busy(
                    plan->n_replicas, replica->n_stages, stage->n_ranks, replica->in_flight, host),
            .dtype = plan_stage_dtype(plan, stage),
            .kv_dtype = plan_stage_kv_dtype(plan, stage),
            .deterministic = plan->deterministic,
            .mtp = plan->mtp_layers,
            .nodes = *kind >= 0 ? cost_group_nodes(cluster, *kind, stage->n_ranks * stage->threads)
                                : 0,
    };
}
