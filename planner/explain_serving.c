/*
 * What separate prefill and decode replicas gain or lose: the chosen plan beside the best of the other kind.
 */
#include <math.h>

#include "core/str.h"
#include "planner/explain.h"

static bool has_pools(const struct finalist *f)
{
    for (int r = 0; r < f->plan.n_replicas; r++)
        if (f->plan.replicas[r].role != ROLE_MIXED)
            return true;
    return false;
}

/* The best of the finalists that serve the other way; runners-up are in their order, best first. */
static const struct finalist *other_way(const struct choice *choice, bool pools)
{
    for (int i = 0; i < choice->n_runners_up; i++)
        if (has_pools(&choice->items[choice->runners_up[i]]) != pools)
            return &choice->items[choice->runners_up[i]];
    return NULL;
}

/* How a cache travels in the plan, and how long that of a mean prompt takes on average. */
static const char *transfer(
        const struct finalist *f, const struct demand *demand, struct arena *arena)
{
    char rate[32];
    char time[32];
    double us = 0;
    double slowest = HUGE_VAL;
    int64_t n = 0;
    for (int i = 0; i < f->candidate->n_replicas; i++) {
        const struct replica_pick *pick = &f->candidate->replicas[i];
        if (pick->role != ROLE_PREFILL)
            continue;
        us += (double)pick->count * pick->kv_us;
        slowest = fmin(slowest, pick->kv_rate);
        n += pick->count;
    }
    return arena_printf(arena, "the cache of %.0f tokens goes over in %s, at %s", demand->prompt,
            str_show_us(time, us / (double)n), str_show_bytes_per_s(rate, slowest));
}

const char *explain_serving(const struct choice *choice, const struct planner_input *input,
        const struct demand *demand, struct arena *arena)
{
    const struct finalist *chosen = &choice->items[choice->chosen];
    bool pools = has_pools(chosen);
    const struct finalist *other = other_way(choice, pools);
    const char *how = pools ? arena_printf(arena, "separate prefill and decode replicas; %s",
                              transfer(chosen, demand, arena))
                            : "every replica serves prompts and outputs";
    if (other == NULL)
        return pools ? how : NULL;
    double here = chosen->candidate->tokens_per_s;
    double there = other->candidate->tokens_per_s;
    const char *simulated = arena_printf(arena,
            "%.5g and %.5g tokens/s, TTFT %.3g and %.3g ms, TPOT "
            "%.3g and %.3g ms",
            chosen->plan.predicted.output_tokens_per_s, other->plan.predicted.output_tokens_per_s,
            chosen->plan.predicted.ttft_p50_us * 1e-3, other->plan.predicted.ttft_p50_us * 1e-3,
            chosen->plan.predicted.tpot_p50_us * 1e-3, other->plan.predicted.tpot_p50_us * 1e-3);
    if (input->objective == OBJECTIVE_PRICE)
        return arena_printf(arena, "%s: %.4g an hour, %.4g %s; simulated %s", how,
                chosen->plan.predicted.price_per_hour, other->plan.predicted.price_per_hour,
                pools ? "without separate replicas" : "with separate ones", simulated);
    return arena_printf(arena,
            "%s: %.5g tokens/s in the steady state, %.5g %s (%+.1f %%); simulated %s", how, here,
            there, pools ? "without separate replicas" : "with separate ones",
            (here / there - 1) * 100, simulated);
}
