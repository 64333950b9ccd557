/*
 * The best pattern for every vector of devices, by dynamic programming over stages, layers and devices of each kind.
 *
 * One micro-batch in flight: the pace is the sum, so that the least sum is all there is to know. As many in flight as
 * there are stages, S: all pairs (slowest, sum) that no other one beats in both. As both parts of
 * T = max(slowest, sum / S) only grow with a stage's, a beaten pair never becomes the better one.
 *
 * Pairs are few because it is known before what they can become. From the last layer backwards, for every number of
 * stages to come and every vector of devices that they take: the least slowest and the least sum, each for itself (so
 * no pairs), and the other figure of the same stages. For all S stages these are patterns already, mostly the best
 * ones; and a pair is of use only where its figures together with the least ones to come, on some devices that are
 * left, serve more than what is known serves on the devices of both.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/pairs.h"
#include "tests/oracle/solver.h"

/* A stage from a layer on that fits and is quick enough to be of use. */
struct arc {
    int end;
    double us, all_us; /* alone, and with its hand-over */
};

/* Of stages to come: the pair whose slowest is least, and the one whose sum is. */
struct ahead {
    struct pair even, brief;
};

/* What a pair must stay below to be of use. */
struct room {
    double slowest, sum;
};

struct table {
    struct solver *s;
    int64_t side;      /* layers + 1 */
    int in_flight;     /* stages of a pattern */
    double *useful;    /* [state]: no pattern with this pace or more is */
    double slowest_us; /* the most of useful */
    struct arc *arcs;
    int *begin; /* [way * side + layer]: where its arcs begin, by end; one more */
    int *reached,
            *n_reached;  /* [stages * states], [stages]: devices that so many stages may take */
    struct ahead *ahead; /* [(stages to come * states + state they take) * side + layer] */
    struct room *room;   /* [(stages to come * states + state taken) * side + layer] */
    struct pairs *now, *next; /* [state taken * side + layer] */
};

static const struct ahead nothing = {{HUGE_VAL, HUGE_VAL}, {HUGE_VAL, HUGE_VAL}};

static int64_t row_of(const struct table *t, int left, int state)
{
    return ((int64_t)left * t->s->v.n_states + state) * t->side;
}

static void *zeroed(size_t n, size_t bytes)
{
    void *memory = calloc(n, bytes);
    if (memory == NULL)
        abort();
    return memory;
}

static void open_table(struct table *t, struct solver *s)
{
    *t = (struct table){.s = s, .side = s->layers + 1};
    size_t side = (size_t)t->side;
    size_t states = (size_t)s->v.n_states;
    size_t stages = (size_t)s->most_stages + 1;
    size_t ways = (size_t)s->in->n_configs * (size_t)s->v.kinds;
    t->useful = zeroed(states, sizeof *t->useful);
    t->arcs = zeroed(ways * side * side, sizeof *t->arcs);
    t->begin = zeroed(ways * side + 1, sizeof *t->begin);
    t->reached = zeroed(stages * states, sizeof *t->reached);
    t->n_reached = zeroed(stages, sizeof *t->n_reached);
    t->ahead = zeroed(stages * states * side, sizeof *t->ahead);
    t->room = zeroed(stages * states * side, sizeof *t->room);
    t->now = zeroed(states * side, sizeof *t->now);
    t->next = zeroed(states * side, sizeof *t->next);
}

static void close_table(struct table *t)
{
    for (int64_t c = 0; c < (int64_t)t->s->v.n_states * t->side; c++) {
        free(t->now[c].items);
        free(t->next[c].items);
    }
    free(t->useful);
    free(t->arcs);
    free(t->begin);
    free(t->reached);
    free(t->n_reached);
    free(t->ahead);
    free(t->room);
    free(t->now);
    free(t->next);
}

/* A pattern that serves no more than those known do on its devices is not missed. */
static void find_useful(struct table *t)
{
    struct solver *s = t->s;
    const struct instance_limits *limits = &s->in->limits[s->limits];
    double *served = vectors_fill(&s->v, s->best[limits->role]);
    t->slowest_us = 0;
    for (int state = 1; state < s->v.n_states; state++) {
        t->useful[state] = limits->requests / served[state] * 1e6;
        t->slowest_us = fmax(t->slowest_us, t->useful[state]);
    }
    free(served);
}

/* Stages for so many micro-batches in flight. */
static void list_arcs(struct table *t, int in_flight)
{
    const struct solver *s = t->s;
    int n = 0;
    t->in_flight = in_flight;
    for (int w = 0; w < s->n_ways; w++)
        for (int first = 0; first <= s->layers; first++) {
            t->begin[w * t->side + first] = n;
            for (int end = first + 1; end <= s->layers; end++) {
                const struct instance_price *at = &s->ways[w].price[first * t->side + end];
                if (at->most_in_flight >= in_flight && at->us < t->slowest_us)
                    t->arcs[n++] = (struct arc){end, at->us, at->us + at->send_us};
            }
        }
    t->begin[s->n_ways * t->side] = n;
}

