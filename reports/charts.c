#include "reports/charts.h"

#include <math.h>
#include <stddef.h>

static const char *const kind_names[] = {"bars", "lines", "points", "spans"};

bool chart_has_points(const struct chart *chart)
{
    for (int64_t i = 0; i < chart->n_series; i++)
        for (int64_t j = 0; j < chart->series[i].n_points; j++)
            if (isfinite(chart->series[i].points[j].y))
                return true;
    return false;
}

static void write_series(struct json_writer *writer, const struct chart_series *series)
{
    json_object_begin(writer, NULL);
    json_put_string(writer, "name", series->name);
    if (series->role != NULL)
        json_put_string(writer, "role", series->role);
    if (series->stack != NULL)
        json_put_string(writer, "stack", series->stack);
    json_array_begin(writer, "points");
    for (int64_t i = 0; i < series->n_points; i++) {
        const struct chart_point *point = &series->points[i];
        json_object_begin(writer, NULL);
        if (isfinite(point->x))
            json_put_double(writer, "x", point->x);
        json_put_double(writer, "y", point->y);
        if (isfinite(point->lo))
            json_put_double(writer, "lo", point->lo);
        if (isfinite(point->hi))
            json_put_double(writer, "hi", point->hi);
        if (point->label != NULL)
            json_put_string(writer, "label", point->label);
        json_end(writer);
    }
    json_end(writer);
    json_end(writer);
}

void chart_write(struct json_writer *writer, const struct chart *chart)
{
    json_object_begin(writer, NULL);
    json_put_string(writer, "kind", kind_names[chart->kind]);
    json_put_string(writer, "id", chart->id);
    json_put_string(writer, "title", chart->title);
    json_put_string(writer, "x", chart->x_title);
    json_put_string(writer, "y", chart->y_title);
    json_put_bool(writer, "x_log", chart->x_log);
    json_put_bool(writer, "y_log", chart->y_log);
    json_array_begin(writer, "categories");
    for (int64_t i = 0; i < chart->n_categories; i++)
        json_put_string(writer, NULL, chart->categories[i]);
    json_end(writer);
    json_array_begin(writer, "series");
    for (int64_t i = 0; i < chart->n_series; i++)
        write_series(writer, &chart->series[i]);
    json_end(writer);
    json_end(writer);
}
