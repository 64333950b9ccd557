/*
 * For limits l and f micro-batches in flight, with weights w and group sizes g, three sums over the layers
 * that are still to be placed bound what a label can become:
 *
 *     work(i)  least sum of (stage time x weight of its devices)   pace >= every stage's time, so
 *              cost x pace >= cost so far x pace + work(i)
 *     cost(i)  least weight of devices                 cost x pace >= (cost so far + cost(i)) x pace
 *     time(i)  least sum of stages and hand-overs      pace >= (time so far + time(i)) / f
 *
 * One micro-batch in flight has the sum as its pace, so that only (cost, sum) are labels; with as many in
 * flight as stages the slowest stage is the third.
 */
#include "planner/pricing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

enum {
    MOST_LABELS = 1500000, /* alive and dead, of one search: 120 MB */
    MOST_WAYS = 4096
};

/* A kind and a configuration that go together, under the limits at hand. */
struct way {
    int kind, config, devices;
    double cost; /* weight of the devices of one stage */
};

struct label {
    double cost, slowest, sum;
    uint16_t devices[INSTANCE_KINDS];
    int32_t parent, next; /* index; -1 = none. next: at the same stage count and boundary */
    int16_t kind, config, first, n_stages;
};

/* What remains from each boundary on, at least. */
struct rest {
    double *work, *cost, *time, *busy; /* busy: stage times without hand-overs */
};

/* What does not depend on weights. */
struct limits_facts {
    bool possible;    /* some path meets the service objective */
    double *least_us; /* [config][kind]: of a stage per layer; HUGE_VAL = never fits */
};

struct pricing {
    const struct instance *instance;
    struct price_table *table;
    struct arena arena;
    struct limits_facts *facts;
    struct label *labels;
    int32_t n_labels, cap_labels;
    int32_t *heads; /* [stages][boundary] */
    struct rest rest;
    struct way *ways;
};

/* One search: limits, stages and what is looked for. */
struct hunt {
    struct pricing *pricing;
    const struct pricing_query *query;
    int limits, in_flight, n_stages; /* n_stages 0: any number, one micro-batch in flight */
    int n_ways;
    double served; /* requests a second at a pace of 1 us */
    double cap_us; /* of the pace */
    double cheapest_cost;
    bool by_devices; /* dominance looks at every kind of device, not only at their weight */
    double below;    /* ratio x served that must be beaten */
    int32_t best;    /* label */
    struct pricing_answer *out;
    struct arena *arena;
};

static double price_least(const struct pricing *p, int limits, int config, int kind)
{
    const struct instance *in = p->instance;
    double least = HUGE_VAL;
    for (int first = 0; first < in->n_layers; first++)
        for (int end = first + 1; end <= in->n_layers; end++) {
            const struct instance_price *at =
                    price_table_at(p->table, kind, config, limits, first, end);
            if (at == NULL)
                return HUGE_VAL;
            if (at->most_in_flight > 0 && at->us <= in->limits[limits].round_cap_us)
                least = fmin(least, at->us / (end - first));
        }
    return least;
}

/* Least sum of all stages and hand-overs of a path from each boundary. */
static double least_round(const struct pricing *p, int limits, double *time)
{
    const struct instance *in = p->instance;
    time[in->n_layers] = 0;
    for (int first = in->n_layers - 1; first >= 0; first--) {
        time[first] = HUGE_VAL;
        for (int c = 0; c < in->n_configs; c++)
            for (int k = 0; k < in->n_kinds; k++)
                for (int end = first + 1; end <= in->n_layers; end++) {
                    const struct instance_price *at =
                            price_table_at(p->table, k, c, limits, first, end);
                    if (at == NULL)
                        break;
                    if (at->most_in_flight > 0)
                        time[first] = fmin(time[first], at->us + at->send_us + time[end]);
                }
    }
    return time[0];
}

static void find_facts(struct pricing *p)
{
    const struct instance *in = p->instance;
    p->facts = ARENA_NEW(&p->arena, struct limits_facts, in->n_limits);
    for (int l = 0; l < in->n_limits; l++) {
        struct limits_facts *facts = &p->facts[l];
        facts->possible = least_round(p, l, p->rest.time) <= in->limits[l].round_cap_us;
        facts->least_us = ARENA_NEW(&p->arena, double, (int64_t)in->n_configs * in->n_kinds);
        for (int c = 0; c < in->n_configs && facts->possible; c++)
            for (int k = 0; k < in->n_kinds; k++)
                facts->least_us[c * in->n_kinds + k] = price_least(p, l, c, k);
    }
}

