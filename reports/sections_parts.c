#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reports/sections.h"

static const char *const scope_names[] = {"run", "replica", "stage", "rank", "op"};

static const struct column memory_columns[] = {
        {"model", NULL, UNIT_TEXT},
        {"workload", NULL, UNIT_TEXT},
        {"plan", "Plan", UNIT_TEXT},
        {"rank", "Rank", UNIT_ID},
        {"replica", "Replica", UNIT_ID},
        {"stage", "Stage", UNIT_ID},
        {"weight_bytes", "Weights, MiB", UNIT_BYTES},
        {"kv_bytes", "KV cache, MiB", UNIT_BYTES},
        {"work_bytes", "Work buffers, MiB", UNIT_BYTES},
        {"predicted_bytes", "Predicted, MiB", UNIT_BYTES},
        {"measured_bytes", "Measured, MiB", UNIT_BYTES},
        {"error", "Error, %", UNIT_ERROR},
        {"resident_bytes", "Resident, MiB", UNIT_BYTES},
};

/* The bars of all ranks: three that stack up to the prediction, one beside them. */
struct memory_bars {
    struct chart_series series[4];
    const char **names;
    int64_t n;
};

static bool is_bytes(const char *unit)
{
    return unit != NULL && (strcmp(unit, "B") == 0 || strcmp(unit, "bytes") == 0);
}

/* What a rank allocated (parts summed) or had resident; NaN when the run did not record it. */
static double measured_memory(const struct run_row *run, int rank, bool resident)
{
    double sum = 0;
    for (int64_t i = 0; i < run->n_figures; i++) {
        const struct run_figure *figure = &run->figures[i];
        if (figure->scope == FIGURE_RANK && figure->index == rank && is_bytes(figure->unit)
                && (strcmp(figure->name, "rss_bytes") == 0) == resident)
            sum += figure->measured;
    }
    return sum > 0 ? sum : (double)NAN;
}

static void memory_rank(struct table *table, struct memory_bars *bars,
        const struct chapter *chapter, const struct plan_result *plan, const int where[2], int rank)
{
    const struct plan_stage *stage = &plan->run->plan.replicas[where[0]].stages[where[1]];
    const double parts[] = {
            (double)stage->weight_bytes, (double)stage->kv_bytes, (double)stage->work_bytes};
    const double predicted = parts[0] + parts[1] + parts[2], mib = 1 << 20;
    const double measured = measured_memory(plan->run, rank, false);
    struct cell *row = table_row(table);
    int at = 0;
    row[at++] = cell_text(chapter->comparison->model);
    row[at++] = cell_text(chapter->comparison->workload);
    row[at++] = cell_text(plan->label);
    row[at++] = cell_number(rank);
    row[at++] = cell_number(where[0]);
    row[at++] = cell_number(where[1]);
    for (int i = 0; i < 3; i++)
        row[at++] = cell_number(parts[i]);
    row[at++] = cell_number(predicted);
    row[at++] = cell_number(measured);
    row[at++] = cell_number(compare_error(predicted, measured));
    row[at++] = cell_number(measured_memory(plan->run, rank, true));
    if (plan == chapter->focus)
        table_mark(table);
    if (bars->n == 24)
        return;
    for (int i = 0; i < 3; i++)
        bars->series[i].points[bars->n] = chart_point_at((double)NAN, parts[i] / mib);
    bars->series[3].points[bars->n] = chart_point_at((double)NAN, measured / mib);
    bars->names[bars->n++] = arena_printf(chapter->arena, "rank %d, %s", rank, plan->label);
}

static void memory_plan(struct table *table, struct memory_bars *bars,
        const struct chapter *chapter, const struct plan_result *plan)
{
    for (int replica = 0; replica < plan->run->plan.n_replicas; replica++)
        for (int stage = 0; stage < plan->run->plan.replicas[replica].n_stages; stage++) {
            const struct plan_stage *at = &plan->run->plan.replicas[replica].stages[stage];
            for (int i = 0; i < at->n_ranks; i++)
                memory_rank(
                        table, bars, chapter, plan, (const int[]){replica, stage}, at->ranks[i]);
        }
}

