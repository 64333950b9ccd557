/*
 * For each of the limits, for each number of stages, a hunt: ranges of paces are halved until a range has few
 * labels (pricing_labels.c) under its bounds (pricing_bounds.c).
 */
#include "planner/pricing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "planner/pricing_hunt.h"

int hunt_most_stages(const struct instance *in)
{
    int most = in->max_stages > 0 ? in->max_stages : in->n_layers;
    if (most > in->n_layers)
        most = in->n_layers;
    return most < INSTANCE_STAGES ? most : INSTANCE_STAGES;
}

struct pricing *pricing_open(const struct instance *in, struct err *err)
{
    struct price_table *table = price_table_open(in, err);
    if (table == NULL)
        return NULL;
    struct pricing *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(err, ERR_ENV, "no memory to price patterns");
        price_table_close(table);
        return NULL;
    }
    p->instance = in;
    p->table = table;
    int side = in->n_layers + 1;
    p->stages_bind = hunt_most_stages(in) < in->n_layers;
    p->heads = ARENA_NEW(&p->arena, int32_t, (int64_t)(hunt_most_stages(in) + 1) * side);
    double **rows[] = {&p->rest.cost, &p->rest.time, &p->rest.busy, &p->rest.by_work.rest,
            &p->rest.by_work.time, &p->rest.by_cost.rest, &p->rest.by_cost.time};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i] = ARENA_NEW(&p->arena, double, side);
    double **staged[] = {&p->rest.staged_cost, &p->rest.by_work.staged, &p->rest.by_cost.staged};
    for (size_t i = 0; i < sizeof staged / sizeof staged[0]; i++)
        *staged[i] = ARENA_NEW(&p->arena, double, (int64_t)(hunt_most_stages(in) + 1) * side);
    int **ways[] = {&p->rest.by_work.next, &p->rest.by_work.way, &p->rest.by_cost.next,
            &p->rest.by_cost.way};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        *ways[i] = ARENA_NEW(&p->arena, int, side);
    p->least = ARENA_NEW(&p->arena, struct piece_least, price_table_n_shapes(table));
    p->shape_layers = ARENA_NEW(&p->arena, int, price_table_n_shapes(table));
    const int *shapes = price_table_shapes(table);
    for (int first = 0; first < in->n_layers; first++)
        for (int end = first + 1; end <= in->n_layers; end++)
            p->shape_layers[price_table_shape(shapes, in->n_layers, first, end)] = end - first;
    int64_t most_ways = (int64_t)in->n_configs * in->n_kinds;
    p->ways = ARENA_NEW(&p->arena, struct way, most_ways);
    p->way_us = ARENA_NEW(&p->arena, double, most_ways * 2 * price_table_n_shapes(table));
    hunt_find_facts(p);
    return p;
}

void pricing_close(struct pricing *p)
{
    if (p == NULL)
        return;
    price_table_close(p->table);
    arena_free(&p->arena);
    free(p->labels);
    free(p);
}

const struct price_table *pricing_table(const struct pricing *p)
{
    return p->table;
}

/* Kinds and configurations of a hunt, without those that others outdo unless `every` one is wanted; a bound
 * of work over the whole model, from the cheapest of them. */
static double list_ways(struct hunt *h, bool every)
{
    struct pricing *p = h->pricing;
    const struct instance *in = p->instance;
    const struct limits_facts *facts = &p->facts[h->limits];
    double work = HUGE_VAL;
    h->n_ways = 0;
    h->cheapest_cost = HUGE_VAL;
    memset(h->most_devices, 0, sizeof h->most_devices);
    for (int c = 0; c < in->n_configs; c++)
        for (int k = 0; k < in->n_kinds; k++) {
            if (price_table_at(p->table, k, c, h->limits, 0, 1) == NULL
                    || in->configs[c].devices[k] > hunt_devices(h, k))
                continue;
            struct way way = {.kind = k,
                    .config = c,
                    .devices = in->configs[c].devices[k],
                    .prices = price_table_way(p->table, k, c, h->limits)};
            way.cost = h->query->weight[k] * way.devices;
            double us = facts->least_us[c * in->n_kinds + k];
            if (isinf(us) || (facts->outdone[c * in->n_kinds + k] && !every))
                continue;
            work = fmin(work, us * way.cost);
            h->cheapest_cost = fmin(h->cheapest_cost, way.cost);
            p->ways[h->n_ways++] = way;
            if (way.devices > h->most_devices[k])
                h->most_devices[k] = way.devices;
        }
    return work * in->n_layers;
}

