#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "planner/choose.h"
#include "planner/deal.h"
#include "planner/explain.h"
#include "planner/ilp.h"
#include "planner/limits.h"
#include "planner/robust.h"

/* What the least price needs to be asked for. */
static bool check_price(const struct planner_input *input, struct err *err)
{
    struct demand demand;
    demand_of(&demand, input->requests);
    if (!(input->demand_per_s > 0) && isinf(demand.requests_per_s))
        return err_set(err, ERR_INPUT,
                "the least price is for a demand, and all requests of workload %s come at once: "
                "give --demand (20req/s, 5000tok/s) or arrival times",
                input->workload->name);
    for (int k = 0; k < input->cluster->n_kinds; k++)
        if (!(input->cluster->kinds[k].price_per_hour > 0))
            return err_at(err, input->cluster->kinds[k].pos,
                    "device kind %s has no price_per_hour: the least price needs one for every "
                    "kind (or --what-if %s.price=2)",
                    input->cluster->kinds[k].name, input->cluster->kinds[k].name);
    return true;
}

static bool check_objective(const struct planner_input *input, struct err *err)
{
    bool price = input->objective == OBJECTIVE_PRICE;
    bool latency = input->objective == OBJECTIVE_TTFT || input->objective == OBJECTIVE_TPOT;
    if (price && solve_forced(input))
        return err_set(err, ERR_INPUT,
                "--objective price chooses freely, and --force does not: drop one of them");
    if (input->serving == SERVING_AGGREGATED
            && (input->force.prefill != NULL || input->force.decode != NULL))
        return err_set(err, ERR_INPUT,
                "--force prefill. and decode. are for --serving disaggregated: leave one out");
    if (latency && input->serving == SERVING_DISAGGREGATED)
        return err_set(err, ERR_INPUT,
                "latencies are searched over replicas that serve whole requests: give --serving "
                "aggregated, or --objective throughput with service objectives");
    for (int i = 1; input->serving == SERVING_DISAGGREGATED && i < input->n_dtypes; i++)
        if (input->dtypes[i].kv != input->dtypes[0].kv)
            return err_set(err, ERR_INPUT,
                    "--serving disaggregated hands caches over as they are: give one --kv-dtype, "
                    "not weights");
    return !price || check_price(input, err);
}

static bool check_input(const struct planner_input *input, struct err *err)
{
    if (input->requests->n < 1)
        return err_set(err, ERR_INPUT, "workload %s has no requests: there is nothing to plan for",
                input->workload->name);
    if (input->mtp && input->model->n_mtp == 0)
        return err_set(err, ERR_INPUT,
                "--mtp: %s has no multi-token-prediction layers (num_nextn_predict_layers): leave "
                "it out",
                input->model->name);
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
    if (!check_objective(input, err))
        return false;
    int sum = 0;
    for (int s = 0; s < input->force.n_layers; s++)
        sum += input->force.layers[s];
    if (input->force.n_layers > 0 && sum != input->model->n_layers)
        return err_set(err, ERR_INPUT,
                "--force layers: the stages hold %d layers in all; %s has %d", sum,
                input->model->name, input->model->n_layers);
    return true;
}

/* Who came to the same answer by another way, and how closely: "linear bound within 0.03 %, ". */
static const char *agreed(const struct solved *solved, double output, struct arena *arena)
{
    const struct columns_result *whole = &solved->columns;
    const char *text = "";
    if (whole->feasible)
        text = arena_printf(arena, "linear bound within %.2f %%, whole replicas within %.2f %%, ",
                100 * fabs(whole->linear - whole->value) / whole->linear, 100 * whole->gap_frac);
    if (!solved->both || !whole->feasible || isinf(solved->search_best))
        return text;
    return arena_printf(arena, "%ssearch of configurations within %.2f %%, ", text,
            100 * fabs(solved->search_best / (whole->value * output) - 1));
}

/* The program's claim about this plan, in the unit of the objective. */
static void certify(struct plan *plan, const struct candidate *chosen, const struct solve *solve,
        const struct solved *solved, struct arena *arena)
{
    static const char *const names[] = {
            "output_tokens_per_s", "ttft_us", "tpot_us", "price_per_hour"};
    const struct planner_input *input = solve->input;
    const struct search_result *found = &solved->found;
    plan->certificate.objective = names[input->objective];
    plan->certificate.value = fabs(chosen->score);
    plan->certificate.bound = fabs(found->bound);
    /* fmax: a bound is never on the wrong side of a value. */
    double gap = (found->bound - chosen->score) / fmax(fabs(found->bound), 1e-300);
    plan->certificate.gap_frac = fmax(0, gap);
    plan->certificate.best = fabs(fmax(found->items[0].score, chosen->score));
    plan->certificate.solve_s = input->reproducible ? 0 : solved->seconds;
    plan->certificate.programs = found->programs;
    plan->certificate.nodes = found->nodes;
    plan->certificate.columns = solved->columns.n_known;
    plan->certificate.forced = solve_forced(input);
    plan->certificate.oracle = arena_printf(arena,
            "%s, %lld configurations%s; agreed: %splan_check", ilp_solver(arena),
            (long long)found->configs, found->complete ? "" : ", cut short by a limit",
            agreed(solved, solve->demand.output, arena));
}

