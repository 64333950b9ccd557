/*
 * From a linear solution to whole numbers of replicas. The solution rounded down and filled up is a start; the
 * integer program over the known patterns is better.
 */
#include "planner/columns.h"

#include <math.h>
#include <string.h>

#include "core/clock.h"
#include "planner/columns_inside.h"

enum {
    WHOLE_NODES = 20000, /* of the tree of one integer program */
    LOOK_NODES = 2000    /* ... that looks for a solution only */
};

bool columns_late(const struct solver *s)
{
    return s->deadline_ns > 0 && clock_now_ns() >= s->deadline_ns;
}

double columns_enough(const struct solver *s)
{
    return fmax(fmax(s->options->gap_frac, s->options->close_frac), COLUMNS_FINEST);
}

double columns_gap(const struct solver *s, double value, double bound)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    double gap = price ? value - bound : bound - value;
    return fmax(0, gap) / fmax(fabs(bound), 1e-300);
}

double columns_goal(const struct solver *s, double value)
{
    double enough = columns_enough(s) * (1 - 1e-6);
    return s->master.objective == INSTANCE_PRICE ? value * (1 - enough) : value / (1 - enough);
}

/* C8 leaves room: the pattern that is worth most for what it takes, as often as it fits, and again. */
static void fill_up(const struct solver *s, double *counts)
{
    const struct instance *in = s->instance;
    double left[INSTANCE_KINDS];
    double weight[INSTANCE_KINDS];
    columns_weights(weight, s);
    for (int k = 0; k < in->n_kinds; k++) {
        left[k] = (double)in->kinds[k].devices;
        for (int i = 0; i < s->master.n; i++)
            left[k] -= counts[i] * (double)s->master.items[i].devices[k];
    }
    for (;;) {
        int best = -1;
        double best_rate = 0;
        double best_count = 0;
        for (int i = 0; i < s->master.n; i++) {
            const struct pattern *p = &s->master.items[i];
            double fits = HUGE_VAL;
            double worth = 0;
            for (int k = 0; k < in->n_kinds; k++) {
                if (p->devices[k] > 0)
                    fits = fmin(fits, floor(left[k] / (double)p->devices[k]));
                worth += weight[k] * (double)p->devices[k];
            }
            double rate = p->requests_per_s / worth;
            if (in->limits[p->limits].role != ROLE_MIXED || fits < 1 || rate <= best_rate)
                continue;
            best = i;
            best_rate = rate;
            best_count = fits;
        }
        if (best < 0)
            return;
        counts[best] += best_count;
        for (int k = 0; k < in->n_kinds; k++)
            left[k] -= best_count * (double)s->master.items[best].devices[k];
    }
}

void columns_count_all(struct solver *s, struct master_whole *whole)
{
    double *counts = ARENA_NEW(s->arena, double, s->master.n + 1);
    if (whole->counts != NULL)
        memcpy(counts, whole->counts, sizeof *counts * (size_t)s->out->n_known);
    whole->counts = counts;
    s->out->n_known = s->master.n;
}

bool columns_round(struct solver *s, struct master_whole *whole, bool prove, struct err *err)
{
    bool price = s->master.objective == INSTANCE_PRICE;
    columns_count_all(s, whole);
    if (!whole->known && !price) {
        for (int i = 0; i < s->prices.n; i++)
            whole->counts[i] = floor(s->prices.count[i] + 1e-9);
        fill_up(s, whole->counts);
        whole->value = master_served(&s->master, whole->counts);
        whole->known = true;
    }
    whole->bound = price ? -HUGE_VAL : HUGE_VAL;
    double seconds = 0;
    if (s->deadline_ns > 0)
        seconds = fmax(0.05, (double)(s->deadline_ns - clock_now_ns()) * 1e-9);
    if (whole->known && s->options->export_lp == NULL
            && columns_gap(s, whole->value, s->bound) <= fmax(s->options->gap_frac, COLUMNS_FINEST))
        return true;
    const struct master_limits limits = {
            s->options->gap_frac / 4, seconds, prove ? WHOLE_NODES : LOOK_NODES};
    return master_solve(whole, &s->master, &limits, err);
}
