/*
 * charts - what a chart shows. reports/charts/ (JavaScript, in the page) turns it into a drawing with
 * the embedded library; here is only data.
 */
#ifndef REPORTS_CHARTS_H
#define REPORTS_CHARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/json.h"

enum chart_kind {
    CHART_BARS,   /* point i belongs to categories[i], length y; lo..hi as whisker */
    CHART_LINES,  /* x, y; lo..hi as band */
    CHART_POINTS, /* x, y, label */
    CHART_SPANS   /* from x to hi in row categories[y] */
};

struct chart_point {
    double x, y, lo, hi; /* NaN = none */
    const char *label;
};

struct chart_series {
    const char *name;
    const char *role;  /* "predicted", "measured", "chosen" or NULL: fixes the colour */
    const char *stack; /* bars of one stack stand on each other; NULL = side by side */
    struct chart_point *points;
    int64_t n_points;
};

struct chart {
    enum chart_kind kind;
    const char *id; /* unique in the page */
    const char *title, *alt;
    const char *x_title, *y_title; /* bars: y_title is the axis of lengths */
    bool x_log, y_log;
    const char *const *categories;
    int64_t n_categories;
    struct chart_series *series;
    int64_t n_series;
};

/* Does it have a point to show? */
bool chart_has_points(const struct chart *chart);
void chart_write(struct json_writer *writer, const struct chart *chart);

#endif
