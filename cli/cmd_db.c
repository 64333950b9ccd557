/*
 * db - looks after the database: list, check, export, merge, vacuum, predict, compare.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/db_compare.h"
#include "cli/db_predict.h"
#include "cli/db_show.h"
#include "core/json.h"
#include "db/profile_store.h"
#include "db/run_store.h"

struct options {
    const char *out, *db, *input, *format, *device;
    bool drop_damaged;
    double threshold_percent;
};

#define AT(field) offsetof(struct options, field)

static const struct opt opts[] = {
        {"out", 'o', OPT_STRING, AT(out), .value = "PATH",
                .help = "export: folder for the CSV files, made if missing; compare: CSV file of "
                        "every shape"},
        {"db", 0, OPT_STRING, AT(db), .value = "FILE",
                .help = "the database, where it is not the second word"},
        {"input", 0, OPT_STRING, AT(input), .value = "FILE",
                .help = "predict: rows in an imported table's format, with or without costs"},
        {"format", 0, OPT_STRING, AT(format), .value = "NAME", .def = "aiconfigurator",
                .help = "predict: of the rows: aiconfigurator or csv"},
        {"device", 'd', OPT_STRING, AT(device), .value = "KIND",
                .help = "predict: device kind that answers; default: what the rows say; compare: "
                        "only this one"},
        {"threshold", 0, OPT_DOUBLE, AT(threshold_percent), .value = "PERCENT", .def = "2",
                .min = 0, .max = 1000, .help = "compare: changes up to this much do not count"},
        {"drop-damaged", 0, OPT_FLAG, AT(drop_damaged),
                .help = "check: remove damaged measurements, to take them again"},
        {NULL},
};

/* The databases that were named: by --db, then by the words after the action. */
struct paths {
    const char **items;
    int n;
};

struct action {
    const char *name;
    enum db_mode mode; /* of the first */
    bool (*run)(struct cli *cli, struct db *db, const struct options *options);
    /* Or, where it takes more databases than one: */
    bool (*run_several)(struct cli *cli, struct db *db, const struct paths *paths,
            const struct options *options);
    const char *needs; /* what is missing when there is only one */
};

static void put_result(struct cli *cli, const char *key, int64_t value, const char *text)
{
    if (cli->json)
        printf("{\"%s\": %lld}\n", key, (long long)value);
    else
        printf("%lld %s\n", (long long)value, text);
}

static bool do_check(struct cli *cli, struct db *db, const struct options *options)
{
    int64_t n = 0, orphans = 0;
    if (options->drop_damaged) {
        if (!db_drop_damaged(db, &n, cli->err))
            return false;
        put_result(cli, "dropped", n, "damaged rows dropped");
    }
    if (!db_check(db, &n, cli->err))
        return false;
    put_result(cli, "rows", n, "rows, all sound");
    if (!db_orphans(db, &orphans, cli->err))
        return false;
    if (orphans > 0)
        put_result(cli, "orphans", orphans,
                "of them are of no use: hosts and devices without a measurement, plans that never "
                "ran");
    return true;
}

static bool do_export(struct cli *cli, struct db *db, const struct options *options)
{
    if (!options->out)
        return err_set(cli->err, ERR_INPUT, "export needs a folder: add -o DIR");
    if (!db_export_csv(db, options->out, cli->err))
        return false;
    if (!cli->json)
        printf("%s\n", options->out);
    return true;
}

static bool do_merge(
        struct cli *cli, struct db *db, const struct paths *paths, const struct options *options)
{
    struct db_merge_counts total = {0};
    (void)options;
    for (int i = 1; i < paths->n; i++) {
        struct db_merge_counts added;
        struct db *from = db_open(paths->items[i], DB_READ, cli->err);
        bool ok = from && db_merge(&added, db, from, cli->err);
        db_close(from);
        if (!ok)
            return false;
        total.points += added.points;
        total.runs += added.runs;
        total.rows += added.rows;
    }
    if (cli->json)
        printf("{\"points\": %lld, \"runs\": %lld, \"rows\": %lld}\n", (long long)total.points,
                (long long)total.runs, (long long)total.rows);
    else
        printf("%lld points and %lld runs added, %lld rows in all\n", (long long)total.points,
                (long long)total.runs, (long long)total.rows);
    return true;
}

