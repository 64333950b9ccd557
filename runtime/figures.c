#include "runtime/figures.h"

#include <math.h>
#include <string.h>

#include "core/summary.h"

/* The list under construction; predicted and measured NaN where there is none. */
struct list {
    struct run_figure *items;
    int64_t n, cap;
    struct arena *arena;
};

static struct run_figure *add(struct list *list, enum figure_scope scope, int index,
        const char *name, const char *unit, const double values[2])
{
    if (list->n == list->cap) {
        int64_t cap = list->cap ? 2 * list->cap : 64;

        list->items = arena_grow(list->arena, list->items, list->n, cap, sizeof *list->items);
        list->cap = cap;
    }
    list->items[list->n] = (struct run_figure){
            scope, index, name, unit, values[0], values[1], (double)NAN, (double)NAN};
    return &list->items[list->n++];
}

/* A plan leaves a figure it has no prediction for at 0. */
static double or_nan(double value)
{
    return value > 0 ? value : (double)NAN;
}

struct samples {
    double *ttft, *tpot, *e2e;
    int64_t n, n_tpot, good, output_tokens, total_tokens, preemptions, reused;
    int64_t refused_full, refused_late;
    int64_t first_ns, last_ns; /* of those that finished */
};

static bool met(const struct workload *workload, double ttft_us, double tpot_us)
{
    return (workload->slo.ttft_us <= 0 || ttft_us <= workload->slo.ttft_us)
           && (workload->slo.tpot_us <= 0 || isnan(tpot_us) || tpot_us <= workload->slo.tpot_us);
}

static void add_request(
        struct samples *s, const struct run_request *r, const struct workload *workload)
{
    double ttft = (double)(r->first_token_ns - r->arrival_ns) / 1e3, tpot = (double)NAN;

    s->output_tokens += r->output_len;
    s->preemptions += r->preemptions;
    s->reused += r->reused_tokens;
    s->refused_full += r->outcome == REQUEST_REFUSED_FULL;
    s->refused_late += r->outcome == REQUEST_REFUSED_LATE;
    s->total_tokens += r->output_len;
    if (r->first_token_ns >= 0)
        s->total_tokens += r->prompt_len;
    if (r->finish_ns < 0)
        return;
    if (r->output_len > 1) {
        tpot = (double)(r->finish_ns - r->first_token_ns) / 1e3 / (double)(r->output_len - 1);
        s->tpot[s->n_tpot++] = tpot;
    }
    if (s->n == 0 || r->finish_ns < s->first_ns)
        s->first_ns = r->finish_ns;
    if (s->n == 0 || r->finish_ns > s->last_ns)
        s->last_ns = r->finish_ns;
    s->ttft[s->n] = ttft;
    s->e2e[s->n++] = (double)(r->finish_ns - r->arrival_ns) / 1e3;
    s->good += met(workload, ttft, tpot);
}

static void measure_requests(struct runtime_result *out, const struct collected *from,
        const struct runtime_options *options, struct arena *arena)
{
    int64_t n = options->requests->n;
    struct samples s = {.ttft = ARENA_NEW(arena, double, n),
            .tpot = ARENA_NEW(arena, double, n),
            .e2e = ARENA_NEW(arena, double, n)};
    struct plan_figures *m = &out->measured;
    struct summary sum;

    int64_t finished = 0;
    for (int64_t i = 0; i < n; i++) {
        finished += from->records[i].finish_ns >= 0;
        if (i >= options->requests->n_warm && i < n - options->requests->n_cool)
            add_request(&s, &from->records[i], options->workload);
    }
    for (int r = 0; r < from->n_ranks; r++) {
        const struct rank_report *report = &from->ranks[r].report;
        int64_t bytes = report->weight_bytes + report->kv_bytes + report->work_bytes;

        if (report->stage == 0 && report->index == 0)
            m->makespan_s = fmax(m->makespan_s, (double)report->end_ns * 1e-9);
        if (bytes > m->memory_bytes)
            m->memory_bytes = bytes;
        out->load_s = fmax(out->load_s, report->load_s);
    }
    out->n_requests = n;
    out->n_finished = finished;
    out->n_preemptions = s.preemptions;
    out->n_reused_tokens = s.reused;
    out->n_refused_full = s.refused_full;
    out->n_refused_late = s.refused_late;
    double seconds = m->makespan_s;
    if (options->requests->n_warm > 0 && s.n > 1) /* between the first that counts and the last */
        seconds = (double)(s.last_ns - s.first_ns) * 1e-9 * (double)s.n / (double)(s.n - 1);
    if (seconds > 0) {
        m->output_tokens_per_s = (double)s.output_tokens / seconds;
        m->total_tokens_per_s = (double)s.total_tokens / seconds;
        m->requests_per_s = (double)s.n / seconds;
        m->goodput_requests_per_s = (double)s.good / seconds;
    }
    summary_of(&sum, s.ttft, s.n);
    m->ttft_p50_us = sum.median;
    m->ttft_p99_us = sum.p99;
    summary_of(&sum, s.tpot, s.n_tpot);
    m->tpot_p50_us = sum.median;
    m->tpot_p99_us = sum.p99;
    summary_of(&sum, s.e2e, s.n);
    m->e2e_p50_us = sum.median;
    m->lo_frac = m->hi_frac = 1;
}