void section_memory(const struct chapter *chapter)
{
    struct page *page = chapter->page;
    page_section(
            page, 3, arena_printf(chapter->arena, "%s-memory", chapter->id), "Memory of each rank");
    page_text(page, NULL,
            "Weights, cache and work buffers are allocated before the first step; measured is what "
            "the "
            "devices of the rank had allocated at the end.");
    if (chapter->focus != NULL && chapter->focus->run->plan.mtp_layers > 0)
        page_text(page, NULL,
                "Weights and cache of the last stages hold %d multi-token-prediction layers.",
                chapter->focus->run->plan.mtp_layers);
    struct table table =
            TABLE("memory", "Memory of each rank of each plan.", memory_columns, chapter->arena);
    struct memory_bars bars = {.series = {{.name = "weights", .stack = "predicted"},
                                       {.name = "KV cache", .stack = "predicted"},
                                       {.name = "work buffers", .stack = "predicted"},
                                       {.name = "measured", .stack = "measured"}}};
    bars.names = ARENA_NEW(chapter->arena, const char *, 24);
    for (int i = 0; i < 4; i++)
        bars.series[i].points = ARENA_NEW(chapter->arena, struct chart_point, 24);
    for (int64_t i = 0; i < chapter->comparison->n_plans; i++)
        memory_plan(&table, &bars, chapter, &chapter->comparison->plans[i]);
    for (int i = 0; i < 4; i++)
        bars.series[i].n_points = bars.n;
    const struct chart chart = {.kind = CHART_BARS,
            .id = arena_printf(chapter->arena, "%s-memory-chart", chapter->id),
            .title = "Memory by rank",
            .alt = "Stacked bars of weights, KV cache and work buffers beside the measured memory "
                   "of each "
                   "rank; the table below has the numbers.",
            .y_title = "MiB",
            .categories = bars.names,
            .n_categories = bars.n,
            .series = bars.series,
            .n_series = 4};
    page_chart(page, &chart);
    page_table(page, &table);
}

static const struct column figure_columns[] = {
        {"model", NULL, UNIT_TEXT},
        {"workload", NULL, UNIT_TEXT},
        {"run", NULL, UNIT_ID},
        {"plan", NULL, UNIT_TEXT},
        {"scope", "Of", UNIT_TEXT},
        {"index", NULL, UNIT_ID},
        {"figure", "Figure", UNIT_TEXT},
        {"unit", NULL, UNIT_TEXT},
        {"predicted", "Predicted", UNIT_NUMBER},
        {"measured", "Measured", UNIT_NUMBER},
        {"error", "Error, %", UNIT_ERROR},
};

static const char *scope_of(const struct run_figure *figure, struct arena *arena)
{
    switch (figure->scope) {
    case FIGURE_STAGE:
        return arena_printf(
                arena, "replica %d, stage %d", figure->index / 1000, figure->index % 1000);
    case FIGURE_REPLICA:
    case FIGURE_RANK:
        return arena_printf(arena, "%s %d", scope_names[figure->scope], figure->index);
    case FIGURE_RUN:
    case FIGURE_OP:
        break;
    }
    return scope_names[figure->scope];
}

static void figure_row(struct table *table, const struct chapter *chapter,
        const struct plan_result *plan, const struct run_figure *figure)
{
    struct cell *row = table_row(table);
    int at = 0;
    row[at++] = cell_text(chapter->comparison->model);
    row[at++] = cell_text(chapter->comparison->workload);
    row[at++] = cell_number((double)plan->run->id);
    row[at++] = cell_text(plan->label);
    row[at++] = cell_text(scope_of(figure, chapter->arena));
    row[at++] = cell_number(figure->index);
    row[at++] = cell_text(figure->name);
    row[at++] = cell_text(figure->unit);
    row[at++] = (struct cell){
            figure_show(figure->predicted, figure->unit, chapter->arena), figure->predicted};
    row[at++] = (struct cell){
            figure_show(figure->measured, figure->unit, chapter->arena), figure->measured};
    row[at++] = cell_number(compare_error(figure->predicted, figure->measured));
}

