#include "planner/simulate_replica.h"

#include <math.h>
#include <string.h>

/* A batch between its dispatch and the moment the leader takes its result. */
struct flight {
    struct sched_batch batch;
    int64_t result_ns;
};

/* One replica while it runs. */
struct replica_run {
    const struct replica_view *view;
    const struct simulate_input *input;
    const struct replica_load *load;
    struct requests requests; /* the load, as the scheduler wants it */
    struct simulate_request *records;
    struct sched *sched;
    int64_t *free_ns, *busy_ns; /* per stage */
    struct flight *out;         /* oldest first; in_flight of them at most */
    int n_out;
    struct step_shape *groups; /* per attention-dp group */
    struct seq_shape *prefill; /* of all groups together */
    int64_t rows, yields;      /* of the batch: most rows of a group, rows that yield a token */
    int64_t message_bytes;
    int64_t steps;
};

static int64_t to_ns(double us)
{
    return (int64_t)llround(us * 1e3);
}

bool replica_open(struct replica_view *out, const struct simulate_input *input,
        struct stage_costs *costs, int index, struct arena *arena, struct err *err)
{
    const struct plan *plan = input->plan;
    const struct plan_replica *replica = &plan->replicas[index];
    const struct cluster *cluster = cost_cluster(input->costs);
    *out = (struct replica_view){.replica = replica, .index = index};
    out->stages = ARENA_NEW(arena, struct stage_cost *, replica->n_stages);
    for (int s = 0; s < replica->n_stages; s++) {
        const struct plan_stage *stage = &replica->stages[s];
        struct piece piece = {stage->first_layer, stage->end_layer};
        int kind;
        struct split split = cost_plan_split(plan, replica, stage, cluster, &kind);
        if (kind < 0)
            return err_at(err, stage->pos, "the cluster has no device kind %s",
                    stage->kind != NULL ? stage->kind : "(none)");
        const struct model *model = cost_model_of(input->costs);
        out->block_bytes += graph_kv_block_bytes(model, &split, piece, plan->block_tokens)
                            * split.tp / graph_kv_copies(model, split.tp);
        if (s == 0) {
            out->split = split;
            out->kind = kind;
            int64_t per_node = cost_node_devices(cluster, kind) / (stage->n_ranks * stage->threads);
            out->between_nodes = per_node < replica->n_stages;
        }
        out->stages[s] = stage_cost_open(costs, kind, &split, piece);
    }
    bool one_group = input->sample != NULL && replica->role == ROLE_DECODE;
    out->n_groups = one_group ? 1 : out->split.attention_dp;
    return true;
}

void replica_close(struct replica_view *view)
{
    for (int s = 0; view->stages != NULL && s < view->replica->n_stages; s++)
        stage_cost_close(view->stages[s]);
    view->stages = NULL;
}

bool replica_alike(const struct replica_view *a, const struct replica_view *b)
{
    const struct plan_replica *x = a->replica;
    const struct plan_replica *y = b->replica;
    bool alike = x->role == y->role && x->n_stages == y->n_stages && x->max_seqs == y->max_seqs
                 && x->max_tokens == y->max_tokens && x->in_flight == y->in_flight
                 && x->kv_blocks == y->kv_blocks && x->kv_rate == y->kv_rate
                 && x->kv_latency_us == y->kv_latency_us && a->between_nodes == b->between_nodes
                 && a->split.nodes == b->split.nodes && a->split.tp == b->split.tp
                 && a->split.attention_dp == b->split.attention_dp;
    for (int s = 0; alike && s < x->n_stages; s++)
        alike = stage_cost_table(a->stages[s]) == stage_cost_table(b->stages[s]);
    return alike;
}

/*
 * The shapes of a batch, one per attention-dp group, and the bytes by which the leader tells its ranks what to
 * step (runtime/batch.h: a head of 32 bytes, 48 per item, 4 per token and per block). Notes who begins.
 */
