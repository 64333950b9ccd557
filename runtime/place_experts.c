/* Which experts lie where: in equal parts, or as a map says, with replicas. */
#include "runtime/place.h"

/* Row of the map for a layer of the model. */
static int row_of(const struct model *model, int layer)
{
    int row = 0;

    for (int l = 0; l < layer; l++)
        row += model->layers[l].moe;
    return row;
}

bool place_experts(struct place *place, const struct model *model, const struct expert_map *map,
        struct err *err)
{
    const struct plan *plan = place->plan;
    int rows = row_of(model, model->n_layers);

    if (!map)
        return true;
    if (map->n_experts != model->moe.n || map->n_layers != rows)
        return err_at(err, map->layers[0].pos,
                "the map has %d layers of %d experts, %s has %d of %lld: place the experts of this "
                "model",
                map->n_layers, map->n_experts, model->name, rows, (long long)model->moe.n);
    for (int i = 0; i < map->n_layers; i++)
        if (map->layers[i].layer != i)
            return err_at(err, map->layers[i].pos, "found layer %d, expected %d: layers in order",
                    map->layers[i].layer, i);
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++)
            if (plan->replicas[r].stages[s].ep != map->layers[0].n_devices)
                return err_at(err, plan->replicas[r].stages[s].pos,
                        "ep is %d, the expert map is for %d devices: they must be equal on every "
                        "stage",
                        plan->replicas[r].stages[s].ep, map->layers[0].n_devices);
    place->experts = map;
    place->split.expert_slots = map->slots;
    return true;
}

int place_expert(
        const struct place *place, const struct model *model, int layer, int group, int slot)
{
    if (!place->experts)
        return (int)(group * (model->moe.n / place->split.ep)) + slot;

    const struct expert_device *device =
            &place->experts->layers[row_of(model, layer)].devices[group];
    return slot < device->n_experts ? device->experts[slot] : -1;
}
