#include "planner/experts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "planner/experts_state.h"

#define DEFAULT_TIME_S 10
#define CLOSE          1e-6 /* relative: below this a gap is rounding */

static bool check_sizes(const struct experts_problem *p, struct err *err)
{
    if (p->n_experts < 1 || p->n_experts > EXPERTS_MOST)
        return err_set(
                err, ERR_INPUT, "found %d experts, expected 1 to %d", p->n_experts, EXPERTS_MOST);
    if (p->n_devices < 1 || p->n_devices > EXPERTS_MOST_DEVICES)
        return err_set(err, ERR_INPUT, "found %d devices, expected 1 to %d", p->n_devices,
                EXPERTS_MOST_DEVICES);
    if (p->slots < 1 || p->slots > EXPERTS_MOST_SLOTS)
        return err_set(err, ERR_INPUT, "found %d slots for each device, expected 1 to %d", p->slots,
                EXPERTS_MOST_SLOTS);
    if (p->n_nodes > 1 && p->n_devices % p->n_nodes != 0)
        return err_set(err, ERR_INPUT,
                "%d nodes do not divide %d devices: expected as many devices in every node",
                p->n_nodes, p->n_devices);
    for (int e = 0; e < p->n_experts; e++)
        if (!isfinite(p->load[e]) || p->load[e] < 0)
            return err_set(err, ERR_INPUT, "the load of expert %d is %g, expected 0 or more", e,
                    p->load[e]);
    return true;
}

static bool check_room(const struct experts_state *s, struct err *err)
{
    const struct experts_problem *p = s->problem;
    if (p->n_experts <= s->most)
        return true;
    return err_set(err, ERR_NO,
            "%d experts need %d slots, but %d devices with %d each may hold %d replicas: take at "
            "least %d slots, or %d devices",
            p->n_experts, p->n_experts, p->n_devices, p->slots, s->most,
            (p->n_experts + p->n_devices - 1) / p->n_devices,
            (p->n_experts + p->slots - 1) / p->slots);
}

/* Where a missing expert goes: the least loaded device with room, else the place of a replica that has
 * another, which is dropped. */
static int make_room(struct experts_state *s)
{
    const struct experts_problem *p = s->problem;
    int to = -1;
    for (int d = 0; d < p->n_devices; d++)
        if (s->used[d] < p->slots && (to < 0 || s->load[d] < s->load[to]))
            to = d;
    if (to >= 0 && s->total < s->most)
        return to;
    for (int d = 0; d < p->n_devices; d++)
        for (int i = 0; i < s->used[d]; i++) {
            int e = s->slot[d * p->slots + i];
            if (s->replicas[e] > 1) {
                experts_state_drop(s, d, e);
                return d;
            }
        }
    return to;
}

/* More replicas than are allowed now: one whose loss weighs least goes. */
static void drop_lightest(struct experts_state *s)
{
    const struct experts_problem *p = s->problem;
    double least = HUGE_VAL;
    int device = 0;
    int expert = 0;
    for (int d = 0; d < p->n_devices; d++)
        for (int i = 0; i < s->used[d]; i++) {
            int e = s->slot[d * p->slots + i];
            double share = s->replicas[e] > 1 ? p->load[e] / (s->replicas[e] - 1) : HUGE_VAL;
            if (share < least) {
                least = share;
                device = d;
                expert = e;
            }
        }
    experts_state_drop(s, device, expert);
}

/* The current map with what it lacks put in: the only placement that needs no search. */
static bool complete_current(struct experts_state *s, struct err *err)
{
    experts_state_load(s, s->problem->current);
    for (int e = 0; e < s->problem->n_experts; e++)
        if (s->replicas[e] == 0)
            experts_state_add(s, make_room(s), e);
    while (s->total > s->most)
        drop_lightest(s);
    if (s->moved <= s->budget)
        return true;
    return err_set(err, ERR_NO,
            "the current map lacks %d experts, each needs a copy, but only %d may be made: allow "
            "at least %d (--moves)",
            s->moved, s->budget, s->moved);
}

static void keep_better(struct experts_state *best, const struct experts_state *other)
{
    if (experts_state_max(other, NULL) < experts_state_max(best, NULL))
        experts_state_copy(best, other);
}

