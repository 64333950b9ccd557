#include "planner/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/sched_route.h"
#include "planner/simulate_figures.h"
#include "planner/simulate_replica.h"

/* A plan while it is simulated. */
struct simulation {
    struct arena arena;
    const struct simulate_input *input;
    struct simulate_result *out;
    struct stage_costs *costs;
    struct replica_view *views;
    int *pattern;     /* by replica: the first one like it */
    double *weight;   /* by replica: how many it stands for; 0 = not simulated */
    int *first_stage; /* by replica: its place in the result */
    int *route;       /* by request */
};

/* A request on its way from prefill to decode. */
struct handover {
    int64_t ready_ns, request;
};

static int64_t gcd(int64_t a, int64_t b)
{
    return b == 0 ? a : gcd(b, a % b);
}

/* The largest divisor of n that is at most `most`. */
static int64_t divisor(int64_t n, double most)
{
    int64_t best = 1;
    for (int64_t d = 1; d <= n && (double)d <= most; d++)
        if (n % d == 0)
            best = d;
    return best;
}

/*
 * Which replicas stand for all. A mixed one is alone with its requests, so of each pattern the share that was
 * asked for will do. Prefill replicas feed decode replicas: there the same whole share must be taken of every
 * pattern, or those that are left would see another load.
 */
static void choose_replicas(struct simulation *sim)
{
    const struct plan *plan = sim->input->plan;
    if (sim->input->sample != NULL) {
        memcpy(sim->weight, sim->input->sample->stands_for,
                sizeof *sim->weight * (size_t)plan->n_replicas);
        sim->out->sampled = true;
        return;
    }
    int *count = ARENA_NEW(&sim->arena, int, plan->n_replicas);
    int *seen = ARENA_NEW(&sim->arena, int, plan->n_replicas);
    int64_t common = 0;
    bool separate = false;
    for (int r = 0; r < plan->n_replicas; r++) {
        separate = separate || plan->replicas[r].role != ROLE_MIXED;
        count[sim->pattern[r]]++;
    }
    for (int r = 0; r < plan->n_replicas; r++)
        common = count[r] > 0 ? gcd(count[r], common) : common;
    double fewer = 1;
    if (sim->input->most_requests > 0 && sim->input->requests->n > sim->input->most_requests)
        fewer = (double)sim->input->requests->n / (double)sim->input->most_requests;
    if (separate)
        fewer = (double)divisor(common, fewer);
    for (int r = 0; r < plan->n_replicas; r++) {
        int n = count[sim->pattern[r]];
        int take = (int)ceil(n / fewer - 1e-9);
        int i = seen[sim->pattern[r]]++;
        /* Evenly spaced: the k-th of them is number floor(k * n / take). */
        int64_t k = ((int64_t)i * take + n - 1) / n;
        sim->weight[r] = k < take && k * n / take == i ? (double)n / take : 0;
        sim->out->sampled = sim->out->sampled || sim->weight[r] == 0;
    }
}

static bool open_replicas(struct simulation *sim, struct err *err)
{
    const struct plan *plan = sim->input->plan;
    sim->costs = stage_costs_open(sim->input->costs);
    sim->views = ARENA_NEW(&sim->arena, struct replica_view, plan->n_replicas);
    sim->pattern = ARENA_NEW(&sim->arena, int, plan->n_replicas);
    sim->weight = ARENA_NEW(&sim->arena, double, plan->n_replicas);
    sim->first_stage = ARENA_NEW(&sim->arena, int, plan->n_replicas);
    for (int r = 0; r < plan->n_replicas; r++) {
        if (!replica_open(&sim->views[r], sim->input, sim->costs, r, &sim->arena, err))
            return err_context(err, "simulating replica %d", r);
        sim->first_stage[r] = sim->out->n_stages;
        sim->out->n_stages += plan->replicas[r].n_stages;
        sim->pattern[r] = r;
        for (int p = 0; p < r && sim->pattern[r] == r; p++)
            if (sim->pattern[p] == p && replica_alike(&sim->views[p], &sim->views[r]))
                sim->pattern[r] = p;
    }
    choose_replicas(sim);
    return true;
}

