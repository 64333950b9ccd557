#include "planner/choose.h"
#include "planner/pace.h"

#include <math.h>
#include <string.h>

/* Output tokens that the simulator may work through for one choice: seconds, whatever the workload. */
#define SIMULATED_TOKENS 1e6
/* Objectives this close are equal: other figures decide. */
#define TIE_FRAC 1e-3

enum {
    MOST_FINALISTS = 128,
    /* With more requests than this, replicas that are alike stand for each other. */
    SIMULATED_REQUESTS = 20000
};

/* A full decode step; of a prefill replica, which has none, a full step of mean prompts. */
static double full_step_us(struct cost_model *costs, const struct stage_pick *at,
        const struct split *split, const struct replica_pick *pick, const struct demand *demand)
{
    int64_t groups = split->attention_dp;
    int64_t seqs = (pick->max_seqs + groups - 1) / groups;
    struct step_shape shape = {.tokens = seqs,
            .group_tokens = seqs * groups,
            .decode_batch = seqs,
            .decode_kv_tokens = seqs * (int64_t)ceil(demand->prompt + demand->output / 2),
            .logits_rows = seqs};
    struct steady steady;
    if (pick->role == ROLE_PREFILL
            && steady_of_role(
                    &steady, demand, ROLE_PREFILL, (double)seqs, pick->max_tokens, (int)groups))
        shape = steady.mixed; /* what it points at lives as long */
    struct step_cost cost;
    cost_piece(&cost, costs, at->kind, split, (struct piece){at->first, at->end}, &shape);
    return cost.us;
}

static void build_stage(struct plan_stage *out, const struct plan *plan,
        const struct plan_replica *replica, const struct replica_pick *pick, int stage,
        struct cost_model *costs, const struct demand *demand)
{
    const struct stage_pick *at = &pick->stages[stage];
    const struct cluster *cluster = cost_cluster(costs);
    struct piece piece = {at->first, at->end};
    out->first_layer = at->first;
    out->end_layer = at->end;
    out->tp = at->split.tp;
    out->ep = at->split.ep;
    out->attention_dp = at->split.attention_dp;
    out->threads = at->split.threads;
    if ((int)at->split.dtype != plan->dtype)
        out->dtype = STAGE_DTYPE_FIRST + (int)at->split.dtype;
    if ((int)at->split.kv_dtype != plan->kv_dtype)
        out->kv_dtype = STAGE_DTYPE_FIRST + (int)at->split.kv_dtype;
    out->n_ranks = at->split.tp * at->split.attention_dp;
    out->kind = cluster->kinds[at->kind].name;
    out->device = cluster->kinds[at->kind].type;
    int kind;
    struct split full = cost_plan_split(plan, replica, out, cluster, &kind);
    struct rank_bytes bytes = cost_memory(costs, &full, piece, replica, PLAN_BLOCK_TOKENS);
    out->weight_bytes = bytes.weight;
    out->kv_bytes = bytes.kv;
    out->work_bytes = bytes.work;
    out->step_us = full_step_us(costs, at, &full, pick, demand);
}

/* All replicas of a pick: equal but for their ranks. */
static void build_replicas(struct plan *out, const struct replica_pick *pick,
        struct plan_replica *replicas, struct cost_model *costs, const struct demand *demand,
        struct arena *arena)
{
    for (int64_t r = 0; r < pick->count; r++) {
        struct plan_replica *replica = &replicas[r];
        *replica = (struct plan_replica){.n_stages = pick->n_stages,
                .role = pick->role,
                .max_seqs = pick->max_seqs,
                .max_tokens = pick->max_tokens,
                .in_flight = pick->in_flight,
                .kv_blocks = pick->kv_blocks,
                .kv_rate = pick->kv_rate,
                .kv_latency_us = pick->kv_latency_us,
                .requests_per_s = pick->requests_per_s};
        replica->stages = ARENA_NEW(arena, struct plan_stage, pick->n_stages);
        for (int s = 0; s < pick->n_stages; s++) {
            struct plan_stage *stage = &replica->stages[s];
            if (r == 0)
                build_stage(stage, out, replica, pick, s, costs, demand);
            else
                *stage = replicas[0].stages[s];
            int *ranks = ARENA_NEW(arena, int, stage->n_ranks);
            for (int i = 0; i < stage->n_ranks; i++)
                ranks[i] = out->n_ranks++;
            stage->ranks = ranks;
        }
    }
}

