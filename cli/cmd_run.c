#include "cli/cli.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cli/algorithms.h"
#include "cli/run_files.h"
#include "cli/run_show.h"
#include "cli/run_trace.h"
#include "core/file.h"
#include "core/log.h"
#include "db/profile_store.h"
#include "db/run_store.h"
#include "planner/lookup.h"
#include "profiler/probe.h"
#include "runtime/place.h"
#include "runtime/runtime.h"

struct run_options {
    const char *weights, *model, *workload, *db, *prompts, *tokens, *logits, *hosts, *rsh;
    const char *trace, *requests;
    int64_t random, stop;
    int isa, device, warmup;
    double time_limit_s;
};

#define AT(field) offsetof(struct run_options, field)

static const struct opt opts[] = {
        {"workload", 'w', OPT_STRING, AT(workload), .value = "FILE",
                .help = "requests to serve; default: the workload the plan names"},
        {"weights", 0, OPT_STRING, AT(weights), .value = "DIR",
                .help = "checkpoint, %h = the host's name; default: where the model lies, else "
                        "random weights"},
        {"random", 0, OPT_I64, AT(random), .value = "SEED", .def = "-1",
                .help = "random weights from this seed, made in memory"},
        {"model", 'm', OPT_STRING, AT(model), .value = "MODEL",
                .help = "name or path of the model; default: the one the plan names"},
        {"db", 0, OPT_STRING, AT(db), .value = "FILE",
                .help = "costs database: predicts op kinds, keeps what is measured"},
        {"isa", 0, OPT_ENUM, AT(isa), .names = dev_isa_names, .def = "auto",
                .help = "instruction set of the kernels"},
        {"device", 0, OPT_ENUM, AT(device), .names = run_device_names, .def = "auto",
                .help = "cpu or cuda: where all ranks compute; default: what the plan's kinds are"},
        {"prompts", 0, OPT_STRING, AT(prompts), .value = "FILE",
                .help = "JSON lines {\"prompt\": [token ids], \"output_len\": N} to serve instead"},
        {"stop", 0, OPT_I64, AT(stop), .value = "ID", .def = "-1",
                .help = "token that ends a request, instead of the workload's sampling.stop"},
        {"tokens", 0, OPT_STRING, AT(tokens), .value = "FILE",
                .help = "write every request's tokens, as JSON lines"},
        {"logits", 0, OPT_STRING, AT(logits), .value = "FILE",
                .help = "write the logits behind every token, raw f32"},
        {"requests", 0, OPT_STRING, AT(requests), .value = "FILE",
                .help = "write every request's times and how it ended, as CSV"},
        {"trace", 0, OPT_STRING, AT(trace), .value = "FILE",
                .help = "write steps, ops and requests as a Chrome trace, for Perfetto"},
        {"warmup", 0, OPT_INT, AT(warmup), .value = "STEPS", .def = "4", .min = 0, .max = 1000,
                .help = "steps before the clock starts"},
        {"time-limit", 0, OPT_SECONDS, AT(time_limit_s), .value = "TIME", .def = "0s",
                .help = "stop after this time, with status 3 and what was measured so far; 0s = "
                        "none"},
        CLI_HOSTS_OPTS(AT),
        {NULL},
};

/* Rank 0's way into the database; everything NULL or 0 without one. */
struct store {
    struct db *db;
    int64_t run;
    bool batch; /* rows are being added in one transaction */
    struct profile profile;
    struct lookup *lookup;
    struct algorithm_book book; /* on every rank */
};

static bool begin_batch(struct store *store, struct err *err)
{
    if (store->batch)
        return true;
    store->batch = run_store_batch_begin(store->db, err);
    return store->batch;
}

static bool store_figure(void *self, const struct run_figure *figure, struct err *err)
{
    struct store *store = self;

    return begin_batch(store, err) && run_store_figure(store->db, store->run, figure, err);
}

