#include "cli/run_show.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/str.h"

static double error_of(const struct run_figure *figure)
{
    if (isnan(figure->predicted) || isnan(figure->measured) || figure->measured == 0)
        return (double)NAN;
    return (figure->predicted - figure->measured) / figure->measured;
}

static const char *show_value(char *buf, const struct run_figure *figure, double value)
{
    if (isnan(value))
        return "-";
    if (strcmp(figure->unit, "us") == 0)
        return str_show_us(buf, value);
    if (strcmp(figure->unit, "bytes") == 0)
        return str_show_bytes(buf, value);
    if (strcmp(figure->unit, "frac") == 0)
        snprintf(buf, 32, "%.1f %%", 100 * value);
    else if (strcmp(figure->unit, "s") == 0)
        snprintf(buf, 32, "%.3g s", value);
    else if (strcmp(figure->unit, "count") == 0)
        snprintf(buf, 32, "%.0f", value);
    else
        snprintf(buf, 32, "%.4g %s", value, figure->unit);
    return buf;
}

static void print_row(const char *label, const struct run_figure *figure, double share)
{
    char predicted[40], measured[40], error[32] = "";
    double e = error_of(figure);

    if (!isnan(e))
        snprintf(error, sizeof error, "%+.1f %%", 100 * e);
    printf("  %-26s %16s %16s", label, show_value(predicted, figure, figure->predicted),
            show_value(measured, figure, figure->measured));
    if (*error || !isnan(share))
        printf(" %9s", error);
    if (!isnan(share))
        printf(" %5.1f %%", 100 * share);
    printf("\n");
}

/* Labels of the figures of a run, in the order they are shown. */
static const struct {
    const char *name, *label;
} run_rows[] = {
        {"output_tokens_per_s", "output throughput"},
        {"total_tokens_per_s", "with prompts"},
        {"requests_per_s", "requests"},
        {"goodput_requests_per_s", "requests within objective"},
        {"ttft_p50_us", "TTFT median"},
        {"ttft_p99_us", "TTFT p99"},
        {"tpot_p50_us", "TPOT median"},
        {"tpot_p99_us", "TPOT p99"},
        {"e2e_p50_us", "end to end median"},
        {"makespan_s", "makespan"},
        {"memory_bytes", "memory, fullest rank"},
        {"preemptions", "preemptions"},
        {"refused_full", "refused, queue full"},
        {"refused_late", "refused, too late"},
        {"reused_tokens", "prompt tokens reused"},
};

static void print_run(const struct runtime_result *result)
{
    printf("  %-26s %16s %16s %9s\n", "", "predicted", "measured", "error");
    for (size_t r = 0; r < sizeof run_rows / sizeof run_rows[0]; r++)
        for (int64_t i = 0; i < result->n_figures; i++)
            if (result->figures[i].scope == FIGURE_RUN
                    && strcmp(result->figures[i].name, run_rows[r].name) == 0)
                print_row(run_rows[r].label, &result->figures[i], (double)NAN);
}

static void print_stages(const struct runtime_result *result)
{
    char label[64];

    printf("stages\n");
    for (int64_t i = 0; i < result->n_figures; i++) {
        const struct run_figure *f = &result->figures[i];
        const char *what = strcmp(f->name, "step_us") == 0     ? "full step"
                           : strcmp(f->name, "busy_us") == 0   ? "busy"
                           : strcmp(f->name, "busy_frac") == 0 ? "busy of the makespan"
                           : strcmp(f->name, "wait_us") == 0   ? "waiting for input"
                           : strcmp(f->name, "transfer_us") == 0 && f->measured > 0
                                   ? "taking in transfers"
                                   : NULL;

        if (f->scope != FIGURE_STAGE || !what)
            continue;
        snprintf(label, sizeof label, "%d.%d %s", f->index / 1000, f->index % 1000, what);
        print_row(label, f, (double)NAN);
    }
}