static void list_run(struct list *list, const struct runtime_result *result,
        const struct plan_figures *predicted)
{
    const struct plan_figures *measured = &result->measured;
    const struct {
        const char *name, *unit;
        double predicted, measured;
    } rows[] = {
            {"output_tokens_per_s", "tokens/s", predicted->output_tokens_per_s,
                    measured->output_tokens_per_s},
            {"total_tokens_per_s", "tokens/s", predicted->total_tokens_per_s,
                    measured->total_tokens_per_s},
            {"requests_per_s", "requests/s", predicted->requests_per_s, measured->requests_per_s},
            {"goodput_requests_per_s", "requests/s", predicted->goodput_requests_per_s,
                    measured->goodput_requests_per_s},
            {"ttft_p50_us", "us", predicted->ttft_p50_us, measured->ttft_p50_us},
            {"ttft_p99_us", "us", predicted->ttft_p99_us, measured->ttft_p99_us},
            {"tpot_p50_us", "us", predicted->tpot_p50_us, measured->tpot_p50_us},
            {"tpot_p99_us", "us", predicted->tpot_p99_us, measured->tpot_p99_us},
            {"e2e_p50_us", "us", predicted->e2e_p50_us, measured->e2e_p50_us},
            {"makespan_s", "s", predicted->makespan_s, measured->makespan_s},
            {"memory_bytes", "bytes", (double)predicted->memory_bytes,
                    (double)measured->memory_bytes},
            {"preemptions", "count", 0, (double)result->n_preemptions},
    };

    for (int i = 0; i < (int)(sizeof rows / sizeof rows[0]); i++) {
        struct run_figure *f = add(list, FIGURE_RUN, 0, rows[i].name, rows[i].unit,
                (const double[2]){or_nan(rows[i].predicted), rows[i].measured});

        if (i == 0 && predicted->lo_frac > 0) {
            f->lo = f->predicted * predicted->lo_frac;
            f->hi = f->predicted * predicted->hi_frac;
        }
    }
}

/* Figures of what a plan or a workload asks for; nothing where it does not. */
static void list_service(struct list *list, const struct runtime_result *result)
{
    const struct {
        const char *name;
        int64_t count;
    } rows[] = {
            {"refused_full", result->n_refused_full},
            {"refused_late", result->n_refused_late},
            {"reused_tokens", result->n_reused_tokens},
    };

    for (int i = 0; i < (int)(sizeof rows / sizeof rows[0]); i++)
        if (rows[i].count > 0)
            add(list, FIGURE_RUN, 0, rows[i].name, "count",
                    (const double[2]){(double)NAN, (double)rows[i].count});
}

static void list_ranks(struct list *list, const struct collected *from, const struct plan *plan)
{
    for (int r = 0; r < from->n_ranks; r++) {
        const struct rank_report *report = &from->ranks[r].report;
        const struct plan_stage *stage = &plan->replicas[report->replica].stages[report->stage];
        const struct {
            const char *name;
            int64_t predicted, measured;
        } rows[] = {
                {"weight_bytes", stage->weight_bytes, report->weight_bytes},
                {"kv_bytes", stage->kv_bytes, report->kv_bytes},
                {"work_bytes", stage->work_bytes, report->work_bytes},
                {"rss_bytes", 0, report->rss_bytes},
        };

        for (int i = 0; i < 4; i++)
            add(list, FIGURE_RANK, report->rank, rows[i].name, "bytes",
                    (const double[2]){or_nan((double)rows[i].predicted), (double)rows[i].measured});
    }
}

