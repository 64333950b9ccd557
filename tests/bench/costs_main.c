/*
 * How well imported tables predict what is not in them, and how fast. One fifth of a table's rows is left out
 * at random, then whole sites (all sizes of some shapes); the rest is imported and asked for them.
 *
 * usage: bench_costs --tables DIR --program SHARDWRIGHT [--figures FILE] [--rows FILE] [--quick] [--seed N]
 *                    [--only TABLE]
 * --rows: a line for each row that was left out: table, rows or sites, op, measured, predicted, lo, hi, source
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/random.h"
#include "db/import.h"
#include "planner/lookup.h"

enum {
    MOST_FILES = 32,
    OP_SHOWN = 160
};

struct options {
    const char *tables, *program, *figures, *rows, *only;
    bool quick;
    uint64_t seed;
};

static void stop(const char *why)
{
    fprintf(stderr, "bench_costs: %s\n", why);
    exit(2);
}

/* ---- tables ---- */

struct table {
    const char *name;
    enum op_kind kind;
    int dtype;   /* -1 = all */
    int via;     /* -1 = does not matter */
    int site[6]; /* dimensions that make a site, ends with -1 */
};

static const struct table tables[] = {
        {"gemm_bf16", OP_GEMM, DTYPE_BF16, -1, {1, 2, -1}},
        {"gemm_fp8", OP_GEMM, DTYPE_F8, -1, {1, 2, -1}},
        {"gemm_fp8_block", OP_GEMM, DTYPE_F8_BLOCK, -1, {1, 2, -1}},
        {"context_attention", OP_ATTENTION_PREFILL, -1, -1, {2, 3, 4, -1}},
        {"generation_attention", OP_ATTENTION_DECODE, -1, -1, {2, 3, 4, -1}},
        {"moe", OP_MOE, -1, -1, {1, 2, 3, 4, 5, -1}},
        {"mla_context_module", OP_MLA_MODULE_PREFILL, -1, -1, {2, -1}},
        {"mla_generation_module", OP_MLA_MODULE_DECODE, -1, -1, {2, -1}},
        {"nccl", OP_KIND_COUNT, -1, 0, {-1}},
        {"custom_allreduce", OP_ALL_REDUCE, -1, 1, {-1}},
};

static bool belongs(const struct table *table, const struct op *op)
{
    if (table->via >= 0 && (!op_is_collective(op->kind) || (op->dim[1] > 0) != (table->via > 0)))
        return false;
    return (table->kind == OP_KIND_COUNT || table->kind == op->kind)
           && (table->dtype < 0 || table->dtype == (int)op->dtype);
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0xff51afd7ed558ccdu;
    return h ^ h >> 32;
}

static uint64_t site_of(const struct table *table, const struct op *op, uint64_t seed)
{
    uint64_t h = mix(mix(seed + 1, (uint64_t)op->kind), (uint64_t)op->dtype);
    if (op_is_collective(op->kind))
        h = mix(mix(h, (uint64_t)op->degree), (uint64_t)op->dim[1]);
    for (int i = 0; i < 6 && table->site[i] >= 0; i++)
        h = mix(h, (uint64_t)op->dim[table->site[i]]);
    return mix(h, seed);
}

/* Whether a row is left out: by itself or with its site. */
static bool left_out(
        const struct table *table, const struct op *op, bool sites, uint64_t seed, int64_t row)
{
    uint64_t h = sites ? site_of(table, op, seed) : mix(mix(seed + 7, (uint64_t)row), seed);
    return (h >> 11) % 5 == 0;
}

/* ---- errors ---- */

struct errors {
    double *frac;
    int64_t n, covered, exact;
};

