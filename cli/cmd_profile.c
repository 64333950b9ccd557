/*
 * profile - measures what plans for some models on this machine are made of, into the database.
 *
 * Rank 0 has the database; the others take part in measuring only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/algorithms.h"
#include "cli/cli.h"
#include "cli/profile_guide.h"
#include "cli/profile_show.h"
#include "cli/profile_sink.h"
#include "cli/provenance.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "db/check_store.h"
#include "db/profile_store.h"
#include "kernels/dev_cuda.h"
#include "planner/deal.h"
#include "planner/lookup.h"
#include "profiler/profiler.h"

struct options {
    const char *cluster, *db, *workload, *record, *replay, *kind, *hosts, *rsh;
    int dtype, kv_dtype;
    int64_t max_tokens, max_seqs, max_len, check, seed;
    double budget_s, point_budget_s;
    const char *target_error;
    bool dry_run;
};

static const char *const dtype_choices[] = {"f32", "bf16", "f16", NULL};
static const char *const kv_choices[] = {"weights", "f32", "bf16", "f16", NULL};

#define AT(field) offsetof(struct options, field)

static const struct opt opts[] = {
        {"cluster", 'c', OPT_STRING, AT(cluster), .value = "FILE", .required = true,
                .help = "cluster file; `shardwright doctor --cluster` writes one"},
        {"db", 0, OPT_STRING, AT(db), .value = "FILE", .def = "costs.db",
                .help = "database to add to; made when it is not there"},
        {"dtype", 0, OPT_ENUM, AT(dtype), .value = "TYPE", .names = dtype_choices, .def = "bf16",
                .help = "type of the weights"},
        {"kv-dtype", 0, OPT_ENUM, AT(kv_dtype), .value = "TYPE", .names = kv_choices,
                .def = "weights", .help = "type of the KV cache"},
        {"workload", 'w', OPT_STRING, AT(workload), .value = "FILE",
                .help = "cover the longest sequence of this workload"},
        {"max-tokens", 0, OPT_I64, AT(max_tokens), .value = "N", .min = 1, .max = 1 << 20,
                .def = "512", .help = "largest step to cover, in tokens"},
        {"max-seqs", 0, OPT_I64, AT(max_seqs), .value = "N", .min = 1, .max = 1 << 20, .def = "32",
                .help = "most sequences that step together"},
        {"max-len", 0, OPT_I64, AT(max_len), .value = "N", .min = 0, .max = 1 << 24, .def = "0",
                .help = "longest sequence; 0 = the workload's, or 1024"},
        {"budget", 0, OPT_SECONDS, AT(budget_s), .value = "TIME", .min = 0, .max = 1e7,
                .def = "2min", .help = "stop after this long; 0s = when all is measured"},
        {"point-budget", 0, OPT_SECONDS, AT(point_budget_s), .value = "TIME", .min = 1e-3,
                .max = 3600, .def = "250ms", .help = "at most this long for one point"},
        {"target-error", 0, OPT_STRING, AT(target_error), .value = "PERCENT",
                .help = "measure where it matters until sizes predict each other this well, such "
                        "as 3%, or the budget is spent"},
        {"check", 0, OPT_I64, AT(check), .value = "N", .min = 0, .max = 1e6, .def = "0",
                .help = "measure N other sizes and tell how well they are predicted"},
        {"seed", 0, OPT_I64, AT(seed), .value = "N", .min = 0, .max = 9e18, .def = "1",
                .help = "draws the sizes of --check"},
        {"record", 0, OPT_STRING, AT(record), .value = "FILE",
                .help = "also write every sample to FILE, for --replay"},
        {"replay", 0, OPT_STRING, AT(replay), .value = "FILE",
                .help = "take samples from FILE instead of measuring"},
        {"kind", 0, OPT_STRING, AT(kind), .value = "NAME",
                .help = "device kind to measure; default: every CPU kind of the cluster"},
        CLI_HOSTS_OPTS(AT),
        {"dry-run", 0, OPT_FLAG, AT(dry_run), .help = "only say how much there is to measure"},
        {NULL},
};

static bool read_inputs(struct profile_request *request, struct cluster *cluster, struct cli *cli,
        const struct options *options)
{
    struct model *models = ARENA_NEW(cli->arena, struct model, cli->argc);
    int64_t longest = 0;

    for (int i = 0; i < cli->argc; i++)
        if (!model_read(&models[i], cli->argv[i], cli->data_dir, cli->arena, cli->err))
            return false;
    if (!cluster_read_file(cluster, options->cluster, cli->arena, cli->err))
        return false;
    if (options->workload) {
        struct workload workload;
        struct requests requests;
        if (!workload_read_file(&workload, options->workload, cli->arena, cli->err)
                || !workload_requests(&requests, &workload, cli->arena, cli->err))
            return false;
        for (int64_t i = 0; i < requests.n; i++) {
            int64_t len = requests.items[i].prompt_len + requests.items[i].output_len;
            longest = len > longest ? len : longest;
        }
    }
    *request = (struct profile_request){.models = models,
            .n_models = cli->argc,
            .cluster = cluster,
            .dtype = (enum dtype)options->dtype,
            .kv_dtype =
                    (enum dtype)(options->kv_dtype > 0 ? options->kv_dtype - 1 : options->dtype),
            .max_tokens = options->max_tokens,
            .max_seqs = options->max_seqs,
            .max_len = options->max_len ? options->max_len
                       : longest        ? longest
                                        : 1024,
            .budget_s = options->budget_s,
            .point_budget_s = options->point_budget_s,
            .record = options->record,
            .replay = options->replay};
    return true;
}

/* What is measured: every kind whose devices are here, or the one that was asked for. Recordings hold one kind. */
static bool find_targets(struct profiler_target **out, int *n, const struct cluster *cluster,
        const struct options *options, struct cli *cli)
{
    int kept = 0, first = 0, gpus = 0;
    struct err none = {0};
    bool any = dev_cuda_count(&gpus, &none) && gpus > 0;
    *n = profiler_targets(out, cluster, any || options->replay, cli->arena);
    if (*n == 0)
        return err_set(cli->err, ERR_INPUT,
                "%s: no node of cluster %s has devices of type cpu, and there is no GPU here: "
                "measure on a machine that has what the cluster is made of",
                options->cluster, cluster->name);
    for (int t = 0; t < *n; t++) {
        struct profiler_target target = (*out)[t];
        if (options->kind && strcmp(options->kind, target.kind->name) != 0)
            continue;
        target.layout.first = first;
        first += target.layout.machines * target.layout.devices;
        (*out)[kept++] = target;
    }
    if (kept == 0)
        return err_set(cli->err, ERR_INPUT,
                "%s: no kind that can be measured here is named \"%s\", %s is", options->cluster,
                options->kind, (*out)[0].kind->name);
    *n = (options->record || options->replay) ? 1 : kept;
    return true;
}

