/*
 * Which device gets which content. Contents are interchangeable for the fullest device, not for what is
 * there already (a current map: the fewest copies, an assignment problem) nor for nodes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/experts_state.h"

static int n_nodes(const struct experts_state *s)
{
    return s->problem->n_nodes > 1 ? s->problem->n_nodes : 1;
}

static int node_of(const struct experts_state *s, int device)
{
    return device / (s->problem->n_devices / n_nodes(s));
}

double experts_node_max(const struct experts_state *s)
{
    int per_node = s->problem->n_devices / n_nodes(s);
    double most = 0;
    for (int n = 0; n < n_nodes(s); n++) {
        double sum = 0;
        for (int d = 0; d < per_node; d++)
            sum += s->load[n * per_node + d];
        most = fmax(most, sum);
    }
    return most;
}

/* Replicas of an expert by node; counts has one int for each node. */
static int nodes_with(const struct experts_state *s, int expert)
{
    int per_node = s->problem->n_devices / n_nodes(s);
    int n = 0;
    for (int node = 0; node < n_nodes(s); node++) {
        bool here = false;
        for (int d = node * per_node; d < (node + 1) * per_node && !here; d++)
            here = s->holds[d * s->problem->n_experts + expert];
        n += here;
    }
    return n;
}

double experts_home_frac(const struct experts_state *s)
{
    const struct experts_problem *p = s->problem;
    double sum = 0;
    double home = 0;
    for (int e = 0; e < p->n_experts; e++) {
        sum += p->load[e];
        home += p->load[e] * nodes_with(s, e) / n_nodes(s);
    }
    return sum > 0 ? home / sum : 1;
}

/* Device d gets what device from[d] holds now. */
static void hand_round(struct experts_state *s, const int *from, struct arena *arena)
{
    const struct experts_problem *p = s->problem;
    struct experts_state old;
    experts_state_init(&old, p, arena);
    experts_state_copy(&old, s);
    experts_state_clear(s);
    for (int d = 0; d < p->n_devices; d++)
        for (int i = 0; i < old.used[from[d]]; i++)
            experts_state_add(s, d, old.slot[from[d] * p->slots + i]);
}

static int copies(const struct experts_state *s, int device, int content)
{
    const struct experts_problem *p = s->problem;
    int n = 0;
    for (int i = 0; i < s->used[content]; i++)
        n += experts_copy(s, device, s->slot[content * p->slots + i]);
    return n;
}

/* Rows 1..n of the assignment problem, in the words of the shortest augmenting path method. */
struct assignment {
    int n;
    const int *cost; /* n * n */
    int *u, *v;      /* potentials of devices and contents, from 1 */
    int *device_of;  /* of a content; 0 = none */
    int *way, *least;
    bool *seen;
};

/* Jonker and Volgenant 1987: one device more finds its content along the cheapest path. */
static void augment(struct assignment *a, int device)
{
    int at = 0;
    a->device_of[0] = device;
    for (int j = 0; j <= a->n; j++) {
        a->least[j] = 1 << 30;
        a->seen[j] = false;
    }
    do {
        a->seen[at] = true;
        int row = a->device_of[at];
        int delta = 1 << 30;
        int next = 0;
        for (int j = 1; j <= a->n; j++) {
            if (a->seen[j])
                continue;
            int reduced = a->cost[(row - 1) * a->n + j - 1] - a->u[row] - a->v[j];
            if (reduced < a->least[j]) {
                a->least[j] = reduced;
                a->way[j] = at;
            }
            if (a->least[j] < delta) {
                delta = a->least[j];
                next = j;
            }
        }
        for (int j = 0; j <= a->n; j++) {
            if (a->seen[j]) {
                a->u[a->device_of[j]] += delta;
                a->v[j] -= delta;
            } else {
                a->least[j] -= delta;
            }
        }
        at = next;
    } while (a->device_of[at] != 0);
    for (; at != 0; at = a->way[at])
        a->device_of[at] = a->device_of[a->way[at]];
}

