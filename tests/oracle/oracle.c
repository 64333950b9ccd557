#include "tests/oracle/oracle.h"

#include <math.h>
#include <stdlib.h>

#include "tests/oracle/solver.h"

static void open_solver(struct solver *s, const struct instance *in, struct oracle_answer *out)
{
    *s = (struct solver){.in = in, .out = out, .layers = in->n_layers};
    s->most_stages = in->max_stages > 0 && in->max_stages < s->layers ? in->max_stages : s->layers;
    if (s->most_stages > INSTANCE_STAGES)
        s->most_stages = INSTANCE_STAGES;
    int limit = ORACLE_CELLS / ((s->layers + 1) * (s->most_stages + 1));
    *out = (struct oracle_answer){.done = vectors_init(&s->v, in, limit)};
    if (!out->done)
        return;
    s->ways = calloc((size_t)in->n_configs * (size_t)s->v.kinds, sizeof *s->ways);
    for (int r = 0; r < ROLES; r++)
        s->best[r] = calloc((size_t)s->v.n_states, sizeof(double));
}

static void forget_ways(struct solver *s)
{
    for (int w = 0; w < s->n_ways; w++)
        free(s->ways[w].price);
    s->n_ways = 0;
}

static void close_solver(struct solver *s)
{
    forget_ways(s);
    free(s->ways);
    for (int r = 0; r < ROLES; r++)
        free(s->best[r]);
}

void solver_ask_prices(struct solver *s, int limits)
{
    const struct instance *in = s->in;
    int side = s->layers + 1;
    forget_ways(s);
    s->limits = limits;
    for (int c = 0; c < in->n_configs; c++)
        for (int k = 0; k < s->v.kinds; k++) {
            int takes = in->configs[c].devices[k] / s->v.unit[k];
            if (in->configs[c].family != in->limits[limits].family || takes < 1
                    || takes > s->v.most[k])
                continue;
            struct way *way = &s->ways[s->n_ways++];
            *way = (struct way){k, c, takes,
                    calloc((size_t)side * (size_t)side, sizeof(struct instance_price))};
            for (int first = 0; first < s->layers; first++)
                for (int end = first + 1; end <= s->layers; end++) {
                    struct instance_price *at = &way->price[first * side + end];
                    in->price(in->self, at, k, c, limits, first, end);
                    if (end == s->layers)
                        at->send_us = 0;
                }
        }
}

bool solver_may_take(const struct solver *s, const struct way *way, int state)
{
    return vectors_at(&s->v, state, way->kind) + way->takes <= s->v.most[way->kind];
}

void solver_judge(struct solver *s, int state, int in_flight, struct pair pair)
{
    const struct instance_limits *limits = &s->in->limits[s->limits];
    double pace = fmax(pair.slowest, pair.sum / in_flight);
    if (pace * in_flight > limits->round_cap_us)
        return;
    double *best = &s->best[limits->role][state];
    *best = fmax(*best, limits->requests / pace * 1e6);
}

/* ---- by recursion ---- */

static void place(struct solver *s, int n_stages, int first, int state, int most, struct pair pair)
{
    if (first == s->layers) {
        s->out->patterns++;
        if (most >= 1)
            solver_judge(s, state, 1, pair);
        if (n_stages > 1 && most >= n_stages)
            solver_judge(s, state, n_stages, pair);
        return;
    }
    if (n_stages == s->most_stages)
        return;
    for (int w = 0; w < s->n_ways; w++) {
        const struct way *way = &s->ways[w];
        if (!solver_may_take(s, way, state))
            continue;
        for (int end = first + 1; end <= s->layers; end++) {
            const struct instance_price *at = &way->price[first * (s->layers + 1) + end];
            if (at->most_in_flight < 1)
                continue;
            struct pair next = {fmax(pair.slowest, at->us), pair.sum + at->us + at->send_us};
            place(s, n_stages + 1, end, solver_take(s, way, state),
                    at->most_in_flight < most ? at->most_in_flight : most, next);
        }
    }
}

/* ---- from patterns to the cluster ---- */

static void answer(struct solver *s)
{
    const struct instance *in = s->in;
    double *whole = vectors_join(&s->v, s->best);
    s->out->most = whole[s->v.n_states - 1];
    s->out->value = s->out->most;
    s->out->feasible = s->out->most > 0;
    if (in->objective == INSTANCE_PRICE) {
        double least = HUGE_VAL;
        for (int state = 0; state < s->v.n_states; state++) {
            double price = 0;
            for (int k = 0; k < s->v.kinds; k++)
                price += vectors_at(&s->v, state, k) * s->v.unit[k] * in->kinds[k].price;
            if (whole[state] >= in->demand * (1 - 1e-9))
                least = fmin(least, price);
        }
        s->out->feasible = isfinite(least);
        s->out->value = s->out->feasible ? least : 0;
    }
    free(whole);
}

void oracle_brute(struct oracle_answer *out, const struct instance *in)
{
    struct solver s;
    open_solver(&s, in, out);
    for (int l = 0; l < in->n_limits && out->done; l++) {
        solver_ask_prices(&s, l);
        place(&s, 0, 0, 0, INSTANCE_STAGES, (struct pair){0, 0});
    }
    if (out->done)
        answer(&s);
    close_solver(&s);
}

void oracle_dynamic(struct oracle_answer *out, const struct instance *in)
{
    struct solver s;
    open_solver(&s, in, out);
    if (out->done) {
        dynamic_find_patterns(&s);
        answer(&s);
    }
    close_solver(&s);
}
