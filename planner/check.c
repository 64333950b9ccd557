/*
 * Is this plan legal and does it fit? Knows nothing of how it was found: every rule is read off the plan,
 * the model and the cluster again.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "models/graph.h"
#include "planner/check_said.h"

struct checker {
    const struct plan *plan;
    const struct model *model;
    const struct cluster *cluster;
    char *rank_used;    /* n_ranks */
    int64_t *kind_used; /* devices per kind */
    struct err *err;
};

static int kind_index(const struct cluster *cluster, const char *name)
{
    for (int k = 0; k < cluster->n_kinds; k++)
        if (name != NULL && strcmp(cluster->kinds[k].name, name) == 0)
            return k;
    return -1;
}

static bool check_ranks(struct checker *c, int r, int s, const struct plan_stage *stage)
{
    if (stage->n_ranks != stage->tp * stage->attention_dp)
        return err_at(c->err, stage->pos,
                "replica %d stage %d has %d ranks; tp=%d x attention_dp=%d takes %d", r, s,
                stage->n_ranks, stage->tp, stage->attention_dp, stage->tp * stage->attention_dp);
    for (int i = 0; i < stage->n_ranks; i++) {
        int rank = stage->ranks[i];
        if (rank < 0 || rank >= c->plan->n_ranks)
            return err_at(c->err, stage->pos, "replica %d stage %d: rank %d is not among 0 to %d",
                    r, s, rank, c->plan->n_ranks - 1);
        if (c->rank_used[rank])
            return err_at(c->err, stage->pos,
                    "replica %d stage %d: rank %d is used twice; every rank has one stage", r, s,
                    rank);
        c->rank_used[rank] = 1;
    }
    return true;
}

static bool check_layers(
        struct checker *c, int r, int s, const struct plan_stage *stage, int expected)
{
    if (stage->first_layer != expected || stage->end_layer <= stage->first_layer
            || stage->end_layer > c->model->n_layers)
        return err_at(c->err, stage->pos,
                "replica %d stage %d holds layers %d to %d; expected it to begin at %d and end by "
                "%d",
                r, s, stage->first_layer, stage->end_layer - 1, expected, c->model->n_layers - 1);
    return true;
}

static bool check_device(struct checker *c, int r, int s, const struct plan_stage *stage)
{
    int k = kind_index(c->cluster, stage->kind);
    if (k < 0)
        return err_at(c->err, stage->pos, "replica %d stage %d: cluster %s has no device kind %s",
                r, s, c->cluster->name, stage->kind != NULL ? stage->kind : "(none)");
    const struct device_kind *kind = &c->cluster->kinds[k];
    bool threads_ok = kind->n_threads == 0 && stage->threads == 1;
    for (int i = 0; i < kind->n_threads; i++)
        threads_ok = threads_ok || kind->threads[i] == stage->threads;
    if (!threads_ok)
        return err_at(c->err, stage->pos,
                "replica %d stage %d: threads=%d is not listed by device kind %s", r, s,
                stage->threads, kind->name);
    int node = 0;
    int64_t devices = 0;
    for (int i = 0; i < c->cluster->n_nodes; i++) {
        if (kind_index(c->cluster, c->cluster->nodes[i].kind) != k)
            continue;
        node = c->cluster->nodes[i].devices > node ? c->cluster->nodes[i].devices : node;
        devices += (int64_t)c->cluster->nodes[i].devices * c->cluster->nodes[i].count;
    }
    int group = stage->n_ranks * stage->threads;
    if (node < 1 || (group > node && group % node != 0))
        return err_at(c->err, stage->pos,
                "replica %d stage %d takes %d devices, expected some of one node or whole nodes; "
                "the largest node of %s has %d",
                r, s, group, kind->name, node);
    c->kind_used[k] += group;
    if (c->kind_used[k] > devices)
        return err_at(c->err, stage->pos,
                "replica %d stage %d: the plan takes %lld devices of kind %s by here, the cluster "
                "has %lld",
                r, s, (long long)c->kind_used[k], kind->name, (long long)devices);
    return true;
}

/* A cache that is handed from one replica to another is copied, not converted. */
static bool check_dtypes(struct checker *c, int r, int s, const struct plan_replica *replica,
        const struct plan_stage *stage)
{
    const struct plan_stage *first = &c->plan->replicas[0].stages[0];
    if (!cluster_kind_allows(
                cluster_kind(c->cluster, stage->kind), plan_stage_dtype(c->plan, stage)))
        return err_at(c->err, stage->pos,
                "replica %d stage %d has weights of %s, which device kind %s does not list under "
                "dtypes",
                r, s, dtype_names[plan_stage_dtype(c->plan, stage)], stage->kind);
    if (replica->role == ROLE_MIXED
            || plan_stage_kv_dtype(c->plan, stage) == plan_stage_kv_dtype(c->plan, first))
        return true;
    return err_at(c->err, stage->pos,
            "replica %d stage %d: the cache has type %s here and %s in replica 0: where pools are "
            "separate all stages must have one",
            r, s, dtype_names[plan_stage_kv_dtype(c->plan, stage)],
            dtype_names[plan_stage_kv_dtype(c->plan, first)]);
}

