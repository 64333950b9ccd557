#include "core/spec/expert_map.h"

#include <string.h>

#define MOST_EXPERTS 4096

#define AT(member) offsetof(struct expert_device, member)
static const struct conf_field device_fields[] = {
        {"experts", CONF_INT_LIST, AT(experts), .count = AT(n_experts), .required = true, .min = 0,
                .max = MOST_EXPERTS - 1, .pos = AT(pos), .help = "what it holds, ascending"},
        {0}};
static const struct conf_table device_table = {
        .size = sizeof(struct expert_device), .fields = device_fields, .help = "a device"};
#undef AT

#define AT(member) offsetof(struct expert_layer, member)
static const struct conf_field layer_fields[] = {
        {"layer", CONF_INT, AT(layer), .required = true, .min = 0, .max = 65535, .pos = AT(pos),
                .help = "row of the file of loads, counted from 0"},
        {"max_load", CONF_DOUBLE, AT(max_load),
                .help = "of the fullest device, in the file's unit"},
        {"bound", CONF_DOUBLE, AT(bound), .help = "no placement has less"},
        {"mean", CONF_DOUBLE, AT(mean), .help = "load of a device when all are alike"},
        {"gap_frac", CONF_DOUBLE, AT(gap_frac), .help = "(max_load - bound) / max_load"},
        {"devices", CONF_STRUCT_LIST, AT(devices), .count = AT(n_devices), .required = true,
                .sub = &device_table, .help = "in order; nodes are consecutive groups"},
        {0}};
static const struct conf_table layer_table = {
        .size = sizeof(struct expert_layer), .fields = layer_fields, .help = "a layer"};
#undef AT

#define AT(member) offsetof(struct expert_map, member)
static const struct conf_field map_fields[] = {
        {"n_experts", CONF_INT, AT(n_experts), .required = true, .min = 1, .max = MOST_EXPERTS,
                .help = "experts of a layer"},
        {"slots", CONF_INT, AT(slots), .required = true, .min = 1, .max = 1024,
                .help = "experts that one device has room for"},
        {"layers", CONF_STRUCT_LIST, AT(layers), .count = AT(n_layers), .required = true,
                .sub = &layer_table, .help = "layers with experts"},
        {0}};
#undef AT

const struct conf_table expert_map_table = {.format = "shardwright-experts",
        .version = 1,
        .size = sizeof(struct expert_map),
        .fields = map_fields,
        .help = "which device holds which experts"};

static bool check_device(const struct expert_map *map, const struct expert_device *device,
        bool *held, struct err *err)
{
    if (device->n_experts > map->slots)
        return err_at(err, device->pos, "found %d experts, expected at most the %d of `slots`",
                device->n_experts, map->slots);
    for (int i = 0; i < device->n_experts; i++) {
        int e = device->experts[i];
        if (e >= map->n_experts)
            return err_at(
                    err, device->pos, "found expert %d, expected 0 to %d", e, map->n_experts - 1);
        if (i > 0 && e <= device->experts[i - 1])
            return err_at(err, device->pos,
                    "expert %d stands after %d, expected ascending numbers, none twice", e,
                    device->experts[i - 1]);
        held[e] = true;
    }
    return true;
}

static bool check_layer(
        const struct expert_map *map, const struct expert_layer *layer, bool *held, struct err *err)
{
    memset(held, 0, sizeof *held * (size_t)map->n_experts);
    if (layer->n_devices != map->layers[0].n_devices)
        return err_at(err, layer->pos, "found %d devices, expected %d as in the first layer",
                layer->n_devices, map->layers[0].n_devices);
    for (int d = 0; d < layer->n_devices; d++)
        if (!check_device(map, &layer->devices[d], held, err))
            return false;
    for (int e = 0; e < map->n_experts; e++)
        if (!held[e])
            return err_at(err, layer->pos, "layer %d: no device holds expert %d", layer->layer, e);
    return true;
}

bool expert_map_check(const struct expert_map *map, struct err *err)
{
    bool held[MOST_EXPERTS];
    if (map->n_layers == 0)
        return err_set(err, ERR_INPUT, "the map has no layers, expected at least one");
    if (map->layers[0].n_devices == 0)
        return err_at(err, map->layers[0].pos, "the layer has no devices, expected at least one");
    for (int i = 0; i < map->n_layers; i++)
        if (!check_layer(map, &map->layers[i], held, err))
            return false;
    return true;
}

bool expert_map_read_file(
        struct expert_map *out, const char *path, struct arena *arena, struct err *err)
{
    if (!conf_read_file(out, &expert_map_table, path, arena, err))
        return false;
    if (expert_map_check(out, err))
        return true;
    return strncmp(err->text, path, strlen(path)) == 0 ? false : err_context(err, "%s", path);
}
