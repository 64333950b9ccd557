/*
 * pricing_hunt - the inside of pricing.c: one search for patterns of given limits and numbers of stages.
 * pricing_bounds.c says what labels can become at best, pricing_labels.c makes and files them.
 */
#ifndef PLANNER_PRICING_HUNT_H
#define PLANNER_PRICING_HUNT_H

#include <math.h>

#include "planner/pricing.h"

enum {
    MOST_LABELS = 1500000 /* alive and dead, of one search: 120 MB */
};

/* A kind and a configuration that go together, under the limits at hand. */
struct way {
    int kind, config, devices;
    double cost;                         /* weight of the devices of one stage */
    const struct instance_price *prices; /* by shape */
    double *us,
            *time; /* of a stage, and with its hand-over; HUGE_VAL where it does not fit in flight */
    int most_layers; /* of a stage within the cap */
};

struct label {
    double cost, slowest, sum;
    double slowest_at, sum_at; /* the same, on the grid of the hunt: what dominance compares */
    uint16_t devices[INSTANCE_KINDS];
    int32_t parent, next; /* index; -1 = none. next: at the same stage count and boundary */
    int16_t kind, config, first, n_stages;
};

/* Least sums of (work or cost) + multiplier x time from each boundary on, and the time of that path. */
struct weighed {
    double *rest, *time;
    double *staged; /* rest, for so many stages and no others: [stages][boundary] */
    double multiplier;
    double cap_us; /* of the whole time */
    /* by_cost: what a device of each kind costs more, for budgets that bind; and the path's devices. */
    double extra[INSTANCE_KINDS], extra_all; /* extra_all: of all there are */
    int *next, *way;
};

/* What remains from each boundary on, at least. */
struct rest {
    double *cost, *time, *busy; /* busy: stage times without hand-overs */
    double *staged_cost;        /* cost, for so many stages and no others: [stages][boundary] */
    struct weighed by_work, by_cost;
};

/* The least of each over all ways that fit, for a piece of each shape. */
struct piece_least {
    double value, cost, time, busy;
    int way; /* of the least value */
};

/* What does not depend on weights. */
struct limits_facts {
    bool possible;    /* some path meets the service objective */
    double *least_us; /* [config][kind]: of a stage per layer; HUGE_VAL = never fits */
    bool *outdone;    /* [config][kind]: another configuration is nowhere worse */
};

/* With all: the known patterns of the role that no other one beats, the fastest first. */
struct front {
    struct front_item {
        double rate;
        uint16_t devices[INSTANCE_KINDS];
    } * items;
    int n;
    struct arena *arena;
};
/* Pattern joins unless one of them takes no more devices and serves no less; those that it beats go. */
void front_add(struct front *front, const struct pattern *pattern, int n_kinds);

struct pricing {
    const struct instance *instance;
    struct price_table *table;
    struct arena arena;
    struct limits_facts *facts;
    struct label *labels;
    int32_t n_labels, cap_labels;
    int32_t *heads; /* [stages][boundary] */
    struct rest rest;
    struct piece_least *least; /* by shape */
    bool stages_bind;          /* a pattern may have fewer stages than layers */
    int *shape_layers;         /* by shape: how many layers */
    struct way *ways;
    double *way_us; /* what the ways point to */
    struct front front;
};

/* One search: limits, stages and what is looked for. */
struct hunt {
    struct pricing *pricing;
    const struct pricing_query *query;
    int limits, in_flight, n_stages; /* n_stages 0: any number, one micro-batch in flight */
    int n_ways;
    double served;          /* requests a second at a pace of 1 us */
    double from_us, cap_us; /* of the pace: what is looked for lies between */
    double cheapest_cost;
    double most_send_us;         /* of any hand-over */
    double blur_us, grid_per_us; /* of a pace; squares of the grid to a microsecond; 0 = exact */
    int32_t most_labels;
    bool by_devices; /* dominance looks at every kind of device, not only at their weight */
    int most_devices[INSTANCE_KINDS]; /* of each kind in one stage */
    bool any_devices;                 /* budgets are left out: what is found is only a bound */
    double below;                     /* ratio x served that must be beaten */
    int32_t best;                     /* label */
    int first_item;                   /* of these limits in the answer */
    struct pricing_answer *out;
    struct arena *arena;
};
/* Fills p->facts. */
void hunt_find_facts(struct pricing *pricing);
/* Most stages of a pattern. */
int hunt_most_stages(const struct instance *in);

static inline bool hunt_arc_fits(const struct hunt *h, const struct instance_price *price)
{
    return price->most_in_flight >= h->in_flight && price->us <= h->cap_us;
}

/* Devices of a kind that a pattern may take. */
static inline int64_t hunt_devices(const struct hunt *h, int kind)
{
    return h->query->devices != NULL ? h->query->devices[kind]
                                     : h->pricing->instance->kinds[kind].devices;
}

/* What a pattern of at least this pace may weigh. */
static inline double hunt_allowed(const struct hunt *h, double pace_us)
{
    const struct pricing_query *q = h->query;
    if (q->allowed == NULL)
        return HUGE_VAL;
    double steps = ceil(h->served / pace_us * q->steps_per_rate * (1 - 1e-12));
    return q->allowed[steps < q->n_allowed ? (int)steps : q->n_allowed - 1];
}

/* The slowest pace at which a pattern may weigh so much, HUGE_VAL = any; 0 = it may not. */
double hunt_allowed_pace(const struct hunt *h, double cost);

/* What multipliers take off a rest again: the time and the devices that there are. */
static inline double hunt_spent_on(const struct weighed *at)
{
    return at->extra_all + (at->multiplier > 0 ? at->multiplier * at->cap_us : 0);
}

/* What rest is left at a boundary at least, for the stages that are left where their number is given. */
static inline double hunt_rest(
        const struct hunt *h, const double *rest, const double *staged, int stages, int at)
{
    int side = h->pricing->instance->n_layers + 1;
    return h->n_stages > 0 ? staged[(int64_t)(h->n_stages - stages) * side + at] : rest[at];
}

/* Fill the rests of a hunt; the first two return what every pattern has at least, and end early where that
 * is `enough`. hunt_find_rest: false when no path is left. */
double hunt_weigh_work(struct hunt *h, struct weighed *out, double enough);
double hunt_weigh_cost(struct hunt *h, struct weighed *out, double enough);
bool hunt_find_rest(struct hunt *h);

/* All labels of a range of paces; false when there would be more than most_labels. */
bool hunt_search(struct hunt *h, int32_t most_labels);
/* Whether the query's effort is used up. */
bool hunt_spent(const struct hunt *h);
/* The best label becomes the pattern of its limits: labels do not outlive the next search. */
void hunt_keep_best(struct hunt *h);
/* A copy of the pattern joins the answer. */
void hunt_add_pattern(struct hunt *h, const struct pattern *pattern);

#endif
