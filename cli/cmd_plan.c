#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "cli/costs.h"
#include "cli/plan_demand.h"
#include "cli/plan_json.h"
#include "cli/plan_show.h"
#include "cli/plan_sweep.h"
#include "cli/plan_table.h"
#include "core/file.h"
#include "core/log.h"
#include "core/str.h"
#include "planner/planner.h"
#include "planner/what_if.h"

struct plan_options {
    const char *cluster, *workload, *db, *force, *robust, *out, *export_lp, *sweep, *table, *demand;
    const char *const *what_if;
    int n_what_if;
    unsigned dtypes, kv_dtypes;
    int objective, serving, simulate;
    bool deterministic, reproducible, explain, mtp;
    double time_limit_s;
};

static const char *const objectives[] = {"throughput", "ttft", "tpot", "price", NULL};
static const char *const servings[] = {"auto", "aggregated", "disaggregated", NULL};
static const char *const weight_dtypes[] = {"f32", "bf16", "f16", "f8", "f8_block", NULL};
/* Index 0 follows the weights; the others are shifted by one. */
static const char *const cache_dtypes[] = {"weights", "f32", "bf16", "f16", "f8", NULL};

#define AT(field) offsetof(struct plan_options, field)
static const struct opt opts[] = {
        {"cluster", 'c', OPT_STRING, AT(cluster), .value = "FILE",
                .help = "machines, devices and links: a file, or a line such as 8x8:h200"},
        {"workload", 'w', OPT_STRING, AT(workload), .value = "FILE",
                .help = "requests and service objectives"},
        {"db", 0, OPT_STRING, AT(db), .value = "FILE",
                .help = "measured costs; without it the cluster's datasheet figures"},
        {"dtype", 0, OPT_ENUMS, AT(dtypes), .names = weight_dtypes, .def = "bf16",
                .help = "of the weights; of several each stage has the best"},
        {"kv-dtype", 0, OPT_ENUMS, AT(kv_dtypes), .names = cache_dtypes, .def = "weights",
                .help = "of the KV cache, likewise"},
        {"objective", 0, OPT_ENUM, AT(objective), .names = objectives, .def = "throughput",
                .help = "what to make best; price: of the devices, for the demand"},
        {"demand", 0, OPT_STRING, AT(demand), .value = "RATE",
                .help = "let the workload's requests come at this rate: 20req/s, 5000tok/s (of "
                        "output)"},
        {"serving", 0, OPT_ENUM, AT(serving), .names = servings, .def = "auto",
                .help = "disaggregated: prefill and decode in replicas of their own, the KV cache "
                        "handed over; auto: whatever is best"},
        {"force", 0, OPT_STRING, AT(force), .value = "KEY=VALUE,...",
                .help = "insist on tp, pp, dp, ep, adp, threads, layers (10+18), max_seqs, "
                        "max_tokens, in_flight or kv_blocks; prefill.KEY, decode.KEY: of these "
                        "replicas "
                        "alone"},
        {"robust", 0, OPT_STRING, AT(robust), .value = "COSTS",
                .help = "the plan that loses least whether costs are as told or worse: intervals, "
                        "1.3x, network=1.5x, compute=1.2x"},
        {"what-if", 0, OPT_STRINGS, AT(what_if), AT(n_what_if), .value = "TARGET=VALUE",
                .help = "another cluster: h200.memory=2x, .compute, .bandwidth, .price, .count, "
                        "link.ib.bandwidth=50GB/s, .latency"},
        {"sweep", 0, OPT_STRING, AT(sweep), .value = "TARGET=FROM..TO",
                .help = "a plan for each of seven values, such as h200.memory=0.5x..4x (/N for N); "
                        "--output is a directory then, for sweep.csv and report.html"},
        {"table", 0, OPT_STRING, AT(table), .value = "FILE",
                .help = "solve a plain table of times and memory (docs/formats/table.md) instead "
                        "of "
                        "a model"},
        {"mtp", 0, OPT_FLAG, AT(mtp),
                .help = "room for the model's multi-token-prediction layers; run does not execute "
                        "them"},
        {"deterministic", 0, OPT_FLAG, AT(deterministic),
                .help = "the same tokens for every plan, bit for bit; slower"},
        {"reproducible", 0, OPT_FLAG, AT(reproducible),
                .help = "leave out the solve time: same inputs, same bytes"},
        {"time-limit", 0, OPT_SECONDS, AT(time_limit_s), .value = "TIME", .min = 0.01, .max = 1e6,
                .def = "60s", .help = "of the solver; then the best plan known and its gap"},
        {"simulate", 0, OPT_INT, AT(simulate), .value = "N", .min = 1, .max = 1000, .def = "8",
                .help = "layouts whose plans are simulated on the workload"},
        {"explain", 0, OPT_FLAG, AT(explain),
                .help = "print every stage, and what one more device, GB or GB/s would buy: the "
                        "plan is solved again for each"},
        {"export-lp", 0, OPT_STRING, AT(export_lp), .value = "FILE",
                .help = "write the last integer program in LP format"},
        {"output", 'o', OPT_STRING, AT(out), .value = "FILE",
                .help = "write the plan here; - is stdout, without the summary"},
        {NULL},
};
#undef AT