static bool run_one(struct simulation *sim, int r, const struct replica_load *load, struct err *err)
{
    if (load->n == 0)
        return true;
    bool ok = replica_run(sim->out, sim->out->stages + sim->first_stage[r], &sim->views[r],
            sim->input, load, err);
    replica_close(&sim->views[r]); /* there may be thousands */
    return ok || err_context(err, "simulating replica %d", r);
}

/* Requests by replica: those of replica r are ids[first[r]] to ids[first[r + 1] - 1], in the order given. */
static void group_by_replica(struct simulation *sim, const int64_t *requests, const int *route,
        int64_t n, int64_t *ids, int64_t *first)
{
    int n_replicas = sim->input->plan->n_replicas;
    memset(first, 0, sizeof *first * (size_t)(n_replicas + 1));
    for (int64_t i = 0; i < n; i++)
        first[route[i] + 1]++;
    for (int r = 0; r < n_replicas; r++)
        first[r + 1] += first[r];
    for (int64_t i = 0; i < n; i++)
        ids[first[route[i]]++] = requests != NULL ? requests[i] : i;
    for (int r = n_replicas; r > 0; r--)
        first[r] = first[r - 1];
    first[0] = 0;
}

/* Replicas that take prompts. */
static bool run_arrivals(struct simulation *sim, struct err *err)
{
    const struct requests *requests = sim->input->requests;
    const struct plan *plan = sim->input->plan;
    int64_t *ids = ARENA_NEW(&sim->arena, int64_t, requests->n);
    int64_t *first = ARENA_NEW(&sim->arena, int64_t, plan->n_replicas + 1);
    group_by_replica(sim, NULL, sim->route, requests->n, ids, first);
    for (int r = 0; r < plan->n_replicas; r++) {
        if (sim->weight[r] <= 0 || plan->replicas[r].role == ROLE_DECODE)
            continue;
        struct arena arena = {0};
        struct replica_load load = {.ids = ids + first[r], .n = first[r + 1] - first[r]};
        load.items = ARENA_NEW(&arena, struct request, load.n);
        for (int64_t i = 0; i < load.n; i++)
            load.items[i] = requests->items[load.ids[i]];
        bool ok = run_one(sim, r, &load, err);
        arena_free(&arena);
        if (!ok)
            return false;
    }
    return true;
}

static int by_time(const void *a, const void *b)
{
    const struct handover *x = a;
    const struct handover *y = b;
    if (x->ready_ns != y->ready_ns)
        return x->ready_ns < y->ready_ns ? -1 : 1;
    return x->request < y->request ? -1 : 1;
}

/* Caches leave a replica in the order of first tokens; each of its pools sends one after the other. */
static void send_caches(struct simulation *sim, int r, struct handover *items, int64_t n)
{
    const struct replica_view *view = &sim->views[r];
    int64_t block = sim->input->plan->block_tokens;
    int lanes = plan_pools(view->replica);
    int64_t *free_ns = ARENA_NEW(&sim->arena, int64_t, lanes);
    qsort(items, (size_t)n, sizeof *items, by_time);
    for (int64_t i = 0; i < n; i++) {
        const struct request *request = &sim->input->requests->items[items[i].request];
        int64_t blocks = (request->prompt_len + block - 1) / block;
        double bytes = (double)(blocks * view->block_bytes);
        double us = view->replica->kv_latency_us;
        int lane = 0; /* which pool a request was in is not kept: the one that is free first */
        for (int j = 1; j < lanes; j++)
            lane = free_ns[j] < free_ns[lane] ? j : lane;
        if (view->replica->kv_rate > 0)
            us += bytes / view->replica->kv_rate * 1e6;
        int64_t start_ns = items[i].ready_ns > free_ns[lane] ? items[i].ready_ns : free_ns[lane];
        items[i].ready_ns = free_ns[lane] = start_ns + llround(us * 1e3);
    }
}