static int most_stages(const struct instance *in)
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
    p->heads = ARENA_NEW(&p->arena, int32_t, (int64_t)(most_stages(in) + 1) * side);
    p->rest = (struct rest){ARENA_NEW(&p->arena, double, side), ARENA_NEW(&p->arena, double, side),
            ARENA_NEW(&p->arena, double, side), ARENA_NEW(&p->arena, double, side)};
    p->ways = ARENA_NEW(&p->arena, struct way, (int64_t)in->n_configs * in->n_kinds);
    find_facts(p);
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

static double least_us(const struct pricing *p, int limits, const struct way *way)
{
    return p->facts[limits].least_us[way->config * p->instance->n_kinds + way->kind];
}

/* Kinds and configurations of a hunt; a bound of work over the whole model, from the cheapest of them. */
static double list_ways(struct hunt *h)
{
    struct pricing *p = h->pricing;
    const struct instance *in = p->instance;
    double work = HUGE_VAL;
    h->n_ways = 0;
    h->cheapest_cost = HUGE_VAL;
    for (int c = 0; c < in->n_configs; c++)
        for (int k = 0; k < in->n_kinds; k++) {
            if (price_table_at(p->table, k, c, h->limits, 0, 1) == NULL)
                continue;
            struct way way = {k, c, in->configs[c].devices[k], 0};
            way.cost = h->query->weight[k] * way.devices;
            double us = least_us(p, h->limits, &way);
            if (isinf(us))
                continue;
            work = fmin(work, us * way.cost);
            h->cheapest_cost = fmin(h->cheapest_cost, way.cost);
            p->ways[h->n_ways++] = way;
        }
    return work * in->n_layers;
}

static bool arc_fits(const struct hunt *h, const struct instance_price *price)
{
    return price->most_in_flight >= h->in_flight && price->us <= h->cap_us;
}

/* Fills the four rests; false when no path is left. */
static bool find_rest(struct hunt *h)
{
    struct pricing *p = h->pricing;
    const struct instance *in = p->instance;
    struct rest *rest = &p->rest;
    int last = in->n_layers;
    rest->work[last] = rest->cost[last] = rest->time[last] = rest->busy[last] = 0;
    for (int first = last - 1; first >= 0; first--) {
        double work = HUGE_VAL, cost = HUGE_VAL, time = HUGE_VAL, busy = HUGE_VAL;
        for (int w = 0; w < h->n_ways; w++) {
            const struct way *way = &p->ways[w];
            for (int end = first + 1; end <= last; end++) {
                const struct instance_price *at =
                        price_table_at(p->table, way->kind, way->config, h->limits, first, end);
                if (!arc_fits(h, at))
                    continue;
                work = fmin(work, at->us * way->cost + rest->work[end]);
                cost = fmin(cost, way->cost + rest->cost[end]);
                time = fmin(time, at->us + at->send_us + rest->time[end]);
                busy = fmin(busy, at->us + rest->busy[end]);
            }
        }
        rest->work[first] = work;
        rest->cost[first] = cost;
        rest->time[first] = time;
        rest->busy[first] = busy;
    }
    return isfinite(rest->cost[0]);
}

/* A pace that no completion of a label at a boundary beats. */
static double least_pace(const struct hunt *h, const struct label *label, int at)
{
    const struct rest *rest = &h->pricing->rest;
    double pace = (label->sum + rest->time[at]) / h->in_flight;
    if (h->n_stages == 0)
        return pace;
    int left = h->n_stages - label->n_stages;
    pace = fmax(pace, label->slowest);
    return left > 0 ? fmax(pace, rest->busy[at] / left) : pace;
}

/* Whether no completion of a label can be of use. */
static bool hopeless(const struct hunt *h, const struct label *label, int at)
{
    const struct rest *rest = &h->pricing->rest;
    if (isinf(rest->cost[at]))
        return true;
    double pace = least_pace(h, label, at);
    if (pace > h->cap_us)
        return true;
    double more = rest->cost[at];
    if (h->n_stages > 0)
        more = fmax(more, (h->n_stages - label->n_stages) * h->cheapest_cost);
    if (h->query->all) {
        /* served / T - cost >= -loss for some pace T in [pace, cap]; rounding may not lose one. */
        double over = label->cost - h->query->loss;
        double at_best = over > 0 || isinf(h->cap_us) ? pace : h->cap_us;
        double slack = 1e-9 * h->served;
        return (over > 0 && over * at_best + rest->work[at] > h->served + slack)
               || (over + more) * pace > h->served + slack;
    }
    return fmax(label->cost * pace + rest->work[at], (label->cost + more) * pace) >= h->below;
}

