#include "reports/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/summary.h"
#include "reports/table.h"
#include "reports/text.h"

double compare_error(double predicted, double measured)
{
    if (!(predicted > 0) || !(measured > 0))
        return (double)NAN;
    return predicted / measured - 1;
}

static void add_part(struct text *text, const char *name, int value)
{
    if (value > 1)
        text_printf(text, "%s%s %d", text->len > 0 ? ", " : "", name, value);
}

const char *compare_label(const struct plan *plan, struct arena *arena)
{
    struct text text = {.arena = arena};
    if (plan->n_replicas == 0 || plan->replicas[0].n_stages == 0)
        return "empty plan";
    const struct plan_replica *replica = &plan->replicas[0];
    const struct plan_stage *stage = &replica->stages[0];
    add_part(&text, "dp", plan->n_replicas);
    add_part(&text, "tp", stage->tp);
    add_part(&text, "attention-dp", stage->attention_dp);
    add_part(&text, "ep", stage->ep);
    add_part(&text, "pp", replica->n_stages);
    for (int i = 0; replica->n_stages > 1 && i < replica->n_stages; i++)
        text_printf(&text, "%s%d", i == 0 ? " (" : "+",
                replica->stages[i].end_layer - replica->stages[i].first_layer);
    if (replica->n_stages > 1)
        text_add(&text, ")");
    if (text.len == 0)
        text_add(&text, "1 rank");
    if (stage->threads > 1)
        text_printf(&text, " \xc3\x97 %d threads", stage->threads);
    return text.data;
}

static double median_of(double *values, int64_t n)
{
    struct summary summary;
    summary_of(&summary, values, n);
    return n > 0 ? summary.median : (double)NAN;
}

/* The figures of plan_figures that are plain doubles, to take medians of. */
static const size_t figure_offsets[] = {
        offsetof(struct plan_figures, output_tokens_per_s),
        offsetof(struct plan_figures, total_tokens_per_s),
        offsetof(struct plan_figures, requests_per_s),
        offsetof(struct plan_figures, ttft_p50_us),
        offsetof(struct plan_figures, ttft_p99_us),
        offsetof(struct plan_figures, tpot_p50_us),
        offsetof(struct plan_figures, tpot_p99_us),
        offsetof(struct plan_figures, e2e_p50_us),
        offsetof(struct plan_figures, makespan_s),
        offsetof(struct plan_figures, goodput_requests_per_s),
};

static bool finished(const struct run_row *run)
{
    return run->status != NULL && strcmp(run->status, "done") == 0;
}

/* runs: of one plan, newest first, finished. */
static void fill_plan(
        struct plan_result *out, const struct run_row **runs, int64_t n, struct arena *arena)
{
    double *values = ARENA_NEW(arena, double, n);
    *out = (struct plan_result){.run = runs[0],
            .label = compare_label(&runs[0]->plan, arena),
            .n_runs = n,
            .chosen = !runs[0]->plan.certificate.forced,
            .measured = runs[0]->measured,
            .tokens_lo = (double)INFINITY,
            .tokens_hi = -(double)INFINITY};
    for (size_t i = 0; i < sizeof figure_offsets / sizeof figure_offsets[0]; i++) {
        for (int64_t j = 0; j < n; j++)
            memcpy(&values[j], (const char *)&runs[j]->measured + figure_offsets[i],
                    sizeof *values);
        const double median = median_of(values, n);
        memcpy((char *)&out->measured + figure_offsets[i], &median, sizeof median);
    }
    for (int64_t j = 0; j < n; j++) {
        out->tokens_lo = fmin(out->tokens_lo, runs[j]->measured.output_tokens_per_s);
        out->tokens_hi = fmax(out->tokens_hi, runs[j]->measured.output_tokens_per_s);
        if (runs[j]->measured.memory_bytes > out->measured.memory_bytes)
            out->measured.memory_bytes = runs[j]->measured.memory_bytes;
    }
    const struct plan_figures *predicted = &out->run->plan.predicted, *measured = &out->measured;
    out->throughput_error =
            compare_error(predicted->output_tokens_per_s, measured->output_tokens_per_s);
    out->ttft_error = compare_error(predicted->ttft_p50_us, measured->ttft_p50_us);
    out->tpot_error = compare_error(predicted->tpot_p50_us, measured->tpot_p50_us);
}

static int by_speed(const void *a, const void *b)
{
    const struct plan_result *x = a, *y = b;
    const double d = y->measured.output_tokens_per_s - x->measured.output_tokens_per_s;
    if (d != 0)
        return d > 0 ? 1 : -1;
    return (x->run->plan_id > y->run->plan_id) - (x->run->plan_id < y->run->plan_id);
}

/* Plans that share a label are told apart by their batch limits, and failing that by their number. */
static void make_labels_unique(struct comparison *comparison, struct arena *arena)
{
    for (int round = 0; round < 2; round++) {
        bool *twice = ARENA_NEW(arena, bool, comparison->n_plans);
        for (int64_t i = 0; i < comparison->n_plans; i++)
            for (int64_t j = 0; j < comparison->n_plans; j++)
                if (i != j && strcmp(comparison->plans[i].label, comparison->plans[j].label) == 0)
                    twice[i] = true;
        for (int64_t i = 0; i < comparison->n_plans; i++) {
            struct plan_result *plan = &comparison->plans[i];
            const struct plan_replica *replica = plan->run->plan.replicas;
            if (!twice[i])
                continue;
            plan->label = round == 0 && replica != NULL
                                  ? arena_printf(arena, "%s, batch %d, chunk %d", plan->label,
                                          replica->max_seqs, replica->max_tokens)
                                  : arena_printf(arena, "%s, plan %lld", plan->label,
                                          (long long)plan->run->plan_id);
        }
    }
}