void choose_build(struct plan *out, const struct candidate *c, const struct planner_input *input,
        struct cost_model *costs, struct arena *arena)
{
    struct demand demand;
    demand_of(&demand, input->requests);
    memset(out, 0, sizeof *out);
    out->model = input->model->path != NULL ? input->model->path : input->model->name;
    out->model_digest = input->model->digest;
    out->cluster = input->cluster->name;
    out->workload = input->workload->name;
    out->profile_digest = input->profile != NULL ? input->profile->digest : NULL;
    out->dtype = (int)input->dtype;
    out->kv_dtype = (int)input->kv_dtype;
    out->block_tokens = PLAN_BLOCK_TOKENS;
    out->max_len = (int)demand.max_len;
    out->mtp_layers = input->mtp ? input->model->n_mtp : 0;
    out->deterministic = input->deterministic;
    for (int i = 0; i < c->n_replicas; i++)
        out->n_replicas += (int)c->replicas[i].count;
    out->replicas = ARENA_NEW(arena, struct plan_replica, out->n_replicas);
    struct plan_replica *at = out->replicas;
    for (int i = 0; i < c->n_replicas; i++) {
        build_replicas(out, &c->replicas[i], at, costs, &demand, arena);
        at += c->replicas[i].count;
    }
    out->name = plan_show(out, arena);
}

double choose_value(const struct finalist *f, const struct planner_input *input)
{
    const struct plan_figures *figures = &f->plan.predicted;
    switch ((enum plan_objective)input->objective) {
    case OBJECTIVE_THROUGHPUT:
        return figures->output_tokens_per_s;
    case OBJECTIVE_TTFT:
        return -figures->ttft_p50_us;
    case OBJECTIVE_TPOT:
        return -figures->tpot_p50_us;
    case OBJECTIVE_PRICE:
        return -figures->price_per_hour;
    }
    return 0;
}

/* Service objectives first, then the objective, then speed for the single user, then fewer ranks. */
static bool better(
        const struct finalist *a, const struct finalist *b, const struct planner_input *input)
{
    if (a->meets_slo != b->meets_slo)
        return a->meets_slo;
    double x = choose_value(a, input);
    double y = choose_value(b, input);
    if (fabs(x - y) > TIE_FRAC * fmax(fabs(x), fabs(y)))
        return x > y;
    if (input->objective != OBJECTIVE_THROUGHPUT) {
        double ta = a->plan.predicted.output_tokens_per_s;
        double tb = b->plan.predicted.output_tokens_per_s;
        if (fabs(ta - tb) > TIE_FRAC * fmax(ta, tb))
            return ta > tb;
    }
    double ea = a->plan.predicted.e2e_p50_us;
    double eb = b->plan.predicted.e2e_p50_us;
    if (fabs(ea - eb) > TIE_FRAC * fmax(ea, eb))
        return ea < eb;
    return a->plan.n_ranks < b->plan.n_ranks;
}

/*
 * Which candidates to simulate: the best of each of the best layouts, then the second of each, and so on:
 * batch limits matter to the simulator in ways that the steady state does not see.
 */
