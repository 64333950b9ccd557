#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "cli/costs.h"
#include "core/json.h"
#include "core/str.h"
#include "planner/planner.h"
#include "planner/simulate.h"

struct simulate_options {
    const char *cluster, *workload, *db, *model;
};

#define AT(field) offsetof(struct simulate_options, field)
static const struct opt opts[] = {
        {"cluster", 'c', OPT_STRING, AT(cluster), .value = "FILE", .required = true,
                .help = "the cluster that the plan is for: a file, or a line such as 8x8:h200"},
        {"workload", 'w', OPT_STRING, AT(workload), .value = "FILE",
                .help = "requests to simulate; default: those the plan was made for"},
        {"db", 0, OPT_STRING, AT(db), .value = "FILE",
                .help = "measured costs; without it the cluster's datasheet figures"},
        {"model", 0, OPT_STRING, AT(model), .value = "MODEL",
                .help = "the model, where the plan's own path does not lead to it"},
        {NULL},
};
#undef AT

/* Shares of a rank's busy time, largest first, down to a percent. */
static void print_kinds(const struct step_cost *total)
{
    bool shown[OP_KIND_COUNT] = {false};
    for (int round = 0; round < OP_KIND_COUNT; round++) {
        int best = -1;
        for (int k = 0; k < OP_KIND_COUNT; k++)
            if (!shown[k] && (best < 0 || total->kind_us[k] > total->kind_us[best]))
                best = k;
        shown[best] = true;
        if (total->us > 0 && total->kind_us[best] >= 0.01 * total->us)
            printf("%s %s %.0f%%", round == 0 ? "" : ",", op_kind_names[best],
                    total->kind_us[best] / total->us * 100);
    }
    puts("");
}

static void print_table(
        const struct plan *plan, const char *shown, const struct simulate_result *sim)
{
    const struct plan_figures *f = &sim->figures;
    char a[32];
    char b[32];
    printf("%s\n  throughput   %.1f output tokens/s (%.1f to %.1f), %.1f with prompts\n", shown,
            f->output_tokens_per_s, f->output_tokens_per_s * f->lo_frac,
            f->output_tokens_per_s * f->hi_frac, f->total_tokens_per_s);
    printf("  TTFT         median %s, p99 %s\n", str_show_us(a, f->ttft_p50_us),
            str_show_us(b, f->ttft_p99_us));
    printf("  TPOT         median %s, p99 %s\n", str_show_us(a, f->tpot_p50_us),
            str_show_us(b, f->tpot_p99_us));
    printf("  makespan     %.4g s, %lld steps, %lld preemptions\n", f->makespan_s,
            (long long)sim->steps, (long long)sim->preemptions);
    printf("  goodput      %.4g requests/s of %.4g\n", f->goodput_requests_per_s,
            f->requests_per_s);
    int at = 0;
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++, at++) {
            printf("  stage %d.%d    busy %3.0f %%:", r, s, sim->stages[at].busy_frac * 100);
            print_kinds(&sim->stages[at].total);
        }
}

static void put_stages(struct json_writer *w, const struct simulate_result *sim)
{
    json_array_begin(w, "stages");
    for (int s = 0; s < sim->n_stages; s++) {
        const struct simulate_stage *stage = &sim->stages[s];
        json_object_begin(w, NULL);
        json_put_double(w, "busy_frac", stage->busy_frac);
        json_put_double(w, "busy_us", stage->total.us);
        json_put_double(w, "estimated_us", stage->total.estimated_us);
        json_object_begin(w, "kind_us");
        for (int k = 0; k < OP_KIND_COUNT; k++)
            if (stage->total.kind_us[k] > 0)
                json_put_double(w, op_kind_names[k], stage->total.kind_us[k]);
        json_end(w);
        json_end(w);
    }
    json_end(w);
}

static void print_json(const struct plan *plan, const struct simulate_result *sim)
{
    const struct plan_figures *f = &sim->figures;
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "plan", plan->name);
    json_object_begin(&w, "predicted");
    json_put_double(&w, "output_tokens_per_s", f->output_tokens_per_s);
    json_put_double(&w, "total_tokens_per_s", f->total_tokens_per_s);
    json_put_double(&w, "requests_per_s", f->requests_per_s);
    json_put_double(&w, "goodput_requests_per_s", f->goodput_requests_per_s);
    json_put_double(&w, "ttft_p50_us", f->ttft_p50_us);
    json_put_double(&w, "ttft_p99_us", f->ttft_p99_us);
    json_put_double(&w, "tpot_p50_us", f->tpot_p50_us);
    json_put_double(&w, "tpot_p99_us", f->tpot_p99_us);
    json_put_double(&w, "e2e_p50_us", f->e2e_p50_us);
    json_put_double(&w, "makespan_s", f->makespan_s);
    json_put_double(&w, "lo_frac", f->lo_frac);
    json_put_double(&w, "hi_frac", f->hi_frac);
    json_end(&w);
    json_put_int(&w, "steps", sim->steps);
    json_put_int(&w, "preemptions", sim->preemptions);
    put_stages(&w, sim);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

static bool run(struct cli *cli, void *options)
{
    const struct simulate_options *o = options;
    struct plan plan;
    struct cluster cluster;
    struct model model;
    struct workload workload;
    struct requests requests;
    struct profile *profiles;
    int n_profiles;
    if (!plan_read_file(&plan, cli->argv[0], cli->arena, cli->err)
            || !cluster_read_file(&cluster, o->cluster, cli->arena, cli->err)
            || !model_read(&model, o->model != NULL ? o->model : plan.model, cli->data_dir,
                    cli->arena, cli->err))
        return false;
    const char *path = o->workload != NULL ? o->workload : plan.workload;
    if (path == NULL)
        return err_set(cli->err, ERR_INPUT, "%s names no workload: give one with --workload FILE",
                cli->argv[0]);
    if (!workload_read_file(&workload, path, cli->arena, cli->err)
            || !workload_requests(&requests, &workload, cli->arena, cli->err)
            || !plan_check(&plan, &model, &cluster, cli->err)
            || !costs_read(&profiles, &n_profiles, o->db, &cluster, cli->arena, cli->err))
        return false;
    struct cost_model *costs = cost_open(&model, &cluster, profiles, n_profiles, cli->err);
    if (costs == NULL)
        return false;
    struct simulate_input input = {&plan, &workload, &requests, costs, 0};
    struct simulate_result result;
    bool ok = simulate_run(&result, &input, cli->arena, cli->err);
    if (ok && cli->json)
        print_json(&plan, &result);
    else if (ok)
        print_table(&plan, plan_show(&plan, cli->arena), &result);
    cost_close(costs);
    return ok;
}

const struct command command_simulate = {
        .name = "simulate",
        .summary = "what a plan would deliver for a workload, request by request",
        .usage = "PLAN",
        .description = "Simulates the plan with measured costs under the same scheduler that the "
                       "runtime uses, and prints throughput, latencies, and where the time of "
                       "each stage goes. docs/method.md defines each figure.",
        .examples =
                "shardwright simulate plan.yaml -c cluster.yaml --db costs.db\n"
                "shardwright simulate plan.yaml -c cluster.yaml --db costs.db -w rush-hour.yaml",
        .opts = opts,
        .options_size = sizeof(struct simulate_options),
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
