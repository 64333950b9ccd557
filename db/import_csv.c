/*
 * Our own table of costs, one point a row, as docs/formats/import.md lists its columns. What a column that is not
 * there would say is 0, or nothing; device, kind, dtype, d0 and cost_us are always needed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/csv.h"
#include "db/import.h"

enum {
    N_INTS = 4 + OP_DIMS,
    N_COSTS = 8
};

static const char *const int_names[N_INTS] = {
        "degree", "busy", "nodes", "samples", "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"};
static const char *const cost_names[N_COSTS] = {
        "cost_us", "lo_us", "hi_us", "min_us", "q1_us", "q3_us", "p99_us", "mad_us"};

struct reader {
    struct csv csv;
    int device, kind, dtype, kernel, software, cold;
    int ints[N_INTS], costs[N_COSTS];
};

static bool need(int *at, const struct csv *csv, const char *name, bool must, struct err *err)
{
    *at = csv_column(csv, name);
    return *at >= 0 || !must
           || err_at(err, (struct pos){csv->path, 1, 1},
                   "column \"%s\" is missing: expected at least device, kind, dtype, d0 and "
                   "cost_us",
                   name);
}

static bool find_columns(struct reader *r, bool no_cost, struct err *err)
{
    const struct csv *csv = &r->csv;
    bool ok = need(&r->device, csv, "device", true, err) && need(&r->kind, csv, "kind", true, err)
              && need(&r->dtype, csv, "dtype", true, err)
              && need(&r->kernel, csv, "kernel", false, err)
              && need(&r->software, csv, "software", false, err)
              && need(&r->cold, csv, "cold", false, err);
    for (int i = 0; ok && i < N_INTS; i++)
        ok = need(&r->ints[i], csv, int_names[i], strcmp(int_names[i], "d0") == 0, err);
    for (int i = 0; ok && i < N_COSTS; i++)
        ok = need(&r->costs[i], csv, cost_names[i], i == 0 && !no_cost, err);
    return ok;
}

static bool read_name(
        int *out, const struct csv *csv, int column, const char *const *names, struct err *err)
{
    for (*out = 0; names[*out]; ++*out)
        if (strcmp(names[*out], csv->fields[column]) == 0)
            return true;
    return err_at(err, csv_pos(csv, column),
            "%s is \"%s\", expected one that `shardwright export` writes", csv->names[column],
            csv->fields[column]);
}

static const char *text_or_null(const struct csv *csv, int column)
{
    return column < 0 || csv->fields[column][0] == '\0' ? NULL : csv->fields[column];
}

static bool read_op(struct op *op, int64_t *samples, const struct reader *r, struct err *err)
{
    const struct csv *csv = &r->csv;
    int64_t values[N_INTS] = {1};
    int kind;
    int dtype;
    if (!read_name(&kind, csv, r->kind, op_kind_names, err)
            || !read_name(&dtype, csv, r->dtype, dtype_names, err))
        return false;
    for (int i = 0; i < N_INTS; i++) {
        bool is_dim = i >= N_INTS - OP_DIMS;
        if (text_or_null(csv, r->ints[i]) != NULL
                && !csv_int(&values[i], csv, r->ints[i], i == 0 || i == N_INTS - OP_DIMS,
                        is_dim ? INT64_C(1) << 52 : INT32_MAX, err))
            return false;
    }
    *op = (struct op){.kind = (enum op_kind)kind,
            .dtype = (enum dtype)dtype,
            .degree = (int32_t)values[0],
            .busy = (int32_t)values[1],
            .nodes = (int32_t)values[2]};
    *samples = values[3];
    memcpy(op->dim, &values[N_INTS - OP_DIMS], sizeof op->dim);
    return true;
}

static bool read_costs(
        struct profile_point *point, const struct reader *r, bool no_cost, struct err *err)
{
    double *const to[N_COSTS] = {&point->cost_us, &point->lo_us, &point->hi_us, &point->min_us,
            &point->q1_us, &point->q3_us, &point->p99_us, &point->mad_us};
    point->cost_us = (double)NAN;
    for (int i = 0; i < N_COSTS; i++) {
        const char *text = text_or_null(&r->csv, r->costs[i]);
        if (text == NULL && (i > 0 || no_cost))
            continue;
        if (i == N_COSTS - 1 && strcmp(text, "0") == 0) /* samples may be alike to the last digit */
            point->mad_us = 0;
        else if (!csv_positive(to[i], &r->csv, r->costs[i], err))
            return false;
    }
    return true;
}