static int by_measured(const void *a, const void *b)
{
    const struct run_figure *x = *(const struct run_figure *const *)a;
    const struct run_figure *y = *(const struct run_figure *const *)b;
    const double dx = isfinite(x->measured) ? x->measured : 0;
    const double dy = isfinite(y->measured) ? y->measured : 0;
    return (dy > dx) - (dy < dx);
}

/* Predicted beside measured milliseconds of one scope's figures, the longest first. */
static void time_chart(const struct chapter *chapter, const struct plan_result *plan,
        enum figure_scope scope, const char *title)
{
    const struct run_row *run = plan->run;
    struct arena *arena = chapter->arena;
    const struct run_figure **chosen = ARENA_NEW(arena, const struct run_figure *, run->n_figures);
    int64_t n = 0;
    for (int64_t i = 0; i < run->n_figures; i++)
        if (run->figures[i].scope == scope && run->figures[i].unit != NULL
                && strcmp(run->figures[i].unit, "us") == 0 && isfinite(run->figures[i].predicted))
            chosen[n++] = &run->figures[i];
    if (scope == FIGURE_OP)
        qsort(chosen, (size_t)n, sizeof(void *), by_measured);
    if (n > 16)
        n = 16;
    struct chart_series series[2] = {
            {.name = "predicted", .role = "predicted"}, {.name = "measured", .role = "measured"}};
    const char **names = ARENA_NEW(arena, const char *, n);
    for (int i = 0; i < 2; i++) {
        series[i].points = ARENA_NEW(arena, struct chart_point, n);
        series[i].n_points = n;
    }
    for (int64_t i = 0; i < n; i++) {
        names[i] = scope == FIGURE_OP ? chosen[i]->name
                                      : arena_printf(arena, "%s: %s", scope_of(chosen[i], arena),
                                              chosen[i]->name);
        series[0].points[i] = chart_point_at((double)NAN, chosen[i]->predicted / 1e3);
        series[1].points[i] = chart_point_at((double)NAN, chosen[i]->measured / 1e3);
    }
    const struct chart chart = {.kind = CHART_BARS,
            .id = arena_printf(
                    arena, "%s-%s-%lld", chapter->id, scope_names[scope], (long long)run->id),
            .title = title,
            .alt = arena_printf(arena,
                    "Bars of predicted beside measured milliseconds: %s; the table has "
                    "the numbers.",
                    title),
            .y_title = "milliseconds",
            .categories = names,
            .n_categories = n,
            .series = series,
            .n_series = 2};
    page_chart(chapter->page, &chart);
}

static void time_of_plan(const struct chapter *chapter, const struct plan_result *plan)
{
    struct page *page = chapter->page;
    page_fold_begin(page, plan->label, plan == chapter->focus);
    page_grid_begin(page);
    time_chart(chapter, plan, FIGURE_OP, "Time by kind of operation");
    time_chart(chapter, plan, FIGURE_STAGE, "Time by stage");
    page_grid_end(page);
    struct table table = TABLE("figures",
            arena_printf(chapter->arena, "Figures of run %lld.", (long long)plan->run->id),
            figure_columns, chapter->arena);
    for (int64_t i = 0; i < plan->run->n_figures; i++)
        figure_row(&table, chapter, plan, &plan->run->figures[i]);
    page_table(page, &table);
    page_fold_end(page);
}

void section_time(const struct chapter *chapter)
{
    struct page *page = chapter->page;
    page_section(
            page, 3, arena_printf(chapter->arena, "%s-time", chapter->id), "Where the time goes");
    page_text(page, NULL,
            "The newest run of each plan: what each stage and each kind of operation was predicted "
            "to take "
            "and took. Waiting inside a collective counts as that collective's time.");
    for (int64_t i = 0; i < chapter->comparison->n_plans; i++)
        time_of_plan(chapter, &chapter->comparison->plans[i]);
}
