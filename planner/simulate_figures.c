#include "planner/simulate_figures.h"

#include <math.h>
#include <stdlib.h>

struct sample {
    double value, weight;
};

struct samples {
    struct sample *items;
    int64_t n;
};

static void add(struct samples *to, double value, double weight)
{
    to->items[to->n++] = (struct sample){value, weight};
}

static int by_value(const void *a, const void *b)
{
    const struct sample *x = a;
    const struct sample *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/*
 * Linear between order statistics; the i-th lies at the weight of those before it, over the weight of all
 * but the last. With equal weights that is type 7 of Hyndman and Fan, as in core/summary.
 */
static double quantile(const struct samples *sorted, double q)
{
    double all = 0;
    for (int64_t i = 0; i + 1 < sorted->n; i++)
        all += sorted->items[i].weight;
    double wanted = q * all;
    double at = 0;
    for (int64_t i = 0; i + 1 < sorted->n; i++) {
        const struct sample *s = &sorted->items[i];
        if (at + s->weight >= wanted) {
            double frac = s->weight > 0 ? (wanted - at) / s->weight : 0;
            return s->value + frac * (s[1].value - s->value);
        }
        at += s->weight;
    }
    return sorted->n > 0 ? sorted->items[sorted->n - 1].value : 0;
}

static struct simulate_spread spread_of(struct samples *samples)
{
    qsort(samples->items, (size_t)samples->n, sizeof *samples->items, by_value);
    return (struct simulate_spread){
            quantile(samples, 0.5), quantile(samples, 0.9), quantile(samples, 0.99)};
}

/* Sums over requests, each as often as its replica stands for others. */
struct sums {
    double offered, finished, good, output, total;
    int64_t first_ns, last_ns; /* of those that finished */
    int64_t end_ns;            /* of everything */
    struct trend {
        double n, arrival, took, arrival_2, arrival_took; /* weighted sums, seconds */
    } trend;
};

struct lists {
    struct samples ttft, tpot, e2e, queue;
};

static bool is_good(const struct workload *w, double ttft_us, double tpot_us)
{
    return w == NULL
           || ((w->slo.ttft_us <= 0 || ttft_us <= w->slo.ttft_us)
                   && (w->slo.tpot_us <= 0 || tpot_us <= w->slo.tpot_us));
}

static void add_finished(struct sums *sums, struct lists *lists, const struct simulate_input *input,
        const struct request *request, const struct simulate_request *record, double weight)
{
    double ttft_us = (double)(record->first_token_ns - request->arrival_ns) * 1e-3;
    double tpot_us = 0;
    if (request->output_len > 1) {
        tpot_us = (double)(record->finish_ns - record->first_token_ns) * 1e-3
                  / (double)(request->output_len - 1);
        add(&lists->tpot, tpot_us, weight);
    }
    add(&lists->ttft, ttft_us, weight);
    add(&lists->e2e, (double)(record->finish_ns - request->arrival_ns) * 1e-3, weight);
    add(&lists->queue, (double)(record->begin_ns - request->arrival_ns) * 1e-3, weight);
    double arrival = (double)request->arrival_ns * 1e-9;
    double took = (double)(record->finish_ns - request->arrival_ns) * 1e-9;
    sums->trend.n += weight;
    sums->trend.arrival += weight * arrival;
    sums->trend.took += weight * took;
    sums->trend.arrival_2 += weight * arrival * arrival;
    sums->trend.arrival_took += weight * arrival * took;
    sums->finished += weight;
    sums->good += is_good(input->workload, ttft_us, tpot_us) ? weight : 0;
    sums->output += weight * (double)request->output_len;
    sums->total += weight * (double)(request->output_len + request->prompt_len);
    if (sums->first_ns == 0 || record->finish_ns < sums->first_ns)
        sums->first_ns = record->finish_ns;
    if (record->finish_ns > sums->last_ns)
        sums->last_ns = record->finish_ns;
}

/* How many requests one stands for: what was handed over is one of its decode replica's. */
static double weight_of(const struct simulate_request *record, const double *weight)
{
    if (record->decode_ns < 0)
        return weight[record->replica];
    return record->decode_replica >= 0 ? weight[record->decode_replica] : 0;
}

static void sum_requests(struct sums *sums, struct lists *lists, struct simulate_result *out,
        const struct simulate_input *input, const double *weight)
{
    for (int64_t r = 0; r < input->requests->n; r++) {
        const struct simulate_request *record = &out->requests[r];
        double w = weight_of(record, weight);
        if (w > 0 && record->finish_ns > sums->end_ns)
            sums->end_ns = record->finish_ns;
        if (w <= 0 || r < input->requests->n_warm
                || r >= input->requests->n - input->requests->n_cool)
            continue;
        out->offered++;
        sums->offered += w;
        switch (record->outcome) {
        case SCHED_PENDING:
            break;
        case SCHED_FINISHED:
            out->finished++;
            add_finished(sums, lists, input, &input->requests->items[r], record, w);
            break;
        case SCHED_REFUSED_FULL:
            out->refused_full++;
            break;
        case SCHED_REFUSED_LATE:
            out->refused_late++;
            break;
        }
    }
}

/* The interval of throughput follows the slowest stage's: it sets the pace. */
static void interval_of(struct simulate_result *out)
{
    out->figures.lo_frac = out->figures.hi_frac = 1;
    double most = 0;
    for (int i = 0; i < out->n_stages; i++) {
        const struct step_cost *total = &out->stages[i].total;
        if (total->us <= most || total->hi_us <= 0 || total->lo_us <= 0)
            continue;
        most = total->us;
        out->figures.lo_frac = total->us / total->hi_us;
        out->figures.hi_frac = total->us / total->lo_us;
    }
}

static void memory_of(struct simulate_result *out, const struct plan *plan)
{
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            int64_t bytes = stage->weight_bytes + stage->kv_bytes + stage->work_bytes;
            if (bytes > out->figures.memory_bytes)
                out->figures.memory_bytes = bytes;
        }
}

