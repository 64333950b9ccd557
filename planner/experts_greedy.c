#include "planner/experts_state.h"

#include <math.h>
#include <stdlib.h>

struct share {
    double load;
    int expert;
};

/* Largest first; equal shares in the order of their experts, so that results repeat. */
static int by_load(const void *a, const void *b)
{
    const struct share *x = a;
    const struct share *y = b;
    if (x->load != y->load)
        return x->load > y->load ? -1 : 1;
    return x->expert - y->expert;
}

/* The least loaded device with room that does not hold the expert; -1 = none. */
static int least_loaded(const struct experts_state *s, const double *load, int expert)
{
    const struct experts_problem *p = s->problem;
    int best = -1;
    for (int d = 0; d < p->n_devices; d++)
        if (s->used[d] < p->slots && !s->holds[d * p->n_experts + expert]
                && (best < 0 || load[d] < load[best]))
            best = d;
    return best;
}

bool experts_pack(struct experts_state *s, const int *replicas)
{
    const struct experts_problem *p = s->problem;
    int n = 0;
    for (int e = 0; e < p->n_experts; e++)
        n += replicas[e];
    struct share *shares = malloc(sizeof *shares * (size_t)(n + 1));
    double *load = calloc((size_t)p->n_devices, sizeof *load);
    bool ok = shares != NULL && load != NULL;
    n = 0;
    for (int e = 0; e < p->n_experts && ok; e++)
        for (int r = 0; r < replicas[e]; r++)
            shares[n++] = (struct share){p->load[e] / replicas[e], e};
    if (ok)
        qsort(shares, (size_t)n, sizeof *shares, by_load);
    experts_state_clear(s);
    for (int i = 0; i < n && ok; i++) {
        int d = least_loaded(s, load, shares[i].expert);
        ok = d >= 0;
        if (!ok)
            break;
        load[d] += shares[i].load;
        experts_state_add(s, d, shares[i].expert);
    }
    free(load);
    free(shares);
    return ok;
}

/* Spare replicas one by one to whom has the largest share. */
static void spread_spare(const struct experts_problem *p, int spare, int *replicas)
{
    for (; spare > 0; spare--) {
        int most = -1;
        for (int e = 0; e < p->n_experts; e++)
            if (replicas[e] < p->n_devices
                    && (most < 0 || p->load[e] / replicas[e] > p->load[most] / replicas[most]))
                most = e;
        if (most < 0)
            return;
        replicas[most]++;
    }
}

bool experts_greedy(struct experts_state *s)
{
    const struct experts_problem *p = s->problem;
    int *replicas = malloc(sizeof *replicas * (size_t)p->n_experts);
    if (replicas == NULL)
        return false;
    for (int e = 0; e < p->n_experts; e++)
        replicas[e] = 1;
    spread_spare(p, s->most - p->n_experts, replicas);
    bool ok = experts_pack(s, replicas);
    free(replicas);
    return ok;
}

bool experts_replicate(const struct experts_problem *p, double cap, int most, int *replicas)
{
    int64_t sum = 0;
    for (int e = 0; e < p->n_experts; e++) {
        double need = cap > 0 ? ceil(p->load[e] / cap * (1 - 1e-12)) : 1;
        if (need > p->n_devices)
            return false;
        replicas[e] = need < 1 ? 1 : (int)need;
        sum += replicas[e];
    }
    if (sum > most)
        return false;
    spread_spare(p, most - (int)sum, replicas);
    return true;
}
