/*
 * How far predictions can be believed: held-out errors of single ops, and every plan that ran beside what was
 * promised of it. Formulas: docs/method.md, "Predicted against measured" and "Profiling".
 */
#include <math.h>
#include <string.h>

#include "reports/sections.h"

static const struct column check_columns[] = {
        {"device", "Device", UNIT_TEXT},
        {"op_kind", "Operation", UNIT_TEXT},
        {"size_class", "Taking", UNIT_TEXT},
        {"n", "Shapes", UNIT_COUNT},
        {"mape", "Mean error, %", UNIT_FRAC},
        {"median", "Median, %", UNIT_FRAC},
        {"p90", "p90, %", UNIT_FRAC},
        {"p99", "p99, %", UNIT_FRAC},
        {"bias", "Bias, %", UNIT_ERROR},
        {"coverage", "Inside the interval, %", UNIT_FRAC},
        {"noise", "Repeated, %", UNIT_FRAC},
};

static bool of_all_sizes(const struct check_store_row *row)
{
    return strcmp(row->size_class, "all") == 0;
}

static void check_row(struct table *table, const struct check_store_row *r)
{
    const double figures[] = {
            (double)r->n, r->mape, r->median, r->p90, r->p99, r->bias, r->coverage, r->noise};
    struct cell *row = table_row(table);
    row[0] = cell_text(r->device);
    row[1] = cell_text(r->op_kind);
    row[2] = cell_text(r->size_class);
    for (size_t j = 0; j < sizeof figures / sizeof figures[0]; j++)
        row[3 + j] = cell_number(figures[j]);
    if (of_all_sizes(r))
        table_mark(table);
}

void section_checks(
        struct page *page, const char *id, const struct check_store_row *rows, int64_t n_rows)
{
    page_section(page, 3, id, "Held-out error");
    page_text(page, NULL,
            "Random shapes that were measured for this check alone, against what the cost model "
            "said of them before: how far to trust a cost between the measured ones. The intervals "
            "are meant to hold 90 %%; \"repeated\" is how far two measurements of one shape are "
            "apart.");
    struct table table = TABLE("checks", "Held-out error by kind of operation and by its cost.",
            check_columns, page->arena);
    const char **names = ARENA_NEW(page->arena, const char *, n_rows);
    struct chart_series series[2] = {{.name = "median error"}, {.name = "p90 error"}};
    int64_t n = 0;
    for (int i = 0; i < 2; i++)
        series[i].points = ARENA_NEW(page->arena, struct chart_point, n_rows);
    for (int64_t i = 0; i < n_rows; i++) {
        check_row(&table, &rows[i]);
        if (!of_all_sizes(&rows[i]))
            continue;
        series[0].points[n] = chart_point_at((double)NAN, 100 * rows[i].median);
        series[1].points[n] = chart_point_at((double)NAN, 100 * rows[i].p90);
        names[n++] = rows[i].op_kind;
    }
    series[0].n_points = series[1].n_points = n;
    const struct chart chart = {.kind = CHART_BARS,
            .id = arena_printf(page->arena, "%s-chart", id),
            .title = "Held-out error by kind of operation",
            .alt = "Bars of the median and the 90th percentile of the error; the table has the "
                   "numbers.",
            .y_title = "% of the measured cost",
            .categories = names,
            .n_categories = n,
            .series = series,
            .n_series = 2};
    page_chart(page, &chart);
    page_table(page, &table);
}

static const struct column accuracy_columns[] = {
        {"model", "Model", UNIT_TEXT},
        {"workload", "Workload", UNIT_TEXT},
        {"plan", "Plan", UNIT_TEXT},
        {"runs", "Runs", UNIT_COUNT},
        {"output_tokens_per_s", "Tokens/s", UNIT_NUMBER},
        {"output_tokens_per_s_error", "Error, %", UNIT_ERROR},
        {"ttft_p50_us", "TTFT p50, ms", UNIT_US},
        {"ttft_p50_us_error", "Error, %", UNIT_ERROR},
        {"tpot_p50_us", "TPOT p50, ms", UNIT_US},
        {"tpot_p50_us_error", "Error, %", UNIT_ERROR},
        {"memory_bytes", "Memory, MiB", UNIT_BYTES},
        {"memory_bytes_error", "Error, %", UNIT_ERROR},
        {"behind_frac", "Behind the fastest, %", UNIT_FRAC},
};

/* Mean absolute errors, over what is known. */
struct means {
    double sum[4];
    int64_t n[4];
    double worst_regret;
};

static void accuracy_row(struct table *table, struct means *means,
        const struct comparison *comparison, const struct plan_result *plan)
{
    const struct plan_figures *measured = &plan->measured;
    const double errors[] = {plan->throughput_error, plan->ttft_error, plan->tpot_error,
            compare_error((double)plan->run->plan.predicted.memory_bytes,
                    (double)measured->memory_bytes)};
    const double figures[] = {measured->output_tokens_per_s, measured->ttft_p50_us,
            measured->tpot_p50_us, (double)measured->memory_bytes};
    struct cell *row = table_row(table);
    row[0] = cell_text(comparison->model);
    row[1] = cell_text(comparison->workload);
    row[2] = cell_text(plan->label);
    row[3] = cell_number((double)plan->n_runs);
    for (int i = 0; i < 4; i++) {
        row[4 + 2 * i] = cell_number(figures[i]);
        row[5 + 2 * i] = cell_number(errors[i]);
        if (isfinite(errors[i])) {
            means->sum[i] += fabs(errors[i]);
            means->n[i]++;
        }
    }
    row[12] = cell_number(
            1 - measured->output_tokens_per_s / comparison->best->measured.output_tokens_per_s);
    if (plan == comparison->chosen)
        table_mark(table);
}

static const char *mean_shown(const struct means *means, int i, struct arena *arena)
{
    return means->n[i] > 0 ? figure_show(means->sum[i] / (double)means->n[i], "frac", arena) : "-";
}

void section_accuracy(struct page *page, const struct comparison *comparisons, int64_t n)
{
    struct arena *arena = page->arena;
    struct means means = {.worst_regret = (double)NAN};
    struct table table = TABLE("accuracy",
            "Every plan that ran, over all models and workloads; the planner's choices are marked.",
            accuracy_columns, arena);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t p = 0; p < comparisons[i].n_plans; p++)
            accuracy_row(&table, &means, &comparisons[i], &comparisons[i].plans[p]);
        means.worst_regret = fmax(means.worst_regret, comparisons[i].regret_frac);
    }
    if (table.n_rows < 2)
        return; /* its chapter says it all */
    page_section(page, 2, "accuracy", "Predictions over all runs");
    const char *const tiles[][3] = {
            {"Throughput", mean_shown(&means, 0, arena), "mean absolute error"},
            {"TTFT", mean_shown(&means, 1, arena), "mean absolute error of the median"},
            {"TPOT", mean_shown(&means, 2, arena), "mean absolute error of the median"},
            {"Memory", mean_shown(&means, 3, arena), "mean absolute error, fullest rank"},
            {"Regret",
                    isfinite(means.worst_regret) ? figure_show(means.worst_regret, "frac", arena)
                                                 : "-",
                    "worst: the planner's choice behind the fastest plan that ran"},
    };
    page_tiles(page, tiles, (int)(sizeof tiles / sizeof tiles[0]));
    page_table(page, &table);
}
