#include <math.h>
#include <stdlib.h>

#include "core/summary.h"
#include "reports/sections.h"

enum {
    CURVE_POINTS = 51,
    CURVES_MOST = 8,
    STEPS_SHOWN = 120
};

/* The latencies of a request; NaN where it has none. */
enum latency {
    LATENCY_TTFT,
    LATENCY_TPOT,
    LATENCY_E2E,
    LATENCY_COUNT
};
static const char *const latency_names[] = {
        "Time to first token", "Time per output token", "Whole request"};

static double latency_us(const struct run_request *request, enum latency latency)
{
    /* Negative times: it did not get that far. */
    if (request->first_token_ns < 0 || (latency != LATENCY_TTFT && request->finish_ns < 0))
        return (double)NAN;
    switch (latency) {
    case LATENCY_TTFT:
        return (double)(request->first_token_ns - request->arrival_ns) / 1e3;
    case LATENCY_TPOT:
        return request->output_len > 1 ? (double)(request->finish_ns - request->first_token_ns)
                                                 / 1e3 / (double)(request->output_len - 1)
                                       : (double)NAN;
    case LATENCY_E2E:
        return (double)(request->finish_ns - request->arrival_ns) / 1e3;
    case LATENCY_COUNT:
        break;
    }
    return (double)NAN;
}

static const struct column latency_columns[] = {
        {"model", NULL, UNIT_TEXT},
        {"workload", NULL, UNIT_TEXT},
        {"run", NULL, UNIT_ID},
        {"plan", "Plan", UNIT_TEXT},
        {"latency", "Latency", UNIT_TEXT},
        {"requests", "Requests", UNIT_COUNT},
        {"min_us", "Least, ms", UNIT_US},
        {"p50_us", "p50, ms", UNIT_US},
        {"p90_us", "p90, ms", UNIT_US},
        {"p95_us", "p95, ms", UNIT_US},
        {"p99_us", "p99, ms", UNIT_US},
        {"max_us", "Most, ms", UNIT_US},
};

/* Adds the row and, when curve is not NULL, the cumulative distribution. */
static void latency_of(struct table *table, struct chart_series *curve,
        const struct chapter *chapter, const struct plan_result *plan, enum latency latency)
{
    const struct run_row *run = plan->run;
    double *values = ARENA_NEW(chapter->arena, double, run->n_requests);
    int64_t n = 0;
    for (int64_t i = 0; i < run->n_requests; i++) {
        const double value = latency_us(&run->requests[i], latency);
        if (isfinite(value))
            values[n++] = value;
    }
    if (n == 0)
        return;
    struct summary s;
    summary_of(&s, values, n);
    const double figures[] = {(double)n, s.min, s.median, s.p90, s.p95, s.p99, s.max};
    struct cell *row = table_row(table);
    int at = 0;
    row[at++] = cell_text(chapter->comparison->model);
    row[at++] = cell_text(chapter->comparison->workload);
    row[at++] = cell_number((double)run->id);
    row[at++] = cell_text(plan->label);
    row[at++] = cell_text(latency_names[latency]);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        row[at++] = cell_number(figures[i]);
    if (plan == chapter->focus)
        table_mark(table);
    if (curve == NULL)
        return;
    curve->name = plan->label;
    curve->n_points = CURVE_POINTS;
    curve->points = ARENA_NEW(chapter->arena, struct chart_point, CURVE_POINTS);
    for (int i = 0; i < CURVE_POINTS; i++) {
        const double q = (double)i / (CURVE_POINTS - 1);
        curve->points[i] = chart_point_at(summary_quantile(values, n, q) / 1e3, 100 * q);
    }
}

static void latency_chart(struct table *table, const struct chapter *chapter, enum latency latency)
{
    const struct comparison *comparison = chapter->comparison;
    struct chart_series curves[CURVES_MOST] = {{0}};
    int n = 0;
    for (int64_t i = 0; i < comparison->n_plans; i++) {
        const bool drawn = latency != LATENCY_E2E && n < CURVES_MOST;
        latency_of(table, drawn ? &curves[n] : NULL, chapter, &comparison->plans[i], latency);
        n += drawn && curves[n].n_points > 0;
    }
    if (n == 0)
        return;
    const struct chart chart = {.kind = CHART_LINES,
            .id = arena_printf(chapter->arena, "%s-latency-%d", chapter->id, (int)latency),
            .title = latency_names[latency],
            .alt = arena_printf(chapter->arena,
                    "Cumulative share of requests over %s for %d plans; the table has the "
                    "percentiles.",
                    latency_names[latency], n),
            .x_title = "milliseconds",
            .y_title = "% of requests",
            .series = curves,
            .n_series = n};
    page_chart(chapter->page, &chart);
}