static double median_error(const struct comparison *comparison, size_t offset, struct arena *arena)
{
    double *errors = ARENA_NEW(arena, double, comparison->n_plans);
    int64_t n = 0;
    for (int64_t i = 0; i < comparison->n_plans; i++) {
        double error;
        memcpy(&error, (const char *)&comparison->plans[i] + offset, sizeof error);
        if (isfinite(error))
            errors[n++] = fabs(error);
    }
    return median_of(errors, n);
}

static void collect_plans(struct comparison *comparison, struct arena *arena)
{
    const struct run_row **same = ARENA_NEW(arena, const struct run_row *, comparison->n_runs);
    comparison->plans = ARENA_NEW(arena, struct plan_result, comparison->n_runs);
    for (int64_t i = 0; i < comparison->n_runs; i++) {
        const int64_t plan = comparison->runs[i]->plan_id;
        bool known = !finished(comparison->runs[i]);
        for (int64_t j = 0; j < comparison->n_plans && !known; j++)
            known = comparison->plans[j].run->plan_id == plan;
        if (known)
            continue;
        int64_t n = 0;
        for (int64_t j = i; j < comparison->n_runs; j++)
            if (comparison->runs[j]->plan_id == plan && finished(comparison->runs[j]))
                same[n++] = comparison->runs[j];
        fill_plan(&comparison->plans[comparison->n_plans++], same, n, arena);
        comparison->n_finished += n;
    }
}

static void judge(struct comparison *comparison, struct arena *arena)
{
    collect_plans(comparison, arena);
    qsort(comparison->plans, (size_t)comparison->n_plans, sizeof *comparison->plans, by_speed);
    make_labels_unique(comparison, arena);
    for (int64_t i = 0; i < comparison->n_plans; i++) {
        const struct plan_result *plan = &comparison->plans[i];
        if (plan->chosen
                && (comparison->chosen == NULL || plan->run->id > comparison->chosen->run->id))
            comparison->chosen = plan;
    }
    comparison->best = comparison->n_plans > 0 ? comparison->plans : NULL;
    comparison->regret_frac = (double)NAN;
    if (comparison->chosen != NULL && comparison->best != NULL
            && comparison->best->measured.output_tokens_per_s > 0)
        comparison->regret_frac = 1
                                  - comparison->chosen->measured.output_tokens_per_s
                                            / comparison->best->measured.output_tokens_per_s;
    comparison->throughput_error =
            median_error(comparison, offsetof(struct plan_result, throughput_error), arena);
    comparison->ttft_error =
            median_error(comparison, offsetof(struct plan_result, ttft_error), arena);
    comparison->tpot_error =
            median_error(comparison, offsetof(struct plan_result, tpot_error), arena);
}

int64_t compare_runs(
        struct comparison **out, const struct run_row *rows, int64_t n_rows, struct arena *arena)
{
    struct comparison *all = ARENA_NEW(arena, struct comparison, n_rows);
    int64_t n = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        const char *model = rows[i].model != NULL ? rows[i].model : "unnamed model";
        const char *workload = rows[i].workload != NULL ? rows[i].workload : "unnamed workload";
        int64_t at = 0;
        while (at < n
                && (strcmp(all[at].model, model) != 0 || strcmp(all[at].workload, workload) != 0))
            at++;
        if (at == n) {
            all[n].model = model;
            all[n].workload = workload;
            all[n++].runs = ARENA_NEW(arena, const struct run_row *, n_rows);
        }
        all[at].runs[all[at].n_runs++] = &rows[i];
    }
    for (int64_t i = 0; i < n; i++)
        judge(&all[i], arena);
    *out = all;
    return n;
}

static void add_limit(struct text *text, const char *bottleneck)
{
    static const struct {
        const char *name, *sentence;
    } sentences[] = {
            {"compute", "Arithmetic limits it"},
            {"memory", "Memory bandwidth limits it"},
            {"network", "Communication between ranks limits it"},
            {"bubble", "Waiting of pipeline stages for each other limits it"},
            {"scheduler", "The scheduler limits it"},
            {"arrivals", "It mostly waits for requests to arrive"},
    };
    for (size_t i = 0; bottleneck != NULL && i < sizeof sentences / sizeof sentences[0]; i++)
        if (strcmp(sentences[i].name, bottleneck) == 0)
            text_printf(text, " %s.", sentences[i].sentence);
}

const char *compare_headline(const struct comparison *comparison, struct arena *arena)
{
    struct text text = {.arena = arena};
    const struct plan_result *plan =
            comparison->chosen != NULL ? comparison->chosen : comparison->best;
    if (plan == NULL)
        return "No run has finished.";
    const struct plan_figures *predicted = &plan->run->plan.predicted, *measured = &plan->measured;
    text_printf(&text, "%s (%s) delivered %s output tokens/s",
            plan->chosen ? "The chosen plan" : "The plan", plan->label,
            number_show(measured->output_tokens_per_s, arena));
    if (isfinite(plan->throughput_error))
        text_printf(&text, "; predicted were %s (%+.1f %%)",
                number_show(predicted->output_tokens_per_s, arena), 100 * plan->throughput_error);
    text_add(&text, ".");
    if (comparison->n_plans > 1 && plan == comparison->best)
        text_printf(&text, " It is the fastest of %lld plans that ran.",
                (long long)comparison->n_plans);
    else if (comparison->n_plans > 1)
        text_printf(&text, " The fastest of %lld plans that ran, %s, was %.1f %% faster.",
                (long long)comparison->n_plans, comparison->best->label,
                100
                        * (comparison->best->measured.output_tokens_per_s
                                        / measured->output_tokens_per_s
                                - 1));
    add_limit(&text, plan->run->bottleneck);
    return text.data;
}
