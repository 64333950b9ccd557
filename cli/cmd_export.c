/*
 * export - costs of a database as one CSV table, which import reads back.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "core/file.h"
#include "db/import.h"

struct options {
    const char *out, *device;
};

#define AT(field) offsetof(struct options, field)
static const struct opt opts[] = {
        {"output", 'o', OPT_STRING, AT(out), .value = "FILE", .def = "-",
                .help = "write the table here; - is stdout"},
        {"device", 'd', OPT_STRING, AT(device), .value = "KIND", .help = "this device kind alone"},
        {NULL},
};
#undef AT

static bool export_devices(
        struct export_text *text, struct cli *cli, struct db *db, const char *only)
{
    const char **devices;
    int n;
    int written = 0;
    if (!profile_store_devices(&devices, &n, db, cli->arena, cli->err))
        return false;
    export_csv_head(text);
    for (int i = 0; i < n; i++) {
        struct profile profile;
        if (only != NULL && strcmp(devices[i], only) != 0)
            continue;
        if (!profile_store_read(&profile, db, devices[i], cli->arena, cli->err))
            return false;
        export_csv(text, &profile);
        written++;
    }
    return written > 0
           || err_set(cli->err, ERR_INPUT,
                   "%s holds no costs%s%s: `shardwright db list` names what it has", db_path(db),
                   only ? " of device kind " : "", only ? only : "");
}

static bool run(struct cli *cli, void *self)
{
    const struct options *options = self;
    struct export_text text = {0};
    struct db *db = db_open(cli->argv[0], DB_READ, cli->err);
    bool ok = db && export_devices(&text, cli, db, options->device)
              && file_write(options->out, text.text, text.len, cli->err);
    db_close(db);
    export_text_free(&text);
    return ok;
}

const struct command command_export = {
        .name = "export",
        .summary = "write the costs of a database as one CSV table",
        .usage = "DB",
        .description = "Writes every measured or imported cost, one a line, with its shape and its "
                       "spread, in "
                       "the csv format that `shardwright import` reads back. Samples, provenance "
                       "and runs are "
                       "not in it: `shardwright db export` writes all tables as they are.",
        .examples = "shardwright export costs.db -o costs.csv\n"
                    "shardwright import csv costs.csv --db copy.db\n",
        .opts = opts,
        .options_size = sizeof(struct options),
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
