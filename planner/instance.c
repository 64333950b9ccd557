#include "planner/instance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/memo.h"

enum {
    CLASSES = 16, /* that a key holds, four to a word */
    LAYERS = 4096 /* most layers of an instance: counts fit into the key's 16 bits */
};

struct price_table {
    const struct instance *instance;
    struct arena arena;
    int side;   /* n_layers + 1 */
    int *shape; /* of the piece [first, end) */
    int n_shapes;
    struct pattern_stage *sample; /* a piece of each shape */
    struct instance_price **of;   /* [limits][config][kind]: by shape, or NULL */
};

static bool check_kinds(const struct instance *in, struct err *err)
{
    for (int k = 0; k < in->n_kinds; k++)
        if (in->kinds[k].devices < 0 || !isfinite(in->kinds[k].price) || in->kinds[k].price < 0)
            return err_set(err, ERR_INPUT,
                    "instance %s: kind %s has %lld devices at a price of %g, expected neither to "
                    "be "
                    "negative",
                    in->name, in->kinds[k].name, (long long)in->kinds[k].devices,
                    in->kinds[k].price);
    return true;
}

bool instance_check(const struct instance *in, struct err *err)
{
    if (in->n_layers < 1 || in->n_layers > LAYERS)
        return err_set(err, ERR_INPUT, "instance %s has %d layers, expected 1 to %d", in->name,
                in->n_layers, LAYERS);
    if (in->n_kinds < 1 || in->n_kinds > INSTANCE_KINDS)
        return err_set(err, ERR_INPUT, "instance %s has %d device kinds, expected 1 to %d",
                in->name, in->n_kinds, INSTANCE_KINDS);
    if (in->n_configs < 1 || in->n_limits < 1)
        return err_set(err, ERR_INPUT,
                "instance %s has %d configurations and %d limits, expected at least one of each",
                in->name, in->n_configs, in->n_limits);
    if (in->max_stages < 0 || in->max_stages > INSTANCE_STAGES)
        return err_set(err, ERR_INPUT, "instance %s: pipelines of %d stages, expected up to %d",
                in->name, in->max_stages, INSTANCE_STAGES);
    for (int l = 0; l < in->n_limits; l++)
        if (!(in->limits[l].requests > 0) || !isfinite(in->limits[l].requests))
            return err_set(err, ERR_INPUT,
                    "instance %s: limits %s serve %g requests a step, expected more than 0",
                    in->name, in->limits[l].name, in->limits[l].requests);
    if (in->objective == INSTANCE_PRICE && !(in->demand > 0))
        return err_set(err, ERR_INPUT,
                "instance %s: the least price was asked for a demand of %g requests a second, "
                "expected more than 0",
                in->name, in->demand);
    return check_kinds(in, err);
}

/* Numbers the pieces so that those that cost the same have the same number. */
static void find_shapes(struct price_table *t)
{
    const struct instance *in = t->instance;
    int n_classes = CLASSES + 1;
    if (in->layer_class != NULL) {
        n_classes = 0;
        for (int l = 0; l < in->n_layers; l++)
            if (in->layer_class[l] >= n_classes)
                n_classes = in->layer_class[l] + 1;
    }
    int64_t most = (int64_t)in->n_layers * (in->n_layers + 1) / 2;
    t->side = in->n_layers + 1;
    t->shape = ARENA_NEW(&t->arena, int, (int64_t)t->side * t->side);
    t->sample = ARENA_NEW(&t->arena, struct pattern_stage, most);
    struct memo *known = memo_open(sizeof(int), 0);
    for (int first = 0; first < in->n_layers; first++) {
        struct memo_key key = {{first == 0}};
        for (int end = first + 1; end <= in->n_layers; end++) {
            int *found = NULL;
            if (n_classes <= CLASSES) {
                int c = in->layer_class[end - 1];
                key.at[1 + c / 4] += (int64_t)1 << 16 * (c % 4);
                key.at[5] = end == in->n_layers;
                found = memo_find(known, &key);
            }
            int shape = found != NULL ? *found : t->n_shapes++;
            if (found == NULL)
                t->sample[shape] = (struct pattern_stage){.first = first, .end = end};
            if (found == NULL && n_classes <= CLASSES)
                *(int *)memo_add(known, &key) = shape;
            t->shape[first * t->side + end] = shape;
        }
    }
    memo_close(known);
}

static int64_t slot_of(const struct instance *in, int kind, int config, int limits)
{
    return ((int64_t)limits * in->n_configs + config) * in->n_kinds + kind;
}

