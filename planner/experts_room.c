/*
 * Lower bounds that need no program (docs/ilp.md, X2 to X4): the mean, the largest share that the spare
 * slots leave, and the slots that devices with a large share cannot fill. The last decides where slots are
 * scarce: a device whose largest share leaves room for two small experts has two slots less than it seems.
 */
#include <math.h>
#include <stdlib.h>

#include "planner/experts_state.h"

struct room {
    const struct experts_problem *problem;
    int most;
    double *small; /* n_experts: the least that a share of each may weigh, ascending; scratch */
};

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

static int least_replicas(const struct room *room, int expert, double cap)
{
    return (int)fmax(1, ceil(room->problem->load[expert] / cap * (1 - 1e-12)));
}

/* Slots that stay empty beside a share that takes more than half of the cap. */
static int unused(const struct room *room, double share, double cap)
{
    int slots = room->problem->slots;
    double left = cap * (1 + 1e-12) - share;
    int n = 0;
    if (share <= cap / 2)
        return 0;
    for (; n < slots - 1 && n < room->problem->n_experts && room->small[n] <= left; n++)
        left -= room->small[n];
    return slots - 1 - n;
}

/* Slots that the experts take in the least, when a replica costs `toll` besides. */
static double least_slots(const struct room *room, double cap, int spare, double toll)
{
    const struct experts_problem *p = room->problem;
    double sum = 0;
    for (int e = 0; e < p->n_experts; e++) {
        int first = least_replicas(room, e, cap);
        double least = HUGE_VAL;
        for (int r = first; r <= first + spare && r <= p->n_devices; r++) {
            int empty = unused(room, p->load[e] / r, cap);
            least = fmin(least, r * (1 + empty + toll));
            if (empty == 0)
                break; /* more replicas only cost more */
        }
        sum += least;
    }
    return sum;
}

/* Proven: no placement has a fullest device of `cap` or less (X4). */
static bool too_small(struct room *room, double cap)
{
    static const double tolls[] = {0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 16};
    const struct experts_problem *p = room->problem;
    int64_t spare = room->most;
    for (int e = 0; e < p->n_experts; e++)
        spare -= least_replicas(room, e, cap);
    if (spare < 0)
        return true;
    /* A spare replica may make two shares smaller than is said here: they are taken to weigh nothing. */
    for (int e = 0; e < p->n_experts; e++) {
        int first = least_replicas(room, e, cap);
        room->small[e] = first == 1 ? p->load[e] : p->load[e] / (double)(first + spare);
    }
    qsort(room->small, (size_t)p->n_experts, sizeof *room->small, by_value);
    double slots = (double)p->n_devices * p->slots + 2.0 * (double)spare;
    for (size_t i = 0; i < sizeof tolls / sizeof tolls[0]; i++)
        if (least_slots(room, cap, (int)spare, tolls[i])
                > (slots + tolls[i] * room->most) * (1 + 1e-12))
            return true;
    return false;
}

void experts_simple_bound(struct experts_bound *bound, const struct experts_problem *p, int most,
        double found, struct arena *arena)
{
    struct room room = {p, most, ARENA_NEW(arena, double, p->n_experts)};
    int *replicas = ARENA_NEW(arena, int, p->n_experts);
    double sum = 0;
    double largest = 0;
    bool spread = experts_replicate(p, HUGE_VAL, most, replicas);
    for (int e = 0; e < p->n_experts; e++) {
        sum += p->load[e];
        largest = fmax(largest, spread ? p->load[e] / replicas[e] : 0);
    }
    bound->value = sum / p->n_devices;
    bound->proof = "the mean load of a device";
    if (largest > bound->value) {
        bound->value = largest;
        bound->proof = "the largest share that the spare slots leave";
    }
    double lo = bound->value;
    double hi = found;
    for (int i = 0; i < 30 && hi - lo > 1e-6 * hi; i++) {
        double cap = (lo + hi) / 2;
        if (!too_small(&room, cap)) {
            hi = cap;
            continue;
        }
        lo = cap;
        bound->value = cap;
        bound->proof = "the slots that large shares leave unused";
    }
}