static int pick_finalists(const struct candidate **out, int most, const struct search_result *found,
        int n_layouts, struct arena *arena)
{
    const struct candidate **lead = ARENA_NEW(arena, const struct candidate *, n_layouts + 1);
    int *layout_of = ARENA_NEW(arena, int, found->n + 1);
    int *place = ARENA_NEW(arena, int, found->n + 1);
    int *size = ARENA_NEW(arena, int, n_layouts + 1);
    int n_lead = 0;
    int deepest = 0;
    for (int64_t i = 0; i < found->n; i++) {
        int at = 0;
        while (at < n_lead && !search_same_layout(lead[at], &found->items[i]))
            at++;
        layout_of[i] = at;
        if (at == n_lead) {
            if (n_lead == n_layouts) {
                layout_of[i] = -1;
                continue;
            }
            lead[n_lead++] = &found->items[i];
        }
        place[i] = size[at]++;
        if (place[i] > deepest)
            deepest = place[i];
    }
    int n = 0;
    for (int depth = 0; depth <= deepest && n < most; depth++)
        for (int64_t i = 0; i < found->n && n < most; i++)
            if (layout_of[i] >= 0 && place[i] == depth)
                out[n++] = &found->items[i];
    return n;
}

static void set_price(struct plan *plan, const struct cluster *cluster)
{
    struct plan_figures *f = &plan->predicted;
    f->price_per_hour = cost_price_per_hour(plan, cluster);
    if (f->output_tokens_per_s > 0)
        f->price_per_mtoken = f->price_per_hour / (f->output_tokens_per_s * 3600) * 1e6;
}

/* A second, in the steady state. */
static double requests_of(const struct candidate *candidate, const struct planner_input *input)
{
    struct demand demand;
    demand_of(&demand, input->requests);
    return candidate->tokens_per_s / demand.output;
}

bool choose_simulate(struct finalist *f, const struct planner_input *input,
        struct cost_model *costs, struct arena *arena, struct err *err)
{
    struct simulate_input sim = {
            &f->plan, input->workload, input->requests, costs, SIMULATED_REQUESTS};
    bool ok = true;
    if (input->requests->unpaced) {
        const struct pace_range range = {requests_of(f->candidate, input), f->outdone_per_s};
        ok = pace_simulate(&f->sim, &f->plan, input, costs, range, arena, err);
    } else {
        ok = simulate_run(&f->sim, &sim, arena, err);
    }
    if (!ok)
        return err_context(err, "%s", f->plan.name);
    f->plan.predicted = f->sim.figures;
    set_price(&f->plan, input->cluster);
    f->met_frac = f->sim.good_frac;
    double wanted = input->workload->slo.percentile;
    bool has_slo = input->workload->slo.ttft_us > 0 || input->workload->slo.tpot_us > 0;
    f->meets_slo = !has_slo || f->met_frac >= wanted - 1e-12;
    return true;
}

bool choose_add(int *at, struct choice *choice, const struct candidate *candidate,
        const struct solve *solve, struct arena *arena, struct err *err)
{
    if (choice->n == choice->cap) {
        choice->cap = choice->cap > 0 ? 2 * choice->cap : 16;
        choice->items =
                arena_grow(arena, choice->items, choice->n, choice->cap, sizeof *choice->items);
    }
    struct finalist *f = &choice->items[choice->n];
    *f = (struct finalist){.candidate = candidate};
    choose_build(&f->plan, candidate, solve->input, solve->costs, arena);
    for (*at = 0; *at < choice->n; ++*at)
        if (strcmp(choice->items[*at].plan.name, f->plan.name) == 0)
            return true;
    /* Where throughput is asked for, a rate that another plan has already is of no use. */
    for (int i = 0; i < choice->n && solve->input->objective == OBJECTIVE_THROUGHPUT; i++)
        if (choice->items[i].meets_slo)
            f->outdone_per_s =
                    fmax(f->outdone_per_s, choice->items[i].plan.predicted.requests_per_s);
    choice->n++;
    return choose_simulate(f, solve->input, solve->costs, arena, err);
}