/* By number of stages, the devices that they may take. */
static void list_reached(struct table *t)
{
    const struct solver *s = t->s;
    int states = s->v.n_states;
    char *seen = zeroed((size_t)states, 1);
    t->reached[0] = 0;
    t->n_reached[0] = 1;
    for (int stages = 1; stages <= s->most_stages; stages++) {
        const int *from = &t->reached[(int64_t)(stages - 1) * states];
        int *to = &t->reached[(int64_t)stages * states];
        memset(seen, 0, (size_t)states);
        for (int i = 0; i < t->n_reached[stages - 1]; i++)
            for (int w = 0; w < s->n_ways; w++)
                if (solver_may_take(s, &s->ways[w], from[i]))
                    seen[solver_take(s, &s->ways[w], from[i])] = 1;
        t->n_reached[stages] = 0;
        for (int state = 0; state < states; state++)
            if (seen[state])
                to[t->n_reached[stages]++] = state;
    }
    free(seen);
}

/* ---- one micro-batch in flight, any number of stages ---- */

/* One more stage behind the least sums of a state, for every layer. */
static void extend_single(const struct table *t, const double *now, double *next, int state)
{
    const struct solver *s = t->s;
    const double *from = &now[(int64_t)state * t->side];
    for (int w = 0; w < s->n_ways; w++) {
        if (!solver_may_take(s, &s->ways[w], state))
            continue;
        double *to = &next[(int64_t)solver_take(s, &s->ways[w], state) * t->side];
        const int *begin = &t->begin[w * t->side];
        for (int at = 0; at < s->layers; at++)
            for (int a = begin[at]; a < begin[at + 1] && isfinite(from[at]); a++)
                to[t->arcs[a].end] = fmin(to[t->arcs[a].end], from[at] + t->arcs[a].all_us);
    }
}

static void find_single(struct table *t)
{
    struct solver *s = t->s;
    int64_t cells = (int64_t)s->v.n_states * t->side;
    double *now = zeroed((size_t)cells, sizeof *now);
    double *next = zeroed((size_t)cells, sizeof *next);
    for (int64_t c = 1; c < cells; c++)
        now[c] = HUGE_VAL;
    for (int stage = 1; stage <= s->most_stages; stage++) {
        for (int64_t c = 0; c < cells; c++)
            next[c] = HUGE_VAL;
        for (int i = 0; i < t->n_reached[stage - 1]; i++)
            extend_single(t, now, next, t->reached[(int64_t)(stage - 1) * s->v.n_states + i]);
        double *swap = now;
        now = next;
        next = swap;
        for (int state = 1; state < s->v.n_states; state++) {
            double sum = now[(int64_t)state * t->side + s->layers];
            if (isfinite(sum))
                solver_judge(s, state, 1, (struct pair){sum, sum});
        }
        s->out->patterns += t->n_reached[stage];
    }
    free(now);
    free(next);
}

/* ---- from the last layer backwards ---- */

static void put_before(struct ahead *best, const struct ahead *rest, const struct arc *arc)
{
    struct pair even = {fmax(rest->even.slowest, arc->us), rest->even.sum + arc->all_us};
    struct pair brief = {fmax(rest->brief.slowest, arc->us), rest->brief.sum + arc->all_us};
    if (even.slowest < best->even.slowest
            || (even.slowest == best->even.slowest && even.sum < best->even.sum))
        best->even = even;
    if (brief.sum < best->brief.sum)
        best->brief = brief;
}

/* One more stage, of a way, in front of all that `rest` tells. */
static void look_further(
        const struct table *t, int way, int left, const struct ahead *rest, struct ahead *best)
{
    const int *begin = &t->begin[way * t->side];
    for (int at = t->in_flight - left; at <= t->s->layers - left; at++)
        for (int a = begin[at]; a < begin[at + 1]; a++)
            put_before(&best[at], &rest[t->arcs[a].end], &t->arcs[a]);
}

static void look_ahead(struct table *t)
{
    const struct solver *s = t->s;
    int states = s->v.n_states;
    for (int64_t i = 0; i < row_of(t, t->in_flight + 1, 0); i++)
        t->ahead[i] = nothing;
    t->ahead[s->layers] = (struct ahead){{0, 0}, {0, 0}};
    for (int left = 1; left <= t->in_flight; left++)
        for (int i = 0; i < t->n_reached[left - 1]; i++) {
            int state = t->reached[(int64_t)(left - 1) * states + i];
            for (int w = 0; w < s->n_ways; w++)
                if (solver_may_take(s, &s->ways[w], state))
                    look_further(t, w, left, &t->ahead[row_of(t, left - 1, state)],
                            &t->ahead[row_of(t, left, solver_take(s, &s->ways[w], state))]);
        }
}

/* All stages: these are patterns. */
static void judge_ahead(struct table *t)
{
    for (int state = 1; state < t->s->v.n_states; state++) {
        const struct ahead *all = &t->ahead[row_of(t, t->in_flight, state)];
        if (isinf(all->even.slowest))
            continue;
        solver_judge(t->s, state, t->in_flight, all->even);
        solver_judge(t->s, state, t->in_flight, all->brief);
    }
}

