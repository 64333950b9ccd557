/* Which kinds and machines of a cluster can be measured, and which ranks are theirs. */
#include <string.h>

#include "profiler/profiler.h"

/* Machines of a kind that have as many devices as its largest. */
static bool fill_target(struct profiler_target *out, const struct cluster *cluster,
        const struct device_kind *kind, int first)
{
    *out = (struct profiler_target){
            .kind = kind, .layout = {.first = first, .gpu = kind->type == DEVICE_CUDA}};
    for (int i = 0; i < cluster->n_nodes; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (strcmp(node->kind, kind->name) != 0 || node->devices < out->layout.devices)
            continue;
        if (node->devices > out->layout.devices) {
            out->node = node;
            out->layout.devices = node->devices;
            out->layout.machines = 0;
        }
        out->layout.machines += node->count;
    }
    return out->node != NULL;
}

int profiler_targets(
        struct profiler_target **out, const struct cluster *cluster, bool gpus, struct arena *arena)
{
    int n = 0, first = 0;
    *out = ARENA_NEW(arena, struct profiler_target, cluster->n_kinds + 1);
    for (int k = 0; k < cluster->n_kinds; k++) {
        if ((cluster->kinds[k].type != DEVICE_CPU && !gpus)
                || !fill_target(&(*out)[n], cluster, &cluster->kinds[k], first))
            continue;
        first += (*out)[n].layout.machines * (*out)[n].layout.devices;
        n++;
    }
    return n;
}

int profiler_machines(int **out, const struct profiler_target *targets, int n,
        const struct cluster *cluster, struct arena *arena)
{
    int n_ranks = 0, rank = 0;
    for (int t = 0; t < n; t++)
        n_ranks += targets[t].layout.machines * targets[t].layout.devices;
    *out = ARENA_NEW(arena, int, n_ranks + 1);
    for (int t = 0; t < n; t++) {
        int machine = 0;
        for (int i = 0; i < cluster->n_nodes; i++) {
            const struct cluster_node *node = &cluster->nodes[i];
            bool ours = strcmp(node->kind, targets[t].kind->name) == 0
                        && node->devices == targets[t].layout.devices;
            for (int m = 0; ours && m < node->count; m++)
                for (int d = 0; d < node->devices; d++)
                    (*out)[rank++] = machine + m;
            machine += node->count;
        }
    }
    return n_ranks;
}