enum {
    FEW_LABELS = 400, /* more than these, and half of the paces at a time bound better */
    MOST_HALVINGS = 7
};

/*
 * Paces from from_us to cap_us. Within such a range every stage takes at most cap_us, and cost x from_us
 * bounds the product: a narrow range has few labels.
 */
static bool hunt_range(struct hunt *h, double from_us, double cap_us, int halvings)
{
    struct rest *rest = &h->pricing->rest;
    int n = h->n_stages;
    int side = h->pricing->instance->n_layers + 1;
    h->from_us = from_us;
    h->cap_us = cap_us;
    rest->by_cost.cap_us = cap_us * h->in_flight;
    double most = h->below / from_us; /* cost that a pattern may have */
    if (h->query->all)
        most = h->served / from_us * (1 + 1e-9) + h->query->loss;
    most = fmin(most, hunt_allowed(h, from_us));
    double cost = hunt_weigh_cost(h, &rest->by_cost, most);
    if (isinf(cost) || cost >= most
            || (n > 0
                    && rest->by_cost.staged[(int64_t)n * side] - hunt_spent_on(&rest->by_cost)
                               >= most))
        return true;
    int32_t best = h->best;
    double below = h->below;
    bool last = halvings == MOST_HALVINGS || cap_us <= from_us * (1 + 1e-6);
    if (hunt_find_rest(h)) {
        if (hunt_search(h, last ? MOST_LABELS : FEW_LABELS << halvings)) {
            hunt_keep_best(h);
            return true;
        }
    } else {
        return true;
    }
    h->best = best;
    h->below = below;
    if (last || hunt_spent(h))
        return false;
    double middle_us = sqrt(from_us * cap_us);
    bool ok = hunt_range(h, from_us, middle_us, halvings + 1);
    return hunt_range(h, middle_us, cap_us, halvings + 1) && ok;
}

/* No pace is slower than every layer on its own slowest piece. */
static double slowest_us(const struct hunt *h)
{
    const struct pricing *p = h->pricing;
    double most = 0;
    for (int w = 0; w < h->n_ways; w++)
        for (int s = 0; s < price_table_n_shapes(p->table); s++)
            if (hunt_arc_fits(h, &p->ways[w].prices[s]))
                most = fmax(most, p->ways[w].prices[s].us + p->ways[w].prices[s].send_us);
    return most * p->instance->n_layers;
}

/* With all, of a pattern whose pace T is at most the cap: served - cost x T >= -loss x T and work <= cost x T. */
static double most_work(const struct hunt *h, double cap_us)
{
    return h->served * (1 + 1e-9) + h->query->loss * cap_us;
}

/* The pace of the query's most_rate. */
static double fastest_useful_us(const struct hunt *h)
{
    return h->query->most_rate > 0 ? h->served / h->query->most_rate : 0;
}

/* Figures of the ways for so many micro-batches in flight. */
static void fill_ways(struct hunt *h)
{
    struct pricing *p = h->pricing;
    int n = price_table_n_shapes(p->table);
    for (int w = 0; w < h->n_ways; w++) {
        struct way *way = &p->ways[w];
        way->us = &p->way_us[(int64_t)2 * w * n];
        way->time = way->us + n;
        for (int s = 0; s < n; s++) {
            bool fits = way->prices[s].most_in_flight >= h->in_flight;
            way->us[s] = fits ? way->prices[s].us : HUGE_VAL;
            way->time[s] = fits ? way->prices[s].us + way->prices[s].send_us : HUGE_VAL;
        }
    }
}

/*
 * One micro-batch in flight with any number of stages (n_stages 0), or as many as stages. More stages leave
 * fewer arcs: when even their least work is too much, *more says that larger numbers need no look. False: out
 * of labels.
 */
