/*
 * profile - measures what plans for some models on this machine are made of, into the database.
 *
 * Rank 0 has the database; the others take part in measuring only.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/provenance.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "db/check_store.h"
#include "db/profile_store.h"
#include "planner/lookup.h"
#include "profiler/profiler.h"

struct options {
    const char *cluster, *db, *workload, *record, *replay;
    int dtype, kv_dtype;
    int64_t max_tokens, max_seqs, max_len, check, seed;
    double budget_s, point_budget_s;
    bool dry_run;
};

static const char *const dtype_choices[] = {"f32", "bf16", NULL};
static const char *const kv_choices[] = {"weights", "f32", "bf16", NULL};

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
        {"check", 0, OPT_I64, AT(check), .value = "N", .min = 0, .max = 1e6, .def = "0",
                .help = "measure N other sizes and tell how well they are predicted"},
        {"seed", 0, OPT_I64, AT(seed), .value = "N", .min = 0, .max = 9e18, .def = "1",
                .help = "draws the sizes of --check"},
        {"record", 0, OPT_STRING, AT(record), .value = "FILE",
                .help = "also write every sample to FILE, for --replay"},
        {"replay", 0, OPT_STRING, AT(replay), .value = "FILE",
                .help = "take samples from FILE instead of measuring"},
        {"dry-run", 0, OPT_FLAG, AT(dry_run), .help = "only say how much there is to measure"},
        {NULL},
};

/* The database end of the sink; rank 0. */
struct store {
    struct db *db;
    int64_t provenance;
    const char *device;
};

static bool store_point(
        void *self, const struct profile_point *point, const double *samples, struct err *err)
{
    struct store *store = self;
    bool added;
    return profile_store_add(
            &added, store->db, store->provenance, store->device, point, samples, false, err);
}

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

/* The machine must have what the cluster file says that it has. */
static bool check_machine(const struct cluster_node *node, const struct options *options,
        const struct cluster *cluster, struct err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!node)
        return err_set(err, ERR_INPUT,
                "%s: no node of cluster %s has devices of type cpu: this build measures those only",
                options->cluster, cluster->name);
    if (!options->replay && node->devices > cores)
        return err_at(err, node->pos,
                "node %s has %d devices, this machine has %ld cores: correct the file "
                "(`shardwright doctor "
                "--cluster` writes one), or measure on a machine that has them",
                node->name, node->devices, cores);
    return true;
}

static bool open_store(struct store *store, struct profile *known, struct cli *cli,
        const struct options *options, const char *device)
{
    struct provenance who;

    store->device = device;
    if (options->dry_run || options->check > 0) {
        /* Nothing to write yet: a database that is not there is as good as an empty one. */
        if (options->dry_run && access(options->db, F_OK) != 0)
            return true;
        store->db = db_open(options->db, options->dry_run ? DB_READ : DB_WRITE, cli->err);
    } else {
        store->db = db_open(options->db, DB_WRITE, cli->err);
    }
    if (!store->db || !profile_store_read(known, store->db, device, cli->arena, cli->err))
        return false;
    if (options->dry_run)
        return true;
    provenance_of_this(&who, cli->arena);
    return provenance_store(&store->provenance, store->db, &who, cli->err);
}

static bool store_ceilings(
        struct store *store, const struct profile_summary *summary, struct err *err)
{
    for (int i = 0; i < summary->n_ceilings; i++) {
        const struct profiler_ceiling *c = &summary->ceilings[i];
        struct profile_ceiling row = {c->degree, c->busy, c->peak_flops, c->peak_bytes_per_s};
        if (!profile_store_ceiling_at(store->db, store->provenance, store->device, &row, err))
            return false;
    }
    return true;
}

static void print_summary_json(const struct profile_summary *s, const struct options *options)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "database", options->db);
    json_put_bool(&w, "dry_run", options->dry_run);
    json_put_int(&w, "wanted", s->wanted);
    json_put_int(&w, "known", s->known);
    json_put_int(&w, "measured", s->measured);
    json_put_int(&w, "skipped", s->skipped);
    json_put_int(&w, "left", s->left);
    json_put_int(&w, "disturbed", s->disturbed);
    json_put_double(&w, "estimate_s", s->estimate_s);
    json_put_double(&w, "seconds", s->seconds);
    json_array_begin(&w, "ceilings");
    for (int i = 0; i < s->n_ceilings; i++) {
        json_object_begin(&w, NULL);
        json_put_int(&w, "threads", s->ceilings[i].degree);
        json_put_int(&w, "busy", s->ceilings[i].busy);
        json_put_double(&w, "peak_flops", s->ceilings[i].peak_flops);
        json_put_double(&w, "peak_bytes_per_s", s->ceilings[i].peak_bytes_per_s);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    printf("%s\n", w.text);
    json_writer_free(&w);
}

static void print_summary(const struct profile_summary *s, const struct options *options)
{
    printf("%lld points wanted, %lld known", (long long)s->wanted, (long long)s->known);
    if (options->dry_run) {
        printf(", %lld to measure, about %.0f s\n", (long long)(s->wanted - s->known),
                s->estimate_s);
        return;
    }
    printf(", %lld measured in %.1f s\n", (long long)s->measured, s->seconds);
    if (s->left > 0)
        printf("%lld left when the budget was spent; the same command goes on with them\n",
                (long long)s->left);
    if (s->skipped > 0)
        printf("%lld left out: %s\n", (long long)s->skipped,
                options->replay ? "not in the recording" : "more memory than this machine has");
    if (s->disturbed > 0)
        printf("%lld never without interference from other processes\n", (long long)s->disturbed);
    for (int i = 0; i < s->n_ceilings; i++)
        printf("ceiling of %d thread%s, %d rank%s at once: %.4g GFLOP/s, %.4g GB/s each\n",
                s->ceilings[i].degree, s->ceilings[i].degree > 1 ? "s" : "", s->ceilings[i].busy,
                s->ceilings[i].busy > 1 ? "s" : "", s->ceilings[i].peak_flops * 1e-9,
                s->ceilings[i].peak_bytes_per_s * 1e-9);
}

