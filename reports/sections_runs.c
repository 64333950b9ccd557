#include <math.h>
#include <string.h>
#include <time.h>

#include "reports/sections.h"

static const char *percent(double frac, struct arena *arena)
{
    return isfinite(frac) ? arena_printf(arena, "%+.1f %%", 100 * frac) : "unknown";
}

static const char *predicted_note(
        double predicted, double error, const char *unit, struct arena *arena)
{
    if (!(predicted > 0))
        return "no prediction";
    return arena_printf(
            arena, "predicted %s (%s)", figure_show(predicted, unit, arena), percent(error, arena));
}

void section_verdict(const struct chapter *chapter)
{
    const struct comparison *comparison = chapter->comparison;
    struct arena *arena = chapter->arena;
    page_text(chapter->page, "lead", "%s", compare_headline(comparison, arena));
    const struct plan_result *focus = chapter->focus;
    if (focus == NULL)
        return;
    const struct plan_figures *predicted = &focus->run->plan.predicted,
                              *measured = &focus->measured;
    const char *const tiles[][3] = {
            {"Output tokens per second", number_show(measured->output_tokens_per_s, arena),
                    predicted_note(
                            predicted->output_tokens_per_s, focus->throughput_error, "", arena)},
            {"Time to first token, median", figure_show(measured->ttft_p50_us, "us", arena),
                    predicted_note(predicted->ttft_p50_us, focus->ttft_error, "us", arena)},
            {"Time per output token, median", figure_show(measured->tpot_p50_us, "us", arena),
                    predicted_note(predicted->tpot_p50_us, focus->tpot_error, "us", arena)},
            {"Largest rank's memory", figure_show((double)measured->memory_bytes, "B", arena),
                    predicted_note((double)predicted->memory_bytes,
                            compare_error((double)predicted->memory_bytes,
                                    (double)measured->memory_bytes),
                            "B", arena)},
    };
    page_tiles(chapter->page, tiles, 4);
    if (comparison->n_plans > 1)
        page_text(chapter->page, NULL,
                "Over the %lld plans that ran, half of the predictions were within %.1f %% for "
                "throughput, "
                "%.1f %% for the time to the first token and %.1f %% for the time per output "
                "token.",
                (long long)comparison->n_plans, 100 * comparison->throughput_error,
                100 * comparison->ttft_error, 100 * comparison->tpot_error);
    if (comparison->n_finished < comparison->n_runs)
        page_text(chapter->page, NULL,
                "%lld of %lld runs did not finish; they are listed under Provenance and count "
                "nowhere else.",
                (long long)(comparison->n_runs - comparison->n_finished),
                (long long)comparison->n_runs);
}

/* The columns that name the rows of CSV files, which have all chapters in them. */
#define WHERE_COLUMNS               \
    {"model", NULL, UNIT_TEXT},     \
    {                               \
        "workload", NULL, UNIT_TEXT \
    }

static const struct column predicted_columns[] = {
        WHERE_COLUMNS,
        {"plan_id", NULL, UNIT_ID},
        {"plan", "Plan", UNIT_TEXT},
        {"chosen_by", "Chosen by", UNIT_TEXT},
        {"runs", "Runs", UNIT_COUNT},
        {"predicted_output_tokens_per_s", "Tokens/s predicted", UNIT_NUMBER},
        {"output_tokens_per_s", "Tokens/s measured", UNIT_NUMBER},
        {"output_tokens_per_s_error", "Error, %", UNIT_ERROR},
        {"output_tokens_per_s_slowest", NULL, UNIT_NUMBER},
        {"output_tokens_per_s_fastest", NULL, UNIT_NUMBER},
        {"predicted_ttft_p50_us", "TTFT predicted, ms", UNIT_US},
        {"ttft_p50_us", "TTFT measured, ms", UNIT_US},
        {"ttft_p50_error", "Error, %", UNIT_ERROR},
        {"predicted_tpot_p50_us", "TPOT predicted, ms", UNIT_US},
        {"tpot_p50_us", "TPOT measured, ms", UNIT_US},
        {"tpot_p50_error", "Error, %", UNIT_ERROR},
        {"predicted_ttft_p99_us", NULL, UNIT_US},
        {"ttft_p99_us", "TTFT p99 measured, ms", UNIT_US},
        {"predicted_tpot_p99_us", NULL, UNIT_US},
        {"tpot_p99_us", "TPOT p99 measured, ms", UNIT_US},
        {"predicted_memory_bytes", "Memory predicted, MiB", UNIT_BYTES},
        {"memory_bytes", "Memory measured, MiB", UNIT_BYTES},
        {"goodput_requests_per_s", "Goodput, requests/s", UNIT_NUMBER},
        {"bottleneck", "Limited by", UNIT_TEXT},
};

