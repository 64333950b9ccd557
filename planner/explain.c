#include "planner/explain.h"

#include <math.h>
#include <string.h>

#include "core/str.h"
#include "planner/arcs.h"

/* Shares of the slowest stage's time. */
struct shares {
    double network, memory, compute,
            bubble; /* bubble: idle part of the makespan, mean over stages */
    int stage;
    enum op_kind worst_network;
};

/* From here on a share is what holds a plan back. */
#define BUBBLE_MATTERS  0.30
#define NETWORK_MATTERS 0.25

static struct shares shares_of(const struct simulate_result *sim)
{
    struct shares shares = {.worst_network = OP_ALL_REDUCE};
    double idle = 0;
    for (int s = 0; s < sim->n_stages; s++) {
        idle += (1 - sim->stages[s].busy_frac) / sim->n_stages;
        if (sim->stages[s].busy_frac > sim->stages[shares.stage].busy_frac)
            shares.stage = s;
    }
    const struct step_cost *total = &sim->stages[shares.stage].total;
    shares.bubble = fmax(0, idle);
    if (total->us <= 0)
        return shares;
    shares.network = step_cost_network_us(total) / total->us;
    shares.memory = total->memory_us / total->us;
    shares.compute = fmax(0, 1 - shares.network - shares.memory);
    for (int k = OP_ALL_REDUCE; k < OP_KIND_COUNT; k++)
        if (total->kind_us[k] > total->kind_us[shares.worst_network])
            shares.worst_network = (enum op_kind)k;
    return shares;
}

/* The two kinds of op whose estimates weigh most; one under a tenth of the other is left out. */
static const char *name_estimated(const struct step_cost *total, struct arena *arena)
{
    int most[2] = {-1, -1};
    for (int k = 0; k < OP_KIND_COUNT; k++) {
        double us = total->estimated_kind_us[k];
        if (us > 0 && (most[0] < 0 || us > total->estimated_kind_us[most[0]])) {
            most[1] = most[0];
            most[0] = k;
        } else if (us > 0 && (most[1] < 0 || us > total->estimated_kind_us[most[1]])) {
            most[1] = k;
        }
    }
    if (most[0] < 0)
        return "";
    bool both = most[1] >= 0
                && total->estimated_kind_us[most[1]] > 0.1 * total->estimated_kind_us[most[0]];
    return arena_printf(arena, " (most of it %s%s%s)", op_kind_names[most[0]], both ? ", " : "",
            both ? op_kind_names[most[1]] : "");
}

const char *explain_sources(const struct simulate_result *sim, struct arena *arena)
{
    struct step_cost total = {0};
    const char *text = "";
    double all = 0;
    for (int s = 0; s < sim->n_stages; s++)
        step_cost_add(&total, &sim->stages[s].total, 1);
    for (int s = 0; s < COST_SOURCES; s++)
        all += total.source_us[s];
    for (int s = 0; s < COST_SOURCES; s++)
        if (total.source_us[s] >= 0.0005 * all && all > 0)
            text = arena_printf(arena, "%s%s%.1f %% %s%s", text, *text != '\0' ? ", " : "",
                    total.source_us[s] / all * 100, cost_source_names[s],
                    s == COST_ESTIMATED ? name_estimated(&total, arena) : "");
    return text;
}

const char *explain_arrivals(
        const struct finalist *chosen, const struct planner_input *input, struct arena *arena)
{
    const struct plan_figures *f = &chosen->plan.predicted;
    bool objectives = input->workload->slo.ttft_us > 0 || input->workload->slo.tpot_us > 0;
    if (!input->requests->unpaced)
        return NULL;
    return arena_printf(arena, "steady: %.4g requests/s, %.0f of them at once, %s",
            f->requests_per_s, f->requests_per_s * f->e2e_p50_us * 1e-6,
            !chosen->meets_slo ? "and the objectives are still missed"
            : objectives       ? "the most at which the objectives are met"
                               : "the most that the plan keeps up with");
}