static bool dominates(const struct hunt *h, const struct label *a, const struct label *b)
{
    if (a->sum > b->sum || a->slowest > b->slowest || a->cost > b->cost)
        return false;
    for (int k = 0; h->by_devices && k < h->pricing->instance->n_kinds; k++)
        if (a->devices[k] > b->devices[k])
            return false;
    return true;
}

static bool reserve_label(struct pricing *p)
{
    if (p->n_labels < p->cap_labels)
        return true;
    int32_t cap = p->cap_labels > 0 ? p->cap_labels * 2 : 4096;
    struct label *grown =
            p->n_labels < MOST_LABELS ? realloc(p->labels, sizeof *grown * (size_t)cap) : NULL;
    if (grown == NULL)
        return false;
    p->labels = grown;
    p->cap_labels = cap;
    return true;
}

/* Files a label unless another one is as good; drops those that it beats. False: out of labels. */
static bool file_label(struct hunt *h, const struct label *label, int32_t *head)
{
    struct pricing *p = h->pricing;
    if (!reserve_label(p))
        return false;
    int32_t *link = head;
    for (int32_t at = *head; at >= 0; at = p->labels[at].next) {
        struct label *other = &p->labels[at];
        if (dominates(h, other, label))
            return true;
        if (dominates(h, label, other))
            *link = other->next;
        else
            link = &other->next;
    }
    int32_t index = p->n_labels++;
    p->labels[index] = *label;
    p->labels[index].next = -1;
    *link = index;
    return true;
}

static bool too_many_devices(const struct hunt *h, const struct label *label, const struct way *way)
{
    int64_t there = h->pricing->instance->kinds[way->kind].devices;
    int64_t taken = (int64_t)label->devices[way->kind] + way->devices;
    return taken > there || taken > UINT16_MAX;
}

/* All stages that may follow a label at a boundary. */
static bool extend(struct hunt *h, int32_t from, int first)
{
    struct pricing *p = h->pricing;
    int last = p->instance->n_layers;
    int side = last + 1;
    int stages = p->labels[from].n_stages + 1;
    int end_from = h->n_stages > 0 && stages == h->n_stages ? last : first + 1;
    int end_to = h->n_stages > 0 ? last - (h->n_stages - stages) : last;
    for (int w = 0; w < h->n_ways; w++) {
        const struct way *way = &p->ways[w];
        if (too_many_devices(h, &p->labels[from], way))
            continue;
        for (int end = end_from; end <= end_to; end++) {
            const struct instance_price *price =
                    price_table_at(p->table, way->kind, way->config, h->limits, first, end);
            if (!arc_fits(h, price))
                continue;
            struct label label = p->labels[from];
            label.cost += way->cost;
            label.sum += price->us + price->send_us;
            if (h->n_stages > 0)
                label.slowest = fmax(label.slowest, price->us);
            label.devices[way->kind] = (uint16_t)(label.devices[way->kind] + way->devices);
            label.parent = from;
            label.kind = (int16_t)way->kind;
            label.config = (int16_t)way->config;
            label.first = (int16_t)first;
            label.n_stages = (int16_t)stages;
            if (hopeless(h, &label, end))
                continue;
            int row = h->n_stages > 0 ? stages : 0;
            if (!file_label(h, &label, &p->heads[row * side + end]))
                return false;
        }
    }
    return true;
}

static void take_pattern(struct hunt *h, int32_t index)
{
    struct pricing *p = h->pricing;
    const struct label *label = &p->labels[index];
    struct pattern pattern = {.limits = h->limits,
            .in_flight = h->n_stages > 0 ? h->n_stages : 1,
            .n_stages = label->n_stages};
    pattern.stages = ARENA_NEW(h->arena, struct pattern_stage, pattern.n_stages);
    int end = p->instance->n_layers;
    for (int s = pattern.n_stages - 1; s >= 0; s--) {
        pattern.stages[s] = (struct pattern_stage){label->kind, label->config, label->first, end};
        end = label->first;
        label = &p->labels[label->parent];
    }
    if (!pattern_price(&pattern, p->instance, p->table))
        return; /* the cap by a rounding error: the sums were added in another order */
    struct pricing_answer *out = h->out;
    if (out->n % 64 == 0)
        out->items = arena_grow(h->arena, out->items, out->n, out->n + 64, sizeof *out->items);
    out->items[out->n++] = pattern;
}

static void judge_complete(struct hunt *h, int32_t index)
{
    const struct label *label = &h->pricing->labels[index];
    double pace = fmax(label->slowest, label->sum / h->in_flight);
    if (pace > h->cap_us)
        return;
    if (h->query->all) {
        if (h->served / pace - label->cost >= -h->query->loss - 1e-9 * h->served / pace)
            take_pattern(h, index);
        return;
    }
    if (label->cost * pace < h->below) {
        h->below = label->cost * pace;
        h->best = index;
    }
}