static void predicted_row(
        struct table *table, const struct chapter *chapter, const struct plan_result *plan)
{
    const struct plan_figures *p = &plan->run->plan.predicted, *m = &plan->measured;
    struct cell *row = table_row(table);
    int i = 0;
    row[i++] = cell_text(chapter->comparison->model);
    row[i++] = cell_text(chapter->comparison->workload);
    row[i++] = cell_number((double)plan->run->plan_id);
    row[i++] = cell_text(plan->label);
    row[i++] = cell_text(plan->chosen ? "planner" : "hand");
    row[i++] = cell_number((double)plan->n_runs);
    row[i++] = cell_number(p->output_tokens_per_s);
    row[i++] = cell_number(m->output_tokens_per_s);
    row[i++] = cell_number(plan->throughput_error);
    row[i++] = cell_number(plan->tokens_lo);
    row[i++] = cell_number(plan->tokens_hi);
    row[i++] = cell_number(p->ttft_p50_us);
    row[i++] = cell_number(m->ttft_p50_us);
    row[i++] = cell_number(plan->ttft_error);
    row[i++] = cell_number(p->tpot_p50_us);
    row[i++] = cell_number(m->tpot_p50_us);
    row[i++] = cell_number(plan->tpot_error);
    row[i++] = cell_number(p->ttft_p99_us);
    row[i++] = cell_number(m->ttft_p99_us);
    row[i++] = cell_number(p->tpot_p99_us);
    row[i++] = cell_number(m->tpot_p99_us);
    row[i++] = cell_number((double)p->memory_bytes);
    row[i++] = cell_number((double)m->memory_bytes);
    row[i++] = cell_number(m->goodput_requests_per_s);
    row[i++] = cell_text(plan->run->bottleneck);
    if (plan == chapter->focus)
        table_mark(table);
}

/* One chart of a figure over all plans. at: offset in plan_figures. */
struct figure_chart {
    const char *id, *title, *axis;
    size_t at;
    double scale;
    bool throughput; /* which has intervals */
};

static double figure_at(const struct plan_figures *figures, const struct figure_chart *of)
{
    double value;
    memcpy(&value, (const char *)figures + of->at, sizeof value);
    return value > 0 ? value * of->scale : (double)NAN;
}

static void predicted_chart(const struct chapter *chapter, const struct figure_chart *of)
{
    const struct comparison *comparison = chapter->comparison;
    struct arena *arena = chapter->arena;
    const int64_t n = comparison->n_plans;
    struct chart_series series[2] = {
            {.name = "predicted", .role = "predicted"}, {.name = "measured", .role = "measured"}};
    const char **names = ARENA_NEW(arena, const char *, n);
    for (int i = 0; i < 2; i++) {
        series[i].points = ARENA_NEW(arena, struct chart_point, n);
        series[i].n_points = n;
    }
    for (int64_t i = 0; i < n; i++) {
        const struct plan_result *plan = &comparison->plans[i];
        const struct plan_figures *predicted = &plan->run->plan.predicted;
        names[i] = plan->label;
        series[0].points[i] = chart_point_at((double)NAN, figure_at(predicted, of));
        series[1].points[i] = chart_point_at((double)NAN, figure_at(&plan->measured, of));
        if (of->throughput && predicted->lo_frac > 0 && predicted->hi_frac >= predicted->lo_frac) {
            series[0].points[i].lo = predicted->output_tokens_per_s * predicted->lo_frac;
            series[0].points[i].hi = predicted->output_tokens_per_s * predicted->hi_frac;
        }
        if (of->throughput && plan->n_runs > 1) {
            series[1].points[i].lo = plan->tokens_lo;
            series[1].points[i].hi = plan->tokens_hi;
        }
    }
    const struct chart chart = {.kind = CHART_BARS,
            .id = arena_printf(arena, "%s-%s", chapter->id, of->id),
            .title = of->title,
            .alt = arena_printf(arena,
                    "Bars of predicted beside measured %s for %lld plans; the table "
                    "above has the numbers.",
                    of->axis, (long long)n),
            .y_title = of->axis,
            .categories = names,
            .n_categories = n,
            .series = series,
            .n_series = 2};
    page_chart(chapter->page, &chart);
}