/* What the files say, as the planner wants it. */
struct plan_files {
    struct model model;
    struct cluster cluster;
    struct workload workload;
    struct requests requests;
    struct profile *profiles;
    int n_profiles;
};

static bool read_files(struct plan_files *f, const struct cli *cli, const struct plan_options *o)
{
    const struct costs_query query = {o->db, &f->cluster, &f->model, o->dtypes};
    return model_read(&f->model, cli->argv[0], cli->data_dir, cli->arena, cli->err)
           && cluster_read_file(&f->cluster, o->cluster, cli->arena, cli->err)
           && workload_read_file(&f->workload, o->workload, cli->arena, cli->err)
           && plan_demand(&f->requests, &f->workload, o->demand, cli->arena, cli->err)
           && costs_read(&f->profiles, &f->n_profiles, &query, cli->arena, cli->err);
}

/* The cluster and its costs as --what-if wants them. */
static bool change_files(struct plan_files *f, const struct cli *cli, const struct plan_options *o)
{
    struct what_if what = {f->cluster, f->profiles, f->n_profiles};
    for (int i = 0; i < o->n_what_if; i++)
        if (!what_if_apply(&what, o->what_if[i], cli->arena, cli->err))
            return false;
    f->cluster = what.cluster;
    f->profiles = what.profiles;
    return true;
}

/* A model needs a cluster and a workload, a table says it all. */
static bool check_inputs(const struct cli *cli, const struct plan_options *o)
{
    bool table = o->table != NULL;
    const char *what = NULL;
    if (table && cli->argc > 0)
        return err_set(cli->err, ERR_INPUT,
                "unexpected \"%s\": --table %s takes the place of a model (see shardwright plan "
                "--help)",
                cli->argv[0], o->table);
    if (!table && cli->argc == 0)
        what = "MODEL";
    else if (!table && o->cluster == NULL)
        what = "--cluster FILE";
    else if (!table && o->workload == NULL)
        what = "--workload FILE";
    return what == NULL
           || err_set(cli->err, ERR_INPUT,
                   "%s is missing: shardwright plan MODEL --cluster FILE --workload FILE (see "
                   "shardwright plan --help)",
                   what);
}

enum {
    N_DTYPES = sizeof weight_dtypes / sizeof *weight_dtypes - 1,
    N_CACHES = sizeof cache_dtypes / sizeof *cache_dtypes - 1
};