static bool store_request(void *self, const struct run_request *request, struct err *err)
{
    struct store *store = self;

    return begin_batch(store, err) && run_store_request(store->db, store->run, request, err);
}

static bool store_step(void *self, const struct run_step *step, struct err *err)
{
    struct store *store = self;

    return begin_batch(store, err) && run_store_step(store->db, store->run, step, err);
}

static double cost_us(void *self, const struct op *op)
{
    struct store *store = self;

    return store->lookup ? lookup_cost(store->lookup, op).us : (double)NAN;
}

static bool open_store(struct store *store, const struct run_input *in, const char *path,
        struct arena *arena, struct err *err)
{
    struct provenance provenance = {0};
    const char *device = in->plan.replicas[0].stages[0].kind;
    int64_t provenance_id = 0, plan_id = 0;

    if (!path)
        return true;
    store->db = db_open(path, DB_WRITE, err);
    if (!store->db || !profile_store_read(&store->profile, store->db, device, arena, err))
        return false;
    if (store->profile.n > 0) {
        store->lookup = lookup_open(&store->profile, err);
        if (!store->lookup)
            return false;
    }
    probe_provenance(&provenance, arena);
    provenance.device = device;
    return provenance_store(&provenance_id, store->db, &provenance, err)
           && run_store_plan(&plan_id, store->db, &in->plan, err)
           && run_store_begin(&store->run, store->db, plan_id, provenance_id, in->model.name,
                   in->workload.name, err);
}

static bool close_store(
        struct store *store, bool ok, const struct runtime_result *result, struct err *err)
{
    struct err more = {0};
    bool kept = true;

    if (store->db && store->batch)
        kept = run_store_batch_end(store->db, ok || result->n_finished > 0, &more);
    kept = kept && algorithms_write(store->db, &store->book, &more);
    if (store->db && store->run > 0 && kept)
        kept = run_store_end(store->db, store->run,
                ok                       ? "done"
                : result->n_finished > 0 ? "stopped"
                                         : "failed",
                result->bottleneck, &result->measured, &more);
    lookup_close(store->lookup);
    if (store->db)
        db_close(store->db);
    *store = (struct store){0};
    if (!kept && ok)
        *err = more;
    return kept;
}

/* %h is the name of the host that the rank is on. */
static const char *weights_here(const char *path, struct arena *arena)
{
    const char *mark = strstr(path, "%h");
    char name[64] = "";
    if (!mark || gethostname(name, sizeof name - 1) != 0)
        return path;
    return arena_printf(arena, "%.*s%s%s", (int)(mark - path), path, name, mark + 2);
}

/* Ops that a trace holds over all ranks, about 100 bytes each in the file. */
enum {
    TRACE_EVENTS = 1 << 19
};

static void fill_options(struct runtime_options *out, const struct run_input *in,
        const struct run_options *o, struct store *store, struct arena *arena)
{
    static const double default_balance = 8;
    const struct profile *p = &store->profile;

    *out = (struct runtime_options){
            .plan = &in->plan,
            .model = &in->model,
            .weights = o->random >= 0 ? NULL
                       : o->weights   ? weights_here(o->weights, arena)
                                      : in->model.path,
            .workload = &in->workload,
            .requests = &in->requests,
            .experts = in->experts,
            .seed = o->random >= 0 ? (uint64_t)o->random : 0,
            .warmup_steps = o->warmup > 0 ? o->warmup : -1,
            .isa = (enum dev_isa)o->isa,
            .device = o->device,
            .prompts = in->prompts,
            .keep_tokens = o->tokens != NULL,
            .keep_logits = o->logits != NULL,
            .time_limit_s = o->time_limit_s,
            .trace_events = o->trace ? TRACE_EVENTS / in->plan.n_ranks + 1 : 0,
            .cost_us = cost_us,
            .cost_self = store,
            .balance_flop_per_byte = p->peak_flops > 0 && p->peak_bytes_per_s > 0
                                             ? p->peak_flops / p->peak_bytes_per_s
                                             : default_balance,
    };
}