static const struct column request_columns[] = {
        {"model", NULL, UNIT_TEXT},
        {"workload", NULL, UNIT_TEXT},
        {"run", NULL, UNIT_ID},
        {"plan", NULL, UNIT_TEXT},
        {"request", NULL, UNIT_ID},
        {"replica", NULL, UNIT_ID},
        {"prompt_len", NULL, UNIT_COUNT},
        {"output_len", NULL, UNIT_COUNT},
        {"arrival_ns", NULL, UNIT_ID},
        {"first_token_ns", NULL, UNIT_ID},
        {"finish_ns", NULL, UNIT_ID},
        {"preemptions", NULL, UNIT_COUNT},
        {"ttft_us", NULL, UNIT_US},
        {"tpot_us", NULL, UNIT_US},
};

static void requests_csv(const struct chapter *chapter, const struct plan_result *plan)
{
    struct table table = TABLE("requests", "Requests.", request_columns, chapter->arena);
    for (int64_t i = 0; i < plan->run->n_requests; i++) {
        const struct run_request *request = &plan->run->requests[i];
        const double numbers[] = {(double)request->request, request->replica,
                (double)request->prompt_len, (double)request->output_len,
                (double)request->arrival_ns, (double)request->first_token_ns,
                (double)request->finish_ns, request->preemptions, latency_us(request, LATENCY_TTFT),
                latency_us(request, LATENCY_TPOT)};
        struct cell *row = table_row(&table);
        row[0] = cell_text(chapter->comparison->model);
        row[1] = cell_text(chapter->comparison->workload);
        row[2] = cell_number((double)plan->run->id);
        row[3] = cell_text(plan->label);
        for (size_t j = 0; j < sizeof numbers / sizeof numbers[0]; j++)
            row[4 + j] = cell_number(numbers[j]);
    }
    page_csv_only(chapter->page, &table);
}

void section_requests(const struct chapter *chapter)
{
    struct page *page = chapter->page;
    page_section(page, 3, arena_printf(chapter->arena, "%s-requests", chapter->id), "Requests");
    page_text(page, NULL,
            "The newest run of each plan: the share of its requests that were at most this late. "
            "Every "
            "request is in requests.csv.");
    struct table table =
            TABLE("latencies", "Latencies of requests.", latency_columns, chapter->arena);
    page_grid_begin(page);
    for (int i = 0; i < LATENCY_COUNT; i++)
        latency_chart(&table, chapter, (enum latency)i);
    page_grid_end(page);
    page_table(page, &table);
    for (int64_t i = 0; i < chapter->comparison->n_plans; i++)
        requests_csv(chapter, &chapter->comparison->plans[i]);
}

static const struct column step_columns[] = {
        {"model", NULL, UNIT_TEXT},
        {"workload", NULL, UNIT_TEXT},
        {"run", NULL, UNIT_ID},
        {"plan", NULL, UNIT_TEXT},
        {"replica", "Replica", UNIT_ID},
        {"stage", "Stage", UNIT_ID},
        {"step", "Step", UNIT_ID},
        {"start_ns", NULL, UNIT_ID},
        {"start_us", "Start, ms", UNIT_US},
        {"busy_us", "Busy, ms", UNIT_US},
        {"wait_us", "Waited, ms", UNIT_US},
        {"tokens", "Tokens", UNIT_COUNT},
        {"sequences", "Sequences", UNIT_COUNT},
        {"prefill_tokens", "of them prefill tokens", UNIT_COUNT},
        {"kv_tokens", "Cache read, tokens", UNIT_COUNT},
};

static void step_row(struct table *table, const struct chapter *chapter,
        const struct plan_result *plan, const struct run_step *step)
{
    const double numbers[] = {step->replica, step->stage, (double)step->step,
            (double)step->start_ns, (double)step->start_ns / 1e3, (double)step->busy_ns / 1e3,
            (double)step->wait_ns / 1e3, step->tokens, step->sequences, step->prefill_tokens,
            (double)step->kv_tokens};
    struct cell *row = table_row(table);
    row[0] = cell_text(chapter->comparison->model);
    row[1] = cell_text(chapter->comparison->workload);
    row[2] = cell_number((double)plan->run->id);
    row[3] = cell_text(plan->label);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        row[4 + i] = cell_number(numbers[i]);
}

static int by_start(const void *a, const void *b)
{
    const struct run_step *x = *(const struct run_step *const *)a;
    const struct run_step *y = *(const struct run_step *const *)b;
    if (x->start_ns != y->start_ns)
        return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
    if (x->replica != y->replica)
        return x->replica - y->replica;
    return x->stage - y->stage;
}