static void fewest_copies(struct experts_state *s, struct arena *arena)
{
    int n = s->problem->n_devices;
    int *cost = ARENA_NEW(arena, int, (int64_t)n *n);
    for (int d = 0; d < n; d++)
        for (int c = 0; c < n; c++)
            cost[d * n + c] = copies(s, d, c);
    struct assignment a = {.n = n,
            .cost = cost,
            .u = ARENA_NEW(arena, int, n + 1),
            .v = ARENA_NEW(arena, int, n + 1),
            .device_of = ARENA_NEW(arena, int, n + 1),
            .way = ARENA_NEW(arena, int, n + 1),
            .least = ARENA_NEW(arena, int, n + 1),
            .seen = ARENA_NEW(arena, bool, n + 1)};
    for (int d = 1; d <= n; d++)
        augment(&a, d);
    int *from = ARENA_NEW(arena, int, n);
    for (int c = 1; c <= n; c++)
        from[a.device_of[c] - 1] = c - 1;
    hand_round(s, from, arena);
}

/* A hill climb over swaps of whole contents between nodes. */
struct climb {
    const struct experts_state *s;
    int *from;         /* content of each device */
    int *in_node;      /* n_nodes * n_experts: replicas */
    double *node_load; /* n_nodes */
};

/* What expert counts gain in load that is at home when content c leaves node a for node b; the other way round
 * for content d is asked for separately, after the first has been taken. */
static double transfer(struct climb *climb, int content, int a, int b)
{
    const struct experts_problem *p = climb->s->problem;
    double gain = 0;
    for (int i = 0; i < climb->s->used[content]; i++) {
        int e = climb->s->slot[content * p->slots + i];
        gain -= --climb->in_node[a * p->n_experts + e] == 0 ? p->load[e] : 0;
        gain += climb->in_node[b * p->n_experts + e]++ == 0 ? p->load[e] : 0;
    }
    climb->node_load[a] -= climb->s->load[content];
    climb->node_load[b] += climb->s->load[content];
    return gain;
}

/* Swaps the contents of two devices when that evens out their nodes (level) or, with loads kept under the
 * cap, brings more load home. */
static bool try_swap(struct climb *climb, int x, int y, bool level, double cap)
{
    int a = node_of(climb->s, x);
    int b = node_of(climb->s, y);
    double before = fmax(climb->node_load[a], climb->node_load[b]);
    double gain = transfer(climb, climb->from[x], a, b) + transfer(climb, climb->from[y], b, a);
    double after = fmax(climb->node_load[a], climb->node_load[b]);
    bool better = level ? after < before * (1 - 1e-9) : gain > 1e-9 * fabs(cap) && after <= cap;
    if (!better) {
        transfer(climb, climb->from[y], a, b);
        transfer(climb, climb->from[x], b, a);
        return false;
    }
    int content = climb->from[x];
    climb->from[x] = climb->from[y];
    climb->from[y] = content;
    return true;
}

static void climb_all(struct climb *climb, bool level, double cap)
{
    int n = climb->s->problem->n_devices;
    bool moved = true;
    for (int round = 0; round < 50 && moved; round++) {
        moved = false;
        for (int x = 0; x < n; x++)
            for (int y = x + 1; y < n; y++)
                if (node_of(climb->s, x) != node_of(climb->s, y))
                    moved |= try_swap(climb, x, y, level, cap);
    }
}

static void spread_nodes(struct experts_state *s, struct arena *arena)
{
    const struct experts_problem *p = s->problem;
    struct climb climb = {.s = s,
            .from = ARENA_NEW(arena, int, p->n_devices),
            .in_node = ARENA_NEW(arena, int, (int64_t)n_nodes(s) * p->n_experts),
            .node_load = ARENA_NEW(arena, double, n_nodes(s))};
    for (int d = 0; d < p->n_devices; d++) {
        climb.from[d] = d;
        climb.node_load[node_of(s, d)] += s->load[d];
        for (int i = 0; i < s->used[d]; i++)
            climb.in_node[node_of(s, d) * p->n_experts + s->slot[d * p->slots + i]]++;
    }
    climb_all(&climb, true, 0);
    double most = 0;
    for (int n = 0; n < n_nodes(s); n++)
        most = fmax(most, climb.node_load[n]);
    /* A thousandth of evenness between nodes for less traffic between them. */
    climb_all(&climb, false, most * 1.001);
    hand_round(s, climb.from, arena);
}

void experts_arrange(struct experts_state *s, struct arena *arena)
{
    if (s->problem->current != NULL)
        fewest_copies(s, arena);
    else if (n_nodes(s) > 1)
        spread_nodes(s, arena);
}