bool import_csv(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err)
{
    struct reader r = {0};
    if (!csv_open(&r.csv, file->text, file->len, file->path, err)
            || !find_columns(&r, options->no_cost, err))
        return false;
    while (csv_next(&r.csv, err)) {
        const struct csv *csv = &r.csv;
        if (csv->fields[r.device][0] == '\0')
            return err_at(err, csv_pos(csv, r.device), "device is empty, expected a device kind");
        struct import_batch *batch = import_batch_of(
                out, file, options, csv->fields[r.device], text_or_null(csv, r.software), arena);
        struct profile_point *point = import_add(batch, csv->row_line, arena);
        int64_t samples = 0;
        if (!read_op(&point->op, &samples, &r, err)
                || !read_costs(point, &r, options->no_cost, err))
            return false;
        point->kernel = text_or_null(csv, r.kernel);
        point->cold = text_or_null(csv, r.cold) != NULL && strcmp(csv->fields[r.cold], "1") == 0;
    }
    return err->kind == ERR_NONE;
}

static void append(struct export_text *out, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void append(struct export_text *out, const char *fmt, ...)
{
    va_list args;
    if (out->room - out->len < 512) {
        out->room = out->room * 2 + 65536;
        char *text = realloc(out->text, (size_t)out->room);
        if (text == NULL)
            abort(); /* as the arena does: no command goes on without memory */
        out->text = text;
    }
    va_start(args, fmt);
    out->len += vsnprintf(out->text + out->len, (size_t)(out->room - out->len), fmt, args);
    va_end(args);
}

static void append_text(struct export_text *out, const char *text)
{
    if (text == NULL)
        return;
    if (strpbrk(text, ",\"\r\n") == NULL) {
        append(out, "%.400s", text);
        return;
    }
    append(out, "\"");
    for (; *text; text++)
        append(out, *text == '"' ? "\"\"" : "%c", *text);
    append(out, "\"");
}

void export_csv_head(struct export_text *out)
{
    append(out, "device,kind,dtype");
    for (int i = 0; i < N_INTS; i++)
        if (i != 3)
            append(out, ",%s", int_names[i]);
    for (int i = 0; i < N_COSTS; i++)
        append(out, ",%s", cost_names[i]);
    append(out, ",cold,kernel\n");
}

void export_csv(struct export_text *out, const struct profile *profile)
{
    for (int64_t p = 0; p < profile->n; p++) {
        const struct profile_point *point = &profile->points[p];
        const struct op *op = &point->op;
        const double costs[N_COSTS] = {point->cost_us, point->lo_us, point->hi_us, point->min_us,
                point->q1_us, point->q3_us, point->p99_us, point->mad_us};
        append_text(out, profile->device);
        append(out, ",%s,%s,%" PRId32 ",%" PRId32 ",%" PRId32, op_kind_names[op->kind],
                dtype_names[op->dtype], op->degree, op->busy, op->nodes);
        for (int d = 0; d < OP_DIMS; d++)
            append(out, ",%" PRId64, op->dim[d]);
        for (int i = 0; i < N_COSTS; i++)
            if (isnan(costs[i]))
                append(out, ",");
            else
                append(out, ",%.17g", costs[i]);
        append(out, ",%d,", point->cold);
        append_text(out, point->kernel);
        append(out, "\n");
    }
}

void export_text_free(struct export_text *out)
{
    free(out->text);
    *out = (struct export_text){0};
}