const char *explain_bottleneck(const struct simulate_result *sim)
{
    struct shares shares = shares_of(sim);
    if (shares.bubble > BUBBLE_MATTERS)
        return "bubble";
    if (shares.network > NETWORK_MATTERS && shares.network > shares.memory)
        return "network";
    return shares.memory >= shares.compute ? "memory" : "compute";
}

const char *explain_why(const struct finalist *f, struct arena *arena)
{
    struct shares shares = shares_of(&f->sim);
    if (f->sim.preemptions > 0)
        return arena_printf(arena, "its KV cache runs dry: %lld preemptions, each computed again",
                (long long)f->sim.preemptions);
    if (shares.bubble > BUBBLE_MATTERS)
        return arena_printf(
                arena, "its devices stand idle %.0f %% of the time", shares.bubble * 100);
    if (shares.network > NETWORK_MATTERS / 2)
        return arena_printf(arena, "%.0f %% of a step goes to the network, most of it %s",
                shares.network * 100, op_kind_names[shares.worst_network]);
    if (shares.memory >= shares.compute)
        return arena_printf(
                arena, "%.0f %% of a step waits for memory traffic", shares.memory * 100);
    return arena_printf(arena, "%.0f %% of a step is arithmetic", shares.compute * 100);
}

/* Which percentile is too high. */
static const char *missed(
        const struct finalist *f, const struct planner_input *input, struct arena *arena)
{
    const double asked[] = {input->workload->slo.ttft_us, input->workload->slo.tpot_us};
    const double found[] = {f->sim.slo_ttft_us, f->sim.slo_tpot_us};
    static const char *const names[] = {"TTFT", "TPOT"};
    double percentile = input->workload->slo.percentile * 100;
    const char *text = NULL;
    for (int i = 0; i < 2; i++) {
        char is[32];
        char most[32];
        if (asked[i] <= 0 || found[i] <= asked[i])
            continue;
        text = arena_printf(arena, "%s%sp%.4g of %s is %s, %s is asked", text != NULL ? text : "",
                text != NULL ? "; " : "", percentile, names[i], str_show_us(is, found[i]),
                str_show_us(most, asked[i]));
    }
    return text != NULL ? text
                        : arena_printf(arena,
                                "%.4g %% of its requests meet the service objectives, %.4g %% are "
                                "asked",
                                f->met_frac * 100, percentile);
}

void explain_runners_up(struct plan *plan, const struct choice *choice,
        const struct planner_input *input, struct arena *arena)
{
    const struct finalist *chosen = &choice->items[choice->chosen];
    double value = fabs(choose_value(chosen, input));
    plan->runners_up = ARENA_NEW(arena, struct plan_runner_up, choice->n_runners_up);
    plan->n_runners_up = choice->n_runners_up;
    for (int i = 0; i < choice->n_runners_up; i++) {
        const struct finalist *f = &choice->items[choice->runners_up[i]];
        double behind = choose_value(chosen, input) - choose_value(f, input);
        const char *why = explain_why(f, arena);
        if (chosen->meets_slo && !f->meets_slo)
            why = missed(f, input, arena);
        plan->runners_up[i] = (struct plan_runner_up){
                .what = f->plan.name,
                .output_tokens_per_s = f->plan.predicted.output_tokens_per_s,
                .ttft_p50_us = f->plan.predicted.ttft_p50_us,
                .tpot_p50_us = f->plan.predicted.tpot_p50_us,
                .memory_bytes = f->plan.predicted.memory_bytes,
                .loses_frac = value > 0 ? behind / value : 0,
                .why = why,
        };
    }
}

enum {
    MOST_REFUSED = 8
};

