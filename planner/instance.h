/*
 * instance - a placement problem that knows no model: layers, kinds of devices, ways to run a stage and
 * what each takes. The planner makes one from a model and its costs, `plan --table` from a table, tests
 * from random numbers; planner/columns.h solves it.
 *
 * Words, as in docs/ilp.md: a stage is layers [first, end) on one group of devices of a kind k in a
 * configuration c (say, tensor parallel over 4). A pattern is one replica: stages over all layers, limits
 * l, f micro-batches in flight. Its pace, the time between two micro-batches, is
 *
 *     T = max( slowest stage, (all stages and hand-overs) / f ),    f = 1 or the number of stages,
 *
 * a micro-batch comes round every f T, and it serves requests(l) / T requests a microsecond.
 * All times are microseconds. Nothing here is copied: an instance must outlive what is made from it.
 */
#ifndef PLANNER_INSTANCE_H
#define PLANNER_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"
#include "core/spec/plan.h"

enum {
    INSTANCE_KINDS = 16,  /* most device kinds */
    INSTANCE_STAGES = 128 /* most stages of a pattern */
};

struct instance_kind {
    const char *name;
    int64_t devices; /* that may be used */
    double price;    /* of one device, in any unit, a second; 0 = free */
};

/* A way to run a stage. */
struct instance_config {
    const char *name; /* "tp=4" */
    int family; /* only limits of the same family go with it; all stages of a pattern then agree */
    /* Devices that a stage takes, by kind; 0 = not on this kind. Budgets are exact when the sizes of a
     * kind divide each other and its nodes. */
    int devices[INSTANCE_KINDS];
};

/* Batch limits that hold for a whole pattern. */
struct instance_limits {
    const char *name; /* "max_seqs=64 max_tokens=512" */
    int role;         /* enum replica_role */
    int family;
    double requests;     /* that finish (prefill: are handed on) in one step of one micro-batch */
    double round_cap_us; /* service objective: the most f T may be; HUGE_VAL = none */
};

struct instance_price {
    double us;          /* a mean step of the stage */
    double send_us;     /* handing its rows on; not asked for where end is the last layer */
    int most_in_flight; /* micro-batches whose memory fits; 0 = the stage does not fit at all */
};

enum instance_objective {
    INSTANCE_THROUGHPUT, /* most requests a second */
    INSTANCE_PRICE       /* least price of the devices used, for `demand` requests a second */
};

struct instance {
    const char *name;
    int n_layers;
    /* Pieces with the same ends (the first layer held or not, the last held or not) and the same number of
     * layers of each class cost the same, and are priced once. NULL = every layer is its own class.
     * Classes count from 0; more than 16 are as good as NULL. */
    const int *layer_class;
    const struct instance_kind *kinds;
    int n_kinds;
    const struct instance_config *configs;
    int n_configs;
    const struct instance_limits *limits;
    int n_limits;
    int max_stages; /* of a pattern, at most INSTANCE_STAGES; 0 = n_layers */
    enum instance_objective objective;
    double demand; /* requests a second; INSTANCE_PRICE only */
    /* Called once for every distinct piece, kind, configuration and limits of the same family. */
    void (*price)(void *self, struct instance_price *out, int kind, int config, int limits,
            int first, int end);
    void *self;
};

/* Sane sizes, finite figures. ERR_INPUT with what is wrong. */
MUST_CHECK bool instance_check(const struct instance *instance, struct err *err);

struct pattern_stage {
    int kind, config, first, end;
};

struct pattern {
    int limits, in_flight, n_stages;
    struct pattern_stage *stages;
    double pace_us, round_us;
    double requests_per_s;
    int64_t devices[INSTANCE_KINDS];
};

/* All prices of an instance, asked for once. */
struct price_table;
MUST_CHECK struct price_table *price_table_open(const struct instance *instance, struct err *err);
void price_table_close(struct price_table *table);
/* A piece on a kind in a configuration under limits; NULL when kind, configuration and limits do not go
 * together. */
const struct instance_price *price_table_at(
        const struct price_table *table, int kind, int config, int limits, int first, int end);

/* The same in two steps, for loops: the prices of a way by shape, NULL as above, and the shape of a piece. */
const struct instance_price *price_table_way(
        const struct price_table *table, int kind, int config, int limits);
static inline int price_table_shape(const int *shapes, int n_layers, int first, int end)
{
    return shapes[first * (n_layers + 1) + end];
}
const int *price_table_shapes(const struct price_table *table);
int price_table_n_shapes(const struct price_table *table);

/* Fills pace, round, rate and devices from limits, in_flight and stages; false when a stage does not fit,
 * the service objective is missed or the pattern takes more devices of a kind than there are. */
bool pattern_price(
        struct pattern *pattern, const struct instance *instance, const struct price_table *table);
/* A total order: limits, in_flight, stages. */
int pattern_compare(const struct pattern *a, const struct pattern *b);
/* "tp=4 on h100 layers 0-39, tp=4 on h100 layers 40-79; max_seqs=64 max_tokens=512 in_flight=2" */
char *pattern_show(
        const struct pattern *pattern, const struct instance *instance, struct arena *arena);

#endif