/* Every pair of what is allowed, once. */
static void set_dtypes(
        struct planner_input *input, const struct plan_options *o, struct arena *arena)
{
    struct dtype_pair *pairs = ARENA_NEW(arena, struct dtype_pair, (int64_t)N_DTYPES * N_CACHES);
    int n = 0;
    for (int w = 0; w < N_DTYPES; w++)
        for (int c = 0; c < N_CACHES; c++) {
            struct dtype_pair pair = {(enum dtype)w, (enum dtype)(c > 0 ? c - 1 : w)};
            bool known = false;
            for (int i = 0; i < n; i++)
                known = known || (pairs[i].weights == pair.weights && pairs[i].kv == pair.kv);
            if ((o->dtypes >> w & 1) != 0 && (o->kv_dtypes >> c & 1) != 0 && !known)
                pairs[n++] = pair;
        }
    input->dtype = pairs[0].weights;
    input->kv_dtype = pairs[0].kv;
    input->dtypes = pairs;
    input->n_dtypes = n;
}

static bool run(struct cli *cli, void *options)
{
    const struct plan_options *o = options;
    if (!check_inputs(cli, o))
        return false;
    if (o->table != NULL) {
        struct columns_options solve = {.time_limit_s = o->time_limit_s, .export_lp = o->export_lp};
        return plan_table_run(cli, o->table, &solve);
    }
    struct plan_files files = {0};
    struct planner_input input = {.objective = o->objective,
            .serving = o->serving,
            .deterministic = o->deterministic,
            .reproducible = o->reproducible,
            .mtp = o->mtp,
            .explain = o->explain,
            .simulate_best = o->simulate,
            .time_limit_s = o->time_limit_s,
            .export_lp = o->export_lp};
    if (!read_files(&files, cli, o) || !change_files(&files, cli, o))
        return false;
    if (o->force != NULL && !plan_force_parse(&input.force, o->force, cli->arena, cli->err))
        return false;
    if (o->robust != NULL && !plan_inflation_parse(&input.robust, o->robust, cli->arena, cli->err))
        return false;
    set_dtypes(&input, o, cli->arena);
    input.model = &files.model;
    input.cluster = &files.cluster;
    input.workload = &files.workload;
    input.requests = &files.requests;
    input.demand_per_s = o->demand != NULL ? files.workload.arrival.per_s : 0;
    input.profile = files.n_profiles > 0 ? files.profiles : NULL;
    input.n_profiles = files.n_profiles;
    if (o->sweep != NULL)
        return plan_sweep(cli, &input, o->sweep, o->workload, o->out);
    struct plan plan;
    if (!planner_run(&plan, &input, cli->arena, cli->err))
        return false;
    plan.model = cli->argv[0];
    plan.workload = o->workload;
    if (o->out != NULL && !plan_write_file(&plan, o->out, cli->err))
        return false;
    if (o->out != NULL && strcmp(o->out, "-") == 0)
        return true;
    if (cli->json)
        plan_print_json(&plan, files.n_profiles > 0);
    else
        plan_show_text(&plan, o->explain, files.n_profiles > 0, cli->arena);
    return true;
}

const struct command command_plan = {
        .name = "plan",
        .summary = "find the best plan for a model on a cluster, with proof",
        .usage = "[MODEL]",
        .description =
                "Chooses how many replicas there are, which layers go on which devices, how each "
                "stage is split and how large batches may be, and predicts what that delivers for "
                "the workload. An integer program (docs/ilp.md) finds the layouts with the best "
                "steady state and proves that none is better; the best of them are simulated "
                "request by request, and the one with the best objective among those that meet the "
                "service objectives is chosen.\n\nExit status 1: no plan is legal and fits; the "
                "message says what would.",
        .examples = "shardwright plan qwen3-0.6b -c cpu.yaml -w chat.yaml --db costs.db -o p.yaml\n"
                    "shardwright plan qwen3-0.6b -c cpu.yaml -w chat.yaml --force tp=2,pp=1\n"
                    "shardwright plan qwen3-32b -c 4x8:h200 -w chat.yaml --sweep h200.count=8..32",
        .opts = opts,
        .options_size = sizeof(struct plan_options),
        .min_operands = 0,
        .max_operands = 1,
        .run = run,
};
