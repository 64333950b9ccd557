#include "planner/pricing_hunt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * With slack, times on a grid decide which label makes another one superfluous: of two in the same square either may
 * stay. The errors of all stages add up to no more than the blur, so a label stands for all that are faster by that,
 * and its bounds are theirs.
 */
static void set_grid(struct hunt *h)
{
    int stages = h->n_stages > 0 ? h->n_stages : hunt_most_stages(h->pricing->instance);
    h->blur_us = h->query->slack_frac / 2 * h->from_us;
    h->grid_per_us = h->blur_us > 0 ? stages / h->blur_us : 0;
}

static double on_grid(double us, double per_us)
{
    return per_us > 0 ? (double)(int64_t)(us * per_us) : us;
}

static double least_sum(const struct hunt *h, const struct label *label)
{
    return label->sum - h->blur_us * h->in_flight;
}

/* A pace that no completion of a label at a boundary beats. */
static double least_pace(const struct hunt *h, const struct label *label, int at)
{
    const struct rest *rest = &h->pricing->rest;
    double pace = (least_sum(h, label) + rest->time[at]) / h->in_flight;
    if (h->n_stages == 0)
        return pace;
    int left = h->n_stages - label->n_stages;
    pace = fmax(pace, label->slowest - h->blur_us);
    return left > 0 ? fmax(pace, rest->busy[at] / left) : pace;
}

/* Whether a known pattern takes no more devices than a label has already and serves at least a rate, but for half
 * of the slack. */
static bool outdone(const struct hunt *h, const struct label *label, double rate)
{
    const struct front *front = &h->pricing->front;
    if (h->query->most_rate > 0)
        rate = fmin(rate, h->query->most_rate);
    rate *= 1 - h->query->slack_frac / 2;
    for (int i = 0; i < front->n && front->items[i].rate >= rate; i++) {
        uint16_t more = 0; /* all kinds at once: vectors, no branches */
        for (int k = 0; k < INSTANCE_KINDS; k++)
            more |= front->items[i].devices[k] > label->devices[k];
        if (more == 0)
            return true;
    }
    return false;
}

/* What the rest costs at least, given the time and the devices that are left. */
static double priced_rest(const struct hunt *h, const struct label *label, int at)
{
    const struct weighed *by_cost = &h->pricing->rest.by_cost;
    double more =
            hunt_rest(h, by_cost->rest, by_cost->staged, label->n_stages, at) - by_cost->extra_all;
    if (by_cost->multiplier > 0)
        more += by_cost->multiplier * (least_sum(h, label) - by_cost->cap_us);
    for (int k = 0; by_cost->extra_all > 0 && k < h->pricing->instance->n_kinds; k++)
        more += by_cost->extra[k] * label->devices[k];
    return more;
}

/* Whether no completion of a label can be of use. */
static bool hopeless(const struct hunt *h, const struct label *label, int at)
{
    const struct rest *rest = &h->pricing->rest;
    double more = hunt_rest(h, rest->cost, rest->staged_cost, label->n_stages, at);
    if (isinf(more))
        return true;
    double pace = least_pace(h, label, at);
    if (pace > h->cap_us)
        return true;
    pace = fmax(pace, h->from_us);
    double work = hunt_rest(h, rest->by_work.rest, rest->by_work.staged, label->n_stages, at);
    if (rest->by_work.multiplier > 0)
        work += rest->by_work.multiplier * (least_sum(h, label) - rest->by_work.cap_us);
    more = fmax(more, priced_rest(h, label, at));
    if (h->query->allowed != NULL
            && label->cost + fmax(more, work / h->cap_us) > hunt_allowed(h, pace))
        return true;
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
    int most = h->n_stages > 0 ? h->n_stages : hunt_most_stages(h->pricing->instance);
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
                        || a->devices[k] + left * h->most_devices[k] > hunt_devices(h, k)))
            return false;
    return true;
}

static bool dominates(const struct hunt *h, const struct label *a, const struct label *b)
{
    if (a->sum_at > b->sum_at || a->slowest_at > b->slowest_at || a->cost > b->cost)
        return false;
    if (h->n_stages == 0 && a->n_stages > b->n_stages && h->pricing->stages_bind)
        return false;
    return !h->by_devices || spares_devices(h, a, b);
}

bool hunt_spent(const struct hunt *h)
{
    return h->query->effort > 0 && h->out->labels + h->pricing->n_labels >= h->query->effort;
}

/* Labels that a search may have: what is left of the effort, but never none. */
static int64_t effort_left(const struct hunt *h)
{
    int64_t left = h->query->effort - h->out->labels;
    return left > 1 ? left : 1;
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
    int64_t there = hunt_devices(h, way->kind);
    int64_t taken = (int64_t)label->devices[way->kind] + way->devices;
    return taken > there || taken > UINT16_MAX;
}

/*
 * A sum up to here sets no pace of the range: whatever stages follow, each within its cap, the sum stays within
 * in_flight x from_us. Labels that differ below it only are the same.
 */