/* The machine must have what the cluster file says that it has. */
static bool check_machine(const struct profiler_target *target, struct err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int gpus = 0;
    if (target->layout.gpu && !dev_cuda_count(&gpus, err))
        return false;
    if (target->layout.gpu && target->layout.devices > gpus)
        return err_at(err, target->node->pos,
                "node %s has %d GPUs, this machine has %d: correct the file, or measure on a "
                "machine "
                "that has them",
                target->node->name, target->layout.devices, gpus);
    if (target->layout.devices > cores)
        return err_at(err, target->node->pos,
                "node %s has %d devices, this machine has %ld cores: correct the file "
                "(`shardwright doctor --cluster` writes one), or measure on a machine that has "
                "them",
                target->node->name, target->layout.devices, cores);
    return true;
}

static bool open_store(struct profile_sink *sink, struct profile *known, struct cli *cli,
        const struct options *options, const char *device)
{
    struct provenance who;

    sink->device = device;
    if (options->dry_run || options->check > 0) {
        /* Nothing to write yet: a database that is not there is as good as an empty one. */
        if (options->dry_run && access(options->db, F_OK) != 0)
            return true;
        sink->db = db_open(options->db, options->dry_run ? DB_READ : DB_WRITE, cli->err);
    } else {
        sink->db = db_open(options->db, DB_WRITE, cli->err);
    }
    if (!sink->db || !profile_store_read(known, sink->db, device, cli->arena, cli->err))
        return false;
    if (options->dry_run)
        return true;
    provenance_of_this(&who, cli->arena);
    return provenance_store(&sink->provenance, sink->db, &who, cli->err);
}

