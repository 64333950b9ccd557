#include <math.h>

#include "reports/sections.h"

static const struct column plan_columns[] = {
        {"model", NULL, UNIT_TEXT},
        {"workload", NULL, UNIT_TEXT},
        {"plan", "Plan", UNIT_TEXT},
        {"standing", "Standing", UNIT_TEXT},
        {"predicted_output_tokens_per_s", "Tokens/s", UNIT_NUMBER},
        {"predicted_ttft_p50_us", "TTFT p50, ms", UNIT_US},
        {"predicted_tpot_p50_us", "TPOT p50, ms", UNIT_US},
        {"memory_bytes", "Memory, MiB", UNIT_BYTES},
        {"loses_frac", "Behind, %", UNIT_FRAC},
        {"why", "What holds it back", UNIT_TEXT},
};

static void chosen_row(struct table *table, const struct chapter *chapter)
{
    const struct plan *plan = &chapter->focus->run->plan;
    struct cell *row = table_row(table);
    int at = 0;
    row[at++] = cell_text(chapter->comparison->model);
    row[at++] = cell_text(chapter->comparison->workload);
    row[at++] = cell_text(plan_show(plan, chapter->arena));
    row[at++] = cell_text("chosen");
    row[at++] = cell_number(plan->predicted.output_tokens_per_s);
    row[at++] = cell_number(plan->predicted.ttft_p50_us);
    row[at++] = cell_number(plan->predicted.tpot_p50_us);
    row[at++] = cell_number((double)plan->predicted.memory_bytes);
    row[at++] = cell_number(0);
    row[at++] = cell_text(plan->binding);
    table_mark(table);
}

static void other_row(
        struct table *table, const struct chapter *chapter, const struct plan_runner_up *other)
{
    struct cell *row = table_row(table);
    int at = 0;
    row[at++] = cell_text(chapter->comparison->model);
    row[at++] = cell_text(chapter->comparison->workload);
    row[at++] = cell_text(other->what);
    row[at++] = cell_text("runner-up");
    row[at++] = cell_number(other->output_tokens_per_s);
    row[at++] = cell_number(other->ttft_p50_us);
    row[at++] = cell_number(other->tpot_p50_us);
    row[at++] = cell_number((double)other->memory_bytes);
    row[at++] = cell_number(other->loses_frac);
    row[at++] = cell_text(other->why);
}

/* Throughput over a latency: up and to the left is better. */
static void plans_chart(const struct chapter *chapter, bool ttft)
{
    const struct plan *plan = &chapter->focus->run->plan;
    const struct comparison *comparison = chapter->comparison;
    struct arena *arena = chapter->arena;
    struct chart_series series[] = {{.name = "chosen, predicted", .role = "chosen"},
            {.name = "runners-up, predicted", .role = "predicted"},
            {.name = "plans that ran, measured", .role = "measured"}};
    series[0].points = ARENA_NEW(arena, struct chart_point, 1);
    series[1].points = ARENA_NEW(arena, struct chart_point, plan->n_runners_up);
    series[2].points = ARENA_NEW(arena, struct chart_point, comparison->n_plans);
    series[0].n_points = 1;
    series[0].points[0] =
            chart_point_at((ttft ? plan->predicted.ttft_p50_us : plan->predicted.tpot_p50_us) / 1e3,
                    plan->predicted.output_tokens_per_s);
    series[0].points[0].label = chapter->focus->label;
    series[1].n_points = plan->n_runners_up;
    for (int i = 0; i < plan->n_runners_up; i++) {
        const struct plan_runner_up *other = &plan->runners_up[i];
        series[1].points[i] = chart_point_at(
                (ttft ? other->ttft_p50_us : other->tpot_p50_us) / 1e3, other->output_tokens_per_s);
        series[1].points[i].label = other->what;
    }
    series[2].n_points = comparison->n_plans;
    for (int64_t i = 0; i < comparison->n_plans; i++) {
        const struct plan_figures *m = &comparison->plans[i].measured;
        series[2].points[i] = chart_point_at(
                (ttft ? m->ttft_p50_us : m->tpot_p50_us) / 1e3, m->output_tokens_per_s);
        series[2].points[i].label = comparison->plans[i].label;
    }
    const char *latency = ttft ? "time to first token" : "time per output token";
    const struct chart chart = {.kind = CHART_POINTS,
            .id = arena_printf(arena, "%s-plans-%s", chapter->id, ttft ? "ttft" : "tpot"),
            .title = arena_printf(arena, "Throughput against %s", latency),
            .alt = arena_printf(arena,
                    "Scatter of output tokens per second against %s: the chosen plan, %d "
                    "runners-up, and "
                    "the plans that ran; the table below has the numbers.",
                    latency, plan->n_runners_up),
            .x_title = arena_printf(arena, "%s, median, ms", latency),
            .y_title = "output tokens per second",
            .series = series,
            .n_series = 3};
    page_chart(chapter->page, &chart);
}

static void certificate(const struct chapter *chapter)
{
    const struct plan *plan = &chapter->focus->run->plan;
    struct arena *arena = chapter->arena;
    double best = plan_best(plan);
    double bound = plan->certificate.bound;
    page_text(chapter->page, NULL,
            "Found by %s: steady state %s %s, and no plan beats %s by the same costs (gap %.2f "
            "%%), after %lld programs%s.",
            plan->certificate.oracle != NULL ? plan->certificate.oracle : "an unnamed solver",
            plan->certificate.objective != NULL ? plan->certificate.objective : "objective",
            number_show(best, arena), number_show(bound, arena), 100 * fabs(bound - best) / bound,
            (long long)plan->certificate.programs,
            !chapter->reproducible && plan->certificate.solve_s > 0
                    ? arena_printf(arena, " in %s s", number_show(plan->certificate.solve_s, arena))
                    : "");
    if (best != plan->certificate.value)
        page_text(chapter->page, NULL, "The chosen plan has %s; the simulated workload prefers it.",
                number_show(plan->certificate.value, arena));
    if (plan->binding != NULL && plan->binding[0] != '\0')
        page_text(chapter->page, NULL, "What binds: %s", plan->binding);
    if (plan->serving != NULL && plan->serving[0] != '\0')
        page_text(chapter->page, NULL, "Serving: %s", plan->serving);
}

void section_plans(const struct chapter *chapter)
{
    struct page *page = chapter->page;
    page_section(
            page, 3, arena_printf(chapter->arena, "%s-plans", chapter->id), "Plans considered");
    struct table table = TABLE("plans", "The chosen plan and the best of the others, as predicted.",
            plan_columns, chapter->arena);
    if (chapter->focus == NULL || !chapter->focus->chosen) {
        page_text(page, NULL,
                "Every plan here was forced by hand, so there is no claim that one of them is the "
                "best; "
                "the planner's own choice did not run.");
        page_csv_only(page, &table);
        return;
    }
    certificate(chapter);
    page_grid_begin(page);
    plans_chart(chapter, true);
    plans_chart(chapter, false);
    page_grid_end(page);
    chosen_row(&table, chapter);
    for (int i = 0; i < chapter->focus->run->plan.n_runners_up; i++)
        other_row(&table, chapter, &chapter->focus->run->plan.runners_up[i]);
    page_table(page, &table);
    why_tables(chapter);
}
