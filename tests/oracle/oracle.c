#include "tests/oracle/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/vectors.h"

/* A kind and a configuration, with the prices of every piece under the limits at hand. */
struct way {
    int kind, config, takes;      /* takes: in units of the kind */
    struct instance_price *price; /* [first * (layers + 1) + end] */
};

/* Two figures of stages that were placed: all that matters for the pace. */
struct pair {
    double slowest, sum;
};

/* Pairs by slowest, which ascends while sum descends. */
struct cell {
    int n, cap;
    struct pair *items;
};

struct solver {
    const struct instance *in;
    struct oracle_answer *out;
    int layers, most_stages;
    struct vectors v;
    struct way *ways;
    int n_ways;
    int limits, in_flight;
    double *best[ROLES]; /* of one pattern on exactly the devices of a state */
    double *rest;        /* least sum of stages and hand-overs from each layer on, on any devices */
    double *useful;      /* [stages to come][state]: no pattern with this pace or more is of use */
};

static void open_solver(struct solver *s, const struct instance *in, struct oracle_answer *out)
{
    *s = (struct solver){.in = in, .out = out, .layers = in->n_layers};
    int limit = ORACLE_CELLS / (s->layers + 1);
    *out = (struct oracle_answer){.done = vectors_init(&s->v, in, limit)};
    s->most_stages = in->max_stages > 0 && in->max_stages < s->layers ? in->max_stages : s->layers;
    if (s->most_stages > INSTANCE_STAGES)
        s->most_stages = INSTANCE_STAGES;
    if (!out->done)
        return;
    s->ways = calloc((size_t)in->n_configs * (size_t)s->v.kinds, sizeof *s->ways);
    for (int r = 0; r < ROLES; r++)
        s->best[r] = calloc((size_t)s->v.n_states, sizeof(double));
    s->rest = calloc((size_t)s->layers + 1, sizeof *s->rest);
    s->useful = calloc((size_t)(s->most_stages + 1) * (size_t)s->v.n_states, sizeof *s->useful);
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
    free(s->rest);
    free(s->useful);
    for (int r = 0; r < ROLES; r++)
        free(s->best[r]);
}

static void ask_prices(struct solver *s, int limits)
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

/* A whole pattern on the devices of a state. */
static void judge_pattern(struct solver *s, int state, int in_flight, struct pair pair)
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
            judge_pattern(s, state, 1, pair);
        if (n_stages > 1 && most >= n_stages)
            judge_pattern(s, state, n_stages, pair);
        return;
    }
    if (n_stages == s->most_stages)
        return;
    for (int w = 0; w < s->n_ways; w++) {
        const struct way *way = &s->ways[w];
        if (vectors_at(&s->v, state, way->kind) + way->takes > s->v.most[way->kind])
            continue;
        for (int end = first + 1; end <= s->layers; end++) {
            const struct instance_price *at = &way->price[first * (s->layers + 1) + end];
            if (at->most_in_flight < 1)
                continue;
            struct pair next = {fmax(pair.slowest, at->us), pair.sum + at->us + at->send_us};
            place(s, n_stages + 1, end, state + way->takes * s->v.step[way->kind],
                    at->most_in_flight < most ? at->most_in_flight : most, next);
        }
    }
}

/* ---- by dynamic programming ---- */

static void add_pair(struct cell *cell, struct pair pair)
{
    int lo = 0; /* the first that is slower than the pair */
    int hi = cell->n;
    while (lo < hi) {
        int middle = (lo + hi) / 2;
        if (cell->items[middle].slowest > pair.slowest)
            hi = middle;
        else
            lo = middle + 1;
    }
    if (lo > 0 && cell->items[lo - 1].sum <= pair.sum)
        return;
    int from = lo > 0 && cell->items[lo - 1].slowest >= pair.slowest ? lo - 1 : lo;
    int to = lo;
    while (to < cell->n && cell->items[to].sum >= pair.sum)
        to++;
    if (cell->n + 1 > cell->cap) {
        cell->cap = cell->cap > 0 ? 2 * cell->cap : 4;
        cell->items = realloc(cell->items, sizeof pair * (size_t)cell->cap);
        if (cell->items == NULL)
            abort();
    }
    memmove(&cell->items[from + 1], &cell->items[to], sizeof pair * (size_t)(cell->n - to));
    cell->items[from] = pair;
    cell->n += 1 - (to - from);
}

static void find_rest(struct solver *s)
{
    s->rest[s->layers] = 0;
    for (int first = s->layers - 1; first >= 0; first--) {
        s->rest[first] = HUGE_VAL;
        for (int w = 0; w < s->n_ways; w++)
            for (int end = first + 1; end <= s->layers; end++) {
                const struct instance_price *at = &s->ways[w].price[first * (s->layers + 1) + end];
                if (at->most_in_flight >= s->in_flight)
                    s->rest[first] = fmin(s->rest[first], at->us + at->send_us + s->rest[end]);
            }
    }
}