/* "3%" or "3" */
static bool read_percent(double *out, const char *text, struct err *err)
{
    char *end;
    *out = strtod(text, &end) / 100;
    if (*end == '%')
        end++;
    if (end == text || *end != '\0' || !(*out > 0 && *out < 1))
        return err_set(err, ERR_INPUT,
                "\"%s\", expected a percentage between 0 and 100, such as 3%%", text);
    return true;
}

static bool measure(struct profile_request *request, struct cli *cli, struct ranks *ranks,
        struct profile_sink *sink, const struct options *options)
{
    struct measure_sink to = {.self = sink, .point = profile_sink_point};
    struct profile_summary summary;

    if (!profiler_run(&summary, request, ranks, options->dry_run ? NULL : &to, cli->err))
        return false;
    if (ranks_rank(ranks) != 0)
        return true;
    if (!options->dry_run && !profile_sink_ceilings(sink, &summary, cli->err))
        return false;
    const struct profile_shown shown = {options->db, options->dry_run, options->replay != NULL,
            options->dry_run ? NULL : sink->guide};
    if (cli->json)
        profile_show_summary_json(&summary, &shown);
    else
        profile_show_summary(&summary, &shown);
    return true;
}

/* The same, and then where errors are largest. */
static bool measure_guided(struct profile_request *request, struct cli *cli, struct ranks *ranks,
        struct profile_sink *sink, const struct options *options)
{
    struct profile_guide guide = {.arena = cli->arena};

    if (!read_percent(&guide.target, options->target_error, cli->err))
        return err_context(cli->err, "--target-error");
    for (int64_t i = 0; request->known && i < request->known->n; i++)
        profile_guide_add(&guide, &request->known->points[i]);
    request->next = profile_guide_next;
    request->next_self = &guide;
    sink->guide = &guide;
    bool ok = measure(request, cli, ranks, sink, options);
    sink->guide = NULL;
    request->next = NULL;
    return ok;
}

static bool predict(void *self, const struct op *op, double *us, double *lo_us, double *hi_us)
{
    struct cost cost = lookup_cost(self, op);
    *us = cost.us;
    *lo_us = cost.lo_us;
    *hi_us = cost.hi_us;
    return cost.us > 0;
}

static bool check(struct profile_request *request, struct cli *cli, struct ranks *ranks,
        struct profile_sink *sink, const struct options *options)
{
    struct check_row rows[CHECK_ROWS];
    int n = 0;
    struct lookup *lookup = NULL;
    bool leads = ranks_rank(ranks) == 0, ok = true;

    if (leads) {
        if (!request->known || request->known->n == 0)
            ok = err_set(cli->err, ERR_INPUT,
                    "%s: nothing measured on %s to predict from: run `shardwright profile` without "
                    "--check first",
                    options->db, sink->device);
        else
            ok = (lookup = lookup_open(request->known, cli->err)) != NULL;
    }
    const struct check_request sizes = {predict, lookup, options->check, (uint64_t)options->seed};
    ok = ranks_agree(ranks, ok, cli->err)
         && profiler_check(rows, &n, request, &sizes, ranks, cli->err);
    int64_t now = clock_wall_s();
    for (int i = 0; ok && i < n; i++) {
        struct check_store_row row = {.device = sink->device,
                .op_kind = op_kind_names[rows[i].kind],
                .size_class = profile_show_class(rows[i].size_class),
                .n = rows[i].n,
                .wall_s = now,
                .mape = rows[i].mape,
                .median = rows[i].median,
                .p90 = rows[i].p90,
                .p99 = rows[i].p99,
                .bias = rows[i].bias,
                .coverage = rows[i].coverage,
                .noise = rows[i].noise};
        ok = check_store_add(sink->db, sink->provenance, &row, cli->err);
    }
    if (ok && leads) {
        if (cli->json)
            profile_show_check_json(rows, n);
        else
            profile_show_check(rows, n);
    }
    lookup_close(lookup);
    return ok;
}

/* One kind, from opening the database to closing it. */
static bool measure_kind(struct profile_request *request, const struct profiler_target *target,
        struct cli *cli, struct ranks *ranks, const struct options *options)
{
    struct profile known = {0};
    struct profile_sink sink = {0};
    const struct source_layout *at = &target->layout;
    int rank = ranks_rank(ranks), here = rank - at->first;
    bool mine = here >= 0 && here < at->machines * at->devices;
    bool ok = true;