/* Steps in order of their start; a window from the middle of the run when there are many. */
static const struct run_step **step_window(
        int64_t *n, const struct run_row *run, struct arena *arena)
{
    const struct run_step **steps = ARENA_NEW(arena, const struct run_step *, run->n_steps);
    for (int64_t i = 0; i < run->n_steps; i++)
        steps[i] = &run->steps[i];
    qsort(steps, (size_t)run->n_steps, sizeof(void *), by_start);
    *n = run->n_steps < STEPS_SHOWN ? run->n_steps : STEPS_SHOWN;
    return steps + (run->n_steps - *n) / 2;
}

static void timeline_chart(
        const struct chapter *chapter, const struct run_step *const *steps, int64_t n_steps)
{
    const struct plan *plan = &chapter->focus->run->plan;
    struct arena *arena = chapter->arena;
    int first[64] = {0}, n_rows = 0; /* row of stage 0, by replica */
    for (int i = 0; i < plan->n_replicas && i < 64; i++) {
        first[i] = n_rows;
        n_rows += plan->replicas[i].n_stages;
    }
    const char **names = ARENA_NEW(arena, const char *, n_rows);
    for (int i = 0; i < plan->n_replicas && i < 64; i++)
        for (int j = 0; j < plan->replicas[i].n_stages; j++)
            names[first[i] + j] = plan->n_replicas > 1
                                          ? arena_printf(arena, "replica %d, stage %d", i, j)
                                          : arena_printf(arena, "stage %d", j);
    struct chart_series series[] = {{.name = "decode only"}, {.name = "with prefill"}};
    for (int i = 0; i < 2; i++)
        series[i].points = ARENA_NEW(arena, struct chart_point, n_steps);
    for (int64_t i = 0; i < n_steps; i++) {
        const struct run_step *step = steps[i];
        if (step->replica < 0 || step->replica >= plan->n_replicas || step->replica >= 64
                || step->stage >= plan->replicas[step->replica].n_stages)
            continue;
        struct chart_series *of = &series[step->prefill_tokens > 0];
        of->points[of->n_points++] = (struct chart_point){.x = (double)step->start_ns / 1e6,
                .y = first[step->replica] + step->stage,
                .lo = (double)NAN,
                .hi = (double)(step->start_ns + step->busy_ns) / 1e6,
                .label = arena_printf(
                        arena, "%d tokens of %d sequences", step->tokens, step->sequences)};
    }
    const struct chart chart = {.kind = CHART_SPANS,
            .id = arena_printf(arena, "%s-timeline-chart", chapter->id),
            .title = arena_printf(arena, "Steps of %s", chapter->focus->label),
            .alt = arena_printf(arena,
                    "Timeline: when each of %d stages was busy, for %lld steps; the table has the "
                    "numbers.",
                    n_rows, (long long)n_steps),
            .x_title = "milliseconds from the start of the run",
            .categories = names,
            .n_categories = n_rows,
            .series = series,
            .n_series = 2};
    page_chart(chapter->page, &chart);
}

void section_timeline(const struct chapter *chapter)
{
    struct page *page = chapter->page;
    page_section(
            page, 3, arena_printf(chapter->arena, "%s-timeline", chapter->id), "Timeline of steps");
    const struct plan_result *focus = chapter->focus;
    int64_t n = 0;
    const struct run_step **steps = step_window(&n, focus->run, chapter->arena);
    page_text(page, NULL,
            "Run %lld of %s: %s%lld of %lld steps. Gaps are waiting, for requests or for another "
            "stage. "
            "Every step of the newest run of each plan is in steps.csv.",
            (long long)focus->run->id, focus->label, n < focus->run->n_steps ? "the middle " : "",
            (long long)n, (long long)focus->run->n_steps);
    timeline_chart(chapter, steps, n);
    struct table shown =
            TABLE("steps_shown", "Steps of the timeline.", step_columns, chapter->arena);
    for (int64_t i = 0; i < n; i++)
        step_row(&shown, chapter, focus, steps[i]);
    page_fold_begin(page, "Table of these steps", false);
    page_table(page, &shown);
    page_fold_end(page);
    for (int64_t i = 0; i < chapter->comparison->n_plans; i++) {
        const struct plan_result *plan = &chapter->comparison->plans[i];
        struct table all = TABLE("steps", "Steps.", step_columns, chapter->arena);
        for (int64_t j = 0; j < plan->run->n_steps; j++)
            step_row(&all, chapter, plan, &plan->run->steps[j]);
        page_csv_only(page, &all);
    }
}
