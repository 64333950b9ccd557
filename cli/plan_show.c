#include "cli/plan_show.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/str.h"

static void print_stages(const struct plan *plan)
{
    char weights[32];
    char kv[32];
    char work[32];
    char step[32];
    puts("\n  replica stage layers     kind         ranks    weights         KV       work       "
         "step");
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            char layers[32];
            snprintf(layers, sizeof layers, "%d-%d", stage->first_layer, stage->end_layer - 1);
            printf("  %7d %5d %-10s %-12s %5d %10s %10s %10s %10s\n", r, s, layers, stage->kind,
                    stage->n_ranks, str_show_bytes(weights, (double)stage->weight_bytes),
                    str_show_bytes(kv, (double)stage->kv_bytes),
                    str_show_bytes(work, (double)stage->work_bytes),
                    str_show_us(step, stage->step_us));
        }
}

static const char *show_objective(char text[32], const struct plan *plan, double value)
{
    if (strstr(plan->certificate.objective, "_us") != NULL)
        return str_show_us(text, value);
    snprintf(text, 32, "%.5g", value);
    return text;
}

static void print_certificate(const struct plan *plan)
{
    double best = plan_best(plan);
    double bound = plan->certificate.bound;
    char text[32];
    printf("  program      steady state %s %s", plan->certificate.objective,
            show_objective(text, plan, best));
    printf(", no %splan beats %s: gap %.2f %%\n", plan->certificate.forced ? "such " : "",
            show_objective(text, plan, bound), 100 * fabs(bound - best) / bound);
    if (best != plan->certificate.value)
        printf("               the plan above has %s: the simulated workload prefers it\n",
                show_objective(text, plan, plan->certificate.value));
    printf("               %lld integer programs, %lld nodes",
            (long long)plan->certificate.programs, (long long)plan->certificate.nodes);
    if (plan->certificate.solve_s > 0)
        printf(", %.2f s", plan->certificate.solve_s);
    printf("; %s\n", plan->certificate.oracle);
}

static void print_runners_up(const struct plan *plan)
{
    if (plan->n_runners_up == 0)
        return;
    puts("\n  tokens/s    TTFT p50    TPOT p50     memory   behind  next best plans");
    for (int i = 0; i < plan->n_runners_up; i++) {
        const struct plan_runner_up *r = &plan->runners_up[i];
        char ttft[32];
        char tpot[32];
        char memory[32];
        printf("  %8.1f  %10s  %10s %10s  %6.1f%%  %s\n", r->output_tokens_per_s,
                str_show_us(ttft, r->ttft_p50_us), str_show_us(tpot, r->tpot_p50_us),
                str_show_bytes(memory, (double)r->memory_bytes), r->loses_frac * 100, r->what);
        printf("%60s%s\n", "", r->why);
    }
}

static void print_limit(const struct plan_limit *l, struct arena *arena)
{
    const char *there = plan_limit_amount(l->there_is, l->unit, arena);
    const char *taken = l->taken > 0 ? plan_limit_amount(l->taken, l->unit, arena) : "";
    const char *price = l->shadow_price > 0 ? arena_printf(arena, "%.4g", l->shadow_price) : "";
    printf("  %-24s %11s %11s %10s", l->name, there, taken, price);
    if (l->more > 0)
        printf("  %13s %11.4g  %s",
                arena_printf(arena, "+%s", plan_limit_amount(l->more, l->unit, arena)), l->buys,
                plan_limit_per_one(l, arena));
    putchar('\n');
    if (l->more > 0 && l->buys_least <= 0 && l->buys_most > 0)
        printf("%28s0 to %.4g: within the gap of the programs\n", "", l->buys_most);
    if (l->then != NULL)
        printf("%28sthen %s\n", "", l->then);
}

static void print_limits(const struct plan *plan, struct arena *arena)
{
    const char *objective = plan->certificate.objective;
    const char *unit = strcmp(objective, "output_tokens_per_s") == 0 ? "tokens/s"
                       : strcmp(objective, "price_per_hour") == 0    ? "price an hour"
                                                                     : "us";
    printf("\n  %-24s %11s %11s %10s  %13s %11s\n", "limit", "there is", "taken", "dual price",
            "with more", "it buys");
    for (int i = 0; i < plan->why.n_limits; i++)
        print_limit(&plan->why.limits[i], arena);
    printf("  Prices and gains in %s of the steady state; a dual price is that of one device.\n",
            unit);
}

