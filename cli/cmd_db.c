/*
 * db - looks after the database: list, check, export, merge, vacuum.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/db_predict.h"
#include "cli/db_show.h"
#include "core/json.h"
#include "db/profile_store.h"
#include "db/run_store.h"

struct options {
    const char *out, *db, *input, *format, *device;
    bool drop_damaged;
};

#define AT(field) offsetof(struct options, field)

static const struct opt opts[] = {
        {"out", 'o', OPT_STRING, AT(out), .value = "DIR",
                .help = "export: folder for the CSV files, made if missing"},
        {"db", 0, OPT_STRING, AT(db), .value = "FILE",
                .help = "the database, where it is not the second word"},
        {"input", 0, OPT_STRING, AT(input), .value = "FILE",
                .help = "predict: rows in an imported table's format, with or without costs"},
        {"format", 0, OPT_STRING, AT(format), .value = "NAME", .def = "aiconfigurator",
                .help = "predict: of the rows: aiconfigurator or csv"},
        {"device", 'd', OPT_STRING, AT(device), .value = "KIND",
                .help = "predict: device kind that answers; default: what the rows say"},
        {"drop-damaged", 0, OPT_FLAG, AT(drop_damaged),
                .help = "check: remove damaged measurements, to take them again"},
        {NULL},
};

struct action {
    const char *name;
    enum db_mode mode;
    bool (*run)(struct cli *cli, struct db *db, const struct options *options);
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
    int64_t n = 0;
    if (options->drop_damaged) {
        if (!db_drop_damaged(db, &n, cli->err))
            return false;
        put_result(cli, "dropped", n, "damaged rows dropped");
    }
    if (!db_check(db, &n, cli->err))
        return false;
    put_result(cli, "rows", n, "rows, all sound");
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

static bool do_merge(struct cli *cli, struct db *db, const struct options *options)
{
    struct db_merge_counts total = {0};
    (void)options;
    for (int i = 2; i < cli->argc; i++) {
        struct db_merge_counts added;
        struct db *from = db_open(cli->argv[i], DB_READ, cli->err);
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
        {"list", DB_READ, do_list},
        {"check", DB_READ, do_check},
        {"export", DB_READ, do_export},
        {"merge", DB_WRITE, do_merge},
        {"vacuum", DB_WRITE, do_vacuum},
        {"exchanges", DB_READ, do_exchanges},
        {"predict", DB_READ, do_predict},
};

static bool run(struct cli *cli, void *self)
{
    const struct options *options = self;
    const struct action *action = NULL;

    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, cli->argv[0]) == 0)
            action = &actions[i];
    if (!action)
        return err_set(cli->err, ERR_INPUT,
                "\"%s\" is nothing db does: expected list, check, export, merge, vacuum, "
                "exchanges or predict",
                cli->argv[0]);
    if (options->db != NULL) { /* before the other operands, as if it had been the second word */
        if (cli->argc > 1 && action->run != do_merge)
            return err_set(cli->err, ERR_INPUT, "two databases, %s and %s: give one", options->db,
                    cli->argv[1]);
    } else if (cli->argc < 2) {
        return err_set(cli->err, ERR_INPUT, "%s needs a database: shardwright db %s costs.db",
                action->name, action->name);
    }
    const char *path = options->db != NULL ? options->db : cli->argv[1];
    if (cli->argc > 2 && action->run != do_merge)
        return err_set(cli->err, ERR_INPUT, "%s takes one database, \"%s\" is one too many",
                action->name, cli->argv[2]);
    if (cli->argc < 3 && action->run == do_merge)
        return err_set(cli->err, ERR_INPUT,
                "merge needs the database that takes and at least one that gives: shardwright db "
                "merge "
                "costs.db other.db");
    enum db_mode mode = options->drop_damaged ? DB_WRITE : action->mode;
    struct db *db = db_open(path, mode, cli->err);
    bool ok = db && action->run(cli, db, options);
    db_close(db);
    return ok;
}

const struct command command_db = {
        .name = "db",
        .summary = "look after the database: list, check, export, merge, vacuum, predict",
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
                       "vacuum brings a database of an older version up to date and gives back "
                       "unused space.",
        .examples = "shardwright db list costs.db\n"
                    "shardwright db check costs.db\n"
                    "shardwright db export costs.db -o csv\n"
                    "shardwright db predict h200.db --input rows.csv\n"
                    "shardwright db merge all.db host1.db host2.db\n",
        .opts = opts,
        .options_size = sizeof(struct options),
        .min_operands = 1,
        .max_operands = 64,
        .run = run,
};
