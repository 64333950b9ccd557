#include "planner/experts_state.h"

#include <limits.h>
#include <string.h>

void experts_state_init(
        struct experts_state *s, const struct experts_problem *problem, struct arena *arena)
{
    int n_slots = problem->n_devices * problem->slots;
    *s = (struct experts_state){.problem = problem};
    s->slot = ARENA_NEW(arena, int, n_slots);
    s->used = ARENA_NEW(arena, int, problem->n_devices);
    s->replicas = ARENA_NEW(arena, int, problem->n_experts);
    s->load = ARENA_NEW(arena, double, problem->n_devices);
    s->holds = ARENA_NEW(arena, bool, (int64_t)problem->n_devices * problem->n_experts);
    s->most = problem->replicas > 0 && problem->replicas < n_slots ? problem->replicas : n_slots;
    s->budget = INT_MAX;
    if (problem->current == NULL)
        return;
    s->had = ARENA_NEW(arena, bool, (int64_t)problem->n_devices * problem->n_experts);
    for (int i = 0; i < n_slots; i++)
        if (problem->current[i] != EXPERTS_EMPTY)
            s->had[i / problem->slots * problem->n_experts + problem->current[i]] = true;
}

void experts_state_copy(struct experts_state *to, const struct experts_state *from)
{
    const struct experts_problem *p = from->problem;
    size_t devices = (size_t)p->n_devices;
    size_t experts = (size_t)p->n_experts;
    memcpy(to->slot, from->slot, devices * (size_t)p->slots * sizeof *to->slot);
    memcpy(to->used, from->used, devices * sizeof *to->used);
    memcpy(to->replicas, from->replicas, experts * sizeof *to->replicas);
    memcpy(to->load, from->load, devices * sizeof *to->load);
    memcpy(to->holds, from->holds, devices * experts * sizeof *to->holds);
    to->total = from->total;
    to->most = from->most;
    to->moved = from->moved;
    to->budget = from->budget;
}

void experts_state_clear(struct experts_state *s)
{
    const struct experts_problem *p = s->problem;
    size_t devices = (size_t)p->n_devices;
    memset(s->used, 0, devices * sizeof *s->used);
    memset(s->replicas, 0, (size_t)p->n_experts * sizeof *s->replicas);
    memset(s->load, 0, devices * sizeof *s->load);
    memset(s->holds, 0, devices * (size_t)p->n_experts * sizeof *s->holds);
    s->total = 0;
    s->moved = 0;
}

int experts_copy(const struct experts_state *s, int device, int expert)
{
    return s->had != NULL && !s->had[device * s->problem->n_experts + expert];
}

/* A holder's load from its shares, summed in one order so that it does not drift. */
static void weigh(struct experts_state *s, int device)
{
    const struct experts_problem *p = s->problem;
    double sum = 0;
    for (int i = 0; i < s->used[device]; i++) {
        int e = s->slot[device * p->slots + i];
        sum += p->load[e] / s->replicas[e];
    }
    s->load[device] = sum;
}

static void weigh_holders(struct experts_state *s, int expert)
{
    const struct experts_problem *p = s->problem;
    for (int d = 0; d < p->n_devices; d++)
        if (s->holds[d * p->n_experts + expert])
            weigh(s, d);
}

void experts_state_add(struct experts_state *s, int device, int expert)
{
    const struct experts_problem *p = s->problem;
    int *mine = s->slot + (int64_t)device * p->slots;
    int at = s->used[device]++;
    for (; at > 0 && mine[at - 1] > expert; at--)
        mine[at] = mine[at - 1];
    mine[at] = expert;
    s->holds[device * p->n_experts + expert] = true;
    s->replicas[expert]++;
    s->total++;
    s->moved += experts_copy(s, device, expert);
    weigh_holders(s, expert);
}

void experts_state_drop(struct experts_state *s, int device, int expert)
{
    const struct experts_problem *p = s->problem;
    int *mine = s->slot + (int64_t)device * p->slots;
    int at = 0;
    while (mine[at] != expert)
        at++;
    s->used[device]--;
    for (; at < s->used[device]; at++)
        mine[at] = mine[at + 1];
    s->holds[device * p->n_experts + expert] = false;
    s->replicas[expert]--;
    s->total--;
    s->moved -= experts_copy(s, device, expert);
    weigh(s, device);
    weigh_holders(s, expert);
}

double experts_state_max(const struct experts_state *s, int *device)
{
    int most = 0;
    for (int d = 1; d < s->problem->n_devices; d++)
        if (s->load[d] > s->load[most])
            most = d;
    if (device != NULL)
        *device = most;
    return s->load[most];
}

void experts_state_load(struct experts_state *s, const int *slot)
{
    const struct experts_problem *p = s->problem;
    experts_state_clear(s);
    for (int d = 0; d < p->n_devices; d++)
        for (int i = 0; i < p->slots; i++)
            if (slot[d * p->slots + i] != EXPERTS_EMPTY)
                experts_state_add(s, d, slot[d * p->slots + i]);
}
