#include "cli/simulate_show.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/str.h"

/* Shares of a rank's busy time, largest first, down to a percent. */
static void print_kinds(const struct step_cost *total)
{
    bool shown[OP_KIND_COUNT] = {false};
    for (int round = 0; round < OP_KIND_COUNT; round++) {
        int best = -1;
        for (int k = 0; k < OP_KIND_COUNT; k++)
            if (!shown[k] && (best < 0 || total->kind_us[k] > total->kind_us[best]))
                best = k;
        shown[best] = true;
        if (total->us > 0 && total->kind_us[best] >= 0.01 * total->us)
            printf("%s %s %.0f%%", round == 0 ? "" : ",", op_kind_names[best],
                    total->kind_us[best] / total->us * 100);
    }
    puts("");
}

static void print_spread(const char *name, const struct simulate_spread *spread)
{
    char p50[32];
    char p90[32];
    char p99[32];
    printf("  %-12s p50 %s, p90 %s, p99 %s\n", name, str_show_us(p50, spread->p50),
            str_show_us(p90, spread->p90), str_show_us(p99, spread->p99));
}

static bool same_stage(const struct simulate_stage *a, const struct simulate_stage *b)
{
    return fabs(a->busy_frac - b->busy_frac) < 0.005 && a->total.us == b->total.us;
}

/* Replicas that look alike to the last digit, as those do that others stand for, are one line. */
static void print_stages(const struct plan *plan, const struct simulate_result *result)
{
    int at = 0;
    for (int r = 0; r < plan->n_replicas;) {
        int n = plan->replicas[r].n_stages;
        int alike = 1;
        bool same = true;
        while (same && r + alike < plan->n_replicas && plan->replicas[r + alike].n_stages == n) {
            for (int s = 0; same && s < n; s++)
                same = same_stage(&result->stages[at + s], &result->stages[at + alike * n + s]);
            alike += same;
        }
        for (int s = 0; s < n; s++) {
            char name[64];
            if (alike > 1)
                snprintf(name, sizeof name, "%d-%d.%d", r, r + alike - 1, s);
            else
                snprintf(name, sizeof name, "%d.%d", r, s);
            printf("  stage %-6s busy %3.0f %%:", name, result->stages[at + s].busy_frac * 100);
            print_kinds(&result->stages[at + s].total);
        }
        r += alike;
        at += alike * n;
    }
}

void simulate_print(
        const struct plan *plan, const char *shown, const struct simulate_result *result)
{
    const struct plan_figures *f = &result->figures;
    int64_t refused = result->refused_full + result->refused_late;
    printf("%s\n  throughput   %.1f output tokens/s (%.1f to %.1f), %.1f with prompts\n", shown,
            f->output_tokens_per_s, f->output_tokens_per_s * f->lo_frac,
            f->output_tokens_per_s * f->hi_frac, f->total_tokens_per_s);
    print_spread("TTFT", &result->ttft_us);
    print_spread("TPOT", &result->tpot_us);
    print_spread("queue", &result->queue_us);
    print_spread("end to end", &result->e2e_us);
    printf("  makespan     %.4g s, %lld steps, %lld preemptions\n", f->makespan_s,
            (long long)result->steps, (long long)result->preemptions);
    printf("  goodput      %.4g requests/s of %.4g, %.4g %% of the requests met the objectives\n",
            f->goodput_requests_per_s, f->requests_per_s, result->good_frac * 100);
    if (refused > 0)
        printf("  refused      %lld of %lld requests: %lld by a full queue, %lld too late\n",
                (long long)refused, (long long)result->offered, (long long)result->refused_full,
                (long long)result->refused_late);
    if (result->reused_tokens > 0)
        printf("  prefix cache %lld prompt tokens were there already\n",
                (long long)result->reused_tokens);
    if (result->sampled)
        printf("  sampled      %lld requests, of some of the replicas that are alike\n",
                (long long)result->offered);
    print_stages(plan, result);
}

static void put_stages(struct json_writer *w, const struct simulate_result *result)
{
    json_array_begin(w, "stages");
    for (int s = 0; s < result->n_stages; s++) {
        const struct simulate_stage *stage = &result->stages[s];
        json_object_begin(w, NULL);
        json_put_double(w, "busy_frac", stage->busy_frac);
        json_put_double(w, "busy_us", stage->total.us);
        json_put_double(w, "estimated_us", stage->total.source_us[COST_ESTIMATED]);
        json_object_begin(w, "kind_us");
        for (int k = 0; k < OP_KIND_COUNT; k++)
            if (stage->total.kind_us[k] > 0)
                json_put_double(w, op_kind_names[k], stage->total.kind_us[k]);
        json_end(w);
        json_end(w);
    }
    json_end(w);
}

static void put_spread(
        struct json_writer *w, const char *name, const struct simulate_spread *spread)
{
    json_object_begin(w, name);
    json_put_double(w, "p50", spread->p50);
    json_put_double(w, "p90", spread->p90);
    json_put_double(w, "p99", spread->p99);
    json_end(w);
}