/* Placements by rule, each improved; the best goes into s. False when no rule finds a legal one. */
static bool first_placements(
        struct experts_state *s, double bound, bool greedy, struct arena *arena)
{
    const struct experts_problem *p = s->problem;
    struct experts_state next;
    int *replicas = ARENA_NEW(arena, int, p->n_experts);
    bool found = greedy;
    experts_state_init(&next, p, arena);
    if (greedy)
        experts_descend(s);
    /* As few replicas as shares under a cap need, then as the greedy rule or none besides. */
    for (int i = 0; i < 60; i++) {
        int step = i / 2;
        double cap = bound * pow(1.01, step);
        int most = s->most;
        if (i % 2 == 0) {
            most = 0;
            for (int e = 0; e < p->n_experts; e++)
                most += (int)fmax(1, ceil(p->load[e] / cap * (1 - 1e-12)));
        }
        if (most > s->most || !experts_replicate(p, cap, most, replicas)
                || !experts_pack(&next, replicas))
            continue;
        experts_descend(&next);
        if (found)
            keep_better(s, &next);
        else
            experts_state_copy(s, &next);
        found = true;
    }
    return found;
}

/* Where slots are scarce: numbers of replicas that X4 finds best, under caps little above its bound. */
static void scarce_placements(struct experts_state *s, double bound, double enough,
        int64_t deadline_ns, struct arena *arena)
{
    const struct experts_problem *p = s->problem;
    struct experts_state next;
    int *replicas = ARENA_NEW(arena, int, p->n_experts);
    experts_state_init(&next, p, arena);
    for (int i = 0; i < 110 && clock_now_ns() < deadline_ns; i++) {
        int step = i / 11;
        double cap = bound * pow(1.002, step);
        if (experts_state_max(s, NULL) <= enough)
            return;
        if (!experts_room_replicas(p, s->most, cap, i % 11, replicas, arena)
                || !experts_pack(&next, replicas))
            continue;
        experts_descend(&next);
        keep_better(s, &next);
    }
}

/* Round after round of contents: legal whenever there is room at all, however uneven. */
static void any_placement(struct experts_state *s)
{
    const struct experts_problem *p = s->problem;
    experts_state_clear(s);
    for (int e = 0; e < p->n_experts; e++)
        experts_state_add(s, e % p->n_devices, e);
}

struct search {
    const struct experts_limits *limits;
    int64_t start_ns, deadline_ns;
    struct experts_bound bound;
    double greedy;
};

/* The load at which the search may stop. */
static double enough(const struct search *q)
{
    return q->bound.value / (1 - fmax(CLOSE, q->limits->gap_frac));
}

static int64_t part_ns(const struct search *q, double share)
{
    int64_t now = clock_now_ns();
    return now + (int64_t)((double)(q->deadline_ns - now) * share);
}

/* Without a budget of copies: any device may hold anything. */
static bool search_free(
        struct experts_state *s, struct search *q, struct arena *arena, struct err *err)
{
    bool greedy = experts_greedy(s);
    q->greedy = greedy ? experts_state_max(s, NULL) : HUGE_VAL;
    if (!greedy)
        any_placement(s);
    experts_simple_bound(&q->bound, s->problem, s->most, experts_state_max(s, NULL), arena);
    if (!first_placements(s, q->bound.value, greedy, arena))
        any_placement(s);
    if (experts_state_max(s, NULL) > enough(q)) {
        experts_shake(s, enough(q), part_ns(q, 0.1), arena);
        if (!experts_exact(s, &q->bound, q->deadline_ns, arena, err))
            return false;
    }
    scarce_placements(s, q->bound.value, enough(q), part_ns(q, 0.2), arena);
    experts_shake(s, enough(q), part_ns(q, 0.4), arena);
    double found = experts_state_max(s, NULL);
    if (found > enough(q) * (1 + CLOSE)) {
        double wanted = found * (1 - fmax(5e-4, q->limits->gap_frac));
        if (!experts_raise_bound(s, &q->bound, wanted, part_ns(q, 0.7), arena, err))
            return false;
        experts_shake(s, enough(q), q->deadline_ns, arena);
    }
    experts_arrange(s, arena);
    return true;
}

/* With one: what the free search found, where it is near enough, or the current map improved step by step. */
static bool search_from_current(
        struct experts_state *s, struct search *q, struct arena *arena, struct err *err)
{
    struct experts_state near;
    experts_state_init(&near, s->problem, arena);
    near.budget = s->problem->moves;
    if (!complete_current(&near, err))
        return false;
    int64_t deadline_ns = q->deadline_ns;
    q->deadline_ns = part_ns(q, 0.5);
    if (!search_free(s, q, arena, err))
        return false;
    q->deadline_ns = deadline_ns;
    if (s->moved <= near.budget)
        return true;
    experts_shake(&near, enough(q), q->deadline_ns, arena);
    experts_state_copy(s, &near);
    return true;
}