static bool fill_prices(struct price_table *t, int kind, int config, int limits, struct err *err)
{
    const struct instance *in = t->instance;
    struct instance_price *prices = ARENA_NEW(&t->arena, struct instance_price, t->n_shapes);
    for (int s = 0; s < t->n_shapes; s++) {
        const struct pattern_stage *piece = &t->sample[s];
        in->price(in->self, &prices[s], kind, config, limits, piece->first, piece->end);
        if (piece->end == in->n_layers)
            prices[s].send_us = 0;
        if (prices[s].most_in_flight > 0
                && (!(prices[s].us > 0) || !isfinite(prices[s].us) || !(prices[s].send_us >= 0)))
            return err_set(err, ERR_INPUT,
                    "instance %s: layers %d to %d on %s with %s and %s take %g us and %g us to "
                    "hand "
                    "on, expected times above 0",
                    in->name, piece->first, piece->end - 1, in->kinds[kind].name,
                    in->configs[config].name, in->limits[limits].name, prices[s].us,
                    prices[s].send_us);
    }
    t->of[slot_of(in, kind, config, limits)] = prices;
    return true;
}

struct price_table *price_table_open(const struct instance *in, struct err *err)
{
    if (!instance_check(in, err))
        return NULL;
    struct price_table *t = calloc(1, sizeof *t);
    if (t == NULL) {
        err_set(err, ERR_ENV, "no memory for the prices of instance %s", in->name);
        return NULL;
    }
    t->instance = in;
    find_shapes(t);
    t->of = ARENA_NEW(&t->arena, struct instance_price *, slot_of(in, 0, 0, in->n_limits));
    for (int l = 0; l < in->n_limits; l++)
        for (int c = 0; c < in->n_configs; c++)
            for (int k = 0; k < in->n_kinds; k++) {
                int devices = in->configs[c].devices[k];
                if (in->configs[c].family != in->limits[l].family || devices < 1
                        || devices > in->kinds[k].devices)
                    continue;
                if (!fill_prices(t, k, c, l, err)) {
                    price_table_close(t);
                    return NULL;
                }
            }
    return t;
}

void price_table_close(struct price_table *table)
{
    if (table == NULL)
        return;
    arena_free(&table->arena);
    free(table);
}

const struct instance_price *price_table_at(
        const struct price_table *t, int kind, int config, int limits, int first, int end)
{
    const struct instance_price *prices = t->of[slot_of(t->instance, kind, config, limits)];
    return prices != NULL ? &prices[t->shape[first * t->side + end]] : NULL;
}

const struct instance_price *price_table_way(
        const struct price_table *t, int kind, int config, int limits)
{
    return t->of[slot_of(t->instance, kind, config, limits)];
}

const int *price_table_shapes(const struct price_table *t)
{
    return t->shape;
}

int price_table_n_shapes(const struct price_table *t)
{
    return t->n_shapes;
}

bool pattern_price(struct pattern *p, const struct instance *in, const struct price_table *t)
{
    double slowest = 0;
    double sum = 0;
    memset(p->devices, 0, sizeof p->devices);
    for (int s = 0; s < p->n_stages; s++) {
        const struct pattern_stage *at = &p->stages[s];
        const struct instance_price *price =
                price_table_at(t, at->kind, at->config, p->limits, at->first, at->end);
        if (price == NULL || price->most_in_flight < p->in_flight)
            return false;
        slowest = fmax(slowest, price->us);
        sum += price->us + price->send_us;
        p->devices[at->kind] += in->configs[at->config].devices[at->kind];
    }
    for (int k = 0; k < in->n_kinds; k++)
        if (p->devices[k] > in->kinds[k].devices)
            return false;
    p->pace_us = fmax(slowest, sum / p->in_flight);
    p->round_us = p->pace_us * p->in_flight;
    p->requests_per_s = in->limits[p->limits].requests / p->pace_us * 1e6;
    return p->round_us <= in->limits[p->limits].round_cap_us;
}

int pattern_compare(const struct pattern *a, const struct pattern *b)
{
    if (a->limits != b->limits)
        return a->limits < b->limits ? -1 : 1;
    if (a->in_flight != b->in_flight)
        return a->in_flight < b->in_flight ? -1 : 1;
    if (a->n_stages != b->n_stages)
        return a->n_stages < b->n_stages ? -1 : 1;
    for (int s = 0; s < a->n_stages; s++) {
        const struct pattern_stage *x = &a->stages[s];
        const struct pattern_stage *y = &b->stages[s];
        if (x->end != y->end)
            return x->end < y->end ? -1 : 1;
        if (x->kind != y->kind)
            return x->kind < y->kind ? -1 : 1;
        if (x->config != y->config)
            return x->config < y->config ? -1 : 1;
    }
    return 0;
}

char *pattern_show(const struct pattern *p, const struct instance *in, struct arena *arena)
{
    char *text = arena_strdup(arena, "");
    for (int s = 0; s < p->n_stages; s++) {
        const struct pattern_stage *at = &p->stages[s];
        text = arena_printf(arena, "%s%s%s on %s layers %d-%d", text, s > 0 ? ", " : "",
                in->configs[at->config].name, in->kinds[at->kind].name, at->first, at->end - 1);
    }
    return arena_printf(
            arena, "%s; %s in_flight=%d", text, in->limits[p->limits].name, p->in_flight);
}