static bool hunt_stages(struct hunt *h, int n_stages, bool *more)
{
    struct pricing *p = h->pricing;
    struct rest *rest = &p->rest;
    double round_us = p->instance->limits[h->limits].round_cap_us;
    h->n_stages = n_stages;
    h->in_flight = n_stages > 0 ? n_stages : 1;
    h->from_us = 0;
    h->cap_us = round_us / h->in_flight;
    fill_ways(h);
    rest->by_work.cap_us = round_us;
    rest->by_cost.multiplier = rest->by_cost.extra_all = 0;
    double enough = h->query->all ? most_work(h, h->cap_us) : h->below;
    double work = hunt_weigh_work(h, &rest->by_work, enough);
    *more = isfinite(work) && work < enough && hunt_find_rest(h);
    if (!*more)
        return true;
    double from_us = rest->time[0] / h->in_flight;
    if (n_stages > 0)
        from_us = fmax(from_us, rest->busy[0] / n_stages);
    double cap_us = fmin(h->cap_us, h->below / rest->cost[0]);
    if (h->query->all) {
        cap_us = fmin(h->cap_us, slowest_us(h));
        if (rest->cost[0] > h->query->loss)
            cap_us = fmin(cap_us, h->served * (1 + 1e-9) / (rest->cost[0] - h->query->loss));
    }
    cap_us = fmin(cap_us, hunt_allowed_pace(h, rest->cost[0]));
    if (h->query->least_rate > 0)
        cap_us = fmin(cap_us, h->served / h->query->least_rate * (1 + 1e-9));
    if (from_us > cap_us)
        return true;
    /* Nor do paces matter that are faster than is of use. */
    double useful_us = fastest_useful_us(h);
    if (!h->query->all && useful_us > cap_us)
        return true;
    from_us = fmax(from_us, fmin(useful_us, cap_us));
    return hunt_range(h, from_us, cap_us, 0);
}

/* The best even split of the layers over equal stages of a way; false when none has less than below. */
static bool guess_way(const struct hunt *h, const struct way *way, double below,
        struct pattern *best, struct pattern_stage *stages)
{
    struct pricing *p = h->pricing;
    int layers = p->instance->n_layers;
    int most = hunt_most_stages(p->instance);
    struct pattern_stage trial_stages[INSTANCE_STAGES];
    bool found = false;
    for (int n = 1; n <= most; n++)
        for (int together = 0; together < (n > 1 ? 2 : 1); together++) {
            for (int s = 0; s < n; s++)
                trial_stages[s] = (struct pattern_stage){
                        way->kind, way->config, layers * s / n, layers * (s + 1) / n};
            struct pattern trial = {h->limits, together ? n : 1, n, trial_stages, 0, 0, 0, {0}};
            if ((int64_t)way->devices * n > hunt_devices(h, way->kind)
                    || !pattern_price(&trial, p->instance, p->table)
                    || trial.pace_us < fastest_useful_us(h)
                    || way->cost * n * trial.pace_us >= below
                    || way->cost * n > hunt_allowed(h, trial.pace_us))
                continue;
            below = way->cost * n * trial.pace_us;
            *best = trial;
            best->stages = stages;
            memcpy(stages, trial_stages, sizeof *stages * (size_t)n);
            found = true;
        }
    return found;
}

/* Something to beat before the search begins. */
static void guess(struct hunt *h)
{
    struct pattern_stage stages[INSTANCE_STAGES];
    struct pattern best = {0};
    for (int w = 0; w < h->n_ways; w++)
        if (guess_way(h, &h->pricing->ways[w], h->below, &best, stages))
            h->below = h->pricing->ways[w].cost * best.n_stages * best.pace_us;
    if (best.n_stages > 0)
        hunt_add_pattern(h, &best);
}

/* All patterns of some limits; without `all` the best one joins the answer. */
static void hunt_limits(struct hunt *h)
{
    int most = hunt_most_stages(h->pricing->instance);
    bool more = true;
    h->first_item = h->out->n;
    if (!h->query->all)
        guess(h);
    for (int s = 1; s <= most && more; s++) {
        /* One stage is the same as one micro-batch in flight. */
        bool ok = hunt_stages(h, s > 1 ? s : 0, &more);
        h->out->complete = ok && h->out->complete;
    }
}

struct order {
    int limits;
    double bound; /* of the ratio */
};

static int by_bound(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;
    if (x->bound != y->bound)
        return x->bound < y->bound ? -1 : 1;
    return (x->limits > y->limits) - (x->limits < y->limits);
}