/*
 * The seconds in which the plan finishes what counts. From the first to the last one is longer where replicas that take
 * unlike times finish first and last, and in a sample a request more or less of the one that stands for the most would
 * look like another rate. So: the time in which they come, longer by as much as later ones take longer than earlier ones (a
 * straight line through times by arrival), and as if what is offered were what came.
 */
static double settled_seconds(const struct sums *sums, const struct simulate_input *input)
{
    const struct requests *r = input->requests;
    const struct trend *t = &sums->trend;
    int64_t counted = r->n - r->n_warm - r->n_cool;
    double span =
            (double)(r->items[r->n - r->n_cool - 1].arrival_ns - r->items[r->n_warm].arrival_ns)
            * 1e-9 * (double)counted / (double)(counted > 1 ? counted - 1 : 1);
    double spread = t->arrival_2 - t->arrival * t->arrival / fmax(t->n, 1e-300);
    double slope = t->arrival_took - t->arrival * t->took / fmax(t->n, 1e-300);
    if (spread > 0)
        span *= fmax(0.5, 1 + slope / spread);
    double each = input->sample != NULL ? input->sample->each : 1;
    return span * sums->offered / ((double)counted * each);
}

void simulate_figures(
        struct simulate_result *out, const struct simulate_input *input, const double *weight)
{
    struct arena arena = {0};
    struct sums sums = {0};
    struct lists lists = {0};
    struct samples *const all[] = {&lists.ttft, &lists.tpot, &lists.e2e, &lists.queue};
    struct plan_figures *f = &out->figures;
    for (int i = 0; i < 4; i++)
        all[i]->items = ARENA_NEW(&arena, struct sample, input->requests->n);
    sum_requests(&sums, &lists, out, input, weight);
    out->ttft_us = spread_of(&lists.ttft);
    out->tpot_us = spread_of(&lists.tpot);
    out->e2e_us = spread_of(&lists.e2e);
    out->queue_us = spread_of(&lists.queue);
    if (input->workload != NULL) {
        out->slo_ttft_us = quantile(&lists.ttft, input->workload->slo.percentile);
        out->slo_tpot_us = quantile(&lists.tpot, input->workload->slo.percentile);
    }
    out->good_frac = sums.offered > 0 ? sums.good / sums.offered : 0;
    f->ttft_p50_us = out->ttft_us.p50;
    f->ttft_p99_us = out->ttft_us.p99;
    f->tpot_p50_us = out->tpot_us.p50;
    f->tpot_p99_us = out->tpot_us.p99;
    f->e2e_p50_us = out->e2e_us.p50;
    f->makespan_s = (double)sums.last_ns * 1e-9;
    /* With a warm-up: from the first that counts to the last one, which is a request less. */
    double begin_s = input->requests->n_warm > 0 ? (double)sums.first_ns * 1e-9 : 0;
    double share = begin_s > 0 && out->finished > 1 ? 1 - 1 / (double)out->finished : 1;
    double seconds = (f->makespan_s - begin_s) / share;
    if (out->finished > 0 && input->requests->n_warm > 0) {
        double settled = settled_seconds(&sums, input);
        out->settled_per_s = sums.finished / settled;
        seconds = input->sample != NULL ? settled : seconds;
    }
    if (seconds > 0) {
        f->output_tokens_per_s = sums.output / seconds;
        f->total_tokens_per_s = sums.total / seconds;
        f->requests_per_s = sums.finished / seconds;
        f->goodput_requests_per_s = sums.good / seconds;
    }
    for (int i = 0; i < out->n_stages; i++)
        out->stages[i].busy_frac =
                sums.end_ns > 0 ? out->stages[i].busy_frac / (double)sums.end_ns : 0;
    interval_of(out);
    memory_of(out, input->plan);
    arena_free(&arena);
}