/* All requests that go on to a decode replica, in the order in which their caches arrive. */
static struct handover *hand_over(struct simulation *sim, int64_t *n)
{
    const struct plan *plan = sim->input->plan;
    const struct requests *requests = sim->input->requests;
    struct handover *items = ARENA_NEW(&sim->arena, struct handover, requests->n);
    int64_t *counts = ARENA_NEW(&sim->arena, int64_t, plan->n_replicas + 1);
    int64_t *ids = ARENA_NEW(&sim->arena, int64_t, requests->n);
    group_by_replica(sim, NULL, sim->route, requests->n, ids, counts);
    *n = 0;
    for (int r = 0; r < plan->n_replicas; r++) {
        int64_t begin = *n;
        if (sim->weight[r] <= 0 || plan->replicas[r].role != ROLE_PREFILL)
            continue;
        for (int64_t i = counts[r]; i < counts[r + 1]; i++) {
            const struct simulate_request *record = &sim->out->requests[ids[i]];
            if (record->outcome == SCHED_FINISHED && requests->items[ids[i]].output_len > 1)
                items[(*n)++] = (struct handover){record->first_token_ns, ids[i]};
        }
        send_caches(sim, r, items + begin, *n - begin);
    }
    qsort(items, (size_t)*n, sizeof *items, by_time);
    return items;
}

/* Which of the simulated decode replicas takes which of them: as the runtime does it, or in the order in which they
 * come where some replicas stand for others. */
static void route_handovers(
        struct simulation *sim, const struct handover *items, int64_t n, int *route)
{
    const struct plan *plan = sim->input->plan;
    int *takes = ARENA_NEW(&sim->arena, int, plan->n_replicas);
    int *planned = ARENA_NEW(&sim->arena, int, sim->input->requests->n);
    double *speed = ARENA_NEW(&sim->arena, double, plan->n_replicas);
    int n_decode = 0;
    bool known = true;
    for (int r = 0; r < plan->n_replicas; r++) {
        if (sim->weight[r] <= 0 || plan->replicas[r].role != ROLE_DECODE)
            continue;
        takes[n_decode] = r;
        speed[n_decode] = route_speed(&plan->replicas[r]);
        known = known && speed[n_decode] > 0;
        n_decode++;
    }
    for (int i = 0; !known && i < n_decode; i++)
        speed[i] = 0;
    route_outputs(planned, sim->input->requests, plan, sim->route);
    struct router *router = router_open(speed, n_decode);
    for (int64_t i = 0; i < n; i++) {
        double work = (double)sim->input->requests->items[items[i].request].output_len;
        route[i] = sim->out->sampled ? takes[router_pick(router, items[i].ready_ns, work)]
                                     : planned[items[i].request];
        sim->out->requests[items[i].request].decode_replica = route[i];
        sim->out->requests[items[i].request].decode_ns = items[i].ready_ns;
        /* Where the rest of the answer comes from the user gets the first token, too: once it begins there. */
        sim->out->requests[items[i].request].first_token_ns = -1;
    }
    router_close(router);
}

/* Those that do not go elsewhere are left, in their order; returns how many. */
static int64_t route_sample(struct simulation *sim, struct handover *items, int64_t n, int *route)
{
    const struct simulate_sample *sample = sim->input->sample;
    int n_replicas = sim->input->plan->n_replicas;
    int *takes = ARENA_NEW(&sim->arena, int, n_replicas + 1);
    double *speed = ARENA_NEW(&sim->arena, double, n_replicas + 1);
    int n_decode = 0;
    for (int r = 0; r < n_replicas; r++)
        if (sim->input->plan->replicas[r].role == ROLE_DECODE) {
            takes[n_decode] = r;
            speed[n_decode++] = sample->speed[r];
        }
    takes[n_decode] = -1;
    speed[n_decode] = sample->elsewhere;
    struct router *router = router_open(speed, n_decode + (sample->elsewhere > 0));
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        struct simulate_request *record = &sim->out->requests[items[i].request];
        double work = (double)sim->input->requests->items[items[i].request].output_len;
        /* Without a clock: to each its part, whatever speed the others have together. */
        record->decode_replica = takes[router_pick(router, 0, work)];
        record->decode_ns = items[i].ready_ns;
        record->first_token_ns = -1;
        if (record->decode_replica < 0)
            continue;
        route[kept] = record->decode_replica;
        items[kept++] = items[i];
    }
    router_close(router);
    return kept;
}

