#include "core/csv.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Cuts one field out at csv->at; *more tells whether the row goes on. */
static bool cut_quoted(struct csv *csv, char **out, struct pos pos, struct err *err)
{
    char *to = ++csv->at;
    *out = to;
    for (; csv->at < csv->end; csv->at++) {
        if (*csv->at == '"') {
            if (csv->at[1] != '"')
                break;
            csv->at++;
        }
        if (*csv->at == '\n')
            csv->line++;
        *to++ = *csv->at;
    }
    if (csv->at >= csv->end)
        return err_at(err, pos, "the quoted field does not end: expected a closing \"");
    csv->at++;
    if (csv->at < csv->end && strchr(",\r\n", *csv->at) == NULL)
        return err_at(
                err, pos, "text after a closing quote: expected a comma or the end of the row");
    /* The separator is still needed: the caller looks at it before the field is closed there. */
    if (to < csv->at)
        *to = '\0';
    return true;
}

static void cut_plain(struct csv *csv, char **out)
{
    *out = csv->at;
    while (csv->at < csv->end && *csv->at != ',' && *csv->at != '\n' && *csv->at != '\r')
        csv->at++;
}

/* Ends the field at a comma (true: another follows) or at the end of the row. */
static bool end_field(struct csv *csv)
{
    char *here = csv->at;
    if (here >= csv->end)
        return false;
    bool more = *here == ',';
    if (*here == '\r' && here + 1 < csv->end && here[1] == '\n')
        csv->at++;
    csv->at++;
    csv->line += !more;
    *here = '\0';
    return more;
}

static bool read_row(struct csv *csv, int most, int *n, struct err *err)
{
    const char *start = csv->at;
    csv->row_line = csv->line;
    for (*n = 0;; ++*n) {
        char *field = csv->at;
        struct pos pos = {csv->path, csv->row_line, (int)(csv->at - start) + 1};
        if (*n == most)
            return err_at(err, pos, "one field too many: expected %d", most);
        if (csv->at < csv->end && *csv->at == '"') {
            if (!cut_quoted(csv, &field, pos, err))
                return false;
        } else {
            cut_plain(csv, &field);
        }
        csv->fields[*n] = field;
        csv->columns[*n] = pos.column;
        if (!end_field(csv))
            break;
    }
    ++*n;
    return true;
}

static void skip_empty_lines(struct csv *csv)
{
    while (csv->at < csv->end && (*csv->at == '\n' || *csv->at == '\r')) {
        csv->line += *csv->at == '\n';
        csv->at++;
    }
}

bool csv_open(struct csv *csv, char *text, int64_t len, const char *path, struct err *err)
{
    *csv = (struct csv){.path = path, .at = text, .end = text + len, .line = 1};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a mark that spreadsheets write */
        csv->at += 3;
    skip_empty_lines(csv);
    if (csv->at >= csv->end)
        return err_at(err, (struct pos){path, 1, 1}, "empty: expected a row of column names");
    if (!read_row(csv, CSV_COLUMNS, &csv->n_columns, err))
        return false;
    for (int i = 0; i < csv->n_columns; i++) {
        csv->names[i] = csv->fields[i];
        for (int j = 0; j < i; j++)
            if (strcmp(csv->names[i], csv->names[j]) == 0)
                return err_at(err, csv_pos(csv, i), "column \"%s\" is there twice", csv->names[i]);
    }
    return true;
}

bool csv_next(struct csv *csv, struct err *err)
{
    int n = 0;
    skip_empty_lines(csv);
    if (csv->at >= csv->end || !read_row(csv, csv->n_columns, &n, err))
        return false;
    if (n < csv->n_columns)
        return err_at(err, csv_pos(csv, n - 1),
                "the row ends after %d fields, expected %d: %s is missing", n, csv->n_columns,
                csv->names[n]);
    return true;
}

int csv_column(const struct csv *csv, const char *name)
{
    for (int i = 0; i < csv->n_columns; i++)
        if (strcmp(csv->names[i], name) == 0)
            return i;
    return -1;
}

struct pos csv_pos(const struct csv *csv, int column)
{
    return (struct pos){csv->path, csv->row_line, csv->columns[column]};
}

/* Digits alone, which is what nearly every field is: strtoll is several times slower. */
static const char *plain_int(int64_t *out, const char *text)
{
    int64_t value = 0;
    int digits = 0;
    for (; *text >= '0' && *text <= '9' && digits < 18; text++, digits++)
        value = value * 10 + (*text - '0');
    *out = value;
    return digits > 0 ? text : "?";
}

bool csv_int(
        int64_t *out, const struct csv *csv, int column, int64_t min, int64_t max, struct err *err)
{
    const char *text = csv->fields[column];
    if (*plain_int(out, text) == '\0' && *out >= min && *out <= max)
        return true;
    return err_at(err, csv_pos(csv, column),
            "%s is \"%s\", expected a whole number from %" PRId64 " to %" PRId64,
            csv->names[column], text, min, max);
}

bool csv_positive(double *out, const struct csv *csv, int column, struct err *err)
{
    const char *text = csv->fields[column];
    char *end;
    *out = strtod(text, &end);
    if (end != text && *end == '\0' && isfinite(*out) && *out > 0)
        return true;
    return err_at(err, csv_pos(csv, column), "%s is \"%s\", expected a number above 0",
            csv->names[column], text);
}
