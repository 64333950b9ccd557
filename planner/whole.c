#include "planner/whole.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/stages.h"

/* Of a large cluster the last of the gap takes longer than all before, and is some replicas more or less. */
#define CLOSE_ENOUGH 1e-3
enum {
    MANY_DEVICES = 256
};

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

/*
 * Caches leave a prefill replica no faster than the slowest decode replica takes them: of two transfers the
 * slower one counts.
 */
static void set_transfers(
        struct candidate *c, const struct stages *stages, const struct columns_pick *picks, int n)
{
    struct stages_transfer slowest = {0};
    for (int i = 0; i < n; i++) {
        struct stages_transfer taking = stages_transfer(stages, &picks[i].pattern);
        if (c->replicas[i].role == ROLE_DECODE && taking.us > slowest.us)
            slowest = taking;
    }
    for (int i = 0; i < n; i++) {
        if (c->replicas[i].role != ROLE_PREFILL)
            continue;
        struct stages_transfer sending = stages_transfer(stages, &picks[i].pattern);
        if (slowest.us > sending.us)
            sending = slowest;
        c->replicas[i].kv_rate = round(sending.rate);
        c->replicas[i].kv_latency_us = sending.latency_us;
        c->replicas[i].kv_us = sending.us;
    }
}

/* Requests a second by role, and what they see: means over the replicas that serve them. */
struct flow {
    double rate, round_us, first_us;
};

static bool asks_price(const struct stages *stages)
{
    return stages_instance(stages)->objective == INSTANCE_PRICE;
}

/* A second, of the devices that the picks take up. */
static double price_of(const struct instance *in, const struct columns_pick *picks, int n)
{
    double price = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < in->n_kinds; k++)
            price += (double)(picks[i].count * picks[i].pattern.devices[k]) * in->kinds[k].price;
    return price;
}

/* Whole replicas beside pools: each gets what it can serve, and prefill no more than decode takes. */
static void set_shares(
        struct candidate *c, const struct columns_pick *picks, int n, const struct flow *flow)
{
    double pooled = fmin(flow[ROLE_PREFILL].rate, flow[ROLE_DECODE].rate);
    for (int i = 0; i < n && flow[ROLE_MIXED].rate > 0 && pooled > 0; i++) {
        double rate = picks[i].pattern.requests_per_s;
        if (c->replicas[i].role == ROLE_PREFILL)
            rate *= pooled / flow[ROLE_PREFILL].rate;
        if (c->replicas[i].role != ROLE_DECODE)
            c->replicas[i].requests_per_s = rate;
    }
}

/* The figures of a plan in the steady state; those of time per request are means over its replicas. */
static void score(struct candidate *c, const struct whole_question *q, const struct stages *stages,
        const struct columns_pick *picks, int n)
{
    struct flow flow[ROLE_DECODE + 1] = {{0}};
    for (int i = 0; i < n; i++) {
        const struct pattern *p = &picks[i].pattern;
        const struct stage_limits *limits = stages_limits(stages, p->limits);
        struct flow *at = &flow[limits->role];
        double share = (double)picks[i].count * p->requests_per_s;
        at->rate += share;
        at->round_us += share * p->round_us;
        at->first_us += share * (p->round_us * limits->prefill_steps + c->replicas[i].kv_us);
        c->pace_us = fmax(c->pace_us, p->pace_us);
    }
    double pooled = fmin(flow[ROLE_PREFILL].rate, flow[ROLE_DECODE].rate);
    double rate = flow[ROLE_MIXED].rate + pooled;
    set_shares(c, picks, n, flow);
    c->tpot_us = flow[ROLE_MIXED].round_us;
    c->ttft_us = flow[ROLE_MIXED].first_us;
    if (pooled > 0) {
        c->tpot_us += flow[ROLE_DECODE].round_us * pooled / flow[ROLE_DECODE].rate;
        c->ttft_us += flow[ROLE_PREFILL].first_us * pooled / flow[ROLE_PREFILL].rate;
    }
    c->tpot_us /= rate;
    c->ttft_us /= rate;
    c->tokens_per_s = rate * q->demand->output;
    c->score = fmin(c->tokens_per_s, q->demand->requests_per_s * q->demand->output);
    if (asks_price(stages))
        c->score = -price_of(stages_instance(stages), picks, n) * 3600;
    c->score_bound = c->score;
    c->proven = true;
}