struct held_out {
    double mape, median, p90, coverage;
    int64_t n;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct held_out summarise(struct errors *errors)
{
    struct held_out out = {.n = errors->n};
    if (errors->n == 0)
        return out;
    for (int64_t i = 0; i < errors->n; i++)
        out.mape += errors->frac[i] / (double)errors->n;
    qsort(errors->frac, (size_t)errors->n, sizeof *errors->frac, by_value);
    out.median = errors->frac[errors->n / 2];
    out.p90 = errors->frac[(int64_t)(0.9 * (double)(errors->n - 1))];
    out.coverage = (double)errors->covered / (double)errors->n;
    return out;
}

static void put_row(FILE *rows, const struct table *table, bool sites,
        const struct profile_point *point, const struct cost *cost)
{
    char op[OP_SHOWN];
    if (rows != NULL)
        fprintf(rows, "%s\t%s\t%s\t%g\t%g\t%g\t%g\t%s\n", table->name, sites ? "sites" : "rows",
                op_show(op, &point->op), point->cost_us, cost->us, cost->lo_us, cost->hi_us,
                cost_source_names[cost->source]);
}

/* All rows of one table, and what the others predict for those left out. */
static struct held_out hold_out(const struct table *table, const struct profile_point *points,
        int64_t n, bool sites, uint64_t seed, FILE *rows)
{
    struct arena arena = {0};
    struct err err = {0};
    struct profile profile = {.points = ARENA_NEW(&arena, struct profile_point, n + 1)};
    struct errors errors = {.frac = ARENA_NEW(&arena, double, n + 1)};
    for (int64_t i = 0; i < n; i++)
        if (!belongs(table, &points[i].op) || !left_out(table, &points[i].op, sites, seed, i))
            profile.points[profile.n++] = points[i];
    if (!profile_finish(&profile, &err))
        stop(err.text);
    struct lookup *lookup = lookup_open(&profile, &err);
    if (lookup == NULL)
        stop(err.text);
    for (int64_t i = 0; i < n; i++) {
        const struct op *op = &points[i].op;
        if (!belongs(table, op) || !left_out(table, op, sites, seed, i))
            continue;
        struct cost cost = lookup_cost(lookup, op);
        double truth = points[i].cost_us;
        put_row(rows, table, sites, &points[i], &cost);
        errors.frac[errors.n++] = fabs(cost.us / truth - 1);
        errors.covered += cost.lo_us <= truth && truth <= cost.hi_us;
    }
    lookup_close(lookup);
    struct held_out out = summarise(&errors);
    arena_free(&arena);
    return out;
}

/* ---- speed ---- */

/* An op as a plan of some model asks for it: rarely on the grid. */
static struct op asked(uint64_t i)
{
    static const int64_t hidden[] = {4096, 5120, 7168, 8192};
    uint64_t r = random_u64(42, i);
    int64_t h = hidden[r % 4];
    int64_t m = 1 + (int64_t)(r >> 8) % 4096;
    int64_t tp = 1 << (r >> 40) % 4;
    struct op op = {.kind = OP_GEMM, .dtype = DTYPE_BF16, .degree = 1, .busy = 8};
    switch ((r >> 32) % 4) {
    case 0:
        op.dim[0] = m;
        op.dim[1] = (h + 2048) / tp;
        op.dim[2] = h;
        break;
    case 1:
        op.dim[0] = m;
        op.dim[1] = h;
        op.dim[2] = 28672 / tp;
        break;
    case 2:
        op = (struct op){.kind = OP_ATTENTION_DECODE,
                .dtype = DTYPE_BF16,
                .degree = 1,
                .busy = 8,
                .dim = {1 + m % 512, 1 + (int64_t)(r >> 24) % 16384, 64 / tp, 8 / tp, 128}};
        break;
    default:
        op = (struct op){.kind = OP_ALL_REDUCE,
                .dtype = DTYPE_F32,
                .degree = (int32_t)(tp > 1 ? tp : 2),
                .busy = 8,
                .dim = {m * h * 4}};
        break;
    }
    return op;
}

struct speed {
    double fresh_per_s, again_per_s;
};

static double ask(struct lookup *lookup, const struct op *ops, int64_t n)
{
    double sum = 0;
    int64_t start = clock_now_ns();
    for (int64_t i = 0; i < n; i++)
        sum += lookup_cost(lookup, &ops[i]).us;
    double s = (double)(clock_now_ns() - start) * 1e-9;
    if (!(sum > 0))
        stop("a look-up answered nothing");
    return (double)n / s;
}

static struct speed measure_speed(const struct profile_point *points, int64_t n, bool quick)
{
    struct arena arena = {0};
    struct err err = {0};
    int64_t n_ops = quick ? 200000 : 1000000;
    struct profile profile = {.points = ARENA_NEW(&arena, struct profile_point, n + 1), .n = n};
    struct op *ops = ARENA_NEW(&arena, struct op, n_ops);
    memcpy(profile.points, points, sizeof *points * (size_t)n);
    for (int64_t i = 0; i < n_ops; i++)
        ops[i] = asked((uint64_t)i);
    struct lookup *lookup = NULL;
    if (!profile_finish(&profile, &err) || (lookup = lookup_open(&profile, &err)) == NULL)
        stop(err.text);
    ask(lookup, ops, n_ops / 10); /* families are indexed when first asked for */
    struct speed speed;
    speed.fresh_per_s = ask(lookup, ops + n_ops / 10, n_ops - n_ops / 10);
    speed.again_per_s = ask(lookup, ops, n_ops);
    lookup_close(lookup);
    arena_free(&arena);
    return speed;
}

/* ---- import ---- */

struct usage {
    double time_s, memory_bytes;
};

static struct usage measure_import(const struct options *options, char *const files[], int n_files)
{
    char db[] = "/tmp/bench_costs_XXXXXX";
    int fd = mkstemp(db);
    if (fd < 0)
        stop("no temporary file");
    close(fd);
    const char *argv[MOST_FILES + 6] = {options->program, "import", "aiconfigurator", "--db", db};
    for (int i = 0; i < n_files; i++)
        argv[5 + i] = files[i];
    fflush(NULL);
    int64_t start = clock_now_ns();
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) != NULL)
            execv(options->program, (char *const *)(uintptr_t)argv); /* promises not to write */
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        stop("shardwright import failed");
    struct usage usage = {.time_s = (double)(clock_now_ns() - start) * 1e-9};
    struct rusage resources;
    getrusage(RUSAGE_CHILDREN, &resources);
    usage.memory_bytes = (double)resources.ru_maxrss * 1024;
    for (const char *const *tail = (const char *const[]){"", "-wal", "-shm", NULL}; *tail; tail++) {
        char path[64];
        snprintf(path, sizeof path, "%s%s", db, *tail);
        unlink(path);
    }
    return usage;
}

