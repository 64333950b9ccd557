#include "planner/solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "planner/forced_pools.h"
#include "planner/whole.h"

enum {
    SMALL_HOST =
            8 /* devices: ranks of CPU hosts up to here may take turns, which the search prices */
};

bool solve_forced(const struct planner_input *input)
{
    const struct plan_force *f = &input->force;
    return f->tp > 0 || f->pp > 0 || f->dp > 0 || f->ep > 0 || f->attention_dp > 0 || f->threads > 0
           || f->max_seqs > 0 || f->max_tokens > 0 || f->in_flight > 0 || f->kv_blocks > 0
           || f->n_layers > 0 || f->prefill != NULL || f->decode != NULL;
}

/* Whether the program over the whole cluster answers the question: it knows throughput and price, and nothing
 * that was forced. */
static bool asks_whole(const struct planner_input *input)
{
    return (input->objective == OBJECTIVE_THROUGHPUT || input->objective == OBJECTIVE_PRICE)
           && !solve_forced(input) && input->cluster->n_kinds <= INSTANCE_KINDS;
}

/* Configurations one by one: what is forced, latencies, and hosts so small that ranks take turns. */
static bool asks_search(const struct planner_input *input)
{
    if (input->objective == OBJECTIVE_PRICE || input->serving == SERVING_DISAGGREGATED)
        return false;
    if (!asks_whole(input))
        return true;
    for (int k = 0; k < input->cluster->n_kinds; k++)
        if (input->cluster->kinds[k].type != DEVICE_CPU)
            return false;
    return cluster_devices(input->cluster) <= SMALL_HOST;
}

static bool run_search(
        struct search_result *out, const struct solve *solve, struct arena *arena, struct err *err)
{
    struct config_list configs;
    if (!space_configs(&configs, solve->layouts, solve->n_layouts, solve->input, &solve->demand,
                arena, err))
        return false;
    const struct search_input in = {.input = solve->input,
            .costs = solve->costs,
            .demand = &solve->demand,
            .configs = configs.items,
            .n_configs = configs.n,
            .keep = solve->keep};
    return search_run(out, &in, arena, err);
}

/* Both answers together: a bound of both is that of the larger space. */
static void join(struct search_result *to, const struct search_result *more, struct arena *arena)
{
    struct candidate *items = ARENA_NEW(arena, struct candidate, to->n + more->n + 1);
    if (to->n > 0)
        memcpy(items, to->items, sizeof *items * (size_t)to->n);
    if (more->n > 0)
        memcpy(items + to->n, more->items, sizeof *items * (size_t)more->n);
    to->items = items;
    to->best = to->n > 0 ? fmax(to->best, more->best) : more->best;
    to->bound = to->n > 0 ? fmax(to->bound, more->bound) : more->bound;
    to->n += more->n;
    to->complete = to->complete && more->complete;
    to->configs += more->configs;
    to->evaluated += more->evaluated;
    to->programs += more->programs;
    to->nodes += more->nodes;
    if (more->trouble != NULL)
        to->trouble = more->trouble;
    qsort(to->items, (size_t)to->n, sizeof *to->items, search_by_score);
}

bool solve_run(struct solved *out, const struct solve *solve, double tighten, struct arena *arena,
        struct err *err)
{
    int64_t start_ns = clock_now_ns();
    *out = (struct solved){.found.complete = true, .search_best = -HUGE_VAL};
    if (solve->whole || solve->pools) {
        const struct whole_question question = {.input = solve->input,
                .costs = solve->costs,
                .demand = &solve->demand,
                .layouts = solve->layouts,
                .n_layouts = solve->n_layouts,
                .keep = solve->keep,
                .tighten = tighten,
                .gap_frac = solve->gap_frac};
        bool ok = solve->pools ? forced_pools_run(&out->found, &question, arena, err)
                               : whole_run(&out->found, &out->columns, &question, arena, err);
        if (!ok)
            return false;
    }
    if (solve->search) {
        struct search_result more;
        if (!run_search(&more, solve, arena, err))
            return false;
        join(&out->found, &more, arena);
        out->both = solve->whole;
        if (more.n > 0)
            out->search_best = more.best;
    }
    out->seconds = (double)(clock_now_ns() - start_ns) * 1e-9;
    return true;
}

bool solve_open(
        struct solve *out, const struct planner_input *input, struct arena *arena, struct err *err)
{
    *out = (struct solve){.input = input,
            .keep = input->simulate_best > 0 ? input->simulate_best : 8,
            .gap_frac = SOLVE_GOOD_ENOUGH,
            .whole = asks_whole(input),
            .search = asks_search(input),
            .pools = solve_forced(input) && input->serving == SERVING_DISAGGREGATED};
    demand_of(&out->demand, input->requests);
    if (input->demand_per_s > 0)
        out->demand.requests_per_s = input->demand_per_s;
    int n_profiles = input->n_profiles;
    if (n_profiles == 0 && input->profile != NULL)
        n_profiles = 1;
    out->costs = cost_open(input->model, input->cluster, input->profile, n_profiles, err);
    if (out->costs == NULL)
        return false;
    if (space_layouts(&out->layouts, &out->n_layouts, input, arena, err))
        return true;
    solve_close(out);
    return false;
}

void solve_close(struct solve *solve)
{
    cost_close(solve->costs);
    solve->costs = NULL;
}