void whole_add_candidate(struct search_result *out, const struct whole_question *q,
        const struct stages *stages, const struct columns_pick *picks, int n, struct arena *arena)
{
    struct candidate c = {.n_replicas = n, .replicas = ARENA_NEW(arena, struct replica_pick, n)};
    for (int i = 0; i < n; i++)
        c.replicas[i] = pick_of(stages, &picks[i].pattern, picks[i].count, arena);
    set_transfers(&c, stages, picks, n);
    score(&c, q, stages, picks, n);
    for (int64_t i = 0; i < out->n; i++)
        if (search_same_layout(&out->items[i], &c) && out->items[i].score >= c.score)
            return;
    out->items[out->n++] = c;
}

struct uniform {
    struct columns_pick picks[2]; /* one mixed, or prefill and decode */
    int n;
    double rate; /* requests a second, at most the demand */
    double price;
};

static int by_worth(const void *a, const void *b)
{
    const struct uniform *x = a;
    const struct uniform *y = b;
    if (x->price != y->price)
        return x->price < y->price ? -1 : 1;
    if (x->rate != y->rate)
        return x->rate > y->rate ? -1 : 1;
    for (int i = 0; i < x->n && i < y->n; i++) {
        int order = pattern_compare(&x->picks[i].pattern, &y->picks[i].pattern);
        if (order != 0)
            return order;
    }
    return x->n - y->n;
}

/* What equal replicas can do, best first. */
struct uniforms {
    struct uniform *items;
    int n;
};

static void rank_uniforms(struct uniforms *list, const struct instance *in)
{
    for (int i = 0; i < list->n && in->objective == INSTANCE_PRICE; i++) {
        struct uniform *at = &list->items[i];
        at->rate = fmin(at->rate, in->demand);
        at->price = price_of(in, at->picks, at->n);
    }
    qsort(list->items, (size_t)list->n, sizeof *list->items, by_worth);
}

/* In turn from both lists, so that the simulator sees either kind of serving. */
static void add_uniforms(struct search_result *out, const struct whole_question *q,
        const struct stages *stages, const struct uniforms lists[2], struct arena *arena)
{
    int at[2] = {0};
    for (bool more = true; more;) {
        more = false;
        for (int l = 0; l < 2; l++) {
            int64_t before = out->n;
            while (at[l] < lists[l].n && out->n == before && out->n <= 2 * (int64_t)q->keep) {
                const struct uniform *one = &lists[l].items[at[l]++];
                whole_add_candidate(out, q, stages, one->picks, one->n, arena);
            }
            more = more || out->n > before;
        }
    }
}

/* As often as the devices allow that n others leave, and no more than a demand takes. */
static int64_t most_of(
        const struct instance *in, const struct pattern *p, const struct pattern *other, int64_t n)
{
    int64_t count = INT64_MAX;
    if (in->objective == INSTANCE_PRICE)
        count = (int64_t)ceil(in->demand / p->requests_per_s * (1 - 1e-9));
    for (int k = 0; k < in->n_kinds; k++) {
        int64_t left = in->kinds[k].devices - (other != NULL ? n * other->devices[k] : 0);
        if (left < 0)
            return 0;
        if (p->devices[k] > 0 && left / p->devices[k] < count)
            count = left / p->devices[k];
    }
    return count;
}

/* Whether so many serve the demand, where there is one. */
static bool enough(const struct instance *in, int64_t count, const struct pattern *p)
{
    return in->objective != INSTANCE_PRICE
           || (double)count * p->requests_per_s >= in->demand * (1 - 1e-9);
}

/* Plans of equal replicas only, as often as the devices allow: what mixing kinds and sizes buys. */
static struct uniforms list_mixed(
        const struct instance *in, const struct columns_result *solved, struct arena *arena)
{
    struct uniforms out = {.items = ARENA_NEW(arena, struct uniform, solved->n_known + 1)};
    for (int i = 0; i < solved->n_known; i++) {
        const struct pattern *p = &solved->known[i];
        int64_t count = most_of(in, p, NULL, 0);
        if (in->limits[p->limits].role == ROLE_MIXED && enough(in, count, p))
            out.items[out.n++] = (struct uniform){
                    .picks = {{*p, count}}, .n = 1, .rate = (double)count * p->requests_per_s};
    }
    rank_uniforms(&out, in);
    return out;
}

