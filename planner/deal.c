#include "planner/deal.h"

#include <stdlib.h>
#include <string.h>

struct machine {
    const char *kind;
    int devices, free;
};

struct dealer {
    struct machine *machines;
    int n;
    int first_free;                   /* full machines before it are not looked at again */
    const struct plan_stage **stages; /* in the order of dealing */
    int n_stages;
    int *machine_of; /* by rank */
};

static int list_machines(struct machine **out, const struct cluster *cluster, struct arena *arena)
{
    int n = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        n += cluster->nodes[i].count;
    *out = ARENA_NEW(arena, struct machine, n + 1);
    n = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        for (int m = 0; m < cluster->nodes[i].count; m++) {
            const struct cluster_node *node = &cluster->nodes[i];
            (*out)[n++] = (struct machine){node->kind, node->devices, node->devices};
        }
    return n;
}

static bool fits(const struct machine *m, const struct plan_stage *stage, int devices)
{
    return m->free >= devices && strcmp(m->kind, stage->kind) == 0;
}

static int first_with_room(
        struct dealer *d, const struct plan_stage *stage, int devices, bool whole)
{
    while (d->first_free < d->n && d->machines[d->first_free].free == 0)
        d->first_free++;
    for (int m = d->first_free; m < d->n; m++)
        if (fits(&d->machines[m], stage, devices)
                && (!whole || d->machines[m].free == d->machines[m].devices))
            return m;
    return -1;
}

static int largest(const struct dealer *d, const char *kind)
{
    int most = 0;
    for (int m = 0; m < d->n; m++)
        if (strcmp(d->machines[m].kind, kind) == 0 && d->machines[m].devices > most)
            most = d->machines[m].devices;
    return most;
}

static bool deal_stage(struct dealer *d, const struct plan_stage *stage)
{
    int devices = stage->n_ranks * stage->threads;
    int node = largest(d, stage->kind);
    bool whole = node > 0 && devices > node;
    int each = whole ? node / stage->threads : stage->n_ranks; /* ranks of a machine */
    for (int i = 0; i < stage->n_ranks; i += each) {
        int m = first_with_room(d, stage, whole ? node : devices, whole);
        if (m < 0)
            return false;
        d->machines[m].free -= whole ? node : devices;
        for (int r = i; r < i + each && r < stage->n_ranks; r++)
            d->machine_of[stage->ranks[r]] = m;
    }
    return true;
}

static bool deal_all(struct dealer *d)
{
    d->first_free = 0;
    for (int m = 0; m < d->n; m++)
        d->machines[m].free = d->machines[m].devices;
    for (int s = 0; s < d->n_stages; s++)
        if (!deal_stage(d, d->stages[s]))
            return false;
    return true;
}

static int by_size(const void *a, const void *b)
{
    const struct plan_stage *x = *(const struct plan_stage *const *)a;
    const struct plan_stage *y = *(const struct plan_stage *const *)b;
    int size = x->n_ranks * x->threads - y->n_ranks * y->threads;
    return size != 0 ? -size : x->ranks[0] - y->ranks[0];
}

const char *const *deal_hosts(int *n, const struct cluster *cluster, struct arena *arena)
{
    *n = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        *n += cluster->nodes[i].n_hosts;
    if (*n == 0)
        return NULL;
    const char **names = ARENA_NEW(arena, const char *, *n);
    int at = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        for (int h = 0; h < cluster->nodes[i].n_hosts; h++)
            names[at++] = cluster->nodes[i].hosts[h];
    return names;
}

bool deal_machines(
        struct plan *plan, const struct cluster *cluster, struct arena *arena, struct err *err)
{
    struct dealer d = {0};
    for (int r = 0; r < plan->n_replicas; r++)
        d.n_stages += plan->replicas[r].n_stages;
    d.stages = ARENA_NEW(arena, const struct plan_stage *, d.n_stages + 1);
    d.machine_of = ARENA_NEW(arena, int, plan->n_ranks + 1);
    d.n = list_machines(&d.machines, cluster, arena);
    int at = 0;
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++)
            d.stages[at++] = &plan->replicas[r].stages[s];
    bool ok = deal_all(&d);
    if (!ok) {
        // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers it is
        qsort(d.stages, (size_t)d.n_stages, sizeof *d.stages, by_size);
        ok = deal_all(&d);
    }
    if (!ok)
        return err_set(err, ERR_NO,
                "the %d stages of the plan do not fit into the machines of %s one beside the "
                "other: "
                "a stage takes devices of one machine, or whole machines",
                d.n_stages, cluster->name);
    if (d.n > 1) {
        plan->machines = d.machine_of;
        plan->n_machines = plan->n_ranks;
    }
    plan->hosts = deal_hosts(&plan->n_hosts, cluster, arena);
    return true;
}