static void read_batch(struct replica_run *run, const struct sched_batch *batch, int64_t now_ns)
{
    int n_groups = run->view->n_groups;
    int alike = run->view->split.attention_dp / n_groups;
    uint32_t block = (uint32_t)run->input->plan->block_tokens;
    int64_t all_tokens = 0;
    int64_t blocks = 0;
    int n_prefill = 0;
    memset(run->groups, 0, sizeof *run->groups * (size_t)n_groups);
    run->yields = run->rows = 0;
    for (int i = 0; i < batch->n_items; i++) {
        const struct sched_item *item = &batch->items[i];
        struct step_shape *shape = &run->groups[item->pool];
        int64_t end = item->start + item->n_tokens;
        shape->tokens += item->n_tokens;
        all_tokens += item->n_tokens;
        blocks += ((uint32_t)end + block - 1) / block;
        shape->logits_rows += item->samples;
        run->yields += item->samples;
        struct simulate_request *record = &run->records[run->load->ids[item->request]];
        if (run->view->replica->role == ROLE_DECODE && record->first_token_ns < 0)
            record->first_token_ns = now_ns; /* its cache came from elsewhere */
        if (item->decode) {
            shape->decode_batch++;
            shape->decode_kv_tokens += end;
            continue;
        }
        if (record->begin_ns < 0)
            record->begin_ns = now_ns;
        /* Items are ordered by pool, so a group's prefills lie side by side. */
        if (shape->n_prefill == 0)
            shape->prefill = &run->prefill[n_prefill];
        run->prefill[n_prefill++] = (struct seq_shape){item->n_tokens, end};
        shape->n_prefill++;
    }
    for (int g = 0; g < n_groups; g++) {
        run->groups[g].group_tokens = all_tokens * alike;
        if (run->groups[g].tokens > run->rows)
            run->rows = run->groups[g].tokens;
    }
    for (int g = n_groups; g < n_groups * alike; g++)
        run->groups[g] = run->groups[g % n_groups];
    run->yields *= alike;
    run->message_bytes = 32 + alike * (48 * (int64_t)batch->n_items + 4 * (all_tokens + blocks));
}

static double exchange_us(const struct replica_run *run, int64_t bytes, bool between_nodes)
{
    struct op op = {.kind = OP_SEND_RECV,
            .dtype = DTYPE_F32,
            .degree = 2,
            .busy = run->view->split.busy,
            .nodes = between_nodes ? 2 : 0,
            .dim = {bytes}};
    return cost_op(run->input->costs, run->view->kind, &op).us;
}

/* Runs a batch down the pipeline from now; returns when stage 0, that is the leader, is free again. */
static int64_t dispatch(struct replica_run *run, const struct sched_batch *batch, int64_t now_ns)
{
    const struct replica_view *view = run->view;
    int n_stages = view->replica->n_stages;
    int n_groups = view->split.attention_dp;
    read_batch(run, batch, now_ns);
    /* The leader's own group waits for its message at the first collective; later stages have it long before
     * their rows come. */
    double message_us = view->split.tp * n_groups > 1
                                ? exchange_us(run, run->message_bytes, view->split.nodes > 1)
                                : 0;
    double send_us = n_stages > 1 ? cost_send_us(run->input->costs, view->kind, &view->split,
                             run->rows, view->between_nodes)
                                  : 0;
    int64_t arrives_ns = now_ns;
    int64_t leader_ns = now_ns;
    for (int s = 0; s < n_stages; s++) {
        double us = stage_cost_step(view->stages[s], run->groups, n_groups);
        int64_t start_ns = arrives_ns > run->free_ns[s] ? arrives_ns : run->free_ns[s];
        int64_t end_ns = start_ns + to_ns(us + (s == 0 ? message_us : 0));
        run->free_ns[s] = end_ns;
        run->busy_ns[s] += end_ns - start_ns;
        if (s == 0)
            leader_ns = end_ns;
        arrives_ns = end_ns + to_ns(s + 1 < n_stages ? send_us : 0);
    }
    if (n_stages > 1)
        arrives_ns += to_ns(
                exchange_us(run, 4 * (run->yields > 0 ? run->yields : 1), view->between_nodes));
    run->out[run->n_out++] = (struct flight){*batch, arrives_ns};
    run->steps++;
    return leader_ns;
}

/* The leader learns of the oldest batch's tokens. */
static void take_result(struct replica_run *run, int64_t now_ns)
{
    const struct sched_batch *batch = &run->out[0].batch;
    for (int i = 0; i < batch->n_items; i++) {
        const struct sched_item *item = &batch->items[i];
        if (!item->samples)
            continue;
        const struct request *request = &run->load->items[item->request];
        int64_t produced = item->start + item->n_tokens - request->prompt_len + 1;
        if (produced > 1 && produced < request->output_len)
            continue;
        struct simulate_request *record = &run->records[run->load->ids[item->request]];
        if (produced == 1)
            record->first_token_ns = now_ns;
        if (produced >= request->output_len)
            record->finish_ns = now_ns;
    }
    sched_done(run->sched, batch, now_ns);
    run->n_out--;
    memmove(run->out, run->out + 1, sizeof *run->out * (size_t)run->n_out);
}

static bool loop(struct replica_run *run, struct err *err)
{
    int64_t now_ns = 0;
    while (!sched_idle(run->sched)) {
        while (run->n_out > 0 && run->out[0].result_ns <= now_ns)
            take_result(run, now_ns);
        struct sched_batch batch;
        if (run->n_out < run->view->replica->in_flight && sched_next(run->sched, now_ns, &batch)) {
            now_ns = dispatch(run, &batch, now_ns);
            continue;
        }
        if (sched_idle(run->sched))
            break;
        int64_t next_ns = sched_wake_ns(run->sched, now_ns);
        if (run->n_out > 0 && run->out[0].result_ns < next_ns)
            next_ns = run->out[0].result_ns;
        if (next_ns == INT64_MAX)
            return err_set(err, ERR_BUG, "the simulated scheduler has requests and nothing to do");
        now_ns = next_ns > now_ns ? next_ns : now_ns + 1;
    }
    return true;
}