static bool check_memory(struct checker *c, int r, int s, const struct plan_replica *replica,
        const struct plan_stage *stage)
{
    struct split split = check_split(c->plan, stage);
    if (!graph_legal(c->model, &split, c->err))
        return err_context(c->err, "replica %d stage %d", r, s);
    struct piece piece = {stage->first_layer, stage->end_layer};
    int64_t block = graph_kv_block_bytes(c->model, &split, piece, c->plan->block_tokens);
    int64_t room = cluster_kind(c->cluster, stage->kind)->memory_bytes * stage->threads;
    /* Before multiplying: a plan file can hold any number. */
    int pools = plan_stage_pools(replica, stage);
    if (block > 0 && replica->kv_blocks > room / block / pools)
        return err_set(c->err, ERR_NO,
                "replica %d stage %d: %lld KV blocks of %lld bytes do not fit into a rank of kind "
                "%s",
                r, s, (long long)replica->kv_blocks, (long long)block, stage->kind);
    int64_t bytes = graph_weight_bytes(c->model, &split, piece) + pools * replica->kv_blocks * block
                    + graph_work_bytes(c->model, &split, piece, replica->max_seqs,
                            pools * replica->max_tokens);
    char need[32];
    char have[32];
    if (bytes > room)
        return err_set(c->err, ERR_NO,
                "replica %d stage %d needs %s a rank, a rank of kind %s has %s; lower kv_blocks, "
                "max_seqs or "
                "max_tokens, or use more stages",
                r, s, str_show_bytes(need, (double)bytes), stage->kind,
                str_show_bytes(have, (double)room));
    return true;
}

static bool check_limits(struct checker *c, int r, const struct plan_replica *replica)
{
    if (replica->n_stages < 1 || replica->max_seqs < 1 || replica->max_tokens < 1)
        return err_at(c->err, replica->pos,
                "replica %d: stages, max_seqs and max_tokens must be at least 1", r);
    if (replica->in_flight < 1 || replica->in_flight > replica->n_stages)
        return err_at(c->err, replica->pos,
                "replica %d: in_flight=%d; a pipeline of %d stages takes 1 to %d", r,
                replica->in_flight, replica->n_stages, replica->n_stages);
    int64_t longest =
            (c->plan->max_len + (int64_t)c->plan->block_tokens - 1) / c->plan->block_tokens;
    if (replica->kv_blocks < longest)
        return err_at(c->err, replica->pos,
                "replica %d: %lld KV blocks hold no sequence of %d tokens; at least %lld are "
                "needed",
                r, (long long)replica->kv_blocks, c->plan->max_len, (long long)longest);
    for (int s = 1; s < replica->n_stages; s++)
        if (replica->stages[s].attention_dp != replica->stages[0].attention_dp)
            return err_at(c->err, replica->stages[s].pos,
                    "replica %d stage %d: attention_dp must be the same on every stage of a "
                    "replica",
                    r, s);
    return true;
}

static bool check_replica(struct checker *c, int r, const struct plan_replica *replica)
{
    if (!check_limits(c, r, replica))
        return false;
    int at = 0;
    for (int s = 0; s < replica->n_stages; s++) {
        const struct plan_stage *stage = &replica->stages[s];
        if (stage->tp < 1 || stage->ep < 1 || stage->attention_dp < 1 || stage->threads < 1)
            return err_at(c->err, stage->pos,
                    "replica %d stage %d: tp, ep, attention_dp and threads must be at least 1", r,
                    s);
        if (!check_layers(c, r, s, stage, at) || !check_ranks(c, r, s, stage)
                || !check_device(c, r, s, stage) || !check_dtypes(c, r, s, replica, stage)
                || !check_memory(c, r, s, replica, stage))
            return false;
        at = stage->end_layer;
    }
    if (at != c->model->n_layers)
        return err_at(c->err, replica->pos, "replica %d covers layers 0 to %d; %s has %d", r,
                at - 1, c->model->name, c->model->n_layers);
    return true;
}

static bool check_figures(const struct plan *plan, struct err *err)
{
    const struct plan_figures *f = &plan->predicted;
    const double figures[] = {f->output_tokens_per_s, f->total_tokens_per_s, f->requests_per_s,
            f->ttft_p50_us, f->ttft_p99_us, f->tpot_p50_us, f->tpot_p99_us, f->e2e_p50_us,
            f->makespan_s, f->goodput_requests_per_s, f->lo_frac, f->hi_frac, f->price_per_hour,
            f->price_per_mtoken};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        if (!isfinite(figures[i]) || figures[i] < 0)
            return err_set(
                    err, ERR_INPUT, "a predicted figure of the plan is no finite number >= 0");
    return true;
}

bool plan_check(const struct plan *plan, const struct model *model, const struct cluster *cluster,
        struct err *err)
{
    bool ok = false;
    struct arena arena = {0};
    struct checker c = {.plan = plan, .model = model, .cluster = cluster, .err = err};
    if (plan->n_ranks < 1 || plan->n_replicas < 1 || plan->block_tokens < 1 || plan->max_len < 1) {
        err_set(err, ERR_INPUT, "a plan has at least one replica, rank, block token and token");
        goto done;
    }
    c.rank_used = ARENA_NEW(&arena, char, plan->n_ranks);
    c.kind_used = ARENA_NEW(&arena, int64_t, cluster->n_kinds + 1);
    if (plan->mtp_layers < 0 || plan->mtp_layers > model->n_mtp) {
        err_set(err, ERR_INPUT, "the plan has mtp_layers: %d, and %s has %d such layers",
                plan->mtp_layers, model->name, model->n_mtp);
        goto done;
    }
    for (int r = 0; r < plan->n_replicas; r++)
        if (!check_replica(&c, r, &plan->replicas[r]))
            goto done;
    for (int rank = 0; rank < plan->n_ranks; rank++)
        if (!c.rank_used[rank]) {
            err_set(err, ERR_INPUT, "the plan has %d ranks and no stage uses rank %d",
                    plan->n_ranks, rank);
            goto done;
        }
    ok = check_figures(plan, err) && check_said(plan, model, cluster, err);
done:
    arena_free(&arena);
    return ok;
}
