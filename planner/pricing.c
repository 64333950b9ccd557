/*
 * For limits l and f micro-batches in flight, with weights w and group sizes g, three sums over the layers
 * that are still to be placed bound what a label can become:
 *
 *     work(i)  least sum of (stage time x weight of its devices)   pace >= every stage's time, so
 *              cost x pace >= cost so far x pace + work(i); where the service objective caps the sum of
 *              times, what they exceed it by counts m times (Lagrange), with the m that bounds best
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
    double cost;                         /* weight of the devices of one stage */
    const struct instance_price *prices; /* by shape */
};

struct label {
    double cost, slowest, sum;
    uint16_t devices[INSTANCE_KINDS];
    int32_t parent, next; /* index; -1 = none. next: at the same stage count and boundary */
    int16_t kind, config, first, n_stages;
};

/* Least sums of (work or cost) + multiplier x time from each boundary on, and the time of that path. */
struct weighed {
    double *rest, *time;
    double multiplier;
    double cap_us; /* of the whole time */
    /* by_cost: what a device of each kind costs more, for budgets that bind; and the path's devices. */
    double extra[INSTANCE_KINDS], extra_all; /* extra_all: of all there are */
    int *next, *way;
};

/* What remains from each boundary on, at least. */
struct rest {
    double *cost, *time, *busy; /* busy: stage times without hand-overs */
    struct weighed by_work, by_cost;
};

