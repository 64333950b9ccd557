#include "reports/sweep.h"

#include "core/file.h"
#include "reports/sections.h"

static const struct column columns[] = {
        {"change", "Change", UNIT_TEXT},
        {"value", NULL, UNIT_NUMBER},
        {"predicted_output_tokens_per_s", "Tokens/s", UNIT_NUMBER},
        {"predicted_requests_per_s", "Requests/s", UNIT_NUMBER},
        {"predicted_ttft_p50_us", "TTFT p50, ms", UNIT_US},
        {"predicted_ttft_p99_us", "TTFT p99, ms", UNIT_US},
        {"predicted_tpot_p50_us", "TPOT p50, ms", UNIT_US},
        {"predicted_tpot_p99_us", "TPOT p99, ms", UNIT_US},
        {"steady_value", "Steady state", UNIT_NUMBER},
        {"steady_bound", "Bound", UNIT_NUMBER},
        {"gap_frac", "Gap, %", UNIT_FRAC},
        {"ranks", "Ranks", UNIT_COUNT},
        {"memory_bytes", "Memory, MiB", UNIT_BYTES},
        {"price_per_hour", "Price an hour", UNIT_NUMBER},
        {"plan", "Plan, or why there is none", UNIT_TEXT},
};

static void add_row(struct table *table, const struct sweep_point *point, struct arena *arena)
{
    struct cell *row = table_row(table);
    int at = 0;
    row[at++] = cell_text(point->change);
    row[at++] = cell_number(point->value);
    if (point->plan == NULL) {
        row[table->n_columns - 1] = cell_text(point->why);
        return;
    }
    const struct plan *plan = point->plan;
    const struct plan_figures *f = &plan->predicted;
    row[at++] = cell_number(f->output_tokens_per_s);
    row[at++] = cell_number(f->requests_per_s);
    row[at++] = cell_number(f->ttft_p50_us);
    row[at++] = cell_number(f->ttft_p99_us);
    row[at++] = cell_number(f->tpot_p50_us);
    row[at++] = cell_number(f->tpot_p99_us);
    row[at++] = cell_number(plan->certificate.value);
    row[at++] = cell_number(plan->certificate.bound);
    row[at++] = cell_number(plan->certificate.gap_frac);
    row[at++] = cell_number(plan->n_ranks);
    row[at++] = cell_number((double)f->memory_bytes);
    row[at++] = point->price_per_hour > 0 ? cell_number(point->price_per_hour)
                                          : cell_number(__builtin_nan(""));
    row[at++] = cell_text(plan_show(plan, arena));
}

static struct chart_series series_of(const struct sweep *sweep, bool tpot, struct arena *arena)
{
    struct chart_series series = {.name = tpot ? "median" : "predicted", .role = "predicted"};
    series.points = ARENA_NEW(arena, struct chart_point, sweep->n_points);
    for (int i = 0; i < sweep->n_points; i++) {
        const struct sweep_point *point = &sweep->points[i];
        if (point->plan == NULL)
            continue;
        const struct plan_figures *f = &point->plan->predicted;
        struct chart_point *to = &series.points[series.n_points++];
        *to = chart_point_at(point->value, tpot ? f->tpot_p50_us / 1e3 : f->output_tokens_per_s);
        to->label = point->change;
        if (!tpot) {
            to->lo = f->output_tokens_per_s * f->lo_frac;
            to->hi = f->output_tokens_per_s * f->hi_frac;
        }
    }
    return series;
}

static void add_chart(struct page *page, const struct sweep *sweep, bool tpot, struct arena *arena)
{
    struct chart_series series = series_of(sweep, tpot, arena);
    const char *what = tpot ? "time per output token" : "throughput";
    const struct chart chart = {.kind = CHART_LINES,
            .id = tpot ? "sweep-tpot" : "sweep-throughput",
            .title = arena_printf(arena,
                    tpot ? "Time per output token over %s" : "Throughput over %s", sweep->target),
            .alt = arena_printf(arena,
                    "Line of predicted %s over %s at %d values; the table below has the numbers.",
                    what, sweep->target, sweep->n_points),
            .x_title = arena_printf(arena, "%s, %s", sweep->target,
                    sweep->factor ? "times what the cluster has" : "devices"),
            .y_title = tpot ? "time per output token, median, ms" : "output tokens per second",
            .x_log = true,
            .series = &series,
            .n_series = 1};
    page_chart(page, &chart);
}

bool sweep_write(const struct sweep *sweep, const char *dir, struct arena *arena, struct err *err)
{
    struct page page;
    struct table table = TABLE("sweep", "The best plan at every value.", columns, arena);
    page_open(&page, arena_printf(arena, "What if: %s", sweep->target),
            arena_printf(arena, "%s on %s, %s", sweep->model, sweep->cluster, sweep->workload),
            arena);
    page_section(&page, 2, "sweep", arena_printf(arena, "What if: %s", sweep->target));
    page_text(&page, NULL,
            "Every point is the best plan for a cluster that differs from %s in %s alone, found "
            "and "
            "proven like any other plan. Where no plan fits, the table says why.",
            sweep->cluster, sweep->target);
    page_grid_begin(&page);
    add_chart(&page, sweep, false, arena);
    add_chart(&page, sweep, true, arena);
    page_grid_end(&page);
    for (int i = 0; i < sweep->n_points; i++)
        add_row(&table, &sweep->points[i], arena);
    page_table(&page, &table);
    const struct text html = page_close(&page);
    if (!file_make_dirs(dir, err))
        return false;
    for (int i = 0; i < page.n_csv; i++) {
        const struct text *csv = &page.csv[i].text;
        const char *path = arena_printf(arena, "%s/%s.csv", dir, page.csv[i].name);
        if (!file_write(path, csv->data, csv->len, err))
            return false;
    }
    return file_write(arena_printf(arena, "%s/report.html", dir), html.data, html.len, err);
}