static bool together(const struct vectors *v, int a, int b)
{
    for (int k = 0; k < v->kinds; k++)
        if (vectors_at(v, a, k) + vectors_at(v, b, k) > v->most[k])
            return false;
    return true;
}

/* Room of pairs that took `taken`, as far as stages to come that take `more` leave it. */
static void widen_room(struct table *t, int left, int taken, int more)
{
    const struct ahead *ahead = &t->ahead[row_of(t, left, more)];
    struct room *room = &t->room[row_of(t, left, taken)];
    double pace = t->useful[taken + more];
    double round = pace * t->in_flight;
    /* Sums were added in another order. */
    round = fmin(round, t->s->in->limits[t->s->limits].round_cap_us * (1 + 1e-12));
    for (int at = t->in_flight - left; at <= t->s->layers - left; at++) {
        if (ahead[at].even.slowest >= pace || ahead[at].brief.sum >= round)
            continue;
        room[at].slowest = fmax(room[at].slowest, pace);
        room[at].sum = fmax(room[at].sum, round - ahead[at].brief.sum);
    }
}

static void find_room(struct table *t)
{
    int states = t->s->v.n_states;
    memset(t->room, 0, sizeof *t->room * (size_t)row_of(t, t->in_flight, 0));
    for (int left = 0; left < t->in_flight; left++) {
        const int *taken = &t->reached[(int64_t)(t->in_flight - left) * states];
        const int *more = &t->reached[(int64_t)left * states];
        for (int i = 0; i < t->n_reached[t->in_flight - left]; i++)
            for (int j = 0; j < t->n_reached[left]; j++)
                if (together(&t->s->v, taken[i], more[j]))
                    widen_room(t, left, taken[i], more[j]);
    }
}

/* ---- stage by stage, as many micro-batches in flight ---- */

/* One more stage, of a way, behind every pair of a cell. */
static void extend(struct table *t, const struct pairs *cell, int way, int at, int to, int left)
{
    const struct room *room = &t->room[row_of(t, left, to)];
    struct pairs *next = &t->next[(int64_t)to * t->side];
    const int *begin = &t->begin[way * t->side];
    for (int a = begin[at]; a < begin[at + 1]; a++) {
        const struct arc *arc = &t->arcs[a];
        const struct room *most = &room[arc->end];
        if (arc->us >= most->slowest)
            continue;
        for (int i = cell->n - 1; i >= 0 && cell->items[i].sum + arc->all_us < most->sum; i--) {
            struct pair pair = {
                    fmax(cell->items[i].slowest, arc->us), cell->items[i].sum + arc->all_us};
            if (pair.slowest < most->slowest)
                pairs_add(&next[arc->end], pair);
        }
    }
}

static void place_stage(struct table *t, int stage)
{
    struct solver *s = t->s;
    int left = t->in_flight - stage;
    for (int i = 0; i < t->n_reached[stage - 1]; i++) {
        int state = t->reached[(int64_t)(stage - 1) * s->v.n_states + i];
        for (int w = 0; w < s->n_ways; w++) {
            if (!solver_may_take(s, &s->ways[w], state))
                continue;
            int to = solver_take(s, &s->ways[w], state);
            for (int at = stage - 1; at < s->layers - left; at++) {
                const struct pairs *cell = &t->now[(int64_t)state * t->side + at];
                if (cell->n > 0)
                    extend(t, cell, w, at, to, left);
            }
        }
    }
}

static void place_all(struct table *t)
{
    struct solver *s = t->s;
    int64_t cells = (int64_t)s->v.n_states * t->side;
    for (int64_t c = 0; c < cells; c++)
        t->now[c].n = 0;
    pairs_add(&t->now[0], (struct pair){0, 0});
    for (int stage = 1; stage <= t->in_flight; stage++) {
        for (int64_t c = 0; c < cells; c++)
            t->next[c].n = 0;
        place_stage(t, stage);
        struct pairs *swap = t->now;
        t->now = t->next;
        t->next = swap;
        for (int64_t c = 0; c < cells; c++)
            s->out->patterns += t->now[c].n;
    }
    for (int state = 1; state < s->v.n_states; state++) {
        const struct pairs *cell = &t->now[(int64_t)state * t->side + s->layers];
        for (int i = 0; i < cell->n; i++)
            solver_judge(s, state, t->in_flight, cell->items[i]);
    }
}

void dynamic_find_patterns(struct solver *s)
{
    struct table t;
    open_table(&t, s);
    for (int in_flight = 1; in_flight <= s->most_stages; in_flight++)
        for (int l = 0; l < s->in->n_limits; l++) {
            solver_ask_prices(s, l);
            list_reached(&t);
            find_useful(&t);
            list_arcs(&t, in_flight);
            if (in_flight == 1) {
                find_single(&t);
                continue;
            }
            look_ahead(&t);
            judge_ahead(&t);
            find_useful(&t);
            find_room(&t);
            place_all(&t);
        }
    close_table(&t);
}