/* The best numbers of two patterns: where both sides of the pools serve the same, rounded either way. */
static struct uniform pair_of(
        const struct instance *in, const struct pattern *prefill, const struct pattern *decode)
{
    struct uniform best = {.n = 2};
    double ratio = prefill->requests_per_s / decode->requests_per_s;
    double even = HUGE_VAL;
    for (int k = 0; k < in->n_kinds; k++) {
        double taken = (double)prefill->devices[k] + ratio * (double)decode->devices[k];
        if (taken > 0)
            even = fmin(even, (double)in->kinds[k].devices / taken);
    }
    if (in->objective == INSTANCE_PRICE)
        even = floor(fmin(even, in->demand / prefill->requests_per_s));
    for (int64_t n = (int64_t)even; n <= (int64_t)even + 1; n++) {
        int64_t decodes = n > 0 ? most_of(in, decode, prefill, n) : 0;
        double rate =
                fmin((double)n * prefill->requests_per_s, (double)decodes * decode->requests_per_s);
        if (decodes > 0 && rate > best.rate && enough(in, n, prefill)
                && enough(in, decodes, decode))
            best = (struct uniform){
                    .picks = {{*prefill, n}, {*decode, decodes}}, .n = 2, .rate = rate};
    }
    return best;
}

enum {
    MOST_PAIRS = 1 << 15 /* of pools are looked at together; there may be many millions */
};

/* The same for separate pools: one kind of prefill replica, one of decode replica. */
static struct uniforms list_pools(
        const struct instance *in, const struct columns_result *solved, struct arena *arena)
{
    int64_t n_of[ROLE_DECODE + 1] = {0};
    for (int i = 0; i < solved->n_known; i++)
        n_of[in->limits[solved->known[i].limits].role]++;
    int64_t room = n_of[ROLE_PREFILL] * n_of[ROLE_DECODE] + 1;
    if (room > MOST_PAIRS)
        room = MOST_PAIRS;
    struct uniforms out = {.items = ARENA_NEW(arena, struct uniform, room)};
    for (int i = 0; i < solved->n_known; i++)
        for (int j = 0; j < solved->n_known; j++) {
            const struct pattern *p = &solved->known[i];
            const struct pattern *d = &solved->known[j];
            if (in->limits[p->limits].role != ROLE_PREFILL
                    || in->limits[d->limits].role != ROLE_DECODE)
                continue;
            struct uniform pair = pair_of(in, p, d);
            if (pair.rate > 0)
                out.items[out.n++] = pair;
            if (out.n == MOST_PAIRS) {
                rank_uniforms(&out, in);
                out.n = MOST_PAIRS / 2;
            }
        }
    rank_uniforms(&out, in);
    return out;
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
            .close_frac = cluster_devices(q->input->cluster) > MANY_DEVICES ? CLOSE_ENOUGH : 0,
            .time_limit_s = q->input->time_limit_s,
            .export_lp = q->input->export_lp};
    const struct instance *in = stages_instance(stages);
    memset(solved, 0, sizeof *solved);
    /* No limits: outputs of one token have nothing to decode. */
    if (in->n_limits > 0 && !columns_solve(solved, in, &options, arena, err))
        goto done;
    out->items = ARENA_NEW(arena, struct candidate, 2 * (int64_t)q->keep + 2);
    if (solved->feasible) {
        whole_add_candidate(out, q, stages, solved->picks, solved->n_picks, arena);
        const struct uniforms lists[2] = {
                list_mixed(in, solved, arena), list_pools(in, solved, arena)};
        add_uniforms(out, q, stages, lists, arena);
        out->best = out->items[0].score;
    }
    double offered = q->demand->requests_per_s * q->demand->output;
    out->bound = asks_price(stages) ? -solved->bound * 3600
                                    : fmin(solved->bound * q->demand->output, offered);
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
