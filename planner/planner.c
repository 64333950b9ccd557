#include "planner/planner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "planner/choose.h"
#include "planner/deal.h"
#include "planner/explain.h"
#include "planner/ilp.h"
#include "planner/search.h"
#include "planner/whole.h"

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

/* A plan is this close to the optimum before the program stops: no cost is known as well. */
#define GOOD_ENOUGH 5e-4

enum {
    SMALL_HOST =
            8 /* devices: ranks of CPU hosts up to here may take turns, which the search prices */
};

/* What was asked, and everything found on the way to the answer. */
struct work {
    const struct planner_input *input;
    const struct demand *demand;
    struct cost_model *costs;
    struct layout *layouts;
    int n_layouts;
    int keep;
    struct search_result found;
    struct columns_result solved; /* of the whole cluster; all 0 when only the search was asked */
    double seconds;
};

/* The program's claim about this plan, in the unit of the objective. */
static void certify(struct plan *plan, const struct candidate *chosen, const struct work *work,
        struct arena *arena)
{
    static const char *const names[] = {"output_tokens_per_s", "ttft_us", "tpot_us"};
    const struct planner_input *input = work->input;
    const struct search_result *found = &work->found;
    plan->certificate.objective = names[input->objective];
    plan->certificate.value = fabs(chosen->score);
    plan->certificate.bound = fabs(found->bound);
    /* fmax: a bound is never on the wrong side of a value. */
    double gap = (found->bound - chosen->score) / fmax(fabs(found->bound), 1e-300);
    plan->certificate.gap_frac = fmax(0, gap);
    plan->certificate.solve_s = input->reproducible ? 0 : work->seconds;
    plan->certificate.programs = found->programs;
    plan->certificate.nodes = found->nodes;
    plan->certificate.columns = work->solved.n_known;
    plan->certificate.forced = any_force(&input->force);
    plan->certificate.oracle = arena_printf(arena,
            "%s, %lld configurations%s; checked by plan_check", ilp_solver(arena),
            (long long)found->configs, found->complete ? "" : ", cut short by a limit");
}

/* Whether the program over the whole cluster answers the question: it knows throughput alone, and nothing
 * that was forced. */
static bool asks_whole(const struct work *work)
{
    return work->input->objective == OBJECTIVE_THROUGHPUT && !any_force(&work->input->force)
           && work->input->cluster->n_kinds <= INSTANCE_KINDS;
}

/* Configurations one by one: what is forced, latencies, and hosts so small that ranks take turns. */
static bool asks_search(const struct work *work)
{
    if (!asks_whole(work))
        return true;
    const struct cluster *cluster = work->input->cluster;
    for (int k = 0; k < cluster->n_kinds; k++)
        if (cluster->kinds[k].type != DEVICE_CPU)
            return false;
    return cluster_devices(cluster) <= SMALL_HOST;
}

static bool run_search(
        struct search_result *out, const struct work *work, struct arena *arena, struct err *err)
{
    struct config_list configs;
    if (!space_configs(
                &configs, work->layouts, work->n_layouts, work->input, work->demand, arena, err))
        return false;
    const struct search_input in = {.input = work->input,
            .costs = work->costs,
            .demand = work->demand,
            .configs = configs.items,
            .n_configs = configs.n,
            .keep = work->keep};
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

/* All candidates, for service objectives that are met with this much room. */
static bool find(struct work *work, double tighten, struct arena *arena, struct err *err)
{
    memset(&work->found, 0, sizeof work->found);
    work->found.complete = true;
    if (asks_whole(work)) {
        const struct whole_question question = {.input = work->input,
                .costs = work->costs,
                .demand = work->demand,
                .layouts = work->layouts,
                .n_layouts = work->n_layouts,
                .keep = work->keep,
                .tighten = tighten,
                .gap_frac = GOOD_ENOUGH};
        if (!whole_run(&work->found, &work->solved, &question, arena, err))
            return false;
    }
    if (asks_search(work)) {
        struct search_result more;
        if (!run_search(&more, work, arena, err))
            return false;
        join(&work->found, &more, arena);
    }
    return true;
}

static bool nothing_fits(const struct work *work, struct err *err)
{
    const struct search_input in = {
            .input = work->input, .costs = work->costs, .demand = work->demand};
    struct least_memory least;
    return search_least_memory(&least, &in, work->layouts, work->n_layouts, err)
           && explain_nothing_fits(&least, work->input, err);
}

/* Everything between the layouts and the plan. */
static bool plan_from(struct plan *out, struct work *work, struct arena *arena, struct err *err)
{
    const struct planner_input *input = work->input;
    int64_t start_ns = clock_now_ns();
    if (!find(work, 1, arena, err))
        return false;
    if (work->found.n == 0)
        return nothing_fits(work, err);
    work->seconds = (double)(clock_now_ns() - start_ns) * 1e-9;
    struct choice choice;
    if (!choose_run(&choice, &work->found, input, work->demand, work->costs, arena, err))
        return false;
    const struct finalist *chosen = &choice.items[choice.chosen];
    *out = chosen->plan;
    certify(out, chosen->candidate, work, arena);
    out->bottleneck = explain_bottleneck(&chosen->sim);
    out->binding = explain_binding(&choice, input, work->demand, work->costs, arena);
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
    struct work work = {.input = input,
            .demand = &demand,
            .keep = input->simulate_best > 0 ? input->simulate_best : 8};
    work.costs = cost_open(input->model, input->cluster, input->profile, n_profiles, err);
    if (work.costs == NULL)
        return false;
    ok = space_layouts(&work.layouts, &work.n_layouts, input, arena, err)
         && plan_from(out, &work, arena, err);
    cost_close(work.costs);
    return ok;
}
