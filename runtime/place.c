#include "runtime/place.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

static int replica_ranks(const struct plan_replica *replica)
{
    int n = 0;

    for (int s = 0; s < replica->n_stages; s++)
        n += replica->stages[s].n_ranks;
    return n;
}

static int stage_ranks_on(const struct plan *plan, const struct plan_stage *stage, int machine)
{
    int n = 0;

    for (int i = 0; i < stage->n_ranks; i++)
        n += plan_machine(plan, stage->ranks[i]) == machine;
    return n;
}

int place_busy(const struct plan *plan, int replica, int stage, int machine)
{
    int busy = 0;

    for (int r = 0; r < plan->n_replicas; r++) {
        const struct plan_replica *other = &plan->replicas[r];
        int at = r == replica ? stage : stage < other->n_stages ? stage : 0;
        bool all = other->in_flight > 1 || other->n_stages == 1;

        for (int s = 0; s < other->n_stages; s++)
            if (all || s == at)
                busy += stage_ranks_on(plan, &other->stages[s], machine);
    }
    return busy;
}

int place_apart(const struct plan *plan, int rank, int other)
{
    return plan_machine(plan, rank) != plan_machine(plan, other) ? 2 : 0;
}

/* Kernels for 8 bits are priced by the planner from imported costs; the bundled ones have none. */
static bool check_dtypes(const struct plan *plan, const struct plan_stage *s, struct err *err)
{
    const enum dtype dtypes[] = {plan_stage_dtype(plan, s), plan_stage_kv_dtype(plan, s)};

    for (int i = 0; i < 2; i++)
        if (dtypes[i] != DTYPE_F32 && dtypes[i] != DTYPE_BF16 && dtypes[i] != DTYPE_F16)
            return err_at(err, s->pos,
                    "the stage's %s type %s, expected f32, bf16 or f16: the runtime executes no "
                    "others, `shardwright simulate` does",
                    i == 0 ? "weights have" : "KV cache has", dtype_names[dtypes[i]]);
    return true;
}

static bool check_stage(
        const struct plan *plan, const struct model *model, int replica, int stage, struct err *err)
{
    const struct plan_replica *r = &plan->replicas[replica];
    const struct plan_stage *s = &r->stages[stage];
    struct split split = {s->tp, s->ep, s->attention_dp, s->threads, 1, plan_stage_dtype(plan, s),
            plan_stage_kv_dtype(plan, s), plan->deterministic};
    int begin = stage == 0 ? 0 : r->stages[stage - 1].end_layer;

    if (s->first_layer != begin || s->end_layer <= begin)
        return err_at(err, s->pos, "stage holds layers %d to %d, expected it to start at %d",
                s->first_layer, s->end_layer, begin);
    if (stage == r->n_stages - 1 && s->end_layer != model->n_layers)
        return err_at(err, s->pos, "the last stage ends at layer %d, %s has %d", s->end_layer,
                model->name, model->n_layers);
    if (s->n_ranks != s->tp * s->attention_dp)
        return err_at(err, s->pos, "stage has %d ranks, tp %d x attention_dp %d needs %d",
                s->n_ranks, s->tp, s->attention_dp, s->tp * s->attention_dp);
    if (plan_pools(r) % s->attention_dp != 0)
        return err_at(err, s->pos,
                "attention_dp is %d here and %d in another stage: it must divide that",
                s->attention_dp, plan_pools(r));
    for (int i = 0; i < s->n_ranks; i++)
        if (s->ranks[i] < 0 || s->ranks[i] >= plan->n_ranks)
            return err_at(err, s->pos, "rank %d is not among the plan's %d ranks", s->ranks[i],
                    plan->n_ranks);
    if (!check_dtypes(plan, s, err))
        return false;
    struct err why = {0};
    if (!graph_legal(model, &split, &why))
        return err_at(err, s->pos, "%s", why.text);
    return true;
}

/* A prefill replica must know the ranks that a cache goes to before the decode replica has a place for it. */
static bool check_role(const struct plan *plan, int replica, struct err *err)
{
    const struct plan_replica *r = &plan->replicas[replica];

    if (r->role == ROLE_DECODE && plan_pools(r) > 1)
        return err_at(err, r->pos,
                "replica %d has the role decode and %d attention-dp groups, expected one: the "
                "runtime hands caches over to replicas of one group; `shardwright simulate` knows "
                "no limit",
                replica, plan_pools(r));
    return true;
}