/* What all stages have in common is said once, of the plan. */
static void settle_dtypes(struct plan *plan)
{
    const struct plan_stage *first = &plan->replicas[0].stages[0];
    bool same = true;
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            same = same && stage->dtype == first->dtype && stage->kv_dtype == first->kv_dtype;
        }
    if (!same)
        return;
    plan->dtype = (int)plan_stage_dtype(plan, first);
    plan->kv_dtype = (int)plan_stage_kv_dtype(plan, first);
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++)
            plan->replicas[r].stages[s].dtype = plan->replicas[r].stages[s].kv_dtype =
                    STAGE_DTYPE_PLAN;
}

enum {
    MOST_LOOSENING = 1024
};

/* The least price for more than anything can serve. */
static bool nothing_serves(
        const struct solve *solve, const struct columns_result *columns, struct err *err)
{
    const struct planner_input *input = solve->input;
    return err_set(err, ERR_NO,
            "no plan for %s on %s serves %.4g requests/s within the service objectives%s: the best "
            "one serves %.4g, none more than %.4g; lower --demand, or add devices",
            input->model->name, input->cluster->name, solve->demand.requests_per_s,
            columns->proven ? "" : " as far as the search got", columns->requests_per_s,
            columns->bound);
}

/* Memory, or objectives that not even the mean step of any plan meets: asked again with longer ones. */
static bool nothing_fits(const struct solve *solve, struct arena *arena, struct err *err)
{
    const struct workload *w = solve->input->workload;
    struct solve looser = *solve;
    bool has_slo = w->slo.ttft_us > 0 || w->slo.tpot_us > 0;
    looser.search = false;
    looser.gap_frac = 0.1; /* whether there is a plan, not which */
    looser.keep = 1;
    for (double times = 2; has_slo && solve->whole && times <= MOST_LOOSENING; times *= 2) {
        struct solved solved;
        if (!solve_run(&solved, &looser, times, arena, err))
            return false;
        if (solved.found.n > 0)
            return explain_too_tight(&solved.found.items[0], times, solve, arena, err);
    }
    const struct search_input in = {
            .input = solve->input, .costs = solve->costs, .demand = &solve->demand};
    if (solve->input->serving == SERVING_DISAGGREGATED)
        return err_set(err, ERR_NO,
                "no plan with separate prefill and decode replicas fits: %s on %s has no room for "
                "one of each, or the outputs are of one token; --serving auto says whether any "
                "other plan does",
                solve->input->model->name, solve->input->cluster->name);
    struct least_memory least;
    return search_least_memory(&least, &in, solve->layouts, solve->n_layouts, err)
           && explain_nothing_fits(&least, solve->input, err);
}

/* Everything between the layouts and the plan. */
static bool plan_from(
        struct plan *out, const struct solve *solve, struct arena *arena, struct err *err)
{
    const struct planner_input *input = solve->input;
    struct solved solved;
    struct choice choice;
    if (!solve_run(&solved, solve, 1, arena, err))
        return false;
    if (solved.found.n == 0 && solved.columns.requests_per_s > 0)
        return nothing_serves(solve, &solved.columns, err);
    if (solved.found.n == 0)
        return nothing_fits(solve, arena, err);
    if (!choose_plan(&choice, &solved, solve, arena, err))
        return false;
    struct plan_regret regret = {0};
    if (input->robust.text != NULL && !robust_choose(&choice, &regret, solve, arena, err))
        return false;
    const struct finalist *chosen = &choice.items[choice.chosen];
    *out = chosen->plan;
    certify(out, chosen->candidate, solve, &solved, arena);
    out->bottleneck = explain_bottleneck(&chosen->sim);
    out->arrivals = explain_arrivals(chosen, input, arena);
    out->cost_sources = explain_sources(&chosen->sim, arena);
    out->binding = explain_binding(&choice, input, &solve->demand, solve->costs, arena);
    out->serving = explain_serving(&choice, input, &solve->demand, arena);
    explain_runners_up(out, &choice, input, arena);
    explain_refused(out, &choice, input, arena);
    out->why.regret = regret;
    const struct limits_question limits = {solve, &solved, chosen};
    limits_list(&out->why, &limits, arena);
    if (input->explain
            && (!limits_move(&out->why, &limits, arena, err)
                    || !explain_sharding(out, chosen, solve, arena, err)))
        return false;
    settle_dtypes(out);
    if (!deal_machines(out, input->cluster, arena, err))
        return false;
    if (!plan_check(out, input->model, input->cluster, err)) {
        err->kind = ERR_BUG;
        return err_context(err, "the planner made a plan that its checker refuses");
    }
    return true;
}

/* Cores of a host share its memory's bandwidth, and were measured with all of them at the same op: what prompts do to
 * outputs beside them nobody knows. So hosts of CPU cores serve separately only when told to. */
static int choose_serving(const struct planner_input *input)
{
    if (input->serving != SERVING_AUTO)
        return input->serving;
    if (input->force.prefill != NULL || input->force.decode != NULL)
        return SERVING_DISAGGREGATED;
    for (int k = 0; k < input->cluster->n_kinds; k++)
        if (input->cluster->kinds[k].type != DEVICE_CPU)
            return SERVING_AUTO;
    return SERVING_AGGREGATED;
}

bool planner_run(
        struct plan *out, const struct planner_input *asked, struct arena *arena, struct err *err)
{
    struct solve solve;
    struct planner_input resolved = *asked;
    const struct planner_input *input = &resolved;
    memset(out, 0, sizeof *out);
    resolved.serving = choose_serving(asked);
    if (!check_input(input, err) || !solve_open(&solve, input, arena, err))
        return false;
    bool ok = plan_from(out, &solve, arena, err);
    solve_close(&solve);
    return ok;
}