static void rank_finalists(
        struct choice *out, const struct planner_input *input, struct arena *arena)
{
    bool *done = ARENA_NEW(arena, bool, out->n);
    out->runners_up = ARENA_NEW(arena, int, out->n);
    out->n_runners_up = 0;
    for (int round = 0; round < out->n; round++) {
        int best = -1;
        for (int i = 0; i < out->n; i++)
            if (!done[i] && (best < 0 || better(&out->items[i], &out->items[best], input)))
                best = i;
        if (best < 0)
            return;
        if (round == 0)
            out->chosen = best;
        else
            out->runners_up[out->n_runners_up++] = best;
        /* The rest of its layout differs in batch limits alone: no plan of its own. */
        for (int i = 0; i < out->n; i++)
            if (search_same_layout(out->items[i].candidate, out->items[best].candidate))
                done[i] = true;
    }
}

bool choose_run(struct choice *choice, const struct search_result *found, const struct solve *solve,
        int n_layouts, struct arena *arena, struct err *err)
{
    double affordable = SIMULATED_TOKENS / fmax(1, (double)solve->demand.n * solve->demand.output);
    int most = affordable > MOST_FINALISTS ? MOST_FINALISTS : (int)affordable;
    if (most < n_layouts)
        most = n_layouts;
    const struct candidate **picked = ARENA_NEW(arena, const struct candidate *, most + 1);
    int n = pick_finalists(picked, most, found, n_layouts, arena);
    choice->lead = -1;
    for (int i = 0; i < n; i++) {
        int at;
        if (!choose_add(&at, choice, picked[i], solve, arena, err))
            return false;
        if (choice->lead < 0 && picked[i]->config == NULL)
            choice->lead = at;
    }
    rank_finalists(choice, solve->input, arena);
    choice->slo_missed = !choice->items[choice->chosen].meets_slo;
    return true;
}

/* The gap that will do where percentiles decide, not means. */
#define ROUGHLY 1e-2

enum {
    MOST_TIGHTENINGS = 2, /* solved again when the simulator refuses what the program likes best */
    LAYOUTS_OF_ONE = 2    /* simulated each time */
};

/* A tighter program makes shorter steps. It does nothing for requests that wait longer than they may before their first
 * step: more of them come than there is room for. */
static bool tightening_helps(const struct finalist *refused, const struct workload *workload)
{
    return !refused->meets_slo
           && (workload->slo.ttft_us <= 0 || refused->sim.queue_us.p90 < workload->slo.ttft_us);
}

/* How much tighter the objectives have to be for the program to mean what the simulator finds. */
static double tighter(const struct finalist *refused, const struct workload *workload)
{
    double by = 0.95;
    if (workload->slo.ttft_us > 0 && refused->sim.slo_ttft_us > 0)
        by = fmin(by, workload->slo.ttft_us / refused->sim.slo_ttft_us);
    if (workload->slo.tpot_us > 0 && refused->sim.slo_tpot_us > 0)
        by = fmin(by, workload->slo.tpot_us / refused->sim.slo_tpot_us);
    return fmax(by, 0.5);
}

bool choose_plan(struct choice *choice, struct solved *solved, const struct solve *solve,
        struct arena *arena, struct err *err)
{
    struct solve again = *solve;
    double tighten = 1;
    *choice = (struct choice){0};
    if (!choose_run(choice, &solved->found, solve, solve->keep, arena, err))
        return false;
    again.search = false;
    again.gap_frac = ROUGHLY;
    int rounds = solve->keep > 1 ? MOST_TIGHTENINGS : 0; /* --simulate 1: there is no next one */
    for (int i = 0; i < rounds && choice->lead >= 0
                    && tightening_helps(&choice->items[choice->lead], solve->input->workload);
            i++) {
        struct solved more;
        tighten *= tighter(&choice->items[choice->lead], solve->input->workload);
        if (!solve_run(&more, &again, tighten, arena, err))
            return false;
        solved->seconds += more.seconds;
        solved->found.programs += more.found.programs;
        solved->found.nodes += more.found.nodes;
        if (more.found.n == 0)
            return true;
        if (!choose_run(choice, &more.found, solve, LAYOUTS_OF_ONE, arena, err))
            return false;
    }
    return true;
}