void section_predicted(const struct chapter *chapter)
{
    static const struct figure_chart charts[] = {
            {"throughput", "Throughput", "output tokens per second",
                    offsetof(struct plan_figures, output_tokens_per_s), 1, true},
            {"ttft", "Time to first token, median", "milliseconds to the first token",
                    offsetof(struct plan_figures, ttft_p50_us), 1e-3, false},
            {"tpot", "Time per output token, median", "milliseconds per output token",
                    offsetof(struct plan_figures, tpot_p50_us), 1e-3, false},
    };
    struct page *page = chapter->page;
    page_section(page, 3, arena_printf(chapter->arena, "%s-predicted", chapter->id),
            "Predicted against measured");
    page_text(page, NULL,
            "Each row is a plan, the fastest first; measured figures are medians over its runs. "
            "The error is "
            "predicted / measured - 1. Thin bars show the interval of a prediction and the slowest "
            "and "
            "fastest run of a measurement.");
    struct table table = TABLE("predicted", "Plans: predicted and measured figures.",
            predicted_columns, chapter->arena);
    for (int64_t i = 0; i < chapter->comparison->n_plans; i++)
        predicted_row(&table, chapter, &chapter->comparison->plans[i]);
    page_table(page, &table);
    page_grid_begin(page);
    for (size_t i = 0; i < sizeof charts / sizeof charts[0]; i++)
        predicted_chart(chapter, &charts[i]);
    page_grid_end(page);
}

static const struct column run_columns[] = {
        WHERE_COLUMNS,
        {"run", "Run", UNIT_ID},
        {"plan_id", NULL, UNIT_ID},
        {"plan", "Plan", UNIT_TEXT},
        {"status", "Status", UNIT_TEXT},
        {"output_tokens_per_s", "Tokens/s", UNIT_NUMBER},
        {"ttft_p50_us", "TTFT p50, ms", UNIT_US},
        {"tpot_p50_us", "TPOT p50, ms", UNIT_US},
        {"makespan_s", "Took, s", UNIT_NUMBER},
        {"started", "Started (UTC)", UNIT_TEXT},
        {"host", "Host", UNIT_TEXT},
        {"device", "Device", UNIT_TEXT},
        {"software", "Software", UNIT_TEXT},
        {"commit", "Commit", UNIT_TEXT},
        {"load", "Load before", UNIT_NUMBER},
        {"profile_digest", "Profile", UNIT_TEXT},
};

static const char *moment(int64_t wall_s, struct arena *arena)
{
    const time_t seconds = (time_t)wall_s;
    struct tm utc;
    char buf[32];
    if (gmtime_r(&seconds, &utc) == NULL
            || strftime(buf, sizeof buf, "%Y-%m-%d %H:%M:%S", &utc) == 0)
        return "";
    return arena_strdup(arena, buf);
}

void section_provenance(const struct chapter *chapter)
{
    struct page *page = chapter->page;
    page_section(page, 3, arena_printf(chapter->arena, "%s-provenance", chapter->id), "Provenance");
    page_text(page, NULL, "Every run behind this chapter: when, where and by which build.");
    struct table table = TABLE("runs", "Runs, newest first.", run_columns, chapter->arena);
    for (int64_t i = 0; i < chapter->comparison->n_runs; i++) {
        const struct run_row *run = chapter->comparison->runs[i];
        struct cell *row = table_row(&table);
        int at = 0;
        row[at++] = cell_text(chapter->comparison->model);
        row[at++] = cell_text(chapter->comparison->workload);
        row[at++] = cell_number((double)run->id);
        row[at++] = cell_number((double)run->plan_id);
        row[at++] = cell_text(compare_label(&run->plan, chapter->arena));
        row[at++] = cell_text(run->status);
        row[at++] = cell_number(run->measured.output_tokens_per_s);
        row[at++] = cell_number(run->measured.ttft_p50_us);
        row[at++] = cell_number(run->measured.tpot_p50_us);
        row[at++] = cell_number(run->measured.makespan_s);
        if (!chapter->reproducible)
            row[at] = cell_text(moment(run->wall_s, chapter->arena));
        at++;
        row[at++] = cell_text(run->host);
        row[at++] = cell_text(run->device);
        row[at++] = cell_text(run->provenance.software);
        row[at++] = cell_text(run->commit);
        row[at++] = cell_number(run->provenance.load);
        row[at++] = cell_text(run->plan.profile_digest);
    }
    page_table(page, &table);
}
