#include "planner/pace.h"
#include "planner/pace_sample.h"

#include <math.h>

/* Of what the steady state comes to: queues grow without end near all of it. */
static const double shares[] = {1.0, 0.96, 0.91, 0.84, 0.75, 0.6};
#define N_SHARES (sizeof shares / sizeof *shares)
/* A plan that delivers this share of what comes keeps up; the rest is the rounding of a finite time. */
#define KEEPS_UP 0.98
/* Shares this close are not told apart. */
#define FINE 0.015

enum {
    /* Requests of a replica that figures rest on, at least half of its places. */
    LEAST_COUNTED = 64,
    /* Lives of requests: fuller batches take longer steps, and longer steps fill batches. */
    SETTLES = 4
};

/* The workload's requests over and over: as many as fill the places until batches no longer grow, those that count,
 * and as many as fill the places again. */
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
    out->n_cool = llround(warm);
    out->n_warm = SETTLES * out->n_cool;
    out->n = out->n_warm + llround(counted) + out->n_cool;
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

/* Where a run is simulated, again and again at other rates. */
struct trial {
    const struct simulate_input *sim;
    struct requests *requests;
    double in_frac;
};

/* *held: at this rate the plan keeps up and meets the objectives. */
static bool try_rate(struct simulate_result *out, bool *held, const struct trial *trial,
        double per_s, struct arena *arena, struct err *err)
{
    trial->requests->unpaced = true; /* of the rate before */
    if (!requests_pace(trial->requests, per_s * trial->in_frac, err)
            || !simulate_run(out, trial->sim, arena, err))
        return false;
    *held = holds(out, trial->sim->workload, per_s);
    if (*held) {
        /* What was good stays the same share. */
        out->figures.goodput_requests_per_s *= per_s / out->figures.requests_per_s;
        out->figures.requests_per_s = per_s;
    }
    return true;
}

/* The first of the shares that holds, then what lies between it and the one before. */
static bool find_rate(struct simulate_result *out, const struct trial *trial,
        struct pace_range range, struct arena *arena, struct err *err)
{
    double failed = 0;
    bool held = false;
    size_t i = 0;
    for (; !held && (i == 0 || (i < N_SHARES && shares[i] * range.most > range.least)); i++) {
        if (!try_rate(out, &held, trial, shares[i] * range.most, arena, err))
            return false;
        failed = held ? failed : shares[i];
    }
    double share = shares[i - 1];
    while (held && failed - share > FINE) {
        double middle = (failed + share) / 2;
        struct simulate_result better;
        bool more;
        if (!try_rate(&better, &more, trial, middle * range.most, arena, err))
            return false;
        if (more) {
            *out = better;
            share = middle;
        } else {
            failed = middle;
        }
    }
    return true;
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
    const struct trial trial = {&sim, &requests, sample.in_frac};
    repeat(&requests, input->requests, &sample, arena);
    if (!find_rate(out, &trial, range, arena, err))
        return false;
    pace_sample_spread(out, &sample, plan, arena);
    struct plan_figures *f = &out->figures;
    f->makespan_s = (double)input->requests->n / f->requests_per_s + f->e2e_p50_us * 1e-6;
    return true;
}
