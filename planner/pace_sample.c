#include "planner/pace_sample.h"

#include <math.h>
#include <string.h>

#include "core/sched_route.h"

/* Replicas that are alike, and how many of them are simulated. */
struct sort {
    const struct plan_replica *replica;
    int count, take;
    double speed; /* of one, as requests are routed */
};

/* Sums over sorts of speed: what requests or caches are dealt by. */
struct speeds {
    double mixed, prefill, decode;
};

static bool alike(const struct plan_replica *a, const struct plan_replica *b)
{
    bool same = a->role == b->role && a->n_stages == b->n_stages && a->max_seqs == b->max_seqs
                && a->max_tokens == b->max_tokens && a->in_flight == b->in_flight
                && a->kv_blocks == b->kv_blocks && a->kv_rate == b->kv_rate
                && a->kv_latency_us == b->kv_latency_us && a->requests_per_s == b->requests_per_s;
    for (int s = 0; same && s < a->n_stages; s++) {
        const struct plan_stage *x = &a->stages[s];
        const struct plan_stage *y = &b->stages[s];
        same = x->first_layer == y->first_layer && x->end_layer == y->end_layer && x->tp == y->tp
               && x->ep == y->ep && x->attention_dp == y->attention_dp && x->threads == y->threads
               && x->dtype == y->dtype && x->kv_dtype == y->kv_dtype && x->step_us == y->step_us
               && strcmp(x->kind, y->kind) == 0;
    }
    return same;
}

/* Fills sort_of by replica; returns how many sorts there are. Unknown speeds are all alike. */
static int find_sorts(
        struct sort *sorts, int *sort_of, const struct plan *plan, struct arena *arena)
{
    double *speed = ARENA_NEW(arena, double, plan->n_replicas);
    (void)route_speeds(speed, plan);
    int n = 0;
    for (int r = 0; r < plan->n_replicas; r++) {
        int s = 0;
        while (s < n && !alike(sorts[s].replica, &plan->replicas[r]))
            s++;
        if (s == n)
            sorts[n++] = (struct sort){
                    .replica = &plan->replicas[r], .take = 1, .speed = speed[r] > 0 ? speed[r] : 1};
        sorts[s].count++;
        sort_of[r] = s;
    }
    return n;
}

static int groups_of(const struct plan_replica *replica)
{
    return replica->role == ROLE_DECODE ? replica->stages[0].attention_dp : 1;
}

static struct speeds speeds_of(const struct sort *sorts, int n, bool taken)
{
    struct speeds out = {0};
    for (int s = 0; s < n; s++) {
        double speed = sorts[s].speed * (taken ? sorts[s].take : sorts[s].count);
        switch ((enum replica_role)sorts[s].replica->role) {
        case ROLE_MIXED:
            out.mixed += speed;
            break;
        case ROLE_PREFILL:
            out.prefill += speed;
            break;
        case ROLE_DECODE:
            out.decode += taken ? speed / groups_of(sorts[s].replica) : speed;
            break;
        }
    }
    return out;
}

/* As many prefill replicas of each sort as feed the decode replicas that are simulated. */
static struct speeds take_prefills(struct sort *sorts, int n, const struct speeds *all)
{
    struct speeds taken = speeds_of(sorts, n, true);
    double wanted = all->decode > 0 ? taken.decode / all->decode : 0;
    for (int take = 1; taken.prefill < wanted * all->prefill * (1 - 1e-9); take++) {
        for (int s = 0; s < n; s++)
            if (sorts[s].replica->role == ROLE_PREFILL)
                sorts[s].take = take < sorts[s].count ? take : sorts[s].count;
        taken = speeds_of(sorts, n, true);
    }
    return taken;
}

void pace_sample_of(struct pace_sample *out, const struct plan *plan, struct arena *arena)
{
    struct sort *sorts = ARENA_NEW(arena, struct sort, plan->n_replicas);
    int *sort_of = ARENA_NEW(arena, int, plan->n_replicas);
    int *like = ARENA_NEW(arena, int, plan->n_replicas);
    int *first = ARENA_NEW(arena, int, plan->n_replicas);
    int *seen = ARENA_NEW(arena, int, plan->n_replicas);
    double *weight = ARENA_NEW(arena, double, plan->n_replicas);
    double *speed = ARENA_NEW(arena, double, plan->n_replicas);
    int n = find_sorts(sorts, sort_of, plan, arena);
    const struct speeds all = speeds_of(sorts, n, false);
    const struct speeds taken = take_prefills(sorts, n, &all);
    *out = (struct pace_sample){.plan = *plan, .whole = true, .like = like};
    out->plan.n_replicas = 0;
    out->plan.replicas = ARENA_NEW(arena, struct plan_replica, plan->n_replicas);
    for (int r = 0; r < plan->n_replicas; r++) {
        const struct sort *sort = &sorts[sort_of[r]];
        if (seen[sort_of[r]]++ < sort->take) {
            int groups = groups_of(sort->replica);
            out->whole = out->whole && sort->take == sort->count && groups == 1;
            if (seen[sort_of[r]] == 1)
                first[sort_of[r]] = out->plan.n_replicas;
            speed[out->plan.n_replicas] = sort->speed / groups;
            weight[out->plan.n_replicas] = (double)sort->count / sort->take * groups;
            out->plan.replicas[out->plan.n_replicas++] = plan->replicas[r];
        }
        like[r] = first[sort_of[r]];
    }
    double handed = all.prefill > 0 ? taken.prefill / all.prefill : 0;
    double decoded = all.decode > 0 ? taken.decode / all.decode : 0;
    out->in_frac = (taken.mixed + taken.prefill) / (all.mixed + all.prefill);
    out->more = (taken.mixed + taken.prefill) / (taken.mixed + all.prefill * decoded);
    double elsewhere = all.decode * handed - taken.decode;
    out->weights = (struct simulate_sample){.each = 1 / out->in_frac,
            .stands_for = weight,
            .speed = speed,
            .elsewhere = elsewhere > 1e-9 * all.decode ? elsewhere : 0};
}

void pace_sample_spread(struct simulate_result *result, const struct pace_sample *sample,
        const struct plan *plan, struct arena *arena)
{
    int *first = ARENA_NEW(arena, int, sample->plan.n_replicas);
    int n_stages = 0;
    for (int r = 0; r + 1 < sample->plan.n_replicas; r++)
        first[r + 1] = first[r] + sample->plan.replicas[r].n_stages;
    for (int r = 0; r < plan->n_replicas; r++)
        n_stages += plan->replicas[r].n_stages;
    struct simulate_stage *stages = ARENA_NEW(arena, struct simulate_stage, n_stages);
    int at = 0;
    for (int r = 0; r < plan->n_replicas; r++) {
        memcpy(stages + at, result->stages + first[sample->like[r]],
                sizeof *stages * (size_t)plan->replicas[r].n_stages);
        at += plan->replicas[r].n_stages;
    }
    result->stages = stages;
    result->n_stages = n_stages;
}