/* Median of the steps that the plan's step_us speaks of: decode alone, with as many sequences as fit; of a prefill
 * replica prompts, as many tokens as fit. */
static double full_step_us(
        const struct rank_data *data, const struct plan_replica *replica, struct arena *arena)
{
    const struct plan_stage *stage = &replica->stages[data->report.stage];
    int pools = plan_pools(replica), each = (replica->max_seqs + pools - 1) / pools;
    int most = each * plan_stage_pools(replica, stage);
    int full = most < replica->max_seqs ? most : replica->max_seqs;
    double *us = ARENA_NEW(arena, double, data->report.n_steps);
    struct summary sum;
    int64_t n = 0;

    for (int64_t i = 0; i < data->report.n_steps; i++)
        if (replica->role == ROLE_PREFILL
                        ? data->steps[i].tokens
                                  == replica->max_tokens * plan_stage_pools(replica, stage)
                        : data->steps[i].prefill_tokens == 0 && data->steps[i].sequences == full)
            us[n++] = (double)data->steps[i].busy_ns / 1e3;
    summary_of(&sum, us, n);
    return n > 0 ? sum.median : (double)NAN;
}

static double price(const struct runtime_options *options, const struct op *op)
{
    return options->cost_us ? options->cost_us(options->cost_self, op) : (double)NAN;
}

/* What part of a kind's time has shapes: where the table of shapes overflowed, figures are scaled up. */
static double scale_of(const struct rank_report *report, enum op_kind kind)
{
    double known = (double)(report->kind_ns[kind] - report->lost_ns[kind]);

    return known > 0 ? (double)report->kind_ns[kind] / known : 1;
}

/* What a rank's executed ops cost according to the profile. */
static double priced_us(const struct rank_data *data, const struct runtime_options *options)
{
    double us = 0;

    for (int64_t i = 0; i < data->report.n_uses; i++)
        us += price(options, &data->uses[i].op) * (double)data->uses[i].count
              * scale_of(&data->report, data->uses[i].op.kind);
    return us;
}

static void list_stages(
        struct list *list, const struct collected *from, const struct runtime_options *options)
{
    const struct plan *plan = options->plan;

    for (int r = 0; r < from->n_ranks; r++) {
        const struct rank_data *data = &from->ranks[r];
        const struct rank_report *report = &data->report;
        const struct plan_replica *replica = &plan->replicas[report->replica];
        int index = report->replica * 1000 + report->stage;
        double span_ns = (double)(report->end_ns > 0 ? report->end_ns : 1);

        if (report->index != 0)
            continue;
        add(list, FIGURE_STAGE, index, "step_us", "us",
                (const double[2]){or_nan(replica->stages[report->stage].step_us),
                        full_step_us(data, replica, list->arena)});
        add(list, FIGURE_STAGE, index, "busy_us", "us",
                (const double[2]){or_nan(priced_us(data, options)), (double)report->busy_ns / 1e3});
        add(list, FIGURE_STAGE, index, "busy_frac", "frac",
                (const double[2]){(double)NAN, (double)report->busy_ns / span_ns});
        add(list, FIGURE_STAGE, index, "wait_us", "us",
                (const double[2]){(double)NAN, (double)report->wait_ns / 1e3});
        add(list, FIGURE_STAGE, index, "transfer_us", "us",
                (const double[2]){(double)NAN, (double)report->kind_ns[OP_SEND_RECV] / 1e3});
        add(list, FIGURE_STAGE, index, "metering_frac", "frac",
                (const double[2]){(double)NAN,
                        (double)report->metering_ns
                                / (double)(report->busy_ns > 0 ? report->busy_ns : 1)});
        add(list, FIGURE_STAGE, index, "steps", "count",
                (const double[2]){(double)NAN, (double)(report->n_steps + report->steps_dropped)});
    }
}

/*
 * Time by op kind over the first ranks of all stages. The prediction is what the executed shapes cost
 * according to the profile; where the table of shapes overflowed it is scaled up to all of the kind.
 */