/* The least of each over all ways that fit, for a piece of each shape. */
struct piece_least {
    double value, value_time, cost, time, busy;
    int way; /* of the least value */
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
    struct piece_least *least; /* by shape */
    bool stages_bind;          /* a pattern may have fewer stages than layers */
    struct way *ways;
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

static double price_least(const struct pricing *p, int limits, int config, int kind)
{
    const struct instance *in = p->instance;
    const struct instance_price *prices = price_table_way(p->table, kind, config, limits);
    const int *shapes = price_table_shapes(p->table);
    double least = HUGE_VAL;
    for (int first = 0; prices != NULL && first < in->n_layers; first++)
        for (int end = first + 1; end <= in->n_layers; end++) {
            const struct instance_price *at =
                    &prices[price_table_shape(shapes, in->n_layers, first, end)];
            if (at->most_in_flight > 0 && at->us <= in->limits[limits].round_cap_us)
                least = fmin(least, at->us / (end - first));
        }
    return least;
}

/* Least sum of all stages and hand-overs of a path. */
static double least_round(struct pricing *p, int limits)
{
    const struct instance *in = p->instance;
    const int *shapes = price_table_shapes(p->table);
    int n = price_table_n_shapes(p->table);
    for (int s = 0; s < n; s++)
        p->least[s].time = HUGE_VAL;
    for (int c = 0; c < in->n_configs; c++)
        for (int k = 0; k < in->n_kinds; k++) {
            const struct instance_price *prices = price_table_way(p->table, k, c, limits);
            for (int s = 0; prices != NULL && s < n; s++)
                if (prices[s].most_in_flight > 0)
                    p->least[s].time = fmin(p->least[s].time, prices[s].us + prices[s].send_us);
        }
    double *time = p->rest.time;
    time[in->n_layers] = 0;
    for (int first = in->n_layers - 1; first >= 0; first--) {
        time[first] = HUGE_VAL;
        for (int end = first + 1; end <= in->n_layers; end++)
            time[first] = fmin(time[first],
                    p->least[price_table_shape(shapes, in->n_layers, first, end)].time + time[end]);
    }
    return time[0];
}

static void find_facts(struct pricing *p)
{
    const struct instance *in = p->instance;
    p->facts = ARENA_NEW(&p->arena, struct limits_facts, in->n_limits);
    for (int l = 0; l < in->n_limits; l++) {
        struct limits_facts *facts = &p->facts[l];
        facts->possible = least_round(p, l) <= in->limits[l].round_cap_us;
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
    p->stages_bind = most_stages(in) < in->n_layers;
    p->heads = ARENA_NEW(&p->arena, int32_t, (int64_t)(most_stages(in) + 1) * side);
    double **rows[] = {&p->rest.cost, &p->rest.time, &p->rest.busy, &p->rest.by_work.rest,
            &p->rest.by_work.time, &p->rest.by_cost.rest, &p->rest.by_cost.time};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i] = ARENA_NEW(&p->arena, double, side);
    int **ways[] = {&p->rest.by_work.next, &p->rest.by_work.way, &p->rest.by_cost.next,
            &p->rest.by_cost.way};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        *ways[i] = ARENA_NEW(&p->arena, int, side);
    p->least = ARENA_NEW(&p->arena, struct piece_least, price_table_n_shapes(table));
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
    memset(h->most_devices, 0, sizeof h->most_devices);
    for (int c = 0; c < in->n_configs; c++)
        for (int k = 0; k < in->n_kinds; k++) {
            if (price_table_at(p->table, k, c, h->limits, 0, 1) == NULL)
                continue;
            struct way way = {
                    k, c, in->configs[c].devices[k], 0, price_table_way(p->table, k, c, h->limits)};
            way.cost = h->query->weight[k] * way.devices;
            double us = least_us(p, h->limits, &way);
            if (isinf(us))
                continue;
            work = fmin(work, us * way.cost);
            h->cheapest_cost = fmin(h->cheapest_cost, way.cost);
            p->ways[h->n_ways++] = way;
            if (way.devices > h->most_devices[k])
                h->most_devices[k] = way.devices;
        }
    return work * in->n_layers;
}

static bool arc_fits(const struct hunt *h, const struct instance_price *price)
{
    return price->most_in_flight >= h->in_flight && price->us <= h->cap_us;
}

/* Fills a weighed rest for its multiplier; returns the bound for the whole model. */
static double find_weighed(struct hunt *h, struct weighed *out, bool by_work)
{
    struct pricing *p = h->pricing;
    const int *shapes = price_table_shapes(p->table);
    int n = price_table_n_shapes(p->table);
    int last = p->instance->n_layers;
    for (int s = 0; s < n; s++) {
        struct piece_least *least = &p->least[s];
        least->value = HUGE_VAL;
        for (int w = 0; w < h->n_ways; w++) {
            const struct way *way = &p->ways[w];
            const struct instance_price *at = &way->prices[s];
            double time = at->us + at->send_us;
            double value = (by_work ? at->us * way->cost : way->cost) + out->multiplier * time
                           + out->extra[way->kind] * way->devices;
            if (value < least->value && arc_fits(h, at)) {
                least->value = value;
                least->value_time = time;
                least->way = w;
            }
        }
    }
    out->rest[last] = out->time[last] = 0;
    for (int first = last - 1; first >= 0; first--) {
        out->rest[first] = HUGE_VAL;
        for (int end = first + 1; end <= last; end++) {
            const struct piece_least *at = &p->least[price_table_shape(shapes, last, first, end)];
            if (at->value + out->rest[end] < out->rest[first]) {
                out->rest[first] = at->value + out->rest[end];
                out->time[first] = at->value_time + out->time[end];
                out->next[first] = end;
                out->way[first] = at->way;
            }
        }
    }
    double spent = out->multiplier > 0 ? out->multiplier * out->cap_us : 0;
    return out->rest[0] - spent - out->extra_all;
}

enum {
    MULTIPLIERS = 8 /* tried for one bound */
};

/* The multiplier whose bound is highest, where the path just meets the cap; enough ends the search. */
static double weigh_work(struct hunt *h, struct weighed *out, double enough)
{
    out->multiplier = 0;
    double best = find_weighed(h, out, true);
    double best_at = 0;
    double lo = 0;
    double hi = HUGE_VAL;
    double step = best / out->cap_us;
    for (int i = 0; i < MULTIPLIERS && isfinite(best) && step > 0 && best < enough; i++) {
        bool over = out->time[0] > out->cap_us;
        if (!over && out->multiplier == 0)
            return best;
        if (over)
            lo = out->multiplier;
        else
            hi = out->multiplier;
        out->multiplier = isinf(hi) ? fmax(2 * lo, step) : (lo + hi) / 2;
        double bound = find_weighed(h, out, true);
        if (bound > best) {
            best = bound;
            best_at = out->multiplier;
        }
    }
    if (out->multiplier != best_at && best < enough) {
        out->multiplier = best_at;
        find_weighed(h, out, true);
    }
    return best;
}

enum {
    CLIMBS = 24 /* steps towards the best multipliers */
};

/* Shares by which the path of least value exceeds the time (first) and the budgets; returns their squares. */
static double excess(const struct hunt *h, const struct weighed *at, double *over)
{
    const struct instance *in = h->pricing->instance;
    double devices[INSTANCE_KINDS] = {0};
    for (int l = 0; l < in->n_layers; l = at->next[l]) {
        const struct way *way = &h->pricing->ways[at->way[l]];
        devices[way->kind] += way->devices;
    }
    over[0] = isinf(at->cap_us) ? 0 : at->time[0] / at->cap_us - 1;
    double squares = over[0] > 0 || at->multiplier > 0 ? over[0] * over[0] : 0;
    for (int k = 0; k < in->n_kinds; k++) {
        over[1 + k] = devices[k] / fmax(1, (double)h->pricing->instance->kinds[k].devices) - 1;
        if (over[1 + k] > 0 || at->extra[k] > 0)
            squares += over[1 + k] * over[1 + k];
    }
    return squares;
}

/* Sets multipliers a step further along the excess; each is at least 0. */
static void climb(const struct hunt *h, struct weighed *at, const double *over, double step)
{
    const struct instance *in = h->pricing->instance;
    if (!isinf(at->cap_us))
        at->multiplier = fmax(0, at->multiplier + step * over[0] / at->cap_us);
    at->extra_all = 0;
    for (int k = 0; k < in->n_kinds; k++) {
        double there = fmax(1, (double)h->pricing->instance->kinds[k].devices);
        at->extra[k] = fmax(0, at->extra[k] + step * over[1 + k] / there);
        at->extra_all += at->extra[k] * (double)h->pricing->instance->kinds[k].devices;
    }
}

/* As weigh, for cost, with budgets: subgradient steps of Polyak's length towards `enough`. */
static double weigh_cost(struct hunt *h, struct weighed *out, double enough)
{
    out->multiplier = out->extra_all = 0;
    memset(out->extra, 0, sizeof out->extra);
    double best = find_weighed(h, out, false);
    struct weighed best_at = *out;
    double goal = isfinite(enough) ? enough : 2 * best;
    double over[INSTANCE_KINDS + 1];
    for (int i = 0; i < CLIMBS && isfinite(best) && best < enough; i++) {
        double squares = excess(h, out, over);
        double bound = out->rest[0] - out->extra_all
                       - (out->multiplier > 0 ? out->multiplier * out->cap_us : 0);
        if (squares <= 0)
            break;
        climb(h, out, over, fmax(goal * 1.01 - bound, 0) / squares);
        bound = find_weighed(h, out, false);
        if (bound > best) {
            best = bound;
            best_at = *out;
        }
    }
    *out = best_at;
    if (isfinite(best) && best < enough)
        find_weighed(h, out, false);
    return best;
}

/* Least cost, time and busy time from each boundary on; false when no path is left. */
static bool find_rest(struct hunt *h)
{
    struct pricing *p = h->pricing;
    struct rest *rest = &p->rest;
    const int *shapes = price_table_shapes(p->table);
    int n = price_table_n_shapes(p->table);
    int last = p->instance->n_layers;
    for (int s = 0; s < n; s++) {
        struct piece_least *least = &p->least[s];
        least->cost = least->time = least->busy = HUGE_VAL;
        for (int w = 0; w < h->n_ways; w++) {
            const struct instance_price *at = &p->ways[w].prices[s];
            if (!arc_fits(h, at))
                continue;
            least->cost = fmin(least->cost, p->ways[w].cost);
            least->time = fmin(least->time, at->us + at->send_us);
            least->busy = fmin(least->busy, at->us);
        }
    }
    rest->cost[last] = rest->time[last] = rest->busy[last] = 0;
    for (int first = last - 1; first >= 0; first--) {
        rest->cost[first] = rest->time[first] = rest->busy[first] = HUGE_VAL;
        for (int end = first + 1; end <= last; end++) {
            const struct piece_least *at = &p->least[price_table_shape(shapes, last, first, end)];
            rest->cost[first] = fmin(rest->cost[first], at->cost + rest->cost[end]);
            rest->time[first] = fmin(rest->time[first], at->time + rest->time[end]);
            rest->busy[first] = fmin(rest->busy[first], at->busy + rest->busy[end]);
        }
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

static bool beats(
        const struct hunt *h, const struct pattern *p, double rate, const struct label *label)
{
    if (p->requests_per_s < rate || h->pricing->instance->limits[p->limits].role != h->query->role)
        return false;
    for (int k = 0; k < h->pricing->instance->n_kinds; k++)
        if (p->devices[k] > label->devices[k])
            return false;
    return true;
}

/* Whether a known pattern takes no more devices than a label has already and serves at least a rate. */
static bool outdone(const struct hunt *h, const struct label *label, double rate)
{
    for (int i = 0; i < h->out->n; i++)
        if (beats(h, &h->out->items[i], rate, label))
            return true;
    for (int i = 0; i < h->query->n_known; i++)
        if (beats(h, &h->query->known[i], rate, label))
            return true;
    return false;
}

/* What the rest costs at least, given the time and the devices that are left. */
static double priced_rest(const struct hunt *h, const struct label *label, int at)
{
    const struct weighed *by_cost = &h->pricing->rest.by_cost;
    double more = by_cost->rest[at] - by_cost->extra_all;
    if (by_cost->multiplier > 0)
        more += by_cost->multiplier * (label->sum - by_cost->cap_us);
    for (int k = 0; by_cost->extra_all > 0 && k < h->pricing->instance->n_kinds; k++)
        more += by_cost->extra[k] * label->devices[k];
    return more;
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
    pace = fmax(pace, h->from_us);
    double more = rest->cost[at];
    double work = rest->by_work.rest[at];
    if (rest->by_work.multiplier > 0)
        work += rest->by_work.multiplier * (label->sum - rest->by_work.cap_us);
    more = fmax(more, priced_rest(h, label, at));
    if (h->n_stages > 0)
        more = fmax(more, (h->n_stages - label->n_stages) * h->cheapest_cost);
    if (h->query->all) {
        /* served / T - cost >= -loss for some pace T in [pace, cap]; rounding may not lose one. */
        double over = label->cost - h->query->loss;
        double slack = 1e-9 * h->served;
        return (over > 0 && over * pace + work > h->served + slack)
               || (over + more) * pace > h->served + slack || outdone(h, label, h->served / pace);
    }
    return fmax(label->cost * pace + work, (label->cost + more) * pace) >= h->below;
}

static int stages_left(const struct hunt *h, const struct label *label)
{
    int most = h->n_stages > 0 ? h->n_stages : most_stages(h->pricing->instance);
    return most - label->n_stages;
}

/* Whether whatever may follow b may follow a, as far as devices go. More of a kind is no harm when there are
 * enough for all stages to come, unless every pattern counts. */
static bool spares_devices(const struct hunt *h, const struct label *a, const struct label *b)
{
    const struct instance *in = h->pricing->instance;
    int64_t left = stages_left(h, a);
    for (int k = 0; k < in->n_kinds; k++)
        if (a->devices[k] > b->devices[k]
                && (h->query->all
                        || a->devices[k] + left * h->most_devices[k]
                                   > h->pricing->instance->kinds[k].devices))
            return false;
    return true;
}

static bool dominates(const struct hunt *h, const struct label *a, const struct label *b)
{
    if (a->sum > b->sum || a->slowest > b->slowest || a->cost > b->cost)
        return false;
    if (h->n_stages == 0 && a->n_stages > b->n_stages && h->pricing->stages_bind)
        return false;
    return !h->by_devices || spares_devices(h, a, b);
}

static bool spent(const struct hunt *h)
{
    return h->query->effort > 0 && h->out->labels + h->pricing->n_labels >= h->query->effort;
}

static bool reserve_label(struct pricing *p)
{
    if (p->n_labels < p->cap_labels)
        return true;
    int32_t cap = p->cap_labels > 0 ? p->cap_labels * 2 : 4096;
    struct label *grown =
            cap <= 2 * MOST_LABELS ? realloc(p->labels, sizeof *grown * (size_t)cap) : NULL;
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
    if (p->n_labels >= h->most_labels || !reserve_label(p))
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
    if (h->any_devices)
        return false;
    int64_t there = h->pricing->instance->kinds[way->kind].devices;
    int64_t taken = (int64_t)label->devices[way->kind] + way->devices;
    return taken > there || taken > UINT16_MAX;
}

/* A label that has one more stage: layers [first, .) at `price`, in `way`. */
static struct label label_after(const struct hunt *h, int32_t from, int first,
        const struct way *way, const struct instance_price *price)
{
    struct label label = h->pricing->labels[from];
    label.cost += way->cost;
    label.sum += price->us + price->send_us;
    if (h->n_stages > 0)
        label.slowest = fmax(label.slowest, price->us);
    if (label.devices[way->kind] < UINT16_MAX - way->devices)
        label.devices[way->kind] = (uint16_t)(label.devices[way->kind] + way->devices);
    label.parent = from;
    label.kind = (int16_t)way->kind;
    label.config = (int16_t)way->config;
    label.first = (int16_t)first;
    label.n_stages = (int16_t)(label.n_stages + 1);
    return label;
}

/* All stages that may follow a label at a boundary. */
static bool extend(struct hunt *h, int32_t from, int first)
{
    struct pricing *p = h->pricing;
    int last = p->instance->n_layers;
    int side = last + 1;
    int stages = p->labels[from].n_stages + 1;
    if (stages > most_stages(p->instance))
        return true;
    int end_from = h->n_stages > 0 && stages == h->n_stages ? last : first + 1;
    int end_to = h->n_stages > 0 ? last - (h->n_stages - stages) : last;
    const int *shapes = price_table_shapes(p->table);
    for (int w = 0; w < h->n_ways; w++) {
        const struct way *way = &p->ways[w];
        if (too_many_devices(h, &p->labels[from], way))
            continue;
        for (int end = end_from; end <= end_to; end++) {
            const struct instance_price *price =
                    &way->prices[price_table_shape(shapes, last, first, end)];
            if (!arc_fits(h, price))
                continue;
            struct label label = label_after(h, from, first, way, price);
            if (hopeless(h, &label, end))
                continue;
            int row = h->n_stages > 0 ? stages : 0;
            if (!file_label(h, &label, &p->heads[row * side + end]))
                return false;
        }
    }
    return true;
}

static void add_pattern(struct hunt *h, const struct pattern *pattern)
{
    struct pricing_answer *out = h->out;
    struct pattern copy = *pattern;
    copy.stages = ARENA_NEW(h->arena, struct pattern_stage, pattern->n_stages);
    memcpy(copy.stages, pattern->stages, sizeof *copy.stages * (size_t)pattern->n_stages);
    if (out->n % 64 == 0)
        out->items = arena_grow(h->arena, out->items, out->n, out->n + 64, sizeof *out->items);
    out->items[out->n++] = copy;
}

static void take_pattern(struct hunt *h, int32_t index)
{
    struct pricing *p = h->pricing;
    const struct label *label = &p->labels[index];
    struct pattern pattern = {.limits = h->limits,
            .in_flight = h->n_stages > 0 ? h->n_stages : 1,
            .n_stages = label->n_stages};
    struct pattern_stage stages[INSTANCE_STAGES];
    pattern.stages = stages;
    int end = p->instance->n_layers;
    for (int s = pattern.n_stages - 1; s >= 0; s--) {
        pattern.stages[s] = (struct pattern_stage){label->kind, label->config, label->first, end};
        end = label->first;
        label = &p->labels[label->parent];
    }
    if (!pattern_price(&pattern, p->instance, p->table))
        return; /* the cap by a rounding error: the sums were added in another order */
    add_pattern(h, &pattern);
}

/* The best label becomes the pattern of its limits: labels do not outlive the next search. */
static void keep_best(struct hunt *h)
{
    if (h->best < 0)
        return;
    h->out->n = h->first_item;
    take_pattern(h, h->best);
    h->best = -1;
}

static void judge_complete(struct hunt *h, int32_t index)
{
    const struct label *label = &h->pricing->labels[index];
    double pace = fmax(label->slowest, label->sum / h->in_flight);
    if (pace > h->cap_us)
        return;
    if (h->query->all) {
        if (!outdone(h, label, h->served / pace)
                && h->served / pace - label->cost >= -h->query->loss - 1e-9 * h->served / pace)
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
    for (int w = 0; w < h->n_ways; w++) {
        const struct way *way = &h->pricing->ways[w];
        if (h->pricing->instance->kinds[way->kind].devices < (int64_t)stages * way->devices)
            return true;
    }
    return false;
}

/* Labels without budgets first: when even these find nothing there is nothing. False: out of labels. */
static bool search_range(struct hunt *h, int32_t most_labels)
{
    double below = h->below;
    int stages = h->n_stages > 0 ? h->n_stages : most_stages(h->pricing->instance);
    h->most_labels = most_labels;
    /* Prices for budgets that bind make a label's devices matter for its bound, too. */
    h->any_devices = !h->query->all && h->pricing->rest.by_cost.extra_all <= 0 && scarce(h, stages);
    h->by_devices = h->query->all || h->pricing->rest.by_cost.extra_all > 0;
    bool ok = search_labels(h);
    if (!h->any_devices || !ok || h->best < 0)
        return ok;
    h->best = -1;
    h->below = below;
    h->any_devices = false;
    h->by_devices = true;
    return search_labels(h);
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
    h->from_us = from_us;
    h->cap_us = cap_us;
    rest->by_cost.cap_us = cap_us * h->in_flight;
    double most = h->below / from_us; /* cost that a pattern may have */
    if (h->query->all)
        most = h->served / from_us * (1 + 1e-9) + h->query->loss;
    double cost = weigh_cost(h, &rest->by_cost, most);
    if (isinf(cost) || cost >= most)
        return true;
    int32_t best = h->best;
    double below = h->below;
    bool last = halvings == MOST_HALVINGS || cap_us <= from_us * (1 + 1e-6);
    if (find_rest(h)) {
        if (search_range(h, last ? MOST_LABELS : FEW_LABELS << halvings)) {
            keep_best(h);
            return true;
        }
    } else {
        return true;
    }
    h->best = best;
    h->below = below;
    if (last || spent(h))
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
            if (arc_fits(h, &p->ways[w].prices[s]))
                most = fmax(most, p->ways[w].prices[s].us + p->ways[w].prices[s].send_us);
    return most * p->instance->n_layers;
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
    rest->by_work.cap_us = round_us;
    rest->by_cost.multiplier = rest->by_cost.extra_all = 0;
    double enough = h->query->all ? HUGE_VAL : h->below;
    double work = weigh_work(h, &rest->by_work, enough);
    *more = isfinite(work) && work < enough && find_rest(h);
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
    return from_us > cap_us || hunt_range(h, from_us, cap_us, 0);
}

/* The best even split of the layers over equal stages of a way; false when none has less than below. */
static bool guess_way(const struct hunt *h, const struct way *way, double below,
        struct pattern *best, struct pattern_stage *stages)
{
    struct pricing *p = h->pricing;
    int layers = p->instance->n_layers;
    int most = most_stages(p->instance);
    struct pattern_stage trial_stages[INSTANCE_STAGES];
    bool found = false;
    for (int n = 1; n <= most; n++)
        for (int together = 0; together < (n > 1 ? 2 : 1); together++) {
            for (int s = 0; s < n; s++)
                trial_stages[s] = (struct pattern_stage){
                        way->kind, way->config, layers * s / n, layers * (s + 1) / n};
            struct pattern trial = {h->limits, together ? n : 1, n, trial_stages, 0, 0, 0, {0}};
            if (!pattern_price(&trial, p->instance, p->table)
                    || way->cost * n * trial.pace_us >= below)
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
        add_pattern(h, &best);
}

/* All patterns of some limits; without `all` the best one joins the answer. */
static void hunt_limits(struct hunt *h)
{
    int most = most_stages(h->pricing->instance);
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
        list_ways(&h);
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
            add_pattern(&h, &best[i]);
    arena_free(&scratch);
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