static enum sched_role role_of(const struct plan_replica *replica)
{
    switch ((enum replica_role)replica->role) {
    case ROLE_MIXED:
        break;
    case ROLE_PREFILL:
        return SCHED_PREFILL;
    case ROLE_DECODE:
        return SCHED_DECODE;
    }
    return SCHED_MIXED;
}

static struct sched *open_sched(struct replica_run *run, struct arena *arena, struct err *err)
{
    const struct plan_replica *replica = run->view->replica;
    const struct workload *workload = run->input->workload;
    int all_groups = run->view->split.attention_dp;
    struct sched_limits limits = {
            .max_seqs = (replica->max_seqs * run->view->n_groups + all_groups - 1) / all_groups,
            .max_tokens = replica->max_tokens,
            .in_flight = replica->in_flight,
            .n_pools = run->view->n_groups,
            .n_blocks = replica->kv_blocks,
            .block_tokens = run->input->plan->block_tokens,
            .role = role_of(replica),
            .prefix_cache = run->input->plan->prefix_cache && replica->role != ROLE_DECODE,
            .max_queue = workload != NULL && replica->role != ROLE_DECODE
                                 ? workload->admission.max_queue
                                 : 0}; /* what comes to a decode replica was accepted before */
    int64_t *mine = ARENA_NEW(arena, int64_t, run->load->n);
    for (int64_t i = 0; i < run->load->n; i++)
        mine[i] = i;
    run->requests = (struct requests){.items = run->load->items,
            .n = run->load->n,
            .hash_tokens = run->input->requests->hash_tokens};
    return sched_open(&limits, &run->requests, mine, run->load->n, err);
}

/* As sched_open does, with the request's number in the workload. */
static bool check_fits(const struct replica_run *run, struct err *err)
{
    int64_t tokens = run->input->plan->block_tokens;
    int64_t blocks = run->view->replica->kv_blocks;
    bool prefill = run->view->replica->role == ROLE_PREFILL;
    for (int64_t i = 0; i < run->load->n; i++) {
        const struct request *r = &run->load->items[i];
        int64_t output = prefill ? 1 : r->output_len;
        int64_t need = (r->prompt_len + output + tokens - 1) / tokens;
        if (need > blocks)
            return err_set(err, ERR_NO,
                    "request %lld needs %lld KV blocks (%lld + %lld tokens, %lld a block), a pool "
                    "has %lld: raise kv_blocks or leave the request out",
                    (long long)run->load->ids[i], (long long)need, (long long)r->prompt_len,
                    (long long)output, (long long)tokens, (long long)blocks);
    }
    return true;
}

static void sum_up(
        struct simulate_result *out, struct simulate_stage *stages, const struct replica_run *run)
{
    struct sched_stats stats;
    sched_stats(&stats, run->sched);
    out->steps += run->steps;
    out->preemptions += stats.preemptions;
    out->reused_tokens += stats.reused_tokens;
    for (int64_t i = 0; i < run->load->n; i++) {
        struct simulate_request *record = &run->records[run->load->ids[i]];
        record->preemptions += sched_preemptions(run->sched, i);
        record->reused_tokens += (int32_t)sched_reused(run->sched, i);
        record->outcome = sched_outcome(run->sched, i);
    }
    for (int s = 0; s < run->view->replica->n_stages; s++) {
        stage_cost_total(&stages[s].total, run->view->stages[s]);
        stages[s].busy_frac = (double)run->busy_ns[s];
    }
}

bool replica_run(struct simulate_result *out, struct simulate_stage *stages,
        const struct replica_view *view, const struct simulate_input *input,
        const struct replica_load *load, struct err *err)
{
    struct arena arena = {0};
    const struct plan_replica *replica = view->replica;
    struct replica_run run = {.view = view, .input = input, .load = load, .records = out->requests};
    run.free_ns = ARENA_NEW(&arena, int64_t, replica->n_stages);
    run.busy_ns = ARENA_NEW(&arena, int64_t, replica->n_stages);
    run.out = ARENA_NEW(&arena, struct flight, replica->in_flight + 1);
    run.groups = ARENA_NEW(&arena, struct step_shape, view->split.attention_dp);
    run.prefill = ARENA_NEW(
            &arena, struct seq_shape, (int64_t)replica->max_seqs + view->split.attention_dp + 1);
    run.sched = check_fits(&run, err) ? open_sched(&run, &arena, err) : NULL;
    bool ok = run.sched != NULL && loop(&run, err);
    if (ok)
        sum_up(out, stages, &run);
    sched_close(run.sched);
    arena_free(&arena);
    return ok;
}
