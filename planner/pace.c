#include "planner/pace.h"
#include "planner/pace_sample.h"

#include <math.h>

/* Of what the steady state comes to: queues grow without end near all of it. */
static const double shares[] = {1.0, 0.96, 0.91, 0.84, 0.75, 0.6};
#define N_SHARES (sizeof shares / sizeof *shares)
/* A plan that delivers this share of what comes keeps up; the rest is the rounding of a finite time. */
#define KEEPS_UP 0.98

enum {
    LEAST_COUNTED = 64 /* requests of a replica that figures rest on, at least half of its places */
};

/* The workload's requests over and over: as many as fill the places, those that count, and as many again. */
static void repeat(struct requests *out, const struct requests *from,
        const struct pace_sample *sample, struct arena *arena)
{
    double warm = 0;
    double counted = 0;
    for (int r = 0; r < sample->plan.n_replicas; r++) {
        const struct plan_replica *replica = &sample->plan.replicas[r];
        int64_t here = (int64_t)replica->max_seqs * replica->in_flight;
        if (replica->role == ROLE_DECODE && !sample->whole)
            here /= replica->stages[0].attention_dp;
        /* Not all that prefill replicas hand over comes to a decode replica of the sample. */
        double times = replica->role == ROLE_PREFILL ? 1 : sample->more;
        warm += times * (double)here;
        counted += times * (double)(here > INT64_C(2) * LEAST_COUNTED ? here / 2 : LEAST_COUNTED);
    }
    *out = *from;
    out->n_warm = out->n_cool = llround(warm);
    out->n = 2 * out->n_warm + llround(counted);
    out->items = ARENA_NEW(arena, struct request, out->n);
    for (int64_t i = 0; i < out->n; i++)
        out->items[i] = from->items[i % from->n];
}

static bool holds(
        const struct simulate_result *result, const struct workload *workload, double per_s)
{
    bool objectives = workload->slo.ttft_us > 0 || workload->slo.tpot_us > 0;
    return result->settled_per_s >= KEEPS_UP * per_s
           && (!objectives || result->good_frac >= workload->slo.percentile - 1e-12);
}

bool pace_simulate(struct simulate_result *out, const struct plan *plan,
        const struct planner_input *input, struct cost_model *costs, struct pace_range range,
        struct arena *arena, struct err *err)
{
    struct requests requests;
    struct pace_sample sample;
    pace_sample_of(&sample, plan, arena);
    const struct simulate_input sim = {.plan = &sample.plan,
            .workload = input->workload,
            .requests = &requests,
            .costs = costs,
            .sample = sample.whole ? NULL : &sample.weights};
    repeat(&requests, input->requests, &sample, arena);
    for (size_t i = 0; i == 0 || (i < N_SHARES && shares[i] * range.most > range.least); i++) {
        double per_s = shares[i] * range.most;
        requests.unpaced = true; /* of the rate before */
        if (!requests_pace(&requests, per_s * sample.in_frac, err)
                || !simulate_run(out, &sim, arena, err))
            return false;
        if (holds(out, input->workload, per_s)) {
            /* What was good stays the same share. */
            out->figures.goodput_requests_per_s *= per_s / out->figures.requests_per_s;
            out->figures.requests_per_s = per_s;
            break;
        }
    }
    pace_sample_spread(out, &sample, plan, arena);
    struct plan_figures *f = &out->figures;
    f->makespan_s = (double)input->requests->n / f->requests_per_s + f->e2e_p50_us * 1e-6;
    return true;
}
