#include "planner/check_said.h"

#include <math.h>
#include <string.h>

#include "models/graph.h"

/* Figures are kept in decimal. */
#define CLOSE 1e-6

struct split check_split(const struct plan *plan, const struct plan_stage *stage)
{
    return (struct split){.tp = stage->tp,
            .ep = stage->ep,
            .attention_dp = stage->attention_dp,
            .threads = stage->threads,
            .busy = 1,
            .dtype = plan_stage_dtype(plan, stage),
            .kv_dtype = plan_stage_kv_dtype(plan, stage),
            .deterministic = plan->deterministic,
            .mtp = plan->mtp_layers};
}

static bool check_stage_bytes(const struct plan *plan, const struct model *model, int r, int s,
        const struct plan_stage *stage, struct err *err)
{
    const struct plan_replica *replica = &plan->replicas[r];
    struct split split = check_split(plan, stage);
    struct piece piece = {stage->first_layer, stage->end_layer};
    int pools = plan_stage_pools(replica, stage);
    const struct {
        const char *what;
        int64_t said, is;
    } bytes[] = {
            {"weights", stage->weight_bytes, graph_weight_bytes(model, &split, piece)},
            {"kv", stage->kv_bytes,
                    pools * replica->kv_blocks
                            * graph_kv_block_bytes(model, &split, piece, plan->block_tokens)},
            {"work", stage->work_bytes,
                    graph_work_bytes(
                            model, &split, piece, replica->max_seqs, pools * replica->max_tokens)},
    };
    for (int i = 0; i < 3; i++)
        if (bytes[i].said != 0 && bytes[i].said != bytes[i].is)
            return err_at(err, stage->pos,
                    "replica %d stage %d says %s: %lld B, and it is %lld B; leave it out, or plan "
                    "again",
                    r, s, bytes[i].what, (long long)bytes[i].said, (long long)bytes[i].is);
    return true;
}

static bool check_bytes(const struct plan *plan, const struct model *model, struct err *err)
{
    int64_t most = 0;
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            if (!check_stage_bytes(plan, model, r, s, stage, err))
                return false;
            int64_t all = stage->weight_bytes + stage->kv_bytes + stage->work_bytes;
            most = all > most ? all : most;
        }
    if (plan->predicted.memory_bytes != 0 && most > 0 && plan->predicted.memory_bytes != most)
        return err_set(err, ERR_INPUT,
                "the plan says that its fullest rank takes %lld B, and its stages say %lld B",
                (long long)plan->predicted.memory_bytes, (long long)most);
    return true;
}

/* The node that a machine is one of, counted as planner/deal.h does; NULL = there is none. */
static const struct cluster_node *node_of(const struct cluster *cluster, int machine)
{
    for (int i = 0; i < cluster->n_nodes; i++) {
        if (machine < cluster->nodes[i].count)
            return &cluster->nodes[i];
        machine -= cluster->nodes[i].count;
    }
    return NULL;
}

static bool check_machines(const struct plan *plan, const struct cluster *cluster, struct err *err)
{
    struct arena arena = {0};
    bool ok = true;
    if (plan->n_machines == 0)
        return true;
    int64_t n = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        n += cluster->nodes[i].count;
    int64_t *used = ARENA_NEW(&arena, int64_t, n + 1);
    for (int r = 0; r < plan->n_replicas && ok; r++)
        for (int s = 0; s < plan->replicas[r].n_stages && ok; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            for (int i = 0; i < stage->n_ranks && ok; i++) {
                int machine = plan_machine(plan, stage->ranks[i]);
                const struct cluster_node *node = machine >= 0 ? node_of(cluster, machine) : NULL;
                ok = node != NULL && strcmp(node->kind, stage->kind) == 0
                     && (used[machine] += stage->threads) <= node->devices;
                if (!ok)
                    err_at(err, stage->pos,
                            "replica %d stage %d: rank %d is on machine %d, where cluster %s has "
                            "no device of kind %s left",
                            r, s, stage->ranks[i], machine, cluster->name, stage->kind);
            }
        }
    arena_free(&arena);
    return ok;
}

static bool check_order(const struct plan_figures *f, struct err *err)
{
    const struct {
        const char *what;
        double less, more;
    } pairs[] = {
            {"ttft_p50 is above ttft_p99", f->ttft_p50_us, f->ttft_p99_us},
            {"tpot_p50 is above tpot_p99", f->tpot_p50_us, f->tpot_p99_us},
            {"output_tokens_per_s is above total_tokens_per_s", f->output_tokens_per_s,
                    f->total_tokens_per_s},
            {"goodput_requests_per_s is above requests_per_s", f->goodput_requests_per_s,
                    f->requests_per_s},
            {"lo_frac is above 1", f->lo_frac, 1},
            {"hi_frac is below 1", 1, f->hi_frac},
    };
    if (f->hi_frac <= 0) /* no prediction */
        return true;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].less > pairs[i].more * (1 + CLOSE))
            return err_set(err, ERR_INPUT, "the plan's predicted figures disagree: %s: %g and %g",
                    pairs[i].what, pairs[i].less, pairs[i].more);
    return true;
}

/* The gap is what value and bound say. Larger is better for tokens, smaller for times and prices. */
static bool check_certificate(const struct plan *plan, struct err *err)
{
    static const char *const objectives[] = {
            "output_tokens_per_s", "ttft_us", "tpot_us", "price_per_hour"};
    const char *objective = plan->certificate.objective;
    double value = plan->certificate.value;
    double bound = plan->certificate.bound;
    if (objective == NULL)
        return true;
    int known = 0;
    while (known < 4 && strcmp(objective, objectives[known]) != 0)
        known++;
    if (known == 4)
        return err_set(err, ERR_INPUT,
                "the plan's certificate has the objective %s, expected one of output_tokens_per_s, "
                "ttft_us, tpot_us, price_per_hour",
                objective);
    double over = known == 0 ? bound - value : value - bound;
    double gap = fmax(0, over) / fmax(bound, 1e-300);
    if (over < -CLOSE * bound)
        return err_set(err, ERR_INPUT,
                "the plan's certificate says value %g, which is better than its own bound %g",
                value, bound);
    if (!(value >= 0) || !(bound >= 0)
            || !(isinf(bound) || fabs(plan->certificate.gap_frac - gap) <= CLOSE * (1 + gap)))
        return err_set(err, ERR_INPUT,
                "the plan's certificate says value %g, bound %g and gap_frac %g; the gap is %g",
                value, bound, plan->certificate.gap_frac, gap);
    double best = plan->certificate.best;
    double slack = CLOSE * (value + bound);
    if (best != 0 && !(fmin(value, bound) - slack <= best && best <= fmax(value, bound) + slack))
        return err_set(err, ERR_INPUT,
                "the plan's certificate says best %g, which is not between value %g and bound %g",
                best, value, bound);
    if (plan->certificate.programs < 0 || plan->certificate.nodes < 0
            || plan->certificate.columns < 0 || !(plan->certificate.solve_s >= 0))
        return err_set(err, ERR_INPUT, "the plan's certificate counts less than nothing");
    return true;
}

bool check_said(const struct plan *plan, const struct model *model, const struct cluster *cluster,
        struct err *err)
{
    if (plan->model_digest != NULL && model->digest != NULL
            && strcmp(plan->model_digest, model->digest) != 0)
        return err_set(err, ERR_INPUT,
                "the plan was made for a model with digest %s, %s has %s: plan again",
                plan->model_digest, model->name, model->digest);
    return check_bytes(plan, model, err) && check_machines(plan, cluster, err)
           && check_order(&plan->predicted, err) && check_certificate(plan, err);
}