static bool do_predict(struct cli *cli, struct db *db, const struct options *options)
{
    struct db_predict request = {.input = options->input, .format = {.device = options->device}};
    if (options->input == NULL)
        return err_set(cli->err, ERR_INPUT, "predict needs rows: add --input ROWS.csv");
    return import_format_find(&request.format.format, options->format, cli->err)
           && db_predict(cli, db, &request);
}

static bool do_compare(
        struct cli *cli, struct db *db, const struct paths *paths, const struct options *options)
{
    if (paths->n > 2)
        return err_set(cli->err, ERR_INPUT, "compare takes two databases, \"%s\" is one too many",
                paths->items[2]);
    const struct db_compare request = {.after = paths->items[1],
            .device = options->device,
            .threshold = options->threshold_percent / 100,
            .csv_path = options->out};
    return db_compare(cli, db, &request);
}

static bool do_vacuum(struct cli *cli, struct db *db, const struct options *options)
{
    (void)cli;
    (void)options;
    return db_vacuum(db, cli->err);
}

static void print_run(const struct run_row *run)
{
    char when[32] = "";
    time_t wall = (time_t)run->wall_s;
    struct tm parts;
    if (gmtime_r(&wall, &parts))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M", &parts);
    printf("%5lld  %s  %-8s %-16.16s %-16.16s", (long long)run->id, when, run->status,
            run->model ? run->model : "", run->plan_name ? run->plan_name : "");
    if (run->measured.output_tokens_per_s > 0)
        printf(" %10.4g tokens/s", run->measured.output_tokens_per_s);
    printf("\n");
}

static bool do_list(struct cli *cli, struct db *db, const struct options *options)
{
    const char **devices;
    struct run_row *runs;
    int n_devices;
    int64_t n_runs;
    struct json_writer w = {.pretty = true};
    (void)options;

    if (!profile_store_devices(&devices, &n_devices, db, cli->arena, cli->err)
            || !run_store_list(&runs, &n_runs, db, 0, false, cli->arena, cli->err))
        return false;
    json_object_begin(&w, NULL);
    json_array_begin(&w, "profiles");
    for (int i = 0; i < n_devices; i++) {
        struct profile profile;
        if (!profile_store_read(&profile, db, devices[i], cli->arena, cli->err)) {
            json_writer_free(&w);
            return false;
        }
        json_object_begin(&w, NULL);
        json_put_string(&w, "device", devices[i]);
        json_put_int(&w, "points", profile.n);
        json_put_string(&w, "digest", profile.digest);
        json_end(&w);
        if (!cli->json)
            printf("profile of %s: %lld points, digest %s\n", devices[i], (long long)profile.n,
                    profile.digest);
    }
    json_end(&w);
    json_array_begin(&w, "runs");
    for (int64_t i = 0; i < n_runs; i++) {
        json_object_begin(&w, NULL);
        json_put_int(&w, "id", runs[i].id);
        json_put_int(&w, "wall_s", runs[i].wall_s);
        json_put_string(&w, "status", runs[i].status);
        json_put_string(&w, "model", runs[i].model);
        json_put_string(&w, "workload", runs[i].workload);
        json_put_string(&w, "plan", runs[i].plan_name);
        json_put_double(&w, "output_tokens_per_s", runs[i].measured.output_tokens_per_s);
        json_end(&w);
        if (!cli->json)
            print_run(&runs[i]);
    }
    json_end(&w);
    json_end(&w);
    if (cli->json)
        printf("%s\n", w.text);
    json_writer_free(&w);
    return true;
}

static bool do_exchanges(struct cli *cli, struct db *db, const struct options *options)
{
    (void)options;
    return db_show_exchanges(cli, db);
}