static void print_ops(const struct runtime_result *result)
{
    double all = 0;

    for (int64_t i = 0; i < result->n_figures; i++)
        all += result->figures[i].scope == FIGURE_OP ? result->figures[i].measured : 0;
    printf("op kinds, first rank of every stage%44s\n", "share");
    for (int64_t i = 0; i < result->n_figures; i++)
        if (result->figures[i].scope == FIGURE_OP)
            print_row(result->figures[i].name, &result->figures[i],
                    result->figures[i].measured / all);
}

static void print_memory(const struct runtime_result *result)
{
    char label[64];

    printf("memory\n");
    for (int64_t i = 0; i < result->n_figures; i++) {
        const struct run_figure *f = &result->figures[i];

        if (f->scope != FIGURE_RANK)
            continue;
        snprintf(label, sizeof label, "rank %d %.*s", f->index,
                (int)(strlen(f->name) - strlen("_bytes")), f->name);
        print_row(label, f, (double)NAN);
    }
}

static void print_table(const struct cli *cli, const struct run_input *in,
        const struct runtime_result *result, int64_t run)
{
    printf("%s, %s\n", in->model.name, plan_show(&in->plan, cli->arena));
    printf("%lld of %lld requests of %s, weights loaded in %.1f s\n", (long long)result->n_finished,
            (long long)result->n_requests, in->workload.name, result->load_s);
    print_run(result);
    print_stages(result);
    print_memory(result);
    print_ops(result);
    if (result->bottleneck)
        printf("bottleneck: %s, %.0f %% of the busiest stage's time\n", result->bottleneck,
                100 * result->bottleneck_frac);
    if (run > 0)
        printf("kept as run %lld\n", (long long)run);
}

static const char *const scope_names[] = {"run", "replica", "stage", "rank", "op"};

static void put_figures(struct json_writer *w, const struct runtime_result *result)
{
    json_array_begin(w, "figures");
    for (int64_t i = 0; i < result->n_figures; i++) {
        const struct run_figure *f = &result->figures[i];

        json_object_begin(w, NULL);
        json_put_string(w, "scope", scope_names[f->scope]);
        json_put_int(w, "index", f->index);
        json_put_string(w, "name", f->name);
        json_put_string(w, "unit", f->unit);
        json_put_double(w, "predicted", f->predicted);
        json_put_double(w, "measured", f->measured);
        json_put_double(w, "error", error_of(f));
        json_end(w);
    }
    json_end(w);
}

static void put_side(struct json_writer *w, const char *key, const struct runtime_result *result)
{
    json_object_begin(w, key);
    for (int64_t i = 0; i < result->n_figures; i++) {
        const struct run_figure *f = &result->figures[i];

        if (f->scope != FIGURE_RUN)
            continue;
        json_put_double(w, f->name,
                key[0] == 'p'   ? f->predicted
                : key[0] == 'm' ? f->measured
                                : error_of(f));
    }
    json_end(w);
}

static void print_json(const struct cli *cli, const struct run_input *in,
        const struct runtime_result *result, int64_t run)
{
    struct json_writer w = {.pretty = true};

    json_object_begin(&w, NULL);
    json_put_string(&w, "model", in->model.name);
    json_put_string(&w, "workload", in->workload.name);
    json_put_string(&w, "plan", plan_show(&in->plan, cli->arena));
    json_put_int(&w, "run", run);
    json_put_int(&w, "requests", result->n_requests);
    json_put_int(&w, "finished", result->n_finished);
    json_put_int(&w, "refused", result->n_refused_full + result->n_refused_late);
    json_put_double(&w, "load_s", result->load_s);
    put_side(&w, "predicted", result);
    put_side(&w, "measured", result);
    put_side(&w, "error", result);
    json_put_string(&w, "bottleneck", result->bottleneck);
    json_put_double(&w, "bottleneck_frac", result->bottleneck_frac);
    put_figures(&w, result);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

void run_show(const struct cli *cli, const struct run_input *in,
        const struct runtime_result *result, int64_t run)
{
    if (cli->json)
        print_json(cli, in, result, run);
    else
        print_table(cli, in, result, run);
}