static bool write_results(const struct runtime_result *result, const struct run_input *in,
        const struct run_options *o, struct err *err)
{
    return (!o->tokens || run_write_tokens(o->tokens, result, err))
           && (!o->logits || run_write_logits(o->logits, result, in, err))
           && (!o->requests || run_write_requests(o->requests, result, in, err))
           && (!o->trace || run_write_trace(o->trace, result, err));
}

static bool run_ranks(
        struct cli *cli, const struct run_options *o, struct run_input *in, struct ranks *ranks)
{
    struct store store = {0};
    struct runtime_options options;
    struct runtime_result result = {0};
    const struct measure_sink sink = {&store, NULL, store_figure, store_request, store_step};
    int *stop = ARENA_NEW(cli->arena, int, 1);
    bool first = ranks_rank(ranks) == 0, ok = false;

    ok = ranks_agree(
            ranks, !first || open_store(&store, in, o->db, cli->arena, cli->err), cli->err);
    ok = ok && algorithms_read(&store.book, store.db, ranks, cli->arena, cli->err);
    fill_options(&options, in, o, &store, cli->arena);
    options.algorithms = &store.book;
    if (o->stop >= 0) {
        *stop = (int)o->stop;
        in->workload.sampling.stop = stop;
        in->workload.sampling.n_stop = 1;
    }
    if (first && !options.weights)
        log_line(LOG_INFO, "no checkpoint: random weights from seed %llu",
                (unsigned long long)options.seed);
    int64_t run = store.run;
    ok = ok && runtime_run(&result, &options, ranks, store.db ? &sink : NULL, cli->arena, cli->err);
    if (!first)
        return ok;
    ok = close_store(&store, ok, &result, cli->err) && ok;
    ok = ok && write_results(&result, in, o, cli->err);
    if (result.n_finished > 0)
        run_show(cli, in, &result, run);
    return ok;
}

static bool run(struct cli *cli, void *options)
{
    const struct run_options *o = options;
    struct run_input in = {0};
    struct ranks *ranks = NULL;
    bool inside = false;

    if (o->weights && o->random >= 0)
        return err_set(cli->err, ERR_INPUT, "--weights and --random exclude each other: give one");
    if (!run_read(&in, cli, cli->argv[0], o->model, o->workload, o->prompts))
        return false;
    const struct cli_ranks wanted = {.n = in.plan.n_ranks,
            .threads = place_host_threads(&in.plan, 0, NULL),
            .machines = in.plan.n_machines > 0 ? in.plan.machines : NULL,
            .hosts = in.plan.hosts,
            .n_hosts = in.plan.n_hosts,
            .option_hosts = o->hosts,
            .rsh = o->rsh};
    if (!model_runs(&in.model, cli->err) || !cli_ranks(cli, &wanted, &ranks, &inside))
        return false;
    return !inside || run_ranks(cli, o, &in, ranks);
}

const struct command command_run = {
        .name = "run",
        .summary = "execute a plan and compare it with its prediction",
        .usage = "PLAN",
        .description =
                "Starts the ranks of the plan on its machines, loads each rank's slices of the "
                "weights, serves the workload's requests and prints predicted beside measured: "
                "throughput, latency, memory, every stage and every kind of op, and what held "
                "the run back.\n\n"
                "With --db what was measured is kept for `shardwright report`, and op kinds are "
                "predicted from the measured costs.",
        .examples = "shardwright run plan.yaml --db costs.db\n"
                    "shardwright run plan.yaml --random 1 --workload chat.yaml --json\n"
                    "shardwright run plan.yaml --prompts prompts.jsonl --tokens out.jsonl\n",
        .opts = opts,
        .options_size = sizeof(struct run_options),
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