static const struct action actions[] = {
        {"list", DB_READ, do_list, NULL, NULL},
        {"check", DB_READ, do_check, NULL, NULL},
        {"export", DB_READ, do_export, NULL, NULL},
        {"merge", DB_WRITE, NULL, do_merge, "the database that takes and at least one that gives"},
        {"vacuum", DB_WRITE, do_vacuum, NULL, NULL},
        {"exchanges", DB_READ, do_exchanges, NULL, NULL},
        {"predict", DB_READ, do_predict, NULL, NULL},
        {"compare", DB_READ, NULL, do_compare, "the database of before and the one of after"},
};

static bool find_paths(struct paths *paths, const struct action *action,
        const struct options *options, struct cli *cli)
{
    *paths = (struct paths){ARENA_NEW(cli->arena, const char *, cli->argc + 1), 0};
    if (options->db != NULL)
        paths->items[paths->n++] = options->db;
    for (int i = 1; i < cli->argc; i++)
        paths->items[paths->n++] = cli->argv[i];
    if (paths->n < 2 && action->run_several)
        return err_set(cli->err, ERR_INPUT, "%s needs %s: shardwright db %s costs.db other.db",
                action->name, action->needs, action->name);
    if (paths->n < 1)
        return err_set(cli->err, ERR_INPUT, "%s needs a database: shardwright db %s costs.db",
                action->name, action->name);
    if (paths->n > 1 && action->run)
        return err_set(cli->err, ERR_INPUT, "%s takes one database, \"%s\" is one too many",
                action->name, paths->items[1]);
    return true;
}

static bool run(struct cli *cli, void *self)
{
    const struct options *options = self;
    const struct action *action = NULL;
    struct paths paths;

    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, cli->argv[0]) == 0)
            action = &actions[i];
    if (!action)
        return err_set(cli->err, ERR_INPUT,
                "\"%s\" is nothing db does: expected list, check, export, merge, vacuum, "
                "exchanges, predict or compare",
                cli->argv[0]);
    if (!find_paths(&paths, action, options, cli))
        return false;
    struct db *db =
            db_open(paths.items[0], options->drop_damaged ? DB_WRITE : action->mode, cli->err);
    bool ok = db
              && (action->run ? action->run(cli, db, options)
                              : action->run_several(cli, db, &paths, options));
    db_close(db);
    return ok;
}

const struct command command_db = {
        .name = "db",
        .summary = "look after the database: list, check, export, merge, vacuum, predict, compare",
        .usage = "ACTION DB [DB...]",
        .description = "ACTION is one of the words below. list shows the profiles and runs of a "
                       "database.\n"
                       "\n"
                       "check verifies the checksum of every row, the links between tables and the "
                       "file itself. "
                       "SQLite alone does not notice a flipped bit inside a row.\n"
                       "\n"
                       "export writes every table as a CSV file.\n"
                       "\n"
                       "merge takes over what the other databases have and the first has not: "
                       "profiles of other "
                       "machines, runs made elsewhere. Rows that both have stay as they are in the "
                       "first.\n"
                       "\n"
                       "exchanges prints what collectives and transfers cost, with algbw and "
                       "busbw as nccl-tests define them.\n"
                       "\n"
                       "predict says what the costs make of rows in an imported table's format, "
                       "and how far off that is where the rows have a cost.\n"
                       "\n"
                       "compare A B tells what got slower from A to B: by kind of op, and the "
                       "shapes that got slower by more than their intervals. The exit status is 1 "
                       "when a kind did (docs/method.md, \"Comparing costs\").\n"
                       "\n"
                       "vacuum brings a database of an older version up to date and gives back "
                       "unused space.",
        .examples = "shardwright db list costs.db\n"
                    "shardwright db check costs.db\n"
                    "shardwright db export costs.db -o csv\n"
                    "shardwright db predict h200.db --input rows.csv\n"
                    "shardwright db compare before.db after.db -o changes.csv\n"
                    "shardwright db merge all.db host1.db host2.db\n",
        .opts = opts,
        .options_size = sizeof(struct options),
        .min_operands = 1,
        .max_operands = 64,
        .run = run,
};