/* A pattern that serves no more than those known do on its devices is not missed. With stages to come, the devices
 * that leave most room count. */
static void find_useful(struct solver *s)
{
    const struct instance_limits *limits = &s->in->limits[s->limits];
    double *served = vectors_fill(&s->v, s->best[limits->role]);
    for (int state = 0; state < s->v.n_states; state++)
        s->useful[state] = limits->requests / served[state] * 1e6;
    free(served);
    for (int left = 1; left <= s->most_stages; left++)
        for (int state = 0; state < s->v.n_states; state++) {
            double *most = &s->useful[(int64_t)left * s->v.n_states + state];
            *most = 0;
            for (int w = 0; w < s->n_ways; w++) {
                const struct way *way = &s->ways[w];
                int to = state + way->takes * s->v.step[way->kind];
                if (vectors_at(&s->v, state, way->kind) + way->takes <= s->v.most[way->kind])
                    *most = fmax(*most, s->useful[(int64_t)(left - 1) * s->v.n_states + to]);
            }
        }
}

struct level {
    struct cell *cells; /* [layer * n_states + state] */
};

/* One more stage behind every pair of a cell; then `left` more, or with one batch in flight none or any. */
static void extend(
        struct solver *s, const struct cell *cell, struct level *next, int at, int state, int left)
{
    double round_us = s->in->limits[s->limits].round_cap_us;
    for (int w = 0; w < s->n_ways; w++) {
        const struct way *way = &s->ways[w];
        if (vectors_at(&s->v, state, way->kind) + way->takes > s->v.most[way->kind])
            continue;
        int to = state + way->takes * s->v.step[way->kind];
        int first_end = s->in_flight > 1 && left == 0 ? s->layers : at + 1;
        for (int end = first_end; end <= s->layers - left; end++) {
            const struct instance_price *price = &way->price[at * (s->layers + 1) + end];
            int more_stages = s->in_flight > 1 ? left : end < s->layers;
            double pace_us = s->useful[(int64_t)more_stages * s->v.n_states + to];
            double most_us = fmin(round_us * (1 + 1e-12), pace_us * s->in_flight) - s->rest[end];
            if (price->most_in_flight < s->in_flight || price->us >= pace_us)
                continue;
            double more = price->us + price->send_us;
            for (int i = cell->n - 1; i >= 0 && cell->items[i].sum + more < most_us; i--) {
                struct pair pair = {
                        fmax(cell->items[i].slowest, price->us), cell->items[i].sum + more};
                if (s->in_flight == 1)
                    pair.slowest = 0; /* the sum is the pace */
                if (pair.slowest < pace_us)
                    add_pair(&next->cells[(int64_t)end * s->v.n_states + to], pair);
            }
        }
    }
}

/* Stage by stage. With in_flight > 1 patterns have that many stages, with 1 any number. */
static void run_levels(struct solver *s, struct level *now, struct level *next)
{
    int n_cells = (s->layers + 1) * s->v.n_states;
    int most = s->in_flight > 1 ? s->in_flight : s->most_stages;
    for (int i = 0; i < n_cells; i++)
        now->cells[i].n = 0;
    add_pair(&now->cells[0], (struct pair){0, 0});
    for (int stage = 1; stage <= most; stage++) {
        for (int i = 0; i < n_cells; i++)
            next->cells[i].n = 0;
        int left = s->in_flight > 1 ? most - stage : 0;
        for (int at = stage - 1; at < s->layers - left; at++)
            for (int state = 0; state < s->v.n_states; state++) {
                const struct cell *cell = &now->cells[(int64_t)at * s->v.n_states + state];
                if (cell->n > 0)
                    extend(s, cell, next, at, state, left);
                s->out->patterns += cell->n;
            }
        struct level swap = *now;
        *now = *next;
        *next = swap;
        for (int state = 0; state < s->v.n_states && left == 0; state++) {
            const struct cell *cell = &now->cells[(int64_t)s->layers * s->v.n_states + state];
            for (int i = 0; i < cell->n; i++)
                judge_pattern(s, state, s->in_flight, cell->items[i]);
        }
    }
}

static void find_patterns(struct solver *s)
{
    size_t n_cells = (size_t)(s->layers + 1) * (size_t)s->v.n_states;
    struct level levels[2];
    for (int i = 0; i < 2; i++)
        levels[i].cells = calloc(n_cells, sizeof(struct cell));
    for (s->in_flight = 1; s->in_flight <= s->most_stages; s->in_flight++)
        for (int l = 0; l < s->in->n_limits; l++) {
            ask_prices(s, l);
            find_rest(s);
            find_useful(s);
            run_levels(s, &levels[0], &levels[1]);
        }
    for (int i = 0; i < 2; i++) {
        for (size_t c = 0; c < n_cells; c++)
            free(levels[i].cells[c].items);
        free(levels[i].cells);
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
        ask_prices(&s, l);
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
        find_patterns(&s);
        answer(&s);
    }
    close_solver(&s);
}
