#include "tests/oracle/worlds.h"

#include <math.h>
#include <string.h>

double world_draw(struct world *w)
{
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (double)(w->state >> 11) / 9007199254740992.0;
}

int world_pick(struct world *w, int lo, int hi)
{
    return lo + (int)(world_draw(w) * (hi - lo + 1));
}

static void price(void *self, struct instance_price *out, int kind, int config, int limits,
        int first, int end)
{
    const struct world *w = self;
    double us = first == 0 ? w->ends_us[kind][0] : 0;
    double bytes = 0;
    us += end == w->in.n_layers ? w->ends_us[kind][1] : 0;
    for (int l = first; l < end; l++) {
        us += w->layer_us[kind][config][l];
        bytes += w->layer_bytes[l];
    }
    double each = bytes / w->configs[config].devices[kind];
    out->us = us * w->batch[limits];
    out->send_us = w->send_us * w->batch[limits];
    out->most_in_flight = (int)fmin(99, fmax(0, (w->memory[kind] - each) / (0.2 * each)));
}

/* Layers of two classes, as in models with dense and expert layers, or all different. */
static void make_layers(struct world *w)
{
    w->uneven = world_draw(w) < 0.4;
    w->tight = world_draw(w) < 0.5;
    int dense = world_pick(w, 0, w->in.n_layers);
    w->experts = !w->uneven && dense > 0 && dense < w->in.n_layers;
    double all = 0;
    for (int l = 0; l < w->in.n_layers; l++) {
        w->layer_class[l] = l >= dense;
        w->layer_bytes[l] = w->uneven ? 0.5 + world_draw(w) : 1 + w->layer_class[l];
        all += w->layer_bytes[l];
    }
    for (int k = 0; k < w->in.n_kinds; k++) {
        double speed = 0.5 + world_draw(w);
        w->memory[k] = w->tight ? all * (0.15 + 0.8 * world_draw(w)) : all * 4;
        w->ends_us[k][0] = world_draw(w) * 3;
        w->ends_us[k][1] = world_draw(w) * 6;
        for (int c = 0; c < w->in.n_configs; c++) {
            double per[2] = {(4 + 6 * world_draw(w)) * speed, (4 + 9 * world_draw(w)) * speed};
            for (int l = 0; l < w->in.n_layers; l++)
                w->layer_us[k][c][l] =
                        (w->uneven ? (2 + 10 * world_draw(w)) * speed : per[w->layer_class[l]])
                        / pow(fmax(1, w->configs[c].devices[k]), 0.8);
        }
    }
    w->in.layer_class = w->uneven ? NULL : w->layer_class;
}

static void make_limits(struct world *w, bool pools)
{
    w->slo = world_draw(w) < 0.5;
    for (int l = 0; l < w->in.n_limits; l++) {
        w->batch[l] = 0.6 + 0.4 * (l + 1);
        w->limits[l] = (struct instance_limits){.name = "limits",
                .role = pools ? world_pick(w, ROLE_MIXED, ROLE_DECODE) : ROLE_MIXED,
                .requests = (0.1 + 0.1 * world_draw(w)) * (l + 1),
                .round_cap_us = w->slo ? 10 + 90 * world_draw(w) : HUGE_VAL};
    }
    /* Now and then configurations that do not go together, as with unlike attention-dp groups. */
    if (w->in.n_limits > 1 && world_draw(w) < 0.2)
        for (int l = 0; l < w->in.n_limits; l++)
            w->limits[l].family = l % 2;
    bool families = w->in.n_limits > 1 && w->limits[1].family == 1;
    for (int c = 0; c < w->in.n_configs && families; c++)
        w->configs[c].family = world_pick(w, 0, 1);
}

void world_make(struct world *w, uint64_t seed, const struct world_size *size)
{
    static const char *const kinds[WORLD_KINDS] = {"a", "b", "c"};
    static const char *const configs[WORLD_CONFIGS] = {"tp=1", "tp=2", "tp=3", "tp=4"};
    memset(w, 0, sizeof *w);
    w->state = seed * 7919 + 1;
    world_draw(w);
    w->in = (struct instance){.name = "random",
            .n_layers = world_pick(w, 2, size->layers),
            .kinds = w->kinds,
            .n_kinds = world_pick(w, 1, size->devices < WORLD_KINDS ? size->devices : WORLD_KINDS),
            .configs = w->configs,
            .n_configs = world_pick(w, 1, WORLD_CONFIGS),
            .limits = w->limits,
            .n_limits = world_pick(w, size->pools ? 2 : 1, size->limits),
            .price = price,
            .self = w};
    if (world_draw(w) < 0.2)
        w->in.max_stages = world_pick(w, 1, 4);
    int devices = size->devices;
    for (int k = 0; k < w->in.n_kinds; k++) {
        w->kinds[k] = (struct instance_kind){.name = kinds[k],
                .devices = world_pick(w, 1, devices - (w->in.n_kinds - 1 - k)),
                .price = 1 + world_draw(w)};
        devices -= (int)w->kinds[k].devices;
    }
    for (int c = 0; c < w->in.n_configs; c++) {
        w->configs[c].name = configs[c];
        for (int k = 0; k < w->in.n_kinds; k++)
            w->configs[c].devices[k] = world_draw(w) < 0.9 ? c + 1 : 0;
    }
    w->send_us = world_draw(w) < 0.3 ? 0 : 2 * world_draw(w);
    make_layers(w);
    make_limits(w, size->pools);
}

/* Exchanges what two places of an array hold. */
static void swap(void *a, void *b, size_t bytes)
{
    char *x = a;
    char *y = b;
    for (size_t i = 0; i < bytes; i++) {
        char kept = x[i];
        x[i] = y[i];
        y[i] = kept;
    }
}

void world_turn_kinds(struct world *w)
{
    for (int a = 0, b = w->in.n_kinds - 1; a < b; a++, b--) {
        swap(&w->kinds[a], &w->kinds[b], sizeof w->kinds[a]);
        swap(w->layer_us[a], w->layer_us[b], sizeof w->layer_us[a]);
        swap(w->ends_us[a], w->ends_us[b], sizeof w->ends_us[a]);
        swap(&w->memory[a], &w->memory[b], sizeof w->memory[a]);
        for (int c = 0; c < w->in.n_configs; c++)
            swap(&w->configs[c].devices[a], &w->configs[c].devices[b], sizeof(int));
    }
}

void world_turn_limits(struct world *w)
{
    for (int a = 0, b = w->in.n_limits - 1; a < b; a++, b--) {
        swap(&w->limits[a], &w->limits[b], sizeof w->limits[a]);
        swap(&w->batch[a], &w->batch[b], sizeof w->batch[a]);
    }
}