/* ---- all of it ---- */

static int list_files(char **files, const char *dir, struct arena *arena)
{
    DIR *folder = opendir(dir);
    int n = 0;
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && n < MOST_FILES;) {
        size_t len = strlen(entry->d_name);
        if (len > 9 && strcmp(entry->d_name + len - 9, "_perf.csv") == 0)
            files[n++] = arena_printf(arena, "%s/%s", dir, entry->d_name);
    }
    closedir(folder);
    return n;
}

static int64_t read_tables(
        struct profile_point **points, char *const files[], int n_files, struct arena *arena)
{
    struct err err = {0};
    struct imported imported = {0};
    const struct import_options options = {.format = IMPORT_AICONFIGURATOR};
    int64_t n = 0;
    for (int i = 0; i < n_files; i++) {
        struct import_file file = {.path = files[i]};
        if (!file_read(&file.text, &file.len, file.path, arena, &err)
                || !import_read(&imported, &file, &options, arena, &err))
            stop(err.text);
    }
    for (int i = 0; i < imported.n; i++)
        n += imported.batches[i].n;
    *points = ARENA_NEW(arena, struct profile_point, n + 1);
    n = 0;
    for (int i = 0; i < imported.n; i++) {
        memcpy(*points + n, imported.batches[i].points,
                sizeof **points * (size_t)imported.batches[i].n);
        n += imported.batches[i].n;
    }
    return n;
}

static void put_figure(FILE *out, const char *key, double value, const char *unit)
{
    if (out != NULL)
        fprintf(out, "%s\t%.6g\t%s\n", key, value, unit);
}