static void fill_map(struct experts_map *out, const struct experts_state *s, const struct search *q,
        struct arena *arena)
{
    const struct experts_problem *p = s->problem;
    out->slot = ARENA_NEW(arena, int, (int64_t)p->n_devices * p->slots);
    for (int i = 0; i < p->n_devices * p->slots; i++)
        out->slot[i] = i % p->slots < s->used[i / p->slots] ? s->slot[i] : EXPERTS_EMPTY;
    out->replicas = s->replicas;
    out->load = s->load;
    out->max_load = experts_state_max(s, NULL);
    for (int e = 0; e < p->n_experts; e++)
        out->mean += p->load[e] / p->n_devices;
    out->bound = fmin(q->bound.value, out->max_load);
    out->gap_frac = out->max_load > 0 ? 1 - out->bound / out->max_load : 0;
    out->greedy = q->greedy;
    out->proof = q->bound.proof;
    out->programs = q->bound.programs;
    out->nodes = q->bound.nodes;
    out->moved = s->moved;
    out->node_max_load = experts_node_max(s);
    out->home_frac = experts_home_frac(s);
    out->seconds = (double)(clock_now_ns() - q->start_ns) * 1e-9;
}

bool experts_place(struct experts_map *out, const struct experts_problem *problem,
        const struct experts_limits *limits, struct arena *arena, struct err *err)
{
    *out = (struct experts_map){0};
    struct experts_state s;
    struct search q = {.limits = limits, .start_ns = clock_now_ns()};
    double time_s = limits->time_s > 0 ? limits->time_s : DEFAULT_TIME_S;
    q.deadline_ns = q.start_ns + (int64_t)(time_s * 1e9);
    if (!check_sizes(problem, err))
        return false;
    experts_state_init(&s, problem, arena);
    if (!check_room(&s, err))
        return false;
    bool near = problem->current != NULL && problem->moves != EXPERTS_ANY_MOVES;
    struct arena scratch = {0};
    bool ok =
            near ? search_from_current(&s, &q, &scratch, err) : search_free(&s, &q, &scratch, err);
    arena_free(&scratch);
    if (!ok)
        return false;
    fill_map(out, &s, &q, arena);
    return experts_check(problem, out, err);
}

static bool check_device(const struct experts_problem *p, const struct experts_map *map, int d,
        int *replicas, struct err *err)
{
    bool empty = false;
    for (int i = 0; i < p->slots; i++) {
        int e = map->slot[d * p->slots + i];
        if (e == EXPERTS_EMPTY) {
            empty = true;
            continue;
        }
        int before = i > 0 ? map->slot[d * p->slots + i - 1] : -1;
        if (empty || e < 0 || e >= p->n_experts || e <= before)
            return err_set(err, ERR_BUG,
                    "device %d: found expert %d in slot %d, expected ascending experts below %d", d,
                    e, i, p->n_experts);
        replicas[e]++;
    }
    return true;
}

bool experts_check(const struct experts_problem *p, const struct experts_map *map, struct err *err)
{
    struct arena scratch = {0};
    int *replicas = ARENA_NEW(&scratch, int, p->n_experts);
    bool ok = true;
    int total = 0;
    double most = 0;
    for (int d = 0; d < p->n_devices && ok; d++)
        ok = check_device(p, map, d, replicas, err);
    for (int e = 0; e < p->n_experts && ok; e++) {
        total += replicas[e];
        if (replicas[e] < 1 || replicas[e] != map->replicas[e])
            ok = err_set(err, ERR_BUG, "expert %d has %d replicas, the map says %d", e, replicas[e],
                    map->replicas[e]);
    }
    for (int d = 0; d < p->n_devices && ok; d++) {
        double load = 0;
        for (int i = 0; i < p->slots && map->slot[d * p->slots + i] != EXPERTS_EMPTY; i++) {
            int e = map->slot[d * p->slots + i];
            load += p->load[e] / replicas[e];
        }
        most = fmax(most, load);
    }
    if (ok && fabs(most - map->max_load) > 1e-9 * (1 + most))
        ok = err_set(err, ERR_BUG, "the fullest device has %.17g, the map says %.17g", most,
                map->max_load);
    if (ok && p->replicas > 0 && total > p->replicas)
        ok = err_set(err, ERR_BUG, "found %d replicas, expected at most %d", total, p->replicas);
    if (ok && p->current != NULL && p->moves != EXPERTS_ANY_MOVES && map->moved > p->moves)
        ok = err_set(err, ERR_BUG, "%d copies are made, expected at most %d", map->moved, p->moves);
    if (ok && map->bound > map->max_load * (1 + 1e-9))
        ok = err_set(
                err, ERR_BUG, "the bound %.17g is above the load %.17g", map->bound, map->max_load);
    arena_free(&scratch);
    return ok;
}