void pricing_guess(struct pricing_answer *out, struct pricing *p, const struct pricing_query *query,
        struct arena *arena)
{
    const struct instance *in = p->instance;
    *out = (struct pricing_answer){.least = 0};
    struct arena scratch = {0};
    int n = in->n_configs * in->n_kinds;
    struct pattern *best = ARENA_NEW(&scratch, struct pattern, n);
    struct hunt h = {.pricing = p, .query = query, .out = out, .arena = arena};
    for (int l = 0; l < in->n_limits; l++) {
        if (in->limits[l].role != query->role || !p->facts[l].possible)
            continue;
        h.limits = l;
        list_ways(&h, true);
        for (int w = 0; w < h.n_ways; w++) {
            const struct way *way = &p->ways[w];
            struct pattern *known = &best[way->config * in->n_kinds + way->kind];
            struct pattern_stage stages[INSTANCE_STAGES];
            struct pattern found;
            if (!guess_way(&h, way, HUGE_VAL, &found, stages))
                continue;
            double rate = found.requests_per_s / found.n_stages;
            if (known->n_stages > 0 && known->requests_per_s / known->n_stages >= rate)
                continue;
            *known = found;
            known->stages = ARENA_NEW(&scratch, struct pattern_stage, found.n_stages);
            memcpy(known->stages, stages, sizeof *stages * (size_t)found.n_stages);
        }
    }
    for (int i = 0; i < n; i++)
        if (best[i].n_stages > 0)
            hunt_add_pattern(&h, &best[i]);
    arena_free(&scratch);
}

double pricing_lightest(struct pricing *p, int role, const double *weight, const int64_t *devices)
{
    const struct instance *in = p->instance;
    const struct pricing_query query = {.role = role, .weight = weight, .devices = devices};
    struct hunt h = {.pricing = p, .query = &query, .in_flight = 1};
    double lightest = HUGE_VAL;
    for (int l = 0; l < in->n_limits; l++) {
        if (in->limits[l].role != role || !p->facts[l].possible)
            continue;
        h.limits = l;
        h.cap_us = in->limits[l].round_cap_us;
        list_ways(&h, false);
        fill_ways(&h);
        p->rest.by_cost.cap_us = h.cap_us;
        lightest = fmin(lightest, hunt_weigh_cost(&h, &p->rest.by_cost, lightest));
    }
    return lightest;
}

void pricing_run(struct pricing_answer *out, struct pricing *p, const struct pricing_query *query,
        struct arena *arena)
{
    const struct instance *in = p->instance;
    *out = (struct pricing_answer){.complete = true, .least = HUGE_VAL};
    struct arena scratch = {0};
    struct order *order = ARENA_NEW(&scratch, struct order, in->n_limits);
    struct hunt h = {.pricing = p, .query = query, .out = out, .arena = arena, .best = -1};
    int n = 0;
    p->front = (struct front){.arena = &scratch};
    for (int i = 0; i < query->n_known; i++)
        if (in->limits[query->known[i].limits].role == query->role)
            front_add(&p->front, &query->known[i], in->n_kinds);
    for (int l = 0; l < in->n_limits; l++) {
        if (in->limits[l].role != query->role || !p->facts[l].possible)
            continue;
        h.limits = l;
        double work = list_ways(&h, false);
        if (isfinite(work))
            order[n++] = (struct order){l, work / (in->limits[l].requests * 1e6)};
    }
    qsort(order, (size_t)n, sizeof *order, by_bound);
    double below = query->below;
    for (int i = 0; i < n; i++) {
        bool late = query->deadline_ns > 0 && clock_now_ns() > query->deadline_ns;
        h.limits = order[i].limits;
        h.served = in->limits[h.limits].requests * 1e6;
        if (query->all
                && order[i].bound * h.served > most_work(&h, in->limits[h.limits].round_cap_us))
            continue;
        if (!query->all && (order[i].bound >= below || late)) {
            out->complete = out->complete && !(late && order[i].bound < below);
            out->least = fmin(out->least, order[i].bound);
            break;
        }
        if (late) {
            out->complete = false;
            break;
        }
        h.below = below * h.served;
        list_ways(&h, false);
        bool before = out->complete;
        hunt_limits(&h);
        double ratio = h.below / h.served;
        out->least = fmin(out->least, before && !out->complete ? order[i].bound : ratio);
        below = fmin(below, ratio * query->spread);
    }
    arena_free(&scratch);
}
