#include "profiler/trial.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/summary.h"

const struct trial_limits trial_limits_default = {.half_width_frac = 0.01,
        .budget_s = 0.25,
        .min_samples = 5,
        .floor_samples = 3,
        .max_samples = 400};

enum {
    MOST_DISTURBED_ROUNDS = 2,
    NOISE_SAMPLES = 24
};

struct samples {
    double *good;
    int n_good;
    double *bad; /* hit or disturbed: used when there is nothing else */
    int n_bad;
    int disturbed_rounds;
};

static void keep(double *to, int *n, const double *from, int count)
{
    if (count > SOURCE_MOST - *n)
        count = SOURCE_MOST - *n;
    memcpy(to + *n, from, (size_t)count * sizeof *to);
    *n += count;
}

static double half_width_frac(const double *samples, int n, double *scratch)
{
    struct summary s;
    memcpy(scratch, samples, (size_t)n * sizeof *samples);
    summary_of(&s, scratch, n);
    return s.median > 0 ? (s.ci_hi - s.ci_lo) / 2 / s.median : 0;
}

/* NULL = go on. */
static const char *stop_reason(const struct samples *s, const struct trial_limits *limits,
        int64_t begin_ns, double *scratch)
{
    if (s->n_good >= limits->min_samples) {
        double width = half_width_frac(s->good, s->n_good, scratch);
        if (width < limits->half_width_frac)
            return "interval";
        /* Twice the samples should narrow the interval by a third; noise that drifts does not. */
        if (s->n_good >= NOISE_SAMPLES
                && width > 0.9 * half_width_frac(s->good, s->n_good / 2, scratch))
            return "noise";
        if (s->n_good >= limits->max_samples)
            return "noise";
    }
    double spent_s = (double)(clock_now_ns() - begin_ns) * 1e-9;
    if (spent_s > limits->budget_s && s->n_good + s->n_bad >= limits->floor_samples)
        return "budget";
    return NULL;
}

void trial_summarise(struct profile_point *point, const double *samples, int n, struct arena *arena)
{
    struct summary s;
    double *sorted = ARENA_NEW(arena, double, n);

    memcpy(sorted, samples, (size_t)n * sizeof *samples);
    summary_of(&s, sorted, n);
    point->cost_us = s.median;
    profile_point_spread(point, &s);
    point->samples = n;
}

enum source_answer trial_run(struct trial_result *out, const struct source *source,
        const struct op *op, const struct trial_limits *limits, struct arena *arena,
        struct err *err)
{
    struct samples s = {0};
    struct batch batch;
    const char *stop = NULL;

    *out = (struct trial_result){
            .point = {.op = *op, .looks = 1, .cold = source->cold, .source = COST_MEASURED}};
    enum source_answer answer = source->begin(source->self, op, err);
    if (answer != SOURCE_OK)
        return answer;
    s.good = ARENA_NEW(arena, double, SOURCE_MOST);
    s.bad = ARENA_NEW(arena, double, SOURCE_MOST);
    double *scratch = ARENA_NEW(arena, double, SOURCE_MOST);
    int64_t begin_ns = clock_now_ns();
    for (int round = limits->floor_samples; !stop; round = limits->min_samples) {
        if (!source->sample(source->self, round, &batch)) {
            stop = "budget"; /* a recording ends where the time was spent */
            break;
        }
        bool again = batch.disturbed && s.disturbed_rounds < MOST_DISTURBED_ROUNDS;
        s.disturbed_rounds += batch.disturbed;
        keep(s.bad, &s.n_bad, batch.hit_us, batch.n_hit);
        if (again)
            keep(s.bad, &s.n_bad, batch.us, batch.n);
        else
            keep(s.good, &s.n_good, batch.us, batch.n);
        stop = stop_reason(&s, limits, begin_ns, scratch);
    }
    source->end(source->self);
    if (s.n_good + s.n_bad == 0)
        return SOURCE_SKIP;
    out->disturbed = s.n_good < limits->floor_samples && s.n_bad > 0;
    if (out->disturbed)
        keep(s.good, &s.n_good, s.bad, s.n_bad);
    out->point.stop = stop;
    out->samples = ARENA_NEW(arena, double, s.n_good);
    memcpy(out->samples, s.good, (size_t)s.n_good * sizeof *s.good);
    trial_summarise(&out->point, s.good, s.n_good, arena);
    return SOURCE_OK;
}