static bool measure(struct profile_request *request, struct cli *cli, struct ranks *ranks,
        struct store *store, const struct options *options)
{
    struct measure_sink sink = {.self = store, .point = store_point};
    struct profile_summary summary;

    if (!profiler_run(&summary, request, ranks, options->dry_run ? NULL : &sink, cli->err))
        return false;
    if (ranks_rank(ranks) != 0)
        return true;
    if (!options->dry_run && !store_ceilings(store, &summary, cli->err))
        return false;
    if (cli->json)
        print_summary_json(&summary, options);
    else
        print_summary(&summary, options);
    return true;
}

static bool predict(void *self, const struct op *op, double *us, double *lo_us, double *hi_us)
{
    struct cost cost = lookup_cost(self, op);
    *us = cost.us;
    *lo_us = cost.lo_us;
    *hi_us = cost.hi_us;
    return cost.us > 0;
}

static void print_check_json(const struct check_row *rows, int n)
{
    struct json_writer w = {.pretty = true};
    json_array_begin(&w, NULL);
    for (int i = 0; i < n; i++) {
        json_object_begin(&w, NULL);
        json_put_string(&w, "kind", op_kind_names[rows[i].kind]);
        json_put_int(&w, "n", rows[i].n);
        json_put_double(&w, "mape", rows[i].mape);
        json_put_double(&w, "median", rows[i].median);
        json_put_double(&w, "p90", rows[i].p90);
        json_put_double(&w, "p99", rows[i].p99);
        json_put_double(&w, "bias", rows[i].bias);
        json_put_double(&w, "coverage", rows[i].coverage);
        json_end(&w);
    }
    json_end(&w);
    printf("%s\n", w.text);
    json_writer_free(&w);
}

static void print_check(const struct check_row *rows, int n)
{
    printf("%-18s %5s %8s %8s %8s %8s %8s %9s\n", "sizes not measured", "n", "mean", "median",
            "p90", "p99", "bias", "covered");
    for (int i = 0; i < n; i++)
        printf("%-18s %5lld %7.1f%% %7.1f%% %7.1f%% %7.1f%% %+7.1f%% %8.0f%%\n",
                op_kind_names[rows[i].kind], (long long)rows[i].n, rows[i].mape * 100,
                rows[i].median * 100, rows[i].p90 * 100, rows[i].p99 * 100, rows[i].bias * 100,
                rows[i].coverage * 100);
}

static bool check(struct profile_request *request, struct cli *cli, struct ranks *ranks,
        struct store *store, const struct options *options)
{
    struct check_row rows[OP_KIND_COUNT];
    int n = 0;
    struct lookup *lookup = NULL;
    bool leads = ranks_rank(ranks) == 0, ok = true;

    if (leads) {
        if (!request->known || request->known->n == 0)
            ok = err_set(cli->err, ERR_INPUT,
                    "%s: nothing measured on %s to predict from: run `shardwright profile` without "
                    "--check first",
                    options->db, store->device);
        else
            ok = (lookup = lookup_open(request->known, cli->err)) != NULL;
    }
    const struct check_request sizes = {predict, lookup, options->check, (uint64_t)options->seed};
    ok = ranks_agree(ranks, ok, cli->err)
         && profiler_check(rows, &n, request, &sizes, ranks, cli->err);
    int64_t now = clock_wall_s();
    for (int i = 0; ok && i < n; i++) {
        struct check_store_row row = {.device = store->device,
                .op_kind = op_kind_names[rows[i].kind],
                .n = rows[i].n,
                .wall_s = now,
                .mape = rows[i].mape,
                .median = rows[i].median,
                .p90 = rows[i].p90,
                .p99 = rows[i].p99,
                .bias = rows[i].bias,
                .coverage = rows[i].coverage};
        ok = check_store_add(store->db, store->provenance, &row, cli->err);
    }
    if (ok && leads) {
        if (cli->json)
            print_check_json(rows, n);
        else
            print_check(rows, n);
    }
    lookup_close(lookup);
    return ok;
}

static bool run(struct cli *cli, void *self)
{
    const struct options *options = self;
    struct profile_request request;
    struct cluster cluster;
    struct profile known = {0};
    struct store store = {0};
    struct ranks *ranks;
    bool inside;

    if (!read_inputs(&request, &cluster, cli, options))
        return false;
    const struct cluster_node *node = profiler_node(&cluster);
    if (!check_machine(node, options, &cluster, cli->err))
        return false;
    int n = options->dry_run || options->replay ? 1 : node->devices;
    const struct cli_ranks wanted = {.n = n};
    if (!cli_ranks(cli, &wanted, &ranks, &inside))
        return false;
    if (!inside)
        return true;
    bool leads = ranks_rank(ranks) == 0;
    bool ok = !leads || open_store(&store, &known, cli, options, node->kind);
    ok = ranks_agree(ranks, ok, cli->err);
    request.known = leads ? &known : NULL;
    if (ok)
        ok = options->check > 0 ? check(&request, cli, ranks, &store, options)
                                : measure(&request, cli, ranks, &store, options);
    db_close(store.db);
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
