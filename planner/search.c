/*
 * Three passes. The first gives every configuration an optimistic bound: its whole model at the cheapest
 * kind, spread evenly. The second walks down these bounds and gives configurations a quick partition
 * until no unvisited one could still be among the best `keep` layouts. The third takes the configuration
 * with the highest bound whose optimum is open and solves its program, until that bound is no better
 * than what is known: then the best is proven over all configurations.
 */
#include "planner/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "planner/arcs.h"
#include "planner/estimate.h"
#include "planner/partition.h"
#include "planner/search_pace.h"

enum {
    MOST_VISITS = 4000 /* candidates */
};

struct visit {
    const struct config *config;
    double pace_bound_us;
    double score_bound, tie; /* tie: the smaller latency first among equal bounds */
};

struct search {
    const struct search_input *in;
    struct search_result *out;
    struct arcs *arcs;
    struct arena *arena;
    int64_t deadline_ns;
    struct visit *visits;
    int64_t n_visits;
    struct candidate *items;
    int64_t n_items;
};

static bool same_replicas(const struct replica_pick *a, const struct replica_pick *b)
{
    if (a->count != b->count || a->role != b->role || a->n_stages != b->n_stages
            || a->in_flight != b->in_flight)
        return false;
    for (int i = 0; i < a->n_stages; i++) {
        const struct split *x = &a->stages[i].split;
        const struct split *y = &b->stages[i].split;
        if (x->tp != y->tp || x->ep != y->ep || x->attention_dp != y->attention_dp
                || x->threads != y->threads || x->dtype != y->dtype || x->kv_dtype != y->kv_dtype
                || a->stages[i].kind != b->stages[i].kind)
            return false;
    }
    return true;
}

bool search_same_layout(const struct candidate *a, const struct candidate *b)
{
    bool same = a->n_replicas == b->n_replicas;
    for (int r = 0; same && r < a->n_replicas; r++)
        same = same_replicas(&a->replicas[r], &b->replicas[r]);
    return same;
}

static bool late(const struct search *s)
{
    return s->deadline_ns > 0 && clock_now_ns() >= s->deadline_ns;
}

static int by_bound(const void *a, const void *b)
{
    const struct visit *x = a;
    const struct visit *y = b;
    if (x->score_bound != y->score_bound)
        return x->score_bound > y->score_bound ? -1 : 1;
    if (x->tie != y->tie)
        return x->tie < y->tie ? -1 : 1;
    return (x->config > y->config) - (x->config < y->config);
}

int search_by_score(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->tpot_us != y->tpot_us)
        return x->tpot_us < y->tpot_us ? -1 : 1;
    return (x->config > y->config) - (x->config < y->config);
}

static void bound_all(struct search *s)
{
    s->visits = ARENA_NEW(s->arena, struct visit, s->in->n_configs + 1);
    for (int64_t i = 0; i < s->in->n_configs; i++) {
        const struct config *config = &s->in->configs[i];
        struct estimate estimate;
        double pace_us = search_least_pace_us(s->arcs, s->in->costs, config);
        if (isinf(pace_us))
            continue;
        estimate_of(&estimate, s->in->input, s->in->demand, config, pace_us);
        s->visits[s->n_visits++] =
                (struct visit){config, pace_us, estimate.score, estimate.tpot_us};
    }
    qsort(s->visits, (size_t)s->n_visits, sizeof *s->visits, by_bound);
}

static void set_scores(struct search *s, struct candidate *c)
{
    struct estimate estimate;
    estimate_of(&estimate, s->in->input, s->in->demand, c->config, c->pace_us);
    c->score = estimate.score;
    c->tokens_per_s = estimate.tokens_per_s;
    c->ttft_us = estimate.ttft_us;
    c->tpot_us = estimate.tpot_us;
    estimate_of(&estimate, s->in->input, s->in->demand, c->config, c->pace_bound_us);
    c->score_bound = fmax(estimate.score, c->score);
}

/* The partition program of a configuration; budgets are those of one replica. */
static void pose(struct partition_problem *out, struct search *s, const struct config *config,
        int64_t kv_blocks, struct arena *arena)
{
    const struct plan_force *force = &s->in->input->force;
    int n_kinds = cost_cluster(s->in->costs)->n_kinds;
    int *budget = ARENA_NEW(arena, int, n_kinds + 1);
    for (int k = 0; k < n_kinds; k++)
        budget[k] = config->layout->budget[k] / config->dp;
    struct partition_arc *arcs;
    int n_arcs = arcs_list(&arcs, s->arcs, config, kv_blocks, force->layers, arena);
    const struct split *split = &config->layout->split;
    *out = (struct partition_problem){
            .name = arena_printf(arena, "partition_tp%d_ep%d_adp%d_threads%d_dp%d_pp%d_seqs%d",
                    split->tp, split->ep, split->attention_dp, split->threads, config->dp,
                    config->pp, config->max_seqs),
            .n_layers = s->in->input->model->n_layers,
            .n_stages = config->pp,
            .n_kinds = n_kinds,
            .in_flight = config->in_flight,
            .budget = budget,
            .arcs = arcs,
            .n_arcs = n_arcs,
            .export_lp = s->in->input->export_lp,
    };
}

