#include "planner/whole.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/stages.h"

static struct replica_pick pick_of(const struct stages *stages, const struct pattern *pattern,
        int64_t count, struct arena *arena)
{
    const struct stage_limits *limits = stages_limits(stages, pattern->limits);
    struct replica_pick pick = {.count = count,
            .role = stages_instance(stages)->limits[pattern->limits].role,
            .max_seqs = limits->max_seqs,
            .max_tokens = limits->max_tokens,
            .in_flight = pattern->in_flight,
            .kv_blocks = stages_kv_blocks(stages, pattern),
            .n_stages = pattern->n_stages};
    pick.stages = ARENA_NEW(arena, struct stage_pick, pattern->n_stages);
    for (int s = 0; s < pattern->n_stages; s++) {
        const struct pattern_stage *at = &pattern->stages[s];
        pick.stages[s] = (struct stage_pick){
                at->kind, at->first, at->end, stages_split(stages, at->kind, at->config)};
    }
    return pick;
}

/* The figures of a plan in the steady state; those of time per request are means over its replicas. */
static void score(struct candidate *c, const struct whole_question *q, const struct stages *stages,
        const struct columns_pick *picks, int n)
{
    double rate = 0;
    for (int i = 0; i < n; i++) {
        const struct pattern *p = &picks[i].pattern;
        const struct stage_limits *limits = stages_limits(stages, p->limits);
        double share = (double)picks[i].count * p->requests_per_s;
        rate += share;
        c->tpot_us += share * p->round_us;
        c->ttft_us += share * p->round_us * limits->prefill_steps;
        c->pace_us = fmax(c->pace_us, p->pace_us);
    }
    c->tpot_us /= rate;
    c->ttft_us /= rate;
    c->tokens_per_s = rate * q->demand->output;
    c->score = fmin(c->tokens_per_s, q->demand->requests_per_s * q->demand->output);
    c->score_bound = c->score;
    c->proven = true;
}

static void add_candidate(struct search_result *out, const struct whole_question *q,
        const struct stages *stages, const struct columns_pick *picks, int n, struct arena *arena)
{
    struct candidate c = {.n_replicas = n, .replicas = ARENA_NEW(arena, struct replica_pick, n)};
    for (int i = 0; i < n; i++)
        c.replicas[i] = pick_of(stages, &picks[i].pattern, picks[i].count, arena);
    score(&c, q, stages, picks, n);
    for (int64_t i = 0; i < out->n; i++)
        if (search_same_layout(&out->items[i], &c) && out->items[i].score >= c.score)
            return;
    out->items[out->n++] = c;
}

struct uniform {
    struct columns_pick pick;
    double rate;
};

static int by_rate(const void *a, const void *b)
{
    const struct uniform *x = a;
    const struct uniform *y = b;
    if (x->rate != y->rate)
        return x->rate > y->rate ? -1 : 1;
    return pattern_compare(&x->pick.pattern, &y->pick.pattern);
}

/* Plans of equal replicas only, as often as the devices allow: what mixing kinds and sizes buys. */
static void add_uniform(struct search_result *out, const struct whole_question *q,
        const struct stages *stages, const struct columns_result *solved, struct arena *arena)
{
    const struct instance *in = stages_instance(stages);
    struct uniform *list = ARENA_NEW(arena, struct uniform, solved->n_known + 1);
    int n = 0;
    for (int i = 0; i < solved->n_known; i++) {
        const struct pattern *p = &solved->known[i];
        int64_t count = INT64_MAX;
        for (int k = 0; k < in->n_kinds; k++)
            if (p->devices[k] > 0 && in->kinds[k].devices / p->devices[k] < count)
                count = in->kinds[k].devices / p->devices[k];
        if (in->limits[p->limits].role == ROLE_MIXED)
            list[n++] = (struct uniform){{*p, count}, (double)count * p->requests_per_s};
    }
    qsort(list, (size_t)n, sizeof *list, by_rate);
    int64_t most = out->n + q->keep;
    for (int i = 0; i < n && out->n < most; i++)
        add_candidate(out, q, stages, &list[i].pick, 1, arena);
}

bool whole_run(struct search_result *out, struct columns_result *solved,
        const struct whole_question *q, struct arena *arena, struct err *err)
{
    bool ok = false;
    memset(out, 0, sizeof *out);
    struct stages *stages =
            stages_open(q->input, q->costs, q->demand, q->layouts, q->n_layouts, q->tighten, err);
    if (stages == NULL)
        return false;
    const struct columns_options options = {.gap_frac = q->gap_frac,
            .time_limit_s = q->input->time_limit_s,
            .export_lp = q->input->export_lp};
    const struct instance *in = stages_instance(stages);
    if (!columns_solve(solved, in, &options, arena, err))
        goto done;
    out->items = ARENA_NEW(arena, struct candidate, (int64_t)q->keep + 2);
    if (solved->feasible) {
        add_candidate(out, q, stages, solved->picks, solved->n_picks, arena);
        add_uniform(out, q, stages, solved, arena);
        out->best = out->items[0].score;
    }
    double offered = q->demand->requests_per_s * q->demand->output;
    out->bound = fmin(solved->bound * q->demand->output, offered);
    out->complete = solved->proven;
    out->configs = (int64_t)in->n_configs * in->n_limits;
    out->evaluated = solved->n_known;
    out->programs = solved->programs;
    out->nodes = solved->nodes;
    out->trouble = solved->trouble;
    ok = true;
done:
    stages_close(stages);
    return ok;
}
