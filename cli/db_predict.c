#include "cli/db_predict.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "db/profile_store.h"
#include "planner/lookup.h"

/* A row of the input, where its text is, and what is said of it. */
struct row {
    int line;
    const struct profile_point *point;
    const char *device;
    struct cost cost;
};

/* The lines of a text, to be written as they are. */
struct lines {
    const char **at; /* by line, from 1; one more ends the last */
    int n;
};

static struct lines split_lines(const char *text, int64_t len, struct arena *arena)
{
    struct lines lines = {.n = 1};
    for (int64_t i = 0; i < len; i++)
        lines.n += text[i] == '\n';
    lines.at = ARENA_NEW(arena, const char *, lines.n + 3);
    lines.at[1] = text;
    int line = 1;
    for (int64_t i = 0; i < len; i++)
        if (text[i] == '\n')
            lines.at[++line] = text + i + 1;
    lines.at[line + 1] = text + len + 1;
    return lines;
}

static int line_length(const struct lines *lines, int line)
{
    int len = (int)(lines->at[line + 1] - lines->at[line]) - 1;
    while (len > 0 && (lines->at[line][len - 1] == '\r' || lines->at[line][len - 1] == '\n'))
        len--;
    return len;
}

static int by_line(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    return (x->line > y->line) - (x->line < y->line);
}

static struct row *list_rows(int64_t *n, const struct imported *imported, struct arena *arena)
{
    *n = 0;
    for (int i = 0; i < imported->n; i++)
        *n += imported->batches[i].n;
    struct row *rows = ARENA_NEW(arena, struct row, *n + 1);
    int64_t to = 0;
    for (int i = 0; i < imported->n; i++) {
        const struct import_batch *batch = &imported->batches[i];
        for (int64_t p = 0; p < batch->n; p++)
            rows[to++] = (struct row){
                    .line = batch->lines[p], .point = &batch->points[p], .device = batch->device};
    }
    return rows;
}

/* All rows of one device, by its costs. */
static bool price_device(
        struct row *rows, int64_t n, struct cli *cli, struct db *db, const char *device)
{
    struct profile profile;
    if (!profile_store_read(&profile, db, device, cli->arena, cli->err))
        return false;
    if (profile.n == 0)
        return err_set(cli->err, ERR_INPUT,
                "%s holds no costs of device kind %s: `shardwright db list` names those it has, "
                "--device picks one",
                db_path(db), device);
    struct lookup *lookup = lookup_open(&profile, cli->err);
    if (lookup == NULL)
        return false;
    for (int64_t i = 0; i < n; i++)
        if (strcmp(rows[i].device, device) == 0)
            rows[i].cost = lookup_cost(lookup, &rows[i].point->op);
    lookup_close(lookup);
    return true;
}

static void print_rows(const struct row *rows, int64_t n, const struct lines *lines)
{
    printf("%.*s,predicted_us,lo_us,hi_us,source,error\n", line_length(lines, 1), lines->at[1]);
    for (int64_t i = 0; i < n; i++) {
        const struct cost *cost = &rows[i].cost;
        printf("%.*s,%.6g,%.6g,%.6g,%s,", line_length(lines, rows[i].line), lines->at[rows[i].line],
                cost->us, cost->lo_us, cost->hi_us, cost_source_names[cost->source]);
        if (!isnan(rows[i].point->cost_us))
            printf("%.6g", cost->us / rows[i].point->cost_us - 1);
        printf("\n");
    }
}

static void print_json(const struct row *rows, int64_t n)
{
    struct json_writer w = {0};
    json_array_begin(&w, NULL);
    for (int64_t i = 0; i < n; i++) {
        char shown[160];
        json_object_begin(&w, NULL);
        json_put_int(&w, "line", rows[i].line);
        json_put_string(&w, "op", op_show(shown, &rows[i].point->op));
        json_put_double(&w, "predicted_us", rows[i].cost.us);
        json_put_double(&w, "lo_us", rows[i].cost.lo_us);
        json_put_double(&w, "hi_us", rows[i].cost.hi_us);
        json_put_string(&w, "source", cost_source_names[rows[i].cost.source]);
        json_put_double(&w, "measured_us", rows[i].point->cost_us);
        json_put_double(&w, "error", rows[i].cost.us / rows[i].point->cost_us - 1);
        json_end(&w);
    }
    json_end(&w);
    printf("%s\n", w.text);
    json_writer_free(&w);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Errors of one kind of op; rows that the database holds itself are not counted. */
static void print_errors(const struct row *rows, int64_t n, enum op_kind kind, double *errors)
{
    int64_t count = 0;
    int64_t covered = 0;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct cost *cost = &rows[i].cost;
        double truth = rows[i].point->cost_us;
        bool held = cost->source == COST_IMPORTED || cost->source == COST_MEASURED;
        if (rows[i].point->op.kind != kind || isnan(truth) || held)
            continue;
        errors[count] = fabs(cost->us / truth - 1);
        sum += errors[count++];
        covered += cost->lo_us <= truth && truth <= cost->hi_us;
    }
    if (count == 0)
        return;
    qsort(errors, (size_t)count, sizeof *errors, by_value);
    fprintf(stderr, "%s: %lld rows, mean error %.2f %%, p90 %.2f %%, %.1f %% within the interval\n",
            op_kind_names[kind], (long long)count, 100 * sum / (double)count,
            100 * errors[(int64_t)ceil(0.9 * (double)count) - 1],
            100 * (double)covered / (double)count);
}

bool db_predict(struct cli *cli, struct db *db, const struct db_predict *request)
{
    struct import_file file = {.path = request->input};
    struct import_options options = request->format;
    struct imported imported = {0};
    int64_t n;

    options.no_cost = true;
    if (!file_read(&file.text, &file.len, file.path, cli->arena, cli->err))
        return false;
    struct lines lines =
            split_lines(arena_strndup(cli->arena, file.text, file.len), file.len, cli->arena);
    if (!import_read(&imported, &file, &options, cli->arena, cli->err))
        return false;
    struct row *rows = list_rows(&n, &imported, cli->arena);
    for (int i = 0; i < imported.n; i++) {
        bool again = false;
        for (int before = 0; before < i; before++)
            again |= strcmp(imported.batches[before].device, imported.batches[i].device) == 0;
        if (!again && !price_device(rows, n, cli, db, imported.batches[i].device))
            return false;
    }
    qsort(rows, (size_t)n, sizeof *rows, by_line);
    if (cli->json)
        print_json(rows, n);
    else
        print_rows(rows, n, &lines);
    double *errors = ARENA_NEW(cli->arena, double, n + 1);
    for (int kind = 0; kind < OP_KIND_COUNT && !cli->quiet; kind++)
        print_errors(rows, n, (enum op_kind)kind, errors);
    return true;
}