/* One sequence of the longest kind: below that a plan cannot serve the workload. */
static int64_t least_blocks(const struct search *s)
{
    return demand_longest_blocks(s->in->demand) + 1;
}

/* As many blocks as fit beside the rest on every stage, and no more than can be of use. */
static int64_t widest_cache(const struct search *s, const struct candidate *c)
{
    const struct config *config = c->config;
    int groups = config->layout->split.attention_dp;
    int64_t seqs = ((int64_t)config->max_seqs * config->in_flight + groups - 1) / groups;
    int64_t blocks = seqs * demand_longest_blocks(s->in->demand) + 1;
    for (int i = 0; i < config->pp; i++) {
        const struct stage_pick *pick = &c->replicas->stages[i];
        struct arc_price price =
                arcs_price(s->arcs, config, pick->kind, (struct piece){pick->first, pick->end});
        int64_t room = arcs_capacity(s->arcs, config, pick->kind) - price.fixed_bytes;
        if (price.block_bytes > 0 && room / price.block_bytes < blocks)
            blocks = room / price.block_bytes;
    }
    return blocks;
}

static void take_partition(struct search *s, struct candidate *c,
        const struct partition_problem *problem, const struct partition_result *result)
{
    for (int i = 0; i < problem->n_stages; i++) {
        const struct partition_arc *arc = &problem->arcs[result->arcs[i]];
        c->replicas->stages[i] = (struct stage_pick){
                arc->kind, arc->first, arc->end, arcs_split(s->arcs, c->config, arc->kind)};
    }
    c->pace_us = result->value_us;
    c->pace_bound_us = fmax(result->bound_us, fmin(c->pace_floor_us, result->value_us));
    c->proven = result->proven;
    c->replicas->kv_blocks = s->in->input->force.kv_blocks;
    if (c->replicas->kv_blocks == 0)
        c->replicas->kv_blocks = widest_cache(s, c);
    set_scores(s, c);
}

/* A quick partition; the configuration joins the candidates when there is one. */
static void visit_config(struct search *s, const struct visit *visit)
{
    const struct config *config = visit->config;
    struct arena scratch = {0};
    struct partition_problem problem;
    struct partition_result result;
    const struct plan_force *force = &s->in->input->force;
    pose(&problem, s, config, config->kv_blocks, &scratch);
    partition_guess(&result, &problem, &scratch);
    if (!result.feasible && force->max_seqs > 0 && force->kv_blocks == 0) {
        /* The user insists on this many sequences: with fewer blocks some will wait or be preempted. */
        pose(&problem, s, config, least_blocks(s), &scratch);
        partition_guess(&result, &problem, &scratch);
    }
    /* One stage is no choice: the only arc of the best kind is the optimum. */
    result.proven = result.feasible && config->pp == 1;
    if (result.proven)
        result.bound_us = result.value_us;
    s->out->evaluated++;
    if (result.feasible) {
        struct candidate *c = &s->items[s->n_items++];
        *c = (struct candidate){.config = config, .pace_floor_us = visit->pace_bound_us};
        c->n_replicas = 1;
        c->replicas = ARENA_NEW(s->arena, struct replica_pick, 1);
        *c->replicas = (struct replica_pick){.count = config->dp,
                .max_seqs = config->max_seqs,
                .max_tokens = config->max_tokens,
                .in_flight = config->in_flight,
                .stages = ARENA_NEW(s->arena, struct stage_pick, config->pp),
                .n_stages = config->pp};
        take_partition(s, c, &problem, &result);
    }
    arena_free(&scratch);
}

/* The score that an unvisited configuration must reach to matter: the worst of the best `keep` layouts. */
static double score_to_beat(const struct search *s)
{
    struct arena scratch = {0};
    double *best = ARENA_NEW(&scratch, double, s->in->keep + 1);
    const struct candidate **of = ARENA_NEW(&scratch, const struct candidate *, s->in->keep + 1);
    int n = 0;
    for (int64_t i = 0; i < s->n_items; i++) {
        const struct candidate *c = &s->items[i];
        int at = 0;
        while (at < n && !search_same_layout(of[at], c))
            at++;
        if (at == n && n == s->in->keep) {
            /* A new layout takes the place of the worst, if it is better. */
            at = 0;
            for (int j = 1; j < n; j++)
                if (best[j] < best[at])
                    at = j;
            if (c->score <= best[at])
                continue;
            best[at] = -HUGE_VAL;
        } else if (at == n) {
            best[n++] = -HUGE_VAL;
        }
        of[at] = c;
        best[at] = fmax(best[at], c->score);
    }
    double worst = n < s->in->keep ? -HUGE_VAL : HUGE_VAL;
    for (int j = 0; j < n && n == s->in->keep; j++)
        worst = fmin(worst, best[j]);
    arena_free(&scratch);
    return worst;
}