static bool check_plan(const struct plan *plan, const struct model *model, struct err *err)
{
    if (plan->model_digest && *plan->model_digest && model->digest
            && strcmp(plan->model_digest, model->digest) != 0)
        return err_set(err, ERR_INPUT,
                "the plan is for a model with digest %s, %s has %s: plan again for this model",
                plan->model_digest, model->name, model->digest);
    if (plan->mtp_layers > 0)
        return err_set(err, ERR_INPUT,
                "the plan has memory for %d multi-token-prediction layers, which the runtime does "
                "not execute: plan without --mtp",
                plan->mtp_layers);
    for (int r = 0; r < plan->n_replicas; r++) {
        const struct plan_replica *replica = &plan->replicas[r];

        if (replica->n_stages < 1 || replica->max_seqs < 1 || replica->max_tokens < 1
                || replica->kv_blocks < 1 || replica->in_flight < 1)
            return err_at(err, replica->pos,
                    "a replica needs stages, max_seqs, max_tokens, "
                    "in_flight and kv_blocks of at least 1");
        if (!check_role(plan, r, err))
            return false;
        if ((int64_t)replica->max_tokens * plan_pools(replica) > 1 << 28)
            return err_at(err, replica->pos,
                    "max_tokens is %d for each of %d pools, expected at most 2^28 rows in all",
                    replica->max_tokens, plan_pools(replica));
        if (replica->in_flight > replica->n_stages)
            return err_at(err, replica->pos,
                    "in_flight is %d, expected 1 to the %d stages there are", replica->in_flight,
                    replica->n_stages);
        for (int s = 0; s < replica->n_stages; s++)
            if (!check_stage(plan, model, r, s, err))
                return false;
    }
    return true;
}

static bool find_rank(struct place *out, const struct plan *plan, int rank, struct err *err)
{
    int found = 0;

    for (int r = 0; r < plan->n_replicas; r++) {
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];

            for (int i = 0; i < stage->n_ranks; i++) {
                if (stage->ranks[i] != rank)
                    continue;
                if (found++)
                    return err_at(err, stage->pos, "rank %d stands in the plan twice", rank);
                *out = (struct place){
                        .plan = plan, .rank = rank, .replica = r, .stage = s, .index = i};
            }
        }
    }
    if (!found)
        return err_set(err, ERR_INPUT, "rank %d has no place in the plan", rank);
    return true;
}

/* Of the ranks below `end` on the host of `rank`. */
static int threads_below(const struct plan *plan, int rank, int end, const int *host_of)
{
    int n = 0, here = host_of ? host_of[rank] : plan_machine(plan, rank);

    for (int r = 0; r < plan->n_replicas; r++) {
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];

            for (int i = 0; i < stage->n_ranks; i++) {
                int other = stage->ranks[i];

                if ((host_of ? host_of[other] : plan_machine(plan, other)) == here && other < end)
                    n += stage->threads;
            }
        }
    }
    return n;
}

int place_host_threads(const struct plan *plan, int rank, const int *host_of)
{
    return threads_below(plan, rank, plan->n_ranks, host_of);
}

/* CPUs of a host are dealt out in order of rank. */
int place_first_cpu(const struct plan *plan, int rank, const int *host_of)
{
    return place_host_threads(plan, rank, host_of) <= sysconf(_SC_NPROCESSORS_ONLN)
                   ? threads_below(plan, rank, rank, host_of)
                   : -1;
}

static void find_pools(struct place *place)
{
    const struct plan_replica *replica = place->replica_plan;

    place->n_pools = plan_pools(replica);
    place->group_pools = plan_stage_pools(replica, place->stage_plan);
    place->first_pool = place->group * place->group_pools;
    place->last_groups = replica->stages[replica->n_stages - 1].attention_dp;
    place->max_rows = replica->max_tokens * place->group_pools;
    place->kv_blocks = replica->kv_blocks * place->group_pools;
}

