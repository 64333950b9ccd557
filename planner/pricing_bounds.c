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
#include "planner/pricing_hunt.h"

#include <math.h>
#include <string.h>

/* Fills a weighed rest for its multiplier; returns the bound for the whole model. */
static double find_weighed(struct hunt *h, struct weighed *out, bool by_work)
{
    struct pricing *p = h->pricing;
    const int *shapes = price_table_shapes(p->table);
    int n = price_table_n_shapes(p->table);
    int last = p->instance->n_layers;
    for (int s = 0; s < n; s++)
        p->least[s].value = HUGE_VAL;
    for (int w = 0; w < h->n_ways; w++) {
        const struct way *way = &p->ways[w];
        double each_us = by_work ? way->cost : 0;
        double each = (by_work ? 0 : way->cost) + out->extra[way->kind] * way->devices;
        for (int s = 0; s < n; s++) {
            double value = each + each_us * way->us[s] + out->multiplier * way->time[s];
            if (value < p->least[s].value && way->us[s] <= h->cap_us) {
                p->least[s].value = value;
                p->least[s].way = w;
            }
        }
    }
    out->rest[last] = out->time[last] = 0;
    for (int first = last - 1; first >= 0; first--) {
        out->rest[first] = HUGE_VAL;
        for (int end = first + 1; end <= last; end++) {
            int shape = price_table_shape(shapes, last, first, end);
            double value = p->least[shape].value + out->rest[end];
            if (value < out->rest[first]) {
                int way = p->least[shape].way;
                out->rest[first] = value;
                out->time[first] = p->ways[way].time[shape] + out->time[end];
                out->next[first] = end;
                out->way[first] = way;
            }
        }
    }
    return out->rest[0] - hunt_spent_on(out);
}

/* Least sums over pieces, of their cost or else their value, for every number of stages. */
static void fill_staged(const struct hunt *h, double *staged, bool by_cost)
{
    struct pricing *p = h->pricing;
    const int *shapes = price_table_shapes(p->table);
    int last = p->instance->n_layers;
    int side = last + 1;
    for (int at = 0; at < side; at++)
        staged[at] = at == last ? 0 : HUGE_VAL;
    for (int n = 1; n <= h->n_stages; n++) {
        const double *fewer = staged + (int64_t)(n - 1) * side;
        double *row = staged + (int64_t)n * side;
        row[last] = HUGE_VAL;
        for (int first = 0; first < last; first++) {
            double best = HUGE_VAL;
            for (int end = first + 1; end <= last - (n - 1); end++) {
                const struct piece_least *at =
                        &p->least[price_table_shape(shapes, last, first, end)];
                best = fmin(best, (by_cost ? at->cost : at->value) + fewer[end]);
            }
            row[first] = best;
        }
    }
}

enum {
    MULTIPLIERS = 8 /* tried for one bound */
};

/* The multiplier whose bound is highest, where the path just meets the cap; enough ends the search. */
double hunt_weigh_work(struct hunt *h, struct weighed *out, double enough)
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
            break;
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
    if (best < enough)
        fill_staged(h, out->staged, false);
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
        over[1 + k] = devices[k] / fmax(1, (double)hunt_devices(h, k)) - 1;
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
        double there = fmax(1, (double)hunt_devices(h, k));
        at->extra[k] = fmax(0, at->extra[k] + step * over[1 + k] / there);
        at->extra_all += at->extra[k] * (double)hunt_devices(h, k);
    }
}

/* As weigh, for cost, with budgets: subgradient steps of Polyak's length towards `enough`. */
double hunt_weigh_cost(struct hunt *h, struct weighed *out, double enough)
{
    out->multiplier = out->extra_all = 0;
    memset(out->extra, 0, sizeof out->extra);
    double best = find_weighed(h, out, false);
    struct weighed best_at = *out;
    double goal = isfinite(enough) ? enough : 2 * best;
    double over[INSTANCE_KINDS + 1];
    for (int i = 0; i < CLIMBS && isfinite(best) && best < enough; i++) {
        double squares = excess(h, out, over);
        double bound = out->rest[0] - hunt_spent_on(out);
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
    if (isfinite(best) && best < enough) {
        find_weighed(h, out, false);
        fill_staged(h, out->staged, false);
    }
    return best;
}

/* Least cost, time and busy time from each boundary on; false when no path is left. */
bool hunt_find_rest(struct hunt *h)
{
    struct pricing *p = h->pricing;
    struct rest *rest = &p->rest;
    const int *shapes = price_table_shapes(p->table);
    int n = price_table_n_shapes(p->table);
    int last = p->instance->n_layers;
    h->most_send_us = 0;
    for (int s = 0; s < n; s++)
        p->least[s].cost = p->least[s].time = p->least[s].busy = HUGE_VAL;
    for (int w = 0; w < h->n_ways; w++) {
        struct way *way = &p->ways[w];
        way->most_layers = 0;
        for (int s = 0; s < n; s++) {
            struct piece_least *least = &p->least[s];
            if (way->us[s] > h->cap_us || isinf(way->us[s]))
                continue;
            if (p->shape_layers[s] > way->most_layers)
                way->most_layers = p->shape_layers[s];
            least->cost = fmin(least->cost, way->cost);
            least->time = fmin(least->time, way->time[s]);
            least->busy = fmin(least->busy, way->us[s]);
            h->most_send_us = fmax(h->most_send_us, way->time[s] - way->us[s]);
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
    fill_staged(h, rest->staged_cost, true);
    return isfinite(rest->cost[0]);
}

double hunt_allowed_pace(const struct hunt *h, double cost)
{
    const struct pricing_query *q = h->query;
    int steps = 0;
    while (q->allowed != NULL && steps < q->n_allowed && q->allowed[steps] < cost)
        steps++;
    if (steps > 0 && steps == q->n_allowed)
        return 0;
    return steps > 1 ? h->served / ((steps - 1) / q->steps_per_rate) * (1 + 1e-9) : HUGE_VAL;
}
