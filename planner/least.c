/*
 * The proof that nothing fits: the same partition program with memory in place of time. For the finest
 * pipeline of every layout, one sequence at a time, it finds the partition whose fullest rank is least
 * full; when even the best of these overflows, no legal plan fits.
 */
#include <math.h>
#include <string.h>

#include "planner/arcs.h"
#include "planner/search.h"

/* All arcs of a configuration, whether they fit or not, priced by the share of a device they fill. */
static int memory_arcs(struct partition_arc **out, struct arcs *arcs, const struct config *config,
        const struct search_input *in, struct arena *arena)
{
    int n_layers = in->input->model->n_layers;
    int n_kinds = cost_cluster(in->costs)->n_kinds;
    int n = 0;
    *out = ARENA_NEW(
            arena, struct partition_arc, (int64_t)n_kinds * n_layers * (n_layers + 1) / 2 + 1);
    for (int k = 0; k < n_kinds; k++) {
        if (config->layout->budget[k] < 1)
            continue;
        double capacity = (double)arcs_capacity(arcs, config, k);
        for (int first = 0; first < n_layers; first++)
            for (int end = first + 1; end - first <= n_layers - (config->pp - 1) && end <= n_layers;
                    end++) {
                struct arc_price price = arcs_price(arcs, config, k, (struct piece){first, end});
                double bytes = (double)(price.fixed_bytes + config->kv_blocks * price.block_bytes);
                (*out)[n++] = (struct partition_arc){
                        .kind = k, .first = first, .end = end, .us = bytes / capacity};
            }
    }
    return n;
}

static bool try_layout(struct least_memory *out, struct arcs *arcs, const struct layout *layout,
        const struct search_input *in, struct err *err)
{
    bool ok = false;
    struct arena scratch = {0};
    int n_layers = in->input->model->n_layers;
    const struct plan_force *force = &in->input->force;
    int dp = force->dp > 0 ? force->dp : 1;
    int64_t groups = layout->groups / dp;
    int pp = groups < n_layers ? (int)groups : n_layers;
    if (force->pp > 0 || force->n_layers > 0)
        pp = force->pp > 0 ? force->pp : force->n_layers;
    if (pp < 1 || pp > groups)
        return true;
    struct config config = {.layout = layout,
            .dp = dp,
            .pp = pp,
            .in_flight = 1,
            .max_seqs = layout->split.attention_dp,
            .max_tokens = 64};
    config.kv_blocks = demand_longest_blocks(in->demand) + 1;
    struct partition_problem problem = {.name = "least_memory",
            .n_layers = n_layers,
            .n_stages = pp,
            .n_kinds = cost_cluster(in->costs)->n_kinds,
            .budget = layout->budget,
            /* The fullest rank counts, not the sum: no bound from it. */
            .in_flight = 1 << 20,
            .time_limit_s = in->input->time_limit_s};
    struct partition_arc *list;
    problem.n_arcs = memory_arcs(&list, arcs, &config, in, &scratch);
    problem.arcs = list;
    struct partition_result result;
    if (!partition_solve(&result, &problem, &scratch, err))
        goto done;
    if (result.feasible && result.value_us < out->share) {
        out->share = result.value_us;
        out->config = config;
        out->layout = *layout;
        for (int s = 0; s < pp; s++) {
            const struct partition_arc *arc = &list[result.arcs[s]];
            double bytes = arc->us * (double)arcs_capacity(arcs, &config, arc->kind);
            if (arc->us >= result.value_us) {
                out->kind = arc->kind;
                out->bytes = llround(bytes);
            }
        }
    }
    ok = true;
done:
    arena_free(&scratch);
    return ok;
}

bool search_least_memory(struct least_memory *out, const struct search_input *input,
        const struct layout *layouts, int n_layouts, struct err *err)
{
    bool ok = true;
    memset(out, 0, sizeof *out);
    out->share = HUGE_VAL;
    struct arcs *arcs = arcs_open(input->costs, input->demand, err);
    if (arcs == NULL)
        return false;
    for (int i = 0; i < n_layouts && ok; i++)
        ok = try_layout(out, arcs, &layouts[i], input, err);
    arcs_close(arcs);
    return ok;
}