void explain_refused(struct plan *plan, const struct choice *choice,
        const struct planner_input *input, struct arena *arena)
{
    const struct finalist *chosen = &choice->items[choice->chosen];
    bool *done = ARENA_NEW(arena, bool, choice->n);
    plan->why.refused = ARENA_NEW(arena, struct plan_refused, MOST_REFUSED);
    while (plan->why.n_refused < MOST_REFUSED) {
        int best = -1;
        for (int i = 0; i < choice->n; i++) {
            const struct finalist *f = &choice->items[i];
            bool wanted =
                    choice->slo_missed || choose_value(f, input) > choose_value(chosen, input);
            if (!done[i] && !f->meets_slo && wanted
                    && (best < 0
                            || choose_value(f, input) > choose_value(&choice->items[best], input)))
                best = i;
        }
        if (best < 0)
            return;
        const struct finalist *f = &choice->items[best];
        for (int i = 0; i < choice->n; i++)
            done[i] = done[i] || search_same_layout(choice->items[i].candidate, f->candidate);
        plan->why.refused[plan->why.n_refused++] = (struct plan_refused){
                .what = f->plan.name,
                .output_tokens_per_s = f->plan.predicted.output_tokens_per_s,
                .met_frac = f->met_frac,
                .ttft_us = f->sim.slo_ttft_us,
                .tpot_us = f->sim.slo_tpot_us,
                .why = missed(f, input, arena),
        };
    }
}

/* The stage whose memory is too small for twice the sequences; false when all have room. */
static bool memory_binds(const struct finalist *chosen, const struct planner_input *input,
        struct cost_model *costs, struct arena *arena, const char **sentence)
{
    const struct plan *plan = &chosen->plan;
    const struct plan_replica *replica = &plan->replicas[0];
    int64_t longest = (plan->max_len + PLAN_BLOCK_TOKENS - 1) / PLAN_BLOCK_TOKENS;
    struct plan_replica twice = *replica;
    twice.max_seqs *= 2;
    twice.kv_blocks = 2 * replica->kv_blocks > longest ? 2 * replica->kv_blocks : longest;
    for (int s = 0; s < replica->n_stages; s++) {
        const struct plan_stage *stage = &replica->stages[s];
        int kind;
        struct split split = cost_plan_split(plan, replica, stage, input->cluster, &kind);
        struct rank_bytes bytes = cost_memory(costs, &split,
                (struct piece){stage->first_layer, stage->end_layer}, &twice, PLAN_BLOCK_TOKENS);
        int64_t needed = bytes.weight + bytes.kv + bytes.work;
        int64_t there = input->cluster->kinds[kind].memory_bytes * stage->threads;
        if (needed <= there)
            continue;
        char need[32];
        char have[32];
        *sentence = arena_printf(arena,
                "memory of %s in stage %d (layers %d-%d): twice the sequences would take %s of the "
                "%s a rank has",
                stage->kind, s, stage->first_layer, stage->end_layer - 1,
                str_show_bytes(need, (double)needed), str_show_bytes(have, (double)there));
        return true;
    }
    return false;
}

/* A faster plan that the service objectives rule out. */
static const struct finalist *ruled_out(
        const struct choice *choice, const struct planner_input *input)
{
    const struct finalist *chosen = &choice->items[choice->chosen];
    const struct finalist *best = NULL;
    for (int i = 0; i < choice->n; i++) {
        const struct finalist *f = &choice->items[i];
        if (!f->meets_slo && choose_value(f, input) > choose_value(chosen, input)
                && (best == NULL || choose_value(f, input) > choose_value(best, input)))
            best = f;
    }
    return chosen->meets_slo ? best : NULL;
}

