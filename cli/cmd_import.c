/*
 * import - measurements of other programs into the database.
 */
#include <stdio.h>

#include "cli/cli.h"
#include "core/file.h"
#include "core/json.h"
#include "db/import.h"

struct options {
    const char *db, *device, *op, *kernels;
    int ranks;
    bool replace, dry_run;
};

#define AT(field) offsetof(struct options, field)
static const struct opt opts[] = {
        {"db", 0, OPT_STRING, AT(db), .value = "FILE",
                .help = "database that takes the measurements; made if missing"},
        {"device", 'd', OPT_STRING, AT(device), .value = "KIND",
                .help = "device kind of the cluster file; default: what the file says, in small "
                        "letters without its maker (NVIDIA H200: h200)"},
        {"ranks", 0, OPT_INT, AT(ranks), .value = "N", .min = 2, .max = 1048576,
                .help = "nccl_tests, osu: ranks that took part, where the text does not say"},
        {"op", 0, OPT_STRING, AT(op), .value = "NAME",
                .help = "nccl_tests, osu: all_reduce, all_gather, reduce_scatter, all_to_all, "
                        "send_recv or broadcast, where the text does not say"},
        {"kernels", 0, OPT_STRING, AT(kernels), .value = "FILE",
                .help = "nsight: CSV of kernel,op: what kernels are that no NVTX range names"},
        {"replace", 0, OPT_FLAG, AT(replace),
                .help = "take the new figure where the database has one already"},
        {"dry-run", 'n', OPT_FLAG, AT(dry_run), .help = "read and check the files, store nothing"},
        {NULL},
};
#undef AT

static bool read_files(struct imported *out, struct cli *cli, const struct import_options *options)
{
    for (int i = 1; i < cli->argc; i++) {
        struct import_file file = {.path = cli->argv[i]};
        if (!file_read(&file.text, &file.len, file.path, cli->arena, cli->err)
                || !import_read(out, &file, options, cli->arena, cli->err))
            return false;
    }
    return true;
}

static bool read_kernels(
        struct import_options *wanted, struct cli *cli, const struct options *options)
{
    struct import_file file = {.path = options->kernels};
    struct import_kernel *kernels;
    if (options->kernels == NULL)
        return true;
    if (!file_read(&file.text, &file.len, file.path, cli->arena, cli->err)
            || !import_kernels_read(&kernels, &wanted->n_kernels, &file, cli->arena, cli->err))
        return false;
    wanted->kernels = kernels;
    return true;
}

static void print_counts(
        const struct cli *cli, const struct imported *imported, const struct import_counts *counts)
{
    int64_t rows = 0;
    for (int i = 0; i < imported->n; i++)
        rows += imported->batches[i].n;
    if (cli->json) {
        printf("{\"rows\": %lld, \"added\": %lld, \"kept\": %lld}\n", (long long)rows,
                (long long)counts->added, (long long)counts->kept);
        return;
    }
    for (int i = 0; i < imported->n; i++) {
        const struct import_batch *batch = &imported->batches[i];
        printf("%8lld rows of %s from %s (%s)\n", (long long)batch->n, batch->device,
                batch->provenance.origin,
                batch->provenance.software ? batch->provenance.software : "unknown software");
    }
    printf("%lld rows, %lld added, %lld were there and stay\n", (long long)rows,
            (long long)counts->added, (long long)counts->kept);
}

static bool run(struct cli *cli, void *self)
{
    const struct options *options = self;
    struct import_options wanted = {
            .device = options->device, .ranks = options->ranks, .op = options->op};
    struct imported imported = {0};
    struct import_counts counts = {0};

    if (!import_format_find(&wanted.format, cli->argv[0], cli->err))
        return false;
    if (options->db == NULL && !options->dry_run)
        return err_set(cli->err, ERR_INPUT, "import needs a database: add --db FILE, or --dry-run");
    if (!read_kernels(&wanted, cli, options) || !read_files(&imported, cli, &wanted))
        return false;
    if (!options->dry_run) {
        struct db *db = db_open(options->db, DB_WRITE, cli->err);
        bool ok = db && import_store(&counts, db, &imported, options->replace, cli->err);
        db_close(db);
        if (!ok)
            return false;
    }
    print_counts(cli, &imported, &counts);
    return true;
}

const struct command command_import = {
        .name = "import",
        .summary = "take over measurements that other programs made",
        .usage = "FORMAT FILE...",
        .description =
                "Puts the measurements of the files into the database, so that plans can be made "
                "for "
                "machines that are not at hand. FORMAT is aiconfigurator (CSV tables of "
                "ai-dynamo/aiconfigurator), csv (what `shardwright export` writes), nccl_tests "
                "(text or "
                "JSON of nccl-tests), osu (text of the OSU micro-benchmarks) or nsight (databases "
                "that `nsys export --type sqlite` writes). "
                "docs/formats/import.md describes the formats and what "
                "is in "
                "a row.\n"
                "\n"
                "A row that cannot be right is refused with its file, line and column, and then "
                "nothing "
                "at all is imported. Every row keeps where it came from. A measurement that the "
                "database has already stays, unless --replace is given.\n"
                "\n"
                "The planner finds imported costs by the name of the device kind in the cluster "
                "file.",
        .examples = "shardwright import aiconfigurator gemm_perf.csv moe_perf.csv --db h200.db\n"
                    "shardwright import nccl_tests all_reduce.txt --db h200.db\n"
                    "shardwright import nsight decode.sqlite --kernels kernels.csv --db h200.db\n"
                    "shardwright plan deepseek-v3 -c h200.yaml -w chat.yaml --db h200.db\n",
        .opts = opts,
        .options_size = sizeof(struct options),
        .min_operands = 2,
        .max_operands = 256,
        .run = run,
};