static void hold_out_tables(FILE *out, const struct profile_point *points, int64_t n,
        const struct options *options, struct arena *arena)
{
    FILE *rows = options->rows == NULL ? NULL : fopen(options->rows, "w");
    if (options->rows != NULL && rows == NULL)
        stop("the file of rows cannot be written");
    printf("%-22s %-6s %7s %8s %8s %8s %9s\n", "table", "held", "rows", "MAPE", "median", "p90",
            "coverage");
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (int sites = 0; sites < 2; sites++) {
            const char *held = sites ? "sites" : "rows";
            if (options->only != NULL && strcmp(options->only, tables[t].name) != 0)
                continue;
            struct held_out s = hold_out(&tables[t], points, n, sites != 0, options->seed, rows);
            if (s.n == 0)
                continue;
            printf("%-22s %-6s %7lld %7.2f%% %7.2f%% %7.2f%% %8.1f%%\n", tables[t].name, held,
                    (long long)s.n, 100 * s.mape, 100 * s.median, 100 * s.p90, 100 * s.coverage);
            put_figure(out, arena_printf(arena, "h200.%s.%s.mape", tables[t].name, held), s.mape,
                    "fraction");
            put_figure(out, arena_printf(arena, "h200.%s.%s.p90", tables[t].name, held), s.p90,
                    "fraction");
            put_figure(out, arena_printf(arena, "h200.%s.%s.coverage", tables[t].name, held),
                    s.coverage, "fraction");
        }
    if (rows != NULL && fclose(rows) != 0)
        stop("the file of rows could not be written");
}

static void parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.seed = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            options->quick = true;
            continue;
        }
        if (value == NULL)
            stop("an option lacks its value");
        if (strcmp(argv[i], "--tables") == 0)
            options->tables = value;
        else if (strcmp(argv[i], "--program") == 0)
            options->program = value;
        else if (strcmp(argv[i], "--figures") == 0)
            options->figures = value;
        else if (strcmp(argv[i], "--rows") == 0)
            options->rows = value;
        else if (strcmp(argv[i], "--only") == 0)
            options->only = value;
        else if (strcmp(argv[i], "--seed") == 0)
            options->seed = strtoull(value, NULL, 10);
        else
            stop("unknown option; the head of tests/bench/costs lists them");
        i++;
    }
    if (options->tables == NULL || options->program == NULL)
        stop("--tables and --program are needed");
}

static void report_import(
        FILE *out, const struct options *options, char *const files[], int n_files, int64_t n)
{
    struct usage usage = measure_import(options, files, n_files);
    printf("import of %lld rows: %.2f s, %.0f MB\n", (long long)n, usage.time_s,
            usage.memory_bytes / 1e6);
    put_figure(out, "import.time", usage.time_s, "s");
    put_figure(out, "import.memory", usage.memory_bytes, "bytes");
}

static void report_speed(FILE *out, const struct profile_point *points, int64_t n, bool quick)
{
    struct speed speed = measure_speed(points, n, quick);
    printf("look-ups on one core: %.2f million/s never asked before, %.2f million/s again\n",
            speed.fresh_per_s * 1e-6, speed.again_per_s * 1e-6);
    put_figure(out, "lookups_per_s", speed.fresh_per_s, "1/s");
    put_figure(out, "lookups_again_per_s", speed.again_per_s, "1/s");
}

int main(int argc, char **argv)
{
    struct options options;
    struct arena arena = {0};
    char *files[MOST_FILES];
    struct profile_point *points;

    parse(&options, argc, argv);
    int n_files = list_files(files, options.tables, &arena);
    if (n_files == 0)
        stop("no tables there");
    int64_t n = read_tables(&points, files, n_files, &arena);
    FILE *out = options.figures == NULL ? NULL : fopen(options.figures, "w");
    hold_out_tables(out, points, n, &options, &arena);
    if (options.only == NULL)
        report_import(out, &options, files, n_files, n);
    if (options.only == NULL || strcmp(options.only, "speed") == 0)
        report_speed(out, points, n, options.quick);
    bool ok = options.figures == NULL || (out != NULL && fclose(out) == 0);
    arena_free(&arena);
    if (!ok)
        stop("the figures could not be written");
    return 0;
}