static void print_sharding(const struct plan_sharding *s)
{
    char executed[32];
    char best[32];
    if (s->executed_us <= 0)
        return;
    str_show_us(executed, s->executed_us);
    if (s->runs)
        printf("\n  sharding inside a layer: nothing beats the executed %s of replica %d stage "
               "%d's "
               "decode step\n",
                executed, s->replica, s->stage);
    else
        printf("\n  sharding inside a layer: %s instead of %s of replica %d stage %d's decode "
               "step, "
               "%.1f %% less, with\n  %s; run does not execute that\n",
                str_show_us(best, s->best_us), executed, s->replica, s->stage,
                (1 - s->best_us / s->executed_us) * 100, s->ways);
}

static void print_refused(const struct plan *plan)
{
    if (plan->why.n_refused == 0)
        return;
    puts("\n  tokens/s  objectives met  refused by the simulation");
    for (int i = 0; i < plan->why.n_refused; i++) {
        const struct plan_refused *r = &plan->why.refused[i];
        printf("  %8.1f  %13.1f%%  %s\n%28s%s\n", r->output_tokens_per_s, r->met_frac * 100,
                r->what, "", r->why);
    }
}

static void print_regret(const struct plan *plan)
{
    const struct plan_regret *r = &plan->why.regret;
    if (r->costs == NULL)
        return;
    printf("  regret       at most %.2f %% of the best of %d plans: %.2f %% with costs as told "
           "(%.5g), %.2f %% with %s (%.5g)\n",
            fmax(r->nominal_regret_frac, r->inflated_regret_frac) * 100, r->plans,
            r->nominal_regret_frac * 100, r->nominal, r->inflated_regret_frac * 100, r->costs,
            r->inflated);
    if (strcmp(r->nominal_best, plan->name) != 0)
        printf("               the best with costs as told would lose %.2f %% then (%.5g): %s\n",
                r->nominal_best_regret_frac * 100, r->nominal_best_inflated, r->nominal_best);
}

void plan_show_text(const struct plan *plan, bool explain, bool measured, struct arena *arena)
{
    const struct plan_figures *f = &plan->predicted;
    char a[32];
    char b[32];
    printf("%s on %s\n  plan         %s\n", plan->model, plan->cluster, plan->name);
    printf("  predicted    %.1f output tokens/s (%.1f to %.1f), %.3g requests/s, done in %.3g s\n",
            f->output_tokens_per_s, f->output_tokens_per_s * f->lo_frac,
            f->output_tokens_per_s * f->hi_frac, f->requests_per_s, f->makespan_s);
    if (plan->arrivals != NULL)
        printf("  arrivals     %s\n", plan->arrivals);
    printf("  TTFT         median %s, p99 %s\n", str_show_us(a, f->ttft_p50_us),
            str_show_us(b, f->ttft_p99_us));
    printf("  TPOT         median %s, p99 %s\n", str_show_us(a, f->tpot_p50_us),
            str_show_us(b, f->tpot_p99_us));
    if (f->price_per_hour > 0)
        printf("  price        %.4g an hour, %.4g for a million output tokens\n", f->price_per_hour,
                f->price_per_mtoken);
    printf("  memory       %s in the fullest rank of %d\n",
            str_show_bytes(a, (double)f->memory_bytes), plan->n_ranks);
    if (plan->mtp_layers > 0)
        printf("  MTP          weights and cache of %d multi-token-prediction layer%s are in the "
               "last stages' memory, their time is in no figure\n",
                plan->mtp_layers, plan->mtp_layers > 1 ? "s" : "");
    printf("  bottleneck   %s\n  binding      %s\n", plan->bottleneck, plan->binding);
    if (plan->serving != NULL)
        printf("  serving      %s\n", plan->serving);
    print_certificate(plan);
    print_regret(plan);
    if (!measured)
        puts("  costs        from datasheet figures, nothing was measured: see `shardwright "
             "profile`");
    else if (plan->cost_sources != NULL)
        printf("  costs        %s\n", plan->cost_sources);
    if (plan->deterministic)
        puts("  exact bits   deterministic kernels are slower and not profiled: figures are those "
             "of the "
             "usual ones");
    if (explain)
        print_stages(plan);
    print_runners_up(plan);
    print_refused(plan);
    if (explain) {
        print_limits(plan, arena);
        print_sharding(&plan->why.sharding);
    }
}