static bool run_handovers(struct simulation *sim, struct err *err)
{
    const struct plan *plan = sim->input->plan;
    int64_t n;
    struct handover *items = hand_over(sim, &n);
    if (n == 0)
        return true;
    int *route = ARENA_NEW(&sim->arena, int, n);
    int64_t *requests = ARENA_NEW(&sim->arena, int64_t, n);
    int64_t *ids = ARENA_NEW(&sim->arena, int64_t, n);
    int64_t *first = ARENA_NEW(&sim->arena, int64_t, plan->n_replicas + 1);
    if (sim->input->sample != NULL)
        n = route_sample(sim, items, n, route);
    else
        route_handovers(sim, items, n, route);
    for (int64_t i = 0; i < n; i++)
        requests[i] = items[i].request;
    group_by_replica(sim, requests, route, n, ids, first);
    for (int r = 0; r < plan->n_replicas; r++) {
        struct arena arena = {0};
        struct replica_load load = {.ids = ids + first[r], .n = first[r + 1] - first[r]};
        load.items = ARENA_NEW(&arena, struct request, load.n);
        for (int64_t i = 0; i < load.n; i++) {
            load.items[i] = sim->input->requests->items[load.ids[i]];
            load.items[i].arrival_ns = sim->out->requests[load.ids[i]].decode_ns;
            load.items[i].deadline_ns = 0; /* it has begun */
            load.items[i].priority = 0;    /* caches are taken in the order in which they come */
        }
        bool ok = run_one(sim, r, &load, err);
        arena_free(&arena);
        if (!ok)
            return false;
    }
    return true;
}

/* Stages of replicas that were not simulated look like those that stand for them. */
static void copy_stages(struct simulation *sim)
{
    const struct plan *plan = sim->input->plan;
    int *like = ARENA_NEW(&sim->arena, int, plan->n_replicas); /* by pattern: replica + 1 */
    for (int r = 0; r < plan->n_replicas; r++)
        if (sim->weight[r] > 0)
            like[sim->pattern[r]] = r + 1;
    for (int r = 0; r < plan->n_replicas; r++) {
        int from = like[sim->pattern[r]] - 1;
        if (sim->weight[r] <= 0 && from >= 0)
            memcpy(sim->out->stages + sim->first_stage[r],
                    sim->out->stages + sim->first_stage[from],
                    sizeof *sim->out->stages * (size_t)plan->replicas[r].n_stages);
    }
}

bool simulate_run(struct simulate_result *out, const struct simulate_input *input,
        struct arena *arena, struct err *err)
{
    struct simulation sim = {.input = input, .out = out};
    bool ok = false;
    memset(out, 0, sizeof *out);
    if (!open_replicas(&sim, err))
        goto done;
    out->stages = ARENA_NEW(arena, struct simulate_stage, out->n_stages);
    out->requests = ARENA_NEW(arena, struct simulate_request, input->requests->n);
    sim.route = ARENA_NEW(&sim.arena, int, input->requests->n);
    route_requests(sim.route, input->requests, input->plan);
    for (int64_t i = 0; i < input->requests->n; i++)
        out->requests[i] = (struct simulate_request){.begin_ns = -1,
                .first_token_ns = -1,
                .finish_ns = -1,
                .decode_ns = -1,
                .replica = sim.route[i],
                .decode_replica = -1};
    if (!run_arrivals(&sim, err) || !run_handovers(&sim, err))
        goto done;
    copy_stages(&sim);
    simulate_figures(out, input, sim.weight);
    ok = true;
done:
    for (int r = 0; sim.views != NULL && r < input->plan->n_replicas; r++)
        replica_close(&sim.views[r]);
    stage_costs_close(sim.costs);
    arena_free(&sim.arena);
    return ok;
}