static void put_predicted(struct json_writer *w, const struct plan_figures *f)
{
    json_object_begin(w, "predicted");
    json_put_double(w, "output_tokens_per_s", f->output_tokens_per_s);
    json_put_double(w, "total_tokens_per_s", f->total_tokens_per_s);
    json_put_double(w, "requests_per_s", f->requests_per_s);
    json_put_double(w, "goodput_requests_per_s", f->goodput_requests_per_s);
    json_put_double(w, "ttft_p50_us", f->ttft_p50_us);
    json_put_double(w, "ttft_p99_us", f->ttft_p99_us);
    json_put_double(w, "tpot_p50_us", f->tpot_p50_us);
    json_put_double(w, "tpot_p99_us", f->tpot_p99_us);
    json_put_double(w, "e2e_p50_us", f->e2e_p50_us);
    json_put_double(w, "makespan_s", f->makespan_s);
    json_put_double(w, "lo_frac", f->lo_frac);
    json_put_double(w, "hi_frac", f->hi_frac);
    json_end(w);
}

void simulate_print_json(const struct plan *plan, const struct simulate_result *result)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "plan", plan->name);
    put_predicted(&w, &result->figures);
    put_spread(&w, "ttft_us", &result->ttft_us);
    put_spread(&w, "tpot_us", &result->tpot_us);
    put_spread(&w, "queue_us", &result->queue_us);
    put_spread(&w, "e2e_us", &result->e2e_us);
    json_put_int(&w, "offered", result->offered);
    json_put_int(&w, "finished", result->finished);
    json_put_int(&w, "refused_full", result->refused_full);
    json_put_int(&w, "refused_late", result->refused_late);
    json_put_double(&w, "good_frac", result->good_frac);
    json_put_bool(&w, "sampled", result->sampled);
    json_put_int(&w, "steps", result->steps);
    json_put_int(&w, "preemptions", result->preemptions);
    json_put_int(&w, "reused_tokens", result->reused_tokens);
    put_stages(&w, result);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

static const char *const outcome_names[] = {
        "not simulated", "finished", "refused: queue full", "refused: too late"};

/* A cell, with the comma before it; empty for what never was. */
static int put_us(char *at, size_t room, int64_t from_ns, int64_t to_ns)
{
    if (from_ns < 0 || to_ns < 0)
        return snprintf(at, room, ",");
    return snprintf(at, room, ",%.3f", (double)(to_ns - from_ns) * 1e-3);
}

static int64_t put_row(char *row, size_t room, int64_t i, const struct request *request,
        const struct simulate_request *record)
{
    int64_t arrival_ns = request->arrival_ns;
    int n = snprintf(row, room, "%lld,%s,%.3f,%lld,%lld,%d,%d", (long long)i,
            outcome_names[record->outcome], (double)arrival_ns * 1e-3,
            (long long)request->prompt_len, (long long)request->output_len, request->priority,
            record->replica);
    n += record->decode_replica < 0
                 ? snprintf(row + n, room - (size_t)n, ",")
                 : snprintf(row + n, room - (size_t)n, ",%d", record->decode_replica);
    const int64_t span[][2] = {{0, record->begin_ns}, {0, record->first_token_ns},
            {0, record->finish_ns}, {arrival_ns, record->begin_ns},
            {arrival_ns, record->first_token_ns}, {arrival_ns, record->finish_ns}};
    for (size_t s = 0; s < sizeof span / sizeof *span; s++)
        n += put_us(row + n, room - (size_t)n, span[s][0], span[s][1]);
    if (record->finish_ns >= 0 && request->output_len > 1)
        n += snprintf(row + n, room - (size_t)n, ",%.3f",
                (double)(record->finish_ns - record->first_token_ns) * 1e-3
                        / (double)(request->output_len - 1));
    else
        n += snprintf(row + n, room - (size_t)n, ",");
    n += snprintf(
            row + n, room - (size_t)n, ",%d,%d\n", record->preemptions, record->reused_tokens);
    return n;
}

bool simulate_write_csv(const struct simulate_result *result, const struct requests *requests,
        const char *path, struct err *err)
{
    static const char head[] = "request,outcome,arrival_us,prompt_tokens,output_tokens,priority,"
                               "replica,decode_replica,begin_us,first_token_us,finish_us,queue_us,"
                               "ttft_us,e2e_us,tpot_us,preemptions,reused_tokens\n";
    enum {
        MOST_ROW = 512 /* 17 numbers of at most 24 characters, and the outcome */
    };
    int64_t len = (int64_t)sizeof head - 1;
    int64_t room = len + MOST_ROW;
    char *text = malloc((size_t)room);
    if (text != NULL)
        memcpy(text, head, sizeof head);
    for (int64_t i = 0; text != NULL && i < requests->n; i++) {
        if (room - len < MOST_ROW) {
            char *more = realloc(text, (size_t)(room *= 2));
            if (more == NULL)
                free(text);
            text = more;
            if (text == NULL)
                break;
        }
        len += put_row(text + len, MOST_ROW, i, &requests->items[i], &result->requests[i]);
    }
    bool ok = text != NULL ? file_write(path, text, len, err)
                           : err_set(err, ERR_ENV, "no memory for the rows of %s", path);
    free(text);
    return ok;
}