bool place_find(struct place *out, const struct plan *plan, const struct model *model, int rank,
        int n_ranks, struct err *err)
{
    if (plan->n_ranks != n_ranks)
        return err_set(err, ERR_INPUT, "the plan is for %d ranks, this job has %d", plan->n_ranks,
                n_ranks);
    if (!check_plan(plan, model, err) || !find_rank(out, plan, rank, err))
        return false;
    out->replica_plan = &plan->replicas[out->replica];
    const struct plan_stage *stage = &out->replica_plan->stages[out->stage];
    out->stage_plan = stage;
    out->group = out->index / stage->tp;
    out->tp_rank = out->index % stage->tp;
    out->n_groups = stage->attention_dp;
    find_pools(out);
    out->expert_tp = stage->n_ranks / stage->ep;
    out->ep_rank = out->index / out->expert_tp;
    out->expert_tp_rank = out->index % out->expert_tp;
    out->first = out->stage == 0;
    out->last = out->stage == out->replica_plan->n_stages - 1;
    out->leader = out->first && out->index == 0;
    out->first_cpu = place_first_cpu(plan, rank, NULL);
    out->host_threads = place_host_threads(plan, rank, NULL);
    out->split = (struct split){
            .tp = stage->tp,
            .ep = stage->ep,
            .attention_dp = stage->attention_dp,
            .threads = stage->threads,
            .busy = place_busy(plan, out->replica, out->stage, plan_machine(plan, rank)),
            .dtype = plan_stage_dtype(plan, stage),
            .kv_dtype = plan_stage_kv_dtype(plan, stage),
            .deterministic = plan->deterministic,
            .nodes = plan_stage_machines(plan, stage),
    };
    out->piece = (struct piece){stage->first_layer, stage->end_layer};
    return true;
}

int place_in_replica(const struct place *place, int stage, int index)
{
    int at = index;

    for (int s = 0; s < stage; s++)
        at += place->replica_plan->stages[s].n_ranks;
    return at;
}

/* Keys need only differ among groups that share a member. */
enum group_key {
    KEY_REPLICA,
    KEY_STAGE,
    KEY_TENSOR,
    KEY_JOB,
    KEY_COUNT
};

static struct coll *open_group(
        const struct place *place, const int *members, int n, enum group_key kind, struct err *err)
{
    int first = kind == KEY_JOB ? 0 : members[0] * KEY_COUNT;
    struct coll_options options = {.key = first + (int)kind,
            .deterministic = place->plan->deterministic,
            .host_threads = place->host_threads};

    return coll_open(members, n, &options, err);
}

/* Caches go from replica to replica: everybody is in one group. */
static bool connect_job(struct place *place, struct arena *arena, struct err *err)
{
    const struct plan *plan = place->plan;
    int *members = ARENA_NEW(arena, int, plan->n_ranks);
    bool separate = false;

    for (int r = 0; r < plan->n_replicas; r++)
        separate = separate || plan->replicas[r].role == ROLE_PREFILL;
    if (!separate)
        return true;
    for (int i = 0; i < plan->n_ranks; i++)
        members[i] = i;
    place->job_coll = open_group(place, members, plan->n_ranks, KEY_JOB, err);
    return place->job_coll != NULL;
}

bool place_connect(struct place *place, struct arena *arena, struct err *err)
{
    const struct plan_replica *replica = place->replica_plan;
    const struct plan_stage *stage = place->stage_plan;
    int n = replica_ranks(replica), at = 0;
    int *members = ARENA_NEW(arena, int, n);

    for (int s = 0; s < replica->n_stages; s++)
        for (int i = 0; i < replica->stages[s].n_ranks; i++)
            members[at++] = replica->stages[s].ranks[i];
    if (!connect_job(place, arena, err))
        return false;
    place->replica_coll = open_group(place, members, n, KEY_REPLICA, err);
    if (!place->replica_coll)
        return false;
    place->stage_coll = open_group(place, stage->ranks, stage->n_ranks, KEY_STAGE, err);
    if (!place->stage_coll)
        return false;
    if (place->n_groups == 1) {
        place->tp_coll = place->stage_coll;
        return true;
    }
    const int *tensor = stage->ranks + (ptrdiff_t)place->group * stage->tp;
    place->tp_coll = open_group(place, tensor, stage->tp, KEY_TENSOR, err);
    return place->tp_coll != NULL;
}

void place_disconnect(struct place *place)
{
    if (place->tp_coll && place->tp_coll != place->stage_coll)
        coll_close(place->tp_coll);
    if (place->stage_coll)
        coll_close(place->stage_coll);
    if (place->replica_coll)
        coll_close(place->replica_coll);
    if (place->job_coll)
        coll_close(place->job_coll);
    place->tp_coll = place->stage_coll = place->replica_coll = place->job_coll = NULL;
}
