#include "planner/search_pace.h"

#include <math.h>

/* Stage ends make a split model cost a hair less than the whole: its first norms have no residual. */
#define OPTIMISM 0.98

/* How many times as fast as `ref` a kind is at best, on any one layer. */
static double best_speed(
        struct arcs *arcs, struct cost_model *costs, const struct config *config, int kind, int ref)
{
    const struct model *model = cost_model_of(costs);
    double best = 0;
    for (int l = 0; l < model->n_layers; l++) {
        struct piece piece = {l, l + 1};
        double here_us = arcs_price(arcs, config, kind, piece).us;
        best = fmax(best, arcs_price(arcs, config, ref, piece).us / here_us);
    }
    return best;
}

/*
 * A pace no partition beats. Of the work W of the whole model on kind ref, a group of kind k does at most
 * speed_k * T in the time T; the pp fastest groups that a replica may have must do all of it, and
 * in_flight micro-batches share the time of the fastest. HUGE_VAL when there are too few groups.
 */
double search_least_pace_us(
        struct arcs *arcs, struct cost_model *costs, const struct config *config)
{
    const struct model *model = cost_model_of(costs);
    int n_kinds = cost_cluster(costs)->n_kinds;
    int ref = 0;
    while (ref < n_kinds && config->layout->budget[ref] < config->dp)
        ref++;
    if (ref == n_kinds)
        return HUGE_VAL;
    double whole_us = arcs_price(arcs, config, ref, (struct piece){0, model->n_layers}).us;
    double left_speed = HUGE_VAL; /* kinds faster than this are used up */
    double fastest = 0;
    double together = 0;
    int groups = 0;
    while (groups < config->pp) {
        double speed = 0;
        int count = 0;
        for (int k = 0; k < n_kinds; k++) {
            int budget = config->layout->budget[k] / config->dp;
            double speed_k = budget > 0 ? best_speed(arcs, costs, config, k, ref) : 0;
            if (speed_k >= left_speed || speed_k < speed)
                continue;
            count = speed_k > speed ? budget : count + budget;
            speed = speed_k;
        }
        if (count == 0)
            return HUGE_VAL;
        int taken = count < config->pp - groups ? count : config->pp - groups;
        fastest = fmax(fastest, speed);
        together += speed * taken;
        groups += taken;
        left_speed = speed;
    }
    double pace_us = fmax(whole_us / together, whole_us / (fastest * config->in_flight));
    return pace_us * (config->pp > 1 ? OPTIMISM : 1);
}