static double idle_sum(const struct hunt *h, int stages)
{
    int left = h->n_stages - stages;
    if (h->n_stages == 0)
        return 0;
    return h->in_flight * h->from_us - left * h->cap_us
           - (left > 1 ? (left - 1) * h->most_send_us : 0);
}

/* A label that has one more stage: layers [first, .) at `price`, in `way`. */
static struct label label_after(const struct hunt *h, int32_t from, int first,
        const struct way *way, const struct instance_price *price)
{
    struct label label = h->pricing->labels[from];
    label.cost += way->cost;
    label.n_stages = (int16_t)(label.n_stages + 1);
    label.sum = fmax(label.sum + price->us + price->send_us, idle_sum(h, label.n_stages));
    if (h->n_stages > 0)
        label.slowest = fmax(label.slowest, price->us);
    if (label.devices[way->kind] < UINT16_MAX - way->devices)
        label.devices[way->kind] = (uint16_t)(label.devices[way->kind] + way->devices);
    label.slowest_at = on_grid(label.slowest, h->grid_per_us);
    label.sum_at = on_grid(label.sum, h->grid_per_us / h->in_flight);
    label.parent = from;
    label.kind = (int16_t)way->kind;
    label.config = (int16_t)way->config;
    label.first = (int16_t)first;
    return label;
}

/* Whether the devices alone rule out a stage after a label, wherever it ends: as hopeless does, for the fastest pace. */
static bool costs_too_much(const struct hunt *h, int32_t from, int stages, const struct way *way)
{
    double cost = h->pricing->labels[from].cost + way->cost;
    if (h->n_stages > 0)
        cost += (h->n_stages - stages) * h->cheapest_cost;
    if (h->query->all)
        return (cost - h->query->loss) * h->from_us > h->served * (1 + 1e-9);
    return cost * h->from_us >= h->below;
}

/* Where a stage that begins at `first`, the stages-th one, may end at the least: before that more is left than the stages
 * to come can do in time, as hopeless would say of each. */
static int least_end(const struct hunt *h, int first, int stages)
{
    int last = h->pricing->instance->n_layers;
    int left = h->n_stages - stages;
    if (h->n_stages == 0)
        return first + 1;
    if (left == 0)
        return last;
    int end = first + 1;
    while (end < last - left && h->pricing->rest.busy[end] > left * h->cap_us)
        end++;
    return end;
}

/* All stages that may follow a label at a boundary. */
static bool extend(struct hunt *h, int32_t from, int first)
{
    struct pricing *p = h->pricing;
    int last = p->instance->n_layers;
    int side = last + 1;
    int stages = p->labels[from].n_stages + 1;
    if (stages > hunt_most_stages(p->instance))
        return true;
    int end_from = least_end(h, first, stages);
    int end_to = h->n_stages > 0 ? last - (h->n_stages - stages) : last;
    const int *shapes = price_table_shapes(p->table);
    for (int w = 0; w < h->n_ways; w++) {
        const struct way *way = &p->ways[w];
        if (too_many_devices(h, &p->labels[from], way) || costs_too_much(h, from, stages, way))
            continue;
        int way_to = first + way->most_layers < end_to ? first + way->most_layers : end_to;
        for (int end = end_from; end <= way_to; end++) {
            const struct instance_price *price =
                    &way->prices[price_table_shape(shapes, last, first, end)];
            if (!hunt_arc_fits(h, price))
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

void hunt_add_pattern(struct hunt *h, const struct pattern *pattern)
{
    struct pricing_answer *out = h->out;
    struct pattern copy = *pattern;
    copy.stages = ARENA_NEW(h->arena, struct pattern_stage, pattern->n_stages);
    memcpy(copy.stages, pattern->stages, sizeof *copy.stages * (size_t)pattern->n_stages);
    if (out->n % 64 == 0)
        out->items = arena_grow(h->arena, out->items, out->n, out->n + 64, sizeof *out->items);
    out->items[out->n++] = copy;
    if (h->query->all)
        front_add(&h->pricing->front, pattern, h->pricing->instance->n_kinds);
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
    hunt_add_pattern(h, &pattern);
}

void hunt_keep_best(struct hunt *h)
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
    if (pace - h->blur_us > h->cap_us)
        return;
    if (h->query->all) {
        double most = h->served / (pace - h->blur_us);
        if (!outdone(h, label, h->served / pace)
                && most - label->cost >= -h->query->loss - 1e-9 * most)
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
    /* Nor does a stage faster than every pace of the range. */
    struct label root = {.slowest = h->from_us, .parent = -1, .next = -1};
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
        if (hunt_devices(h, way->kind) < (int64_t)stages * way->devices)
            return true;
    }
    return false;
}

/* Labels without budgets first: when even these find nothing there is nothing. False: out of labels. */
bool hunt_search(struct hunt *h, int32_t most_labels)
{
    double below = h->below;
    int stages = h->n_stages > 0 ? h->n_stages : hunt_most_stages(h->pricing->instance);
    h->most_labels = most_labels;
    if (h->query->effort > 0)
        h->most_labels = (int32_t)fmin(most_labels, (double)effort_left(h));
    set_grid(h);
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
