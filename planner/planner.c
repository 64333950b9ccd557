#include "planner/planner.h"

#include <math.h>
#include <string.h>

#include "planner/choose.h"
#include "planner/deal.h"
#include "planner/explain.h"
#include "planner/ilp.h"
#include "planner/limits.h"
#include "planner/robust.h"

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
        text = arena_printf(arena, "linear bound within %.2f %%, ",
                fmax(0, 100 * (whole->linear - whole->value) / whole->linear));
    if (!solved->both || !whole->feasible || isinf(solved->search_best))
        return text;
    return arena_printf(arena, "%ssearch of configurations within %.2f %%, ", text,
            100 * fabs(solved->search_best / (whole->value * output) - 1));
}

/* The program's claim about this plan, in the unit of the objective. */
static void certify(struct plan *plan, const struct candidate *chosen, const struct solve *solve,
        const struct solved *solved, struct arena *arena)
{
    static const char *const names[] = {"output_tokens_per_s", "ttft_us", "tpot_us"};
    const struct planner_input *input = solve->input;
    const struct search_result *found = &solved->found;
    plan->certificate.objective = names[input->objective];
    plan->certificate.value = fabs(chosen->score);
    plan->certificate.bound = fabs(found->bound);
    /* fmax: a bound is never on the wrong side of a value. */
    double gap = (found->bound - chosen->score) / fmax(fabs(found->bound), 1e-300);
    plan->certificate.gap_frac = fmax(0, gap);
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

enum {
    MOST_LOOSENING = 1024
};

/* Memory, or objectives that not even the mean step of any plan meets: asked again with longer ones. */
static bool nothing_fits(const struct solve *solve, struct arena *arena, struct err *err)
{
    const struct workload *w = solve->input->workload;
    struct solve looser = *solve;
    bool has_slo = w->slo.ttft_us > 0 || w->slo.tpot_us > 0;
    looser.search = false;
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
    out->binding = explain_binding(&choice, input, &solve->demand, solve->costs, arena);
    explain_runners_up(out, &choice, input, arena);
    explain_refused(out, &choice, input, arena);
    out->why.regret = regret;
    const struct limits_question limits = {solve, &solved, chosen};
    limits_list(&out->why, &limits, arena);
    if (input->explain && !limits_move(&out->why, &limits, arena, err))
        return false;
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
    struct solve solve;
    memset(out, 0, sizeof *out);
    if (!check_input(input, err) || !solve_open(&solve, input, arena, err))
        return false;
    bool ok = plan_from(out, &solve, arena, err);
    solve_close(&solve);
    return ok;
}