static void list_ops(
        struct list *list, const struct collected *from, const struct runtime_options *options)
{
    double predicted[OP_KIND_COUNT] = {0}, measured[OP_KIND_COUNT] = {0};

    for (int r = 0; r < from->n_ranks; r++) {
        const struct rank_data *data = &from->ranks[r];

        for (int64_t i = 0; i < data->report.n_uses; i++) {
            const struct meter_use *use = &data->uses[i];
            enum op_kind kind = use->op.kind;
            double scale = scale_of(&data->report, kind);
            predicted[kind] += price(options, &use->op) * (double)use->count * scale;
            measured[kind] += (double)use->ns * scale / 1e3;
        }
    }
    for (int kind = 0; kind < OP_KIND_COUNT; kind++)
        if (measured[kind] > 0)
            add(list, FIGURE_OP, 0, op_kind_names[kind], "us",
                    (const double[2]){predicted[kind], measured[kind]});
}

/* The first rank of the busiest stage; NULL where there is none. */
static const struct rank_data *busiest_of(const struct collected *from)
{
    const struct rank_data *busiest = NULL;

    for (int r = 0; r < from->n_ranks; r++)
        if (from->ranks[r].report.index == 0
                && (!busiest || from->ranks[r].report.busy_ns > busiest->report.busy_ns))
            busiest = &from->ranks[r];
    return busiest;
}

/* What the time of the busiest stage's first rank went into. */
static void find_bottleneck(struct runtime_result *out, const struct collected *from,
        const struct runtime_options *options)
{
    enum part {
        COMPUTE,
        MEMORY,
        NETWORK,
        BUBBLE,
        SCHEDULER,
        ARRIVALS,
        PARTS
    };
    static const char *const names[PARTS] = {
            "compute", "memory", "network", "bubble", "scheduler", "arrivals"};
    double ns[PARTS] = {0}, known = 0,
           balance = options->balance_flop_per_byte > 0 ? options->balance_flop_per_byte : 8;
    const struct rank_data *busiest = busiest_of(from);
    int64_t starved = 0, end = 0;
    int worst = COMPUTE;

    if (!busiest)
        return;
    for (int r = 0; r < from->n_ranks; r++) {
        const struct rank_report *report = &from->ranks[r].report;

        if (report->replica == busiest->report.replica && report->stage == 0
                && report->index == 0) {
            starved = report->starved_ns;
            end = report->end_ns;
        }
    }
    for (int64_t i = 0; i < busiest->report.n_uses; i++) {
        const struct meter_use *use = &busiest->uses[i];
        bool dense = op_flop(&use->op) >= balance * op_bytes(&use->op);

        known += (double)use->ns;
        ns[op_is_collective(use->op.kind) ? NETWORK : dense ? COMPUTE : MEMORY] += (double)use->ns;
    }
    /* A GPU's ops are not metered one by one: what a step takes is its work. */
    if (busiest->report.n_uses == 0)
        ns[COMPUTE] = known = (double)busiest->report.busy_ns;
    if (end <= 0)
        return;
    if (end < busiest->report.busy_ns + starved) /* time was up while it waited for an arrival */
        end = busiest->report.busy_ns + starved;
    ns[SCHEDULER] =
            (double)busiest->report.schedule_ns + fmax(0, (double)busiest->report.busy_ns - known);
    ns[ARRIVALS] = (double)starved;
    ns[BUBBLE] = fmax(0, (double)(end - busiest->report.busy_ns - starved)
                                 - (double)busiest->report.schedule_ns);
    for (int p = 0; p < PARTS; p++)
        if (ns[p] > ns[worst])
            worst = p;
    out->bottleneck = names[worst];
    out->bottleneck_frac = ns[worst] / (double)end;
}

void figures_of(struct runtime_result *out, const struct collected *from,
        const struct runtime_options *options, struct arena *arena)
{
    struct list list = {.arena = arena};

    measure_requests(out, from, options, arena);
    list_run(&list, out, &options->plan->predicted);
    list_service(&list, out);
    list_stages(&list, from, options);
    list_ranks(&list, from, options->plan);
    list_ops(&list, from, options);
    find_bottleneck(out, from, options);
    out->figures = list.items;
    out->n_figures = list.n;
}
