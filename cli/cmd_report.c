#include <stdio.h>

#include "cli/cli.h"
#include "core/json.h"
#include "core/str.h"
#include "db/db.h"
#include "reports/report.h"

struct options {
    const char *db, *out, *title;
    const char *const *runs;
    int n_runs;
    bool reproducible;
};

#define AT(field) offsetof(struct options, field)

static const struct opt opts[] = {
        {"db", 0, OPT_STRING, AT(db), .value = "FILE", .def = "costs.db",
                .help = "database with the runs to report"},
        {"output", 'o', OPT_STRING, AT(out), .value = "DIR", .def = "report",
                .help = "where report.html and the CSV files go"},
        {"run", 0, OPT_STRINGS, AT(runs), AT(n_runs), .value = "ID", .help = "only this run"},
        {"title", 0, OPT_STRING, AT(title), .value = "TEXT", .help = "heading of the page"},
        {"reproducible", 0, OPT_FLAG, AT(reproducible),
                .help = "leave dates and times out: same runs, same bytes"},
        {NULL},
};

static void print_json(const struct report_summary *summary)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "path", summary->path);
    json_put_int(&w, "runs", summary->n_runs);
    json_put_int(&w, "charts", summary->n_charts);
    json_put_int(&w, "csv_files", summary->n_csv);
    json_array_begin(&w, "headlines");
    for (int64_t i = 0; i < summary->n_headlines; i++)
        json_put_string(&w, NULL, summary->headlines[i]);
    json_end(&w);
    json_end(&w);
    fputs(w.text, stdout);
    json_writer_free(&w);
}

static bool read_ids(int64_t **ids, const struct options *options, struct cli *cli)
{
    *ids = options->n_runs > 0 ? ARENA_NEW(cli->arena, int64_t, options->n_runs) : NULL;
    for (int i = 0; i < options->n_runs; i++)
        if (!str_to_i64(&(*ids)[i], options->runs[i], cli->err))
            return err_context(cli->err, "--run");
    return true;
}

static bool run(struct cli *cli, void *at)
{
    const struct options *options = at;
    int64_t *ids = NULL;
    if (!read_ids(&ids, options, cli))
        return false;
    struct db *db = db_open(options->db, DB_READ, cli->err);
    if (db == NULL)
        return false;
    const struct report_options what = {.runs = ids,
            .n_runs = options->n_runs,
            .out_dir = options->out,
            .title = options->title,
            .reproducible = options->reproducible};
    struct report_summary summary;
    const bool ok = report_write(&summary, db, &what, cli->arena, cli->err);
    db_close(db);
    if (!ok)
        return false;
    if (cli->json) {
        print_json(&summary);
        return true;
    }
    for (int64_t i = 0; i < summary.n_headlines; i++)
        printf("%s\n", summary.headlines[i]);
    printf("%s (%lld runs, %lld charts, %d CSV files beside it)\n", summary.path,
            (long long)summary.n_runs, (long long)summary.n_charts, summary.n_csv);
    return true;
}

const struct command command_report = {
        .name = "report",
        .summary = "write HTML and CSV from the database",
        .usage = "",
        .description =
                "Writes one self-contained page, report.html, and a CSV file of every table in it: "
                "what was predicted and what was measured, memory, where the time goes, the plans "
                "considered, requests, the timeline, and the measured costs behind it. Each model "
                "and workload in the database gets its chapter.\n\n"
                "The page needs no network and no other file. Without --run all runs are in it.",
        .examples = "shardwright report --db costs.db -o report\n"
                    "shardwright report --db costs.db --run 3 --run 5 --title \"tp against pp\"",
        .opts = opts,
        .options_size = sizeof(struct options),
        .run = run,
};
