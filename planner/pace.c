#include "planner/pace.h"

#include <math.h>

/* Of what the steady state comes to: queues grow without end near all of it. */
static const double shares[] = {1.0, 0.96, 0.91, 0.84, 0.75, 0.6};
#define N_SHARES (sizeof shares / sizeof *shares)
/* A plan that delivers this share of what comes keeps up; the rest is the rounding of a finite time. */
#define KEEPS_UP 0.98

enum {
    LEAST_COUNTED = 64 /* requests of a replica that figures rest on, at least half of its places */
};

/* The workload's requests over and over: as many as the plan has places, those that count, and as many again. */
static void repeat(struct requests *out, const struct requests *from, const struct plan *plan,
        struct arena *arena)
{
    int64_t places = 0;
    int64_t counted = 0;
    for (int r = 0; r < plan->n_replicas; r++) {
        int64_t here = (int64_t)plan->replicas[r].max_seqs * plan->replicas[r].in_flight;
        places += here;
        counted += here > INT64_C(2) * LEAST_COUNTED ? here / 2 : LEAST_COUNTED;
    }
    *out = *from;
    out->n = 2 * places + counted;
    out->n_warm = out->n_cool = places;
    out->items = ARENA_NEW(arena, struct request, out->n);
    for (int64_t i = 0; i < out->n; i++)
        out->items[i] = from->items[i % from->n];
}

static bool holds(
        const struct simulate_result *result, const struct workload *workload, double per_s)
{
    bool objectives = workload->slo.ttft_us > 0 || workload->slo.tpot_us > 0;
    return result->figures.requests_per_s >= KEEPS_UP * per_s
           && (!objectives || result->good_frac >= workload->slo.percentile - 1e-12);
}

bool pace_simulate(struct simulate_result *out, const struct plan *plan,
        const struct planner_input *input, struct cost_model *costs, struct pace_range range,
        struct arena *arena, struct err *err)
{
    struct requests requests;
    struct simulate_input sim = {plan, input->workload, &requests, costs, 0};
    for (size_t i = 0; i == 0 || (i < N_SHARES && shares[i] * range.most > range.least); i++) {
        double per_s = shares[i] * range.most;
        repeat(&requests, input->requests, plan, arena);
        sim.most_requests = requests.n / plan->n_replicas;
        if (!requests_pace(&requests, per_s, err) || !simulate_run(out, &sim, arena, err))
            return false;
        if (holds(out, input->workload, per_s)) {
            /* What was good stays the same share. */
            out->figures.goodput_requests_per_s *= per_s / out->figures.requests_per_s;
            out->figures.requests_per_s = per_s;
            break;
        }
    }
    struct plan_figures *f = &out->figures;
    f->makespan_s = (double)input->requests->n / f->requests_per_s + f->e2e_p50_us * 1e-6;
    return true;
}
