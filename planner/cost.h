/*
 * cost - time and memory of one placement; pure arithmetic over lookup and models/graph.
 *
 * A rank of a stage executes the ops of graph_step; a step takes the sum of their costs. All ranks of a
 * stage do the same work, attention-dp groups wait for the slowest of them.
 */
#ifndef PLANNER_COST_H
#define PLANNER_COST_H

#include "core/spec/cluster.h"
#include "core/spec/plan.h"
#include "models/graph.h"
#include "planner/lookup.h"

struct step_cost {
    double us, lo_us, hi_us;
    double source_us[COST_SOURCES];          /* of us: by enum cost_source; waiting has none */
    double estimated_kind_us[OP_KIND_COUNT]; /* of the estimated, by op kind */
    double memory_us;              /* of us: compute ops whose roofline is memory traffic */
    double kind_us[OP_KIND_COUNT]; /* of us, by op kind */
};
void step_cost_add(struct step_cost *to, const struct step_cost *more, double times);
/* Of us: collectives and transfers. */
double step_cost_network_us(const struct step_cost *cost);

struct cost_model; /* one lookup per device kind of a cluster; borrows all it is opened with */

/* profiles: at most one per device kind, matched by profile.device; the rest is priced by datasheet.
 * ERR_INPUT at the place of a kind that has neither. */
MUST_CHECK struct cost_model *cost_open(const struct model *model, const struct cluster *cluster,
        const struct profile *profiles, int n_profiles, struct err *err);
void cost_close(struct cost_model *costs);
/* From here on costs are worse than told: the upper ends of their intervals, times a factor of ops and one of exchanges
 * between ranks. Before anything is asked. */
void cost_inflate(struct cost_model *costs, bool upper, double compute, double network);
const struct model *cost_model_of(const struct cost_model *costs);
const struct cluster *cost_cluster(const struct cost_model *costs);
struct lookup *cost_lookup(struct cost_model *costs, int kind);

/* One step of one rank on a device kind (index into the cluster's), waiting for the others included. */
void cost_piece(struct step_cost *out, struct cost_model *costs, int kind,
        const struct split *split, struct piece piece, const struct step_shape *shape);

/* The split as the costs of a kind cut its steps: imported tables have modules whole, and 16-bit activations. */
struct split cost_priced_split(const struct cost_model *costs, int kind, const struct split *split);

/* What a step is made of between the exchanges at which the ranks of a stage meet. */
struct cost_meetings {
    double variance_us2; /* of one rank's compute ops */
    double count;
    enum op_kind kind; /* of the first */
};
/* A part of a step, without the waiting: costs and meetings of the parts add up to those of the step. */
void cost_part(struct step_cost *out, struct cost_meetings *meetings, struct cost_model *costs,
        int kind, const struct split *split, struct piece piece, const struct step_shape *shape);
/*
 * Ranks that meet at n exchanges a step wait for the slowest n times. With the step's variance v spread
 * evenly over n pieces, that is n * E[max] * sqrt(v / n) (docs/method.md, "Waiting for the slowest rank").
 * It is booked where a run shows it: in the time of the exchange, that is under meetings->kind.
 */
double cost_waiting_us(const struct cost_meetings *meetings, const struct split *split);

/* Handing `tokens` rows to the next stage, from start to arrival. */
double cost_send_us(struct cost_model *costs, int kind, const struct split *split, int64_t tokens,
        bool between_nodes);
/* One rank of a stage hands on a part of a KV cache, or takes it in. */
double cost_cache_us(struct cost_model *costs, int kind, const struct split *split, int64_t bytes,
        bool between_nodes);
/* More than one machine: replicas are not told apart by where they are, so what goes between them does as if it
 * left its machine. */
bool cost_between_nodes(const struct cluster *cluster);
/* Any one op, e.g. a broadcast inside a replica. */
struct cost cost_op(struct cost_model *costs, int kind, const struct op *op);

struct rank_bytes {
    int64_t weight, kv, work;
};
struct rank_bytes cost_memory(const struct cost_model *costs, const struct split *split,
        struct piece piece, const struct plan_replica *limits, int block_tokens);

/* Ranks of a host that compute at the same time: with one micro-batch in flight the stages of a replica
 * take turns, otherwise all work. host_ranks: the most ranks of this shape a host can hold. */
int cost_busy(int n_replicas, int n_stages, int stage_ranks, int in_flight, int64_t host_ranks);
/* The split of a plan's stage, busy included. kind: index of its device kind, -1 when unknown. */
struct split cost_plan_split(const struct plan *plan, const struct plan_replica *replica,
        const struct plan_stage *stage, const struct cluster *cluster, int *kind);
/* Of the devices that a plan's ranks drive; 0 where the cluster has no prices. */
double cost_price_per_hour(const struct plan *plan, const struct cluster *cluster);
/* Devices of the largest node of a kind. */
int cost_node_devices(const struct cluster *cluster, int kind);
/* Whole nodes (the kind's largest) that a group of devices takes; 0 = it fits into one, -1 = no whole number. */
int cost_group_nodes(const struct cluster *cluster, int kind, int group);
/* How many such groups there are, one beside the other. */
int64_t cost_groups(const struct cluster *cluster, int kind, int group);

#endif
