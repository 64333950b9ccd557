/*
 * csv - comma-separated values (RFC 4180), row by row, with the place of every field.
 *
 * The first row names the columns. Every later row has as many fields; an empty line ends nothing and is
 * skipped. Quoted fields may hold commas, quotes ("") and line ends. Fields are cut out of the text itself,
 * which is changed, and live as long as it does.
 */
#ifndef CORE_CSV_H
#define CORE_CSV_H

#include <stdint.h>

#include "core/err.h"

enum {
    CSV_COLUMNS = 64
};

struct csv {
    const char *path;
    char *at, *end;
    int line, row_line; /* of the next row, of the current one */
    int n_columns;
    const char *names[CSV_COLUMNS];
    const char *fields[CSV_COLUMNS]; /* of the current row */
    int columns[CSV_COLUMNS];        /* where each starts, from 1 */
};

/* Reads the names. text must be writable, and NUL-terminated at text[len]. */
MUST_CHECK bool csv_open(
        struct csv *csv, char *text, int64_t len, const char *path, struct err *err);
/* The next row into fields; false at the end (err stays empty) or at a row that is wrong (err is filled). */
bool csv_next(struct csv *csv, struct err *err);
/* Index of a column, or -1. */
int csv_column(const struct csv *csv, const char *name);
/* The place of a field of the current row. */
struct pos csv_pos(const struct csv *csv, int column);
/* Fields as numbers: "PATH:LINE:COLUMN: NAME is "x", expected ..." */
MUST_CHECK bool csv_int(
        int64_t *out, const struct csv *csv, int column, int64_t min, int64_t max, struct err *err);
/* Finite and above 0. */
MUST_CHECK bool csv_positive(double *out, const struct csv *csv, int column, struct err *err);

#endif
