#include "cli/cli.h"

#include <string.h>

#include "cli/costs.h"
#include "cli/simulate_show.h"
#include "planner/planner.h"

struct simulate_options {
    const char *cluster, *workload, *db, *model, *out;
    int64_t requests, sample;
    double speedup;
};

#define AT(field) offsetof(struct simulate_options, field)
static const struct opt opts[] = {
        {"cluster", 'c', OPT_STRING, AT(cluster), .value = "FILE", .required = true,
                .help = "the cluster that the plan is for: a file, or a line such as 8x8:h200"},
        {"workload", 'w', OPT_STRING, AT(workload), .value = "FILE",
                .help = "requests to simulate: a workload, or a trace (.csv: Azure, .jsonl: "
                        "Mooncake) "
                        "at its own times; default: those the plan was made for"},
        {"requests", 'n', OPT_I64, AT(requests), .value = "N", .min = 1, .max = 1e8,
                .help = "simulate so many of them; default: as many as the workload says"},
        {"speedup", 0, OPT_DOUBLE, AT(speedup), .value = "X", .min = 1e-6, .max = 1e6, .def = "1",
                .help = "requests come so many times as fast"},
        {"sample", 0, OPT_I64, AT(sample), .value = "N", .min = 0, .max = 1e8, .def = "0",
                .help = "with more requests than this, some of the replicas that are alike stand "
                        "for "
                        "the others; 0 = simulate all"},
        {"output", 'o', OPT_STRING, AT(out), .value = "FILE",
                .help = "writes every request as a row of CSV; - is stdout, in place of the table"},
        {"db", 0, OPT_STRING, AT(db), .value = "FILE",
                .help = "measured costs; without it the cluster's datasheet figures"},
        {"model", 0, OPT_STRING, AT(model), .value = "MODEL",
                .help = "the model, where the plan's own path does not lead to it"},
        {NULL},
};
#undef AT

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool speed_up(struct workload *workload, const char *path, double by, struct err *err)
{
    switch ((enum arrival_process)workload->arrival.process) {
    case ARRIVAL_OFFLINE:
        return err_set(err, ERR_INPUT,
                "--speedup: the requests of %s all come at the start, there is nothing to speed up",
                path);
    case ARRIVAL_POISSON:
    case ARRIVAL_UNIFORM:
        workload->arrival.per_s *= by;
        return true;
    case ARRIVAL_TRACE:
        workload->trace.time_scale *= by;
        return true;
    case ARRIVAL_STEADY: /* when they are paced */
        return true;
    }
    return true;
}

static bool read_workload(struct workload *workload, struct requests *requests,
        const struct plan *plan, struct cli *cli, const struct simulate_options *o)
{
    const char *path = o->workload != NULL ? o->workload : plan->workload;
    if (path == NULL)
        return err_set(cli->err, ERR_INPUT, "%s names no workload: give one with --workload FILE",
                cli->argv[0]);
    if (ends_in(path, ".csv") || ends_in(path, ".jsonl"))
        workload_of_trace(workload, path);
    else if (!workload_read_file(workload, path, cli->arena, cli->err))
        return false;
    if (o->requests > 0)
        workload->requests = o->requests;
    return (o->speedup == 1 || speed_up(workload, path, o->speedup, cli->err))
           && workload_requests(requests, workload, cli->arena, cli->err)
           && requests_pace(requests, plan->predicted.requests_per_s * o->speedup, cli->err);
}

/* A bit for each type that weights have anywhere. */
static unsigned weight_dtypes(const struct plan *plan)
{
    unsigned dtypes = 0;
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++)
            dtypes |= 1U << plan_stage_dtype(plan, &plan->replicas[r].stages[s]);
    return dtypes;
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
    const struct costs_query query = {o->db, &cluster, &model, weight_dtypes(&plan)};
    if (!read_workload(&workload, &requests, &plan, cli, o)
            || !plan_check(&plan, &model, &cluster, cli->err)
            || !costs_read(&profiles, &n_profiles, &query, cli->arena, cli->err))
        return false;
    struct cost_model *costs = cost_open(&model, &cluster, profiles, n_profiles, cli->err);
    if (costs == NULL)
        return false;
    struct simulate_input input = {&plan, &workload, &requests, costs, o->sample};
    struct simulate_result result;
    bool ok = simulate_run(&result, &input, cli->arena, cli->err);
    if (ok && o->out != NULL)
        ok = simulate_write_csv(&result, &requests, o->out, cli->err);
    if (ok && cli->json)
        simulate_print_json(&plan, &result);
    else if (ok && (o->out == NULL || strcmp(o->out, "-") != 0))
        simulate_print(&plan, plan_show(&plan, cli->arena), &result);
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
                "shardwright simulate plan.yaml -c cluster.yaml --db costs.db -w rush-hour.yaml\n"
                "shardwright simulate plan.yaml -c cluster.yaml -w trace.csv -n 500 "
                "-o r.csv",
        .opts = opts,
        .options_size = sizeof(struct simulate_options),
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