/* Labels from layer 0 on; false when there are too many. */
static bool search_labels(struct hunt *h)
{
    struct pricing *p = h->pricing;
    int last = p->instance->n_layers;
    int side = last + 1;
    int rows = h->n_stages > 0 ? h->n_stages : 0;
    for (int i = 0; i < (rows + 1) * side; i++)
        p->heads[i] = -1;
    p->n_labels = 0;
    struct label root = {.parent = -1, .next = -1};
    if (hopeless(h, &root, 0))
        return true;
    bool ok = file_label(h, &root, &p->heads[0]);
    for (int row = 0; row <= rows && ok; row++)
        for (int at = row; at < last && ok; at++)
            for (int32_t i = p->heads[row * side + at]; i >= 0 && ok; i = p->labels[i].next) {
                ok = (row == rows && rows > 0) || extend(h, i, at);
            }
    for (int32_t i = p->heads[rows * side + last]; i >= 0; i = p->labels[i].next)
        judge_complete(h, i);
    h->out->labels += p->n_labels;
    return ok;
}

/* With few devices of a kind, a label that takes fewer of them may go where a cheaper one may not. */
static bool scarce(const struct hunt *h, int stages)
{
    const struct instance *in = h->pricing->instance;
    for (int w = 0; w < h->n_ways; w++) {
        const struct way *way = &h->pricing->ways[w];
        if (in->kinds[way->kind].devices < (int64_t)stages * way->devices)
            return true;
    }
    return false;
}

/*
 * One micro-batch in flight with any number of stages (n_stages 0), or as many as stages. More stages leave
 * fewer arcs: when even their least work is too much, *more says that larger numbers need no look.
 */
static bool hunt_stages(struct hunt *h, int n_stages, bool *more)
{
    struct pricing *p = h->pricing;
    int most = most_stages(p->instance);
    h->n_stages = n_stages;
    h->in_flight = n_stages > 0 ? n_stages : 1;
    h->cap_us = p->instance->limits[h->limits].round_cap_us / h->in_flight;
    h->by_devices = h->query->all || scarce(h, n_stages > 0 ? n_stages : most);
    *more = find_rest(h) && (h->query->all || p->rest.work[0] < h->below);
    return !*more || search_labels(h);
}

/* All patterns of some limits; without `all` the best one joins the answer. */
static void hunt_limits(struct hunt *h)
{
    int most = most_stages(h->pricing->instance);
    int before = h->out->n;
    bool more = true;
    for (int s = 1; s <= most && more; s++) {
        /* One stage is the same as one micro-batch in flight. */
        bool ok = hunt_stages(h, s > 1 ? s : 0, &more);
        h->out->complete = ok && h->out->complete;
        if (h->best >= 0) {
            h->out->n = before;
            take_pattern(h, h->best);
            h->best = -1;
        }
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

void pricing_run(struct pricing_answer *out, struct pricing *p, const struct pricing_query *query,
        struct arena *arena)
{
    const struct instance *in = p->instance;
    *out = (struct pricing_answer){.complete = true, .least = HUGE_VAL};
    struct arena scratch = {0};
    struct order *order = ARENA_NEW(&scratch, struct order, in->n_limits);
    struct hunt h = {.pricing = p, .query = query, .out = out, .arena = arena, .best = -1};
    int n = 0;
    for (int l = 0; l < in->n_limits; l++) {
        if (in->limits[l].role != query->role || !p->facts[l].possible)
            continue;
        h.limits = l;
        double work = list_ways(&h);
        if (isfinite(work))
            order[n++] = (struct order){l, work / (in->limits[l].requests * 1e6)};
    }
    qsort(order, (size_t)n, sizeof *order, by_bound);
    double below = query->below;
    for (int i = 0; i < n; i++) {
        bool late = query->deadline_ns > 0 && clock_now_ns() > query->deadline_ns;
        if (!query->all && (order[i].bound >= below || late)) {
            out->complete = out->complete && !(late && order[i].bound < below);
            out->least = fmin(out->least, order[i].bound);
            break;
        }
        if (late) {
            out->complete = false;
            break;
        }
        h.limits = order[i].limits;
        h.served = in->limits[h.limits].requests * 1e6;
        h.below = below * h.served;
        list_ways(&h);
        bool before = out->complete;
        hunt_limits(&h);
        double ratio = h.below / h.served;
        out->least = fmin(out->least, before && !out->complete ? order[i].bound : ratio);
        below = fmin(below, ratio * query->spread);
    }
    arena_free(&scratch);
}