/* Returns the bound of what was left unvisited. */
static double visit_all(struct search *s)
{
    double beat = -HUGE_VAL;
    for (int64_t i = 0; i < s->n_visits; i++) {
        const struct visit *visit = &s->visits[i];
        if (visit->score_bound < beat || s->n_items >= MOST_VISITS || (s->n_items > 0 && late(s))) {
            if (visit->score_bound >= beat)
                s->out->complete = false;
            return visit->score_bound;
        }
        visit_config(s, visit);
        if (s->out->evaluated % 64 == 0 || s->n_items <= (int64_t)4 * s->in->keep)
            beat = score_to_beat(s);
    }
    return -HUGE_VAL;
}

static bool prove(struct search *s, struct candidate *c, struct err *err)
{
    bool ok = false;
    struct arena scratch = {0};
    struct partition_problem problem;
    struct partition_result result;
    int64_t blocks = c->config->kv_blocks;
    if (c->replicas->kv_blocks < blocks)
        blocks = c->replicas->kv_blocks;
    pose(&problem, s, c->config, blocks, &scratch);
    if (s->deadline_ns > 0)
        problem.time_limit_s = fmax(0.05, (double)(s->deadline_ns - clock_now_ns()) * 1e-9);
    if (!partition_solve(&result, &problem, &scratch, err))
        goto done;
    s->out->programs += result.programs;
    s->out->nodes += result.nodes;
    if (result.trouble != NULL)
        s->out->trouble = arena_strdup(s->arena, result.trouble);
    if (result.feasible)
        take_partition(s, c, &problem, &result);
    if (!result.proven)
        s->out->complete = false;
    ok = true;
done:
    arena_free(&scratch);
    return ok;
}

static const struct candidate *best_candidate(const struct search *s)
{
    const struct candidate *best = NULL;
    for (int64_t i = 0; i < s->n_items; i++)
        if (best == NULL || search_by_score(&s->items[i], best) < 0)
            best = &s->items[i];
    return best;
}

/* Solves programs until no open configuration could beat the best one. */
static bool prove_all(struct search *s, struct err *err)
{
    for (;;) {
        const struct candidate *best = best_candidate(s);
        struct candidate *open = NULL;
        for (int64_t i = 0; i < s->n_items; i++) {
            struct candidate *c = &s->items[i];
            if (!c->proven && (open == NULL || c->score_bound > open->score_bound))
                open = c;
        }
        if (open == NULL || (open->score_bound <= best->score && best->proven))
            return true;
        if (late(s)) {
            s->out->complete = false;
            return true;
        }
        if (open->score_bound
                <= best->score) /* the best itself may still have a better partition */
            open = &s->items[best - s->items];
        if (!prove(s, open, err))
            return false;
        if (!open->proven) /* a limit or a dead solver: asking again gives the same */
            return true;
    }
}

/* The layouts that will be simulated deserve their optimum too. */
static bool prove_kept(struct search *s, struct err *err)
{
    int kept = 0;
    for (int64_t i = 0; i < s->n_items && kept < s->in->keep; i++) {
        bool seen = false;
        for (int64_t j = 0; j < i && !seen; j++)
            seen = search_same_layout(&s->items[i], &s->items[j]);
        kept += !seen;
        if (!seen && !s->items[i].proven && !late(s) && !prove(s, &s->items[i], err))
            return false;
    }
    return true;
}

bool search_run(struct search_result *out, const struct search_input *input, struct arena *arena,
        struct err *err)
{
    bool ok = false;
    struct search s = {.in = input, .out = out, .arena = arena};
    memset(out, 0, sizeof *out);
    out->complete = true;
    out->configs = input->n_configs;
    s.arcs = arcs_open(input->costs, input->demand, err);
    if (s.arcs == NULL)
        return false;
    if (input->input->time_limit_s > 0)
        s.deadline_ns = clock_now_ns() + (int64_t)(input->input->time_limit_s * 1e9);
    int64_t cap = input->n_configs < MOST_VISITS ? input->n_configs : MOST_VISITS;
    s.items = ARENA_NEW(arena, struct candidate, cap + 1);
    bound_all(&s);
    double unvisited = visit_all(&s);
    if (s.n_items > 0) {
        if (!prove_all(&s, err))
            goto done;
        qsort(s.items, (size_t)s.n_items, sizeof *s.items, search_by_score);
        out->best = out->bound = s.items[0].score;
        for (int64_t i = 0; i < s.n_items; i++)
            out->bound = fmax(out->bound, s.items[i].score_bound);
        out->bound = fmax(out->bound, unvisited);
        if (!prove_kept(&s, err))
            goto done;
        qsort(s.items, (size_t)s.n_items, sizeof *s.items, search_by_score);
    }
    out->items = s.items;
    out->n = s.n_items;
    ok = true;
done:
    arcs_close(s.arcs);
    return ok;
}
