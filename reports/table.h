/*
 * table - rows of a report: shown in the page for people, written as CSV for programs, from one place.
 *
 * A column has one unit. Numbers are kept as they came from the database (microseconds, bytes, fractions);
 * the page shows three significant digits in the unit of the column's heading, CSV all digits of the
 * number as it is kept.
 */
#ifndef REPORTS_TABLE_H
#define REPORTS_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"

enum unit {
    UNIT_TEXT,
    UNIT_COUNT,  /* whole, thousands apart */
    UNIT_ID,     /* whole, as it is */
    UNIT_NUMBER, /* three significant digits */
    UNIT_US,     /* kept in microseconds, shown in ms */
    UNIT_SHORT,  /* kept and shown in microseconds */
    UNIT_S,
    UNIT_BYTES, /* shown in MiB */
    UNIT_FRAC,  /* shown in percent */
    UNIT_ERROR  /* shown in percent with its sign */
};

struct column {
    const char *key;   /* CSV heading: "ttft_p50_us" */
    const char *title; /* page heading: "TTFT p50, ms"; NULL = only in CSV */
    enum unit unit;
};

/* A text, or a number with an optional text that the page shows instead. */
struct cell {
    const char *text;
    double number; /* NaN = none */
};

struct table {
    const char *name;    /* of the CSV file, without .csv; several tables may add to one file */
    const char *caption; /* one sentence: what the rows are */
    const struct column *columns;
    int n_columns;
    struct cell *cells; /* row by row */
    bool *strong;       /* by row: the one that matters */
    int64_t n_rows, cap;
    struct arena *arena;
};

#define TABLE(name_, caption_, columns_, arena_)                                      \
    {                                                                                 \
        .name = (name_), .caption = (caption_), .columns = (columns_),                \
        .n_columns = (int)(sizeof(columns_) / sizeof(columns_)[0]), .arena = (arena_) \
    }

/* A new row of empty cells; fill it by index. Valid until the next call. */
struct cell *table_row(struct table *table);
/* Marks the last row. */
void table_mark(struct table *table);
struct cell cell_text(const char *text);
struct cell cell_number(double number);
/* What the page shows, in the arena. "" for none. */
const char *cell_show(const struct cell *cell, enum unit unit, struct arena *arena);
/* Three significant digits, thousands apart: "1,234" "12.3" "0.00456". */
const char *number_show(double number, struct arena *arena);
/* A number with its unit in words: "12.3 ms", "1.50 GiB", "+3.1 %". unit as in run_figure: "us", "B",
 * "bytes", "1/s", "frac"; others follow the number. */
const char *figure_show(double number, const char *unit, struct arena *arena);

#endif