    struct algorithm_book book = {0};
    struct err more = {0};
    struct profiler_target with = *target;

    request->target = &with;
    if (mine && !options->dry_run && !options->replay)
        ok = check_machine(target, cli->err);
    if (rank == 0)
        ok = ok && open_store(&sink, &known, cli, options, target->kind->name);
    ok = ranks_agree(ranks, ok, cli->err);
    request->known = rank == 0 ? &known : NULL;
    if (ok && at->gpu && !options->dry_run) {
        ok = algorithms_read(&book, sink.db, ranks, cli->arena, cli->err);
        with.layout.algorithms = &book;
    }
    if (ok)
        ok = options->check > 0      ? check(request, cli, ranks, &sink, options)
             : options->target_error ? measure_guided(request, cli, ranks, &sink, options)
                                     : measure(request, cli, ranks, &sink, options);
    bool kept = algorithms_write(sink.db, &book, &more);
    if (ok && !kept)
        *cli->err = more;
    db_close(sink.db);
    request->known = NULL;
    request->target = NULL;
    return ok && kept;
}

static bool run(struct cli *cli, void *self)
{
    const struct options *options = self;
    struct profile_request request;
    struct cluster cluster;
    struct profiler_target *targets;
    struct ranks *ranks;
    int n_targets, *machines;
    bool inside, ok = true;

    if (!read_inputs(&request, &cluster, cli, options)
            || !find_targets(&targets, &n_targets, &cluster, options, cli))
        return false;
    bool alone = options->dry_run || options->replay;
    struct cli_ranks wanted = {.option_hosts = options->hosts, .rsh = options->rsh};
    wanted.n = profiler_machines(&machines, targets, n_targets, &cluster, cli->arena);
    wanted.machines = machines;
    wanted.hosts = deal_hosts(&wanted.n_hosts, &cluster, cli->arena);
    if (!alone && wanted.n_hosts == 0 && !ranks_launched() && machines[wanted.n - 1] == 0
            && !check_machine(&targets[0], cli->err))
        return false; /* before ranks are started that could only say the same */
    if (alone)
        wanted = (struct cli_ranks){.n = 1};
    if (!cli_ranks(cli, &wanted, &ranks, &inside))
        return false;
    for (int t = 0; inside && ok && t < n_targets; t++) {
        if (n_targets > 1 && ranks_rank(ranks) == 0 && !cli->json)
            printf("%s\n", targets[t].kind->name);
        ok = measure_kind(&request, &targets[t], cli, ranks, options);
    }
    return ok;
}

const struct command command_profile = {
        .name = "profile",
        .summary = "measure what plans are made of, into the database",
        .usage = "MODEL...",
        .description =
                "Measures every operation that a legal plan for the models needs on this machine: "
                "each "
                "compute op with the threads and busy ranks of the plan, each exchange between "
                "ranks, at a "
                "grid of sizes.\n"
                "\n"
                "What the database has is not measured again. A point is stored as soon as it is "
                "measured, so "
                "that a killed run loses nothing and the same command goes on where it stopped. "
                "Sizes are "
                "ordered so that a budget that runs out leaves a coarse profile of everything.\n"
                "\n"
                "With --target-error, coarse sizes are measured first. Then those points are "
                "measured "
                "again, or get neighbours, that the others predict worst, weighted by their share "
                "of a step's time, until the weighted mean error is reached or the budget is "
                "spent; which of the two, and which kinds of op are worst, is printed.\n"
                "\n"
                "--check measures sizes that the grid does not contain and prints, per kind of op, "
                "how far the "
                "predictions were off and how often the measured cost lay within the predicted "
                "interval.",
        .examples = "shardwright doctor --cluster -o cluster.yaml\n"
                    "shardwright profile qwen3-0.6b --cluster cluster.yaml --dry-run\n"
                    "shardwright profile qwen3-0.6b --cluster cluster.yaml --db costs.db\n"
                    "shardwright profile qwen3-0.6b --cluster cluster.yaml --check 100\n",
        .opts = opts,
        .options_size = sizeof(struct options),
        .min_operands = 1,
        .max_operands = 32,
        .run = run,
};
