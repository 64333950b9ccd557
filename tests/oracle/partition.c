#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/oracle.h"

struct table {
    const struct partition_problem *problem;
    int step[16], most[16]; /* by kind: in states, and groups that may be used */
    int n_states;
    int *used;                         /* groups in all, of each state */
    double *least;                     /* [state][layer]: sum of stages and hand-overs */
    const struct partition_arc **arcs; /* by kind and first */
    int *begin;                        /* of each kind and first, one more */
};

static int by_place(const void *a, const void *b)
{
    const struct partition_arc *x = *(const struct partition_arc *const *)a;
    const struct partition_arc *y = *(const struct partition_arc *const *)b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

static void open_table(struct table *t, const struct partition_problem *p)
{
    *t = (struct table){.problem = p, .n_states = 1};
    for (int k = 0; k < p->n_kinds; k++) {
        t->most[k] = p->budget[k] < p->n_stages ? p->budget[k] : p->n_stages;
        t->step[k] = t->n_states;
        t->n_states *= t->most[k] + 1;
    }
    t->used = calloc((size_t)t->n_states, sizeof *t->used);
    for (int s = 0; s < t->n_states; s++)
        for (int k = 0; k < p->n_kinds; k++)
            t->used[s] += s / t->step[k] % (t->most[k] + 1);
    t->least = calloc((size_t)t->n_states * (size_t)(p->n_layers + 1), sizeof *t->least);
    t->arcs = calloc((size_t)p->n_arcs + 1, sizeof *t->arcs);
    for (int i = 0; i < p->n_arcs; i++)
        t->arcs[i] = &p->arcs[i];
    qsort(t->arcs, (size_t)p->n_arcs, sizeof *t->arcs, by_place);
    int places = p->n_kinds * p->n_layers;
    t->begin = calloc((size_t)places + 1, sizeof *t->begin);
    for (int place = 0, i = 0; place <= places; place++) {
        while (i < p->n_arcs && t->arcs[i]->kind * p->n_layers + t->arcs[i]->first < place)
            i++;
        t->begin[place] = i;
    }
}

static void close_table(struct table *t)
{
    free(t->used);
    free(t->least);
    free(t->arcs);
    free(t->begin);
}

/* Least sum of n_stages arcs over all layers, none longer than cap_us. A stage more is a state further on. */
static double least_sum(struct table *t, double cap_us)
{
    const struct partition_problem *p = t->problem;
    int side = p->n_layers + 1;
    for (int64_t i = 0; i < (int64_t)t->n_states * side; i++)
        t->least[i] = HUGE_VAL;
    t->least[0] = 0;
    double best = HUGE_VAL;
    for (int s = 0; s < t->n_states; s++) {
        const double *from = &t->least[(int64_t)s * side];
        if (t->used[s] == p->n_stages)
            best = fmin(best, from[p->n_layers]);
        if (t->used[s] >= p->n_stages)
            continue;
        for (int k = 0; k < p->n_kinds; k++) {
            if (s / t->step[k] % (t->most[k] + 1) == t->most[k])
                continue;
            double *to = &t->least[(int64_t)(s + t->step[k]) * side];
            for (int at = 0; at < p->n_layers; at++) {
                int place = k * p->n_layers + at;
                for (int i = t->begin[place]; i < t->begin[place + 1] && isfinite(from[at]); i++) {
                    const struct partition_arc *arc = t->arcs[i];
                    if (arc->us <= cap_us)
                        to[arc->end] = fmin(to[arc->end], from[at] + arc->us + arc->send_us);
                }
            }
        }
    }
    return best;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

double oracle_partition(const struct partition_problem *p)
{
    struct table t;
    open_table(&t, p);
    double *caps = calloc((size_t)p->n_arcs + 1, sizeof *caps);
    for (int i = 0; i < p->n_arcs; i++)
        caps[i] = p->arcs[i].us;
    qsort(caps, (size_t)p->n_arcs, sizeof *caps, by_value);
    double best = HUGE_VAL;
    int lo = 0;
    int hi = p->n_arcs;
    while (lo < hi) { /* the first cap from which on the slowest stage sets the pace */
        int middle = (lo + hi) / 2;
        double sum = least_sum(&t, caps[middle]);
        best = fmin(best, fmax(caps[middle], sum / p->in_flight));
        if (sum <= p->in_flight * caps[middle])
            hi = middle;
        else
            lo = middle + 1;
    }
    free(caps);
    close_table(&t);
    return best;
}
