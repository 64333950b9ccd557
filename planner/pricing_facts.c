/*
 * What pricing knows before any weights: which limits can meet their objective, what a layer takes at least, which
 * ways others outdo; and with all, the front of what is known.
 */
#include "planner/pricing_hunt.h"

#include <math.h>

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

/* Whether `a` takes no more devices of the kind than `b` and is never slower nor fits less often. */
static bool nowhere_worse(const struct pricing *p, int limits, int kind, int a, int b)
{
    const struct instance *in = p->instance;
    const struct instance_price *x = price_table_way(p->table, kind, a, limits);
    const struct instance_price *y = price_table_way(p->table, kind, b, limits);
    if (x == NULL || y == NULL || in->configs[a].devices[kind] > in->configs[b].devices[kind])
        return false;
    for (int s = 0; s < price_table_n_shapes(p->table); s++)
        if (y[s].most_in_flight > 0
                && (x[s].most_in_flight < y[s].most_in_flight || x[s].us > y[s].us
                        || x[s].send_us > y[s].send_us))
            return false;
    return true;
}

/* Of two equal ones the first stays. */
static bool find_outdone(const struct pricing *p, int limits, int kind, int config)
{
    for (int c = 0; c < p->instance->n_configs; c++)
        if (c != config && nowhere_worse(p, limits, kind, c, config)
                && (c < config || !nowhere_worse(p, limits, kind, config, c)))
            return true;
    return false;
}

void hunt_find_facts(struct pricing *p)
{
    const struct instance *in = p->instance;
    p->facts = ARENA_NEW(&p->arena, struct limits_facts, in->n_limits);
    for (int l = 0; l < in->n_limits; l++) {
        struct limits_facts *facts = &p->facts[l];
        facts->possible = least_round(p, l) <= in->limits[l].round_cap_us;
        facts->least_us = ARENA_NEW(&p->arena, double, (int64_t)in->n_configs * in->n_kinds);
        facts->outdone = ARENA_NEW(&p->arena, bool, (int64_t)in->n_configs * in->n_kinds);
        for (int c = 0; c < in->n_configs && facts->possible; c++)
            for (int k = 0; k < in->n_kinds; k++) {
                facts->least_us[c * in->n_kinds + k] = price_least(p, l, c, k);
                facts->outdone[c * in->n_kinds + k] = find_outdone(p, l, k, c);
            }
    }
}

static bool front_beats(const struct front_item *a, const struct front_item *b, int n_kinds)
{
    bool beats = a->rate >= b->rate;
    for (int k = 0; k < n_kinds && beats; k++)
        beats = a->devices[k] <= b->devices[k];
    return beats;
}

void front_add(struct front *front, const struct pattern *pattern, int n_kinds)
{
    struct front_item item = {.rate = pattern->requests_per_s};
    for (int k = 0; k < n_kinds; k++)
        item.devices[k] =
                (uint16_t)(pattern->devices[k] < UINT16_MAX ? pattern->devices[k] : UINT16_MAX);
    for (int i = 0; i < front->n; i++)
        if (front_beats(&front->items[i], &item, n_kinds))
            return;
    int kept = 0;
    for (int i = 0; i < front->n; i++)
        if (!front_beats(&item, &front->items[i], n_kinds))
            front->items[kept++] = front->items[i];
    if (kept % 256 == 0)
        front->items = arena_grow(front->arena, front->items, kept, kept + 256, sizeof item);
    int at = kept;
    while (at > 0 && front->items[at - 1].rate < item.rate) {
        front->items[at] = front->items[at - 1];
        at--;
    }
    front->items[at] = item;
    front->n = kept + 1;
}