const char *explain_binding(const struct choice *choice, const struct planner_input *input,
        const struct demand *demand, struct cost_model *costs, struct arena *arena)
{
    const struct finalist *chosen = &choice->items[choice->chosen];
    const struct plan_replica *replica = &chosen->plan.replicas[0];
    if (choice->slo_missed)
        return arena_printf(arena,
                "the service objectives: no simulated plan meets them, the chosen one does for "
                "%.0f %% of "
                "the requests (%.0f %% are asked)",
                chosen->met_frac * 100, input->workload->slo.percentile * 100);
    const struct finalist *faster = ruled_out(choice, input);
    if (faster != NULL)
        return arena_printf(arena,
                "the service objectives: %s would give %.4g tokens/s, but only %.0f %% of its "
                "requests meet them",
                faster->plan.name, faster->plan.predicted.output_tokens_per_s,
                faster->met_frac * 100);
    double offered = demand->requests_per_s * demand->output;
    if (chosen->candidate->tokens_per_s > 1.05 * offered)
        return arena_printf(arena,
                "the workload: %.4g requests/s arrive, %.4g tokens/s; the plan could do %.4g",
                demand->requests_per_s, offered, chosen->candidate->tokens_per_s);
    int64_t at_once = (int64_t)replica->max_seqs * replica->in_flight * chosen->plan.n_replicas;
    if (at_once >= demand->n)
        return arena_printf(arena,
                "the workload: all of its %lld requests are served at once, more would raise "
                "throughput",
                (long long)demand->n);
    const char *sentence;
    if (memory_binds(chosen, input, costs, arena, &sentence))
        return sentence;
    struct shares shares = shares_of(&chosen->sim);
    const struct plan_stage *stage = &replica->stages[shares.stage % replica->n_stages];
    return arena_printf(arena,
            "the time of stage %d (layers %d-%d on %s): %.0f %% memory traffic, %.0f %% "
            "arithmetic, %.0f %% "
            "network; it is busy %.0f %% of the time",
            shares.stage % replica->n_stages, stage->first_layer, stage->end_layer - 1, stage->kind,
            shares.memory * 100, shares.compute * 100, shares.network * 100,
            chosen->sim.stages[shares.stage].busy_frac * 100);
}

bool explain_too_tight(const struct candidate *found, double times, const struct solve *solve,
        struct arena *arena, struct err *err)
{
    const struct workload *w = solve->input->workload;
    char ttft[32];
    char tpot[32];
    struct plan plan;
    choose_build(&plan, found, solve->input, solve->costs, arena);
    return err_set(err, ERR_NO,
            "%s on cluster %s: no plan meets the service objectives (%s%s%s%s%s), not even in the "
            "mean of its steps. %g times as long are met, by %s; relax slo, or see what faster "
            "devices would do (--what-if)",
            solve->input->model->name, solve->input->cluster->name,
            w->slo.ttft_us > 0 ? "ttft " : "",
            w->slo.ttft_us > 0 ? str_show_us(ttft, w->slo.ttft_us) : "",
            w->slo.ttft_us > 0 && w->slo.tpot_us > 0 ? ", " : "", w->slo.tpot_us > 0 ? "tpot " : "",
            w->slo.tpot_us > 0 ? str_show_us(tpot, w->slo.tpot_us) : "", times, plan.name);
}

bool explain_nothing_fits(
        const struct least_memory *least, const struct planner_input *input, struct err *err)
{
    char need[32];
    char have[32];
    char model[32];
    if (isinf(least->share))
        return err_set(err, ERR_NO,
                "no legal plan exists for %s on cluster %s: no layout divides it",
                input->model->name, input->cluster->name);
    const struct split *split = &least->layout.split;
    const struct device_kind *kind = &input->cluster->kinds[least->kind];
    int64_t capacity = kind->memory_bytes * split->threads;
    struct model_facts facts;
    model_facts(&facts, input->model);
    bool forced = input->force.tp > 0 || input->force.pp > 0 || input->force.layers != NULL
                  || input->force.dp > 0;
    if (least->share <= 1)
        return err_set(err, ERR_NO,
                "no plan fits with these limits, though one sequence at a time does (%s of %s a "
                "rank): lower "
                "max_seqs, max_tokens, kv_blocks or dp, or shorten the workload's longest sequence "
                "(%s)",
                str_show_bytes(need, (double)least->bytes), str_show_bytes(have, (double)capacity),
                "--force");
    return err_set(err, ERR_NO,
            "%s fits in no %splan: the least memory that any legal one needs is %s a rank (tp=%d "
            "pp=%d ep=%d adp=%d "
            "threads=%d, one sequence at a time) and a rank of kind %s has %s. It would fit with "
            "devices of %s, with "
            "more of them (the weights are %s in all), or with a smaller dtype",
            input->model->name, forced ? "such " : "", str_show_bytes(need, (double)least->bytes),
            split->tp, least->config.pp, split->ep, split->attention_dp, split->threads, kind->name,
            str_show_bytes(have, (double)capacity),
            str_show_bytes((char[32]){0}, (double)least->bytes / split->threads),
            str_show_bytes(model, (double)facts.total_params * dtype_bytes(input->dtype)));
}
