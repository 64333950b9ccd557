#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "core/clock.h"
#include "planner/choose.h"
#include "planner/deal.h"
#include "planner/explain.h"
#include "planner/ilp.h"
#include "planner/search.h"

static bool check_input(const struct planner_input *input, struct err *err)
{
    if (input->requests->n < 1)
        return err_set(err, ERR_INPUT, "workload %s has no requests: there is nothing to plan for",
                input->workload->name);
    int64_t longest = 0;
    for (int64_t i = 0; i < input->requests->n; i++) {
        const struct request *r = &input->requests->items[i];
        if (r->prompt_len + r->output_len > longest)
            longest = r->prompt_len + r->output_len;
    }
    if (input->model->max_len > 0 && longest > input->model->max_len)
        return err_set(err, ERR_NO,
                "workload %s has a sequence of %lld tokens and %s takes %lld at most: clamp the "
                "lengths "
                "(trace.max_prompt, prompt.max) or use another model",
                input->workload->name, (long long)longest, input->model->name,
                (long long)input->model->max_len);
    int sum = 0;
    for (int s = 0; s < input->force.n_layers; s++)
        sum += input->force.layers[s];
    if (input->force.n_layers > 0 && sum != input->model->n_layers)
        return err_set(err, ERR_INPUT,
                "--force layers: the stages hold %d layers in all; %s has %d", sum,
                input->model->name, input->model->n_layers);
    return true;
}

static bool any_force(const struct plan_force *f)
{
    return f->tp > 0 || f->pp > 0 || f->dp > 0 || f->ep > 0 || f->attention_dp > 0 || f->threads > 0
           || f->max_seqs > 0 || f->max_tokens > 0 || f->in_flight > 0 || f->kv_blocks > 0
           || f->n_layers > 0;
}

/* The program's claim about this plan, in the unit of the objective. */
static void certify(struct plan *plan, const struct candidate *chosen,
        const struct search_result *found, const struct planner_input *input, double seconds,
        struct arena *arena)
{
    static const char *const names[] = {"output_tokens_per_s", "ttft_us", "tpot_us"};
    plan->certificate.objective = names[input->objective];
    plan->certificate.value = fabs(chosen->score);
    plan->certificate.bound = fabs(found->bound);
    /* fmax: a bound is never on the wrong side of a value. */
    double gap = (found->bound - chosen->score) / fmax(fabs(found->bound), 1e-300);
    plan->certificate.gap_frac = fmax(0, gap);
    plan->certificate.solve_s = input->reproducible ? 0 : seconds;
    plan->certificate.programs = found->programs;
    plan->certificate.nodes = found->nodes;
    plan->certificate.forced = any_force(&input->force);
    plan->certificate.oracle = arena_printf(arena,
            "%s, %lld configurations%s; checked by plan_check", ilp_solver(arena),
            (long long)found->configs, found->complete ? "" : ", cut short by a limit");
}

/* Everything between the configurations and the plan. */
static bool plan_from(struct plan *out, const struct search_input *in, const struct layout *layouts,
        int n_layouts, struct arena *arena, struct err *err)
{
    const struct planner_input *input = in->input;
    int64_t start_ns = clock_now_ns();
    struct search_result found;
    if (!search_run(&found, in, arena, err))
        return false;
    if (found.n == 0) {
        struct least_memory least;
        return search_least_memory(&least, in, layouts, n_layouts, err)
               && explain_nothing_fits(&least, input, err);
    }
    double seconds = (double)(clock_now_ns() - start_ns) * 1e-9;
    struct choice choice;
    if (!choose_run(&choice, &found, input, in->demand, in->costs, arena, err))
        return false;
    const struct finalist *chosen = &choice.items[choice.chosen];
    *out = chosen->plan;
    certify(out, chosen->candidate, &found, input, seconds, arena);
    out->bottleneck = explain_bottleneck(&chosen->sim);
    out->binding = explain_binding(&choice, input, in->demand, in->costs, arena);
    explain_runners_up(out, &choice, input, arena);
    if (!deal_machines(out, input->cluster, arena, err))
        return false;
    if (!plan_check(out, input->model, input->cluster, err)) {
        err->kind = ERR_BUG;
        return err_context(err, "the planner made a plan that its checker refuses");
    }
    return true;
}

bool planner_run(
        struct plan *out, const struct planner_input *input, struct arena *arena, struct err *err)
{
    bool ok = false;
    struct demand demand;
    memset(out, 0, sizeof *out);
    if (!check_input(input, err))
        return false;
    demand_of(&demand, input->requests);
    int n_profiles = input->n_profiles;
    if (n_profiles == 0 && input->profile != NULL)
        n_profiles = 1;
    struct cost_model *costs =
            cost_open(input->model, input->cluster, input->profile, n_profiles, err);
    if (costs == NULL)
        return false;
    struct layout *layouts;
    int n_layouts;
    struct config_list configs;
    if (!space_layouts(&layouts, &n_layouts, input, arena, err)
            || !space_configs(&configs, layouts, n_layouts, input, &demand, arena, err))
        goto done;
    struct search_input in = {.input = input,
            .costs = costs,
            .demand = &demand,
            .configs = configs.items,
            .n_configs = configs.n,
            .keep = input->simulate_best > 0 ? input->simulate_best : 8};
    ok = plan_from(out, &in, layouts, n_layouts, arena, err);
done:
    cost_close(costs);
    return ok;
}
