#include "planner/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/sched.h"
#include "core/summary.h"

/* A batch between its dispatch and the moment the leader takes its result. */
struct flight {
    struct sched_batch batch;
    int64_t result_ns;
};

/* One replica while it is simulated. */
struct replica_sim {
    const struct simulate_input *input;
    const struct plan_replica *replica;
    struct stage_cost **stages;
    struct split split; /* of stage 0: all stages of a replica are split alike here */
    int kind;
    bool between_nodes;
    int64_t *free_ns; /* per stage */
    int64_t *busy_ns;
    struct step_cost *total;
    struct flight *out; /* oldest first; in_flight of them at most */
    int n_out;
    struct step_shape *groups; /* per attention-dp group */
    struct seq_shape *prefill; /* of all groups together */
    int64_t cap_prefill;
    struct sched *sched;
    struct simulate_result *result;
};

static int64_t to_ns(double us)
{
    return (int64_t)llround(us * 1e3);
}

/* The shapes of a batch, one per attention-dp group; returns rows that yield a token. */
static int64_t shapes_of(struct replica_sim *sim, const struct sched_batch *batch)
{
    int n_groups = sim->split.attention_dp;
    memset(sim->groups, 0, sizeof *sim->groups * (size_t)n_groups);
    int64_t all_tokens = 0;
    int64_t yields = 0;
    int n_prefill = 0;
    for (int i = 0; i < batch->n_items; i++) {
        const struct sched_item *item = &batch->items[i];
        struct step_shape *shape = &sim->groups[item->pool];
        shape->tokens += item->n_tokens;
        all_tokens += item->n_tokens;
        shape->logits_rows += item->samples;
        yields += item->samples;
        if (item->decode) {
            shape->decode_batch++;
            shape->decode_kv_tokens += item->start + item->n_tokens;
            continue;
        }
        /* Items are ordered by pool, so a group's prefills lie side by side. */
        if (shape->n_prefill == 0)
            shape->prefill = &sim->prefill[n_prefill];
        sim->prefill[n_prefill++] =
                (struct seq_shape){item->n_tokens, item->start + item->n_tokens};
        shape->n_prefill++;
    }
    for (int g = 0; g < n_groups; g++)
        sim->groups[g].group_tokens = all_tokens;
    return yields;
}

static int64_t most_tokens(const struct replica_sim *sim)
{
    int64_t most = 0;
    for (int g = 0; g < sim->split.attention_dp; g++)
        if (sim->groups[g].tokens > most)
            most = sim->groups[g].tokens;
    return most;
}

/*
 * The leader tells every rank what to step (runtime/batch.h: a head of 32 bytes, 48 per item, 4 per token
 * and per block). Its own group waits for that at the first collective; later stages have it long before
 * their rows come.
 */
static double message_us(struct replica_sim *sim, const struct sched_batch *batch)
{
    if (sim->split.tp * sim->split.attention_dp == 1)
        return 0;
    int64_t bytes = 32;
    int block = sim->input->plan->block_tokens;
    for (int i = 0; i < batch->n_items; i++) {
        const struct sched_item *item = &batch->items[i];
        int64_t blocks = (item->start + item->n_tokens + block - 1) / block;
        bytes += 48 + 4 * (item->n_tokens + blocks);
    }
    struct op op = {.kind = OP_SEND_RECV,
            .dtype = DTYPE_F32,
            .degree = 2,
            .busy = sim->split.busy,
            .nodes = sim->split.nodes > 1 ? 2 : 0,
            .dim = {bytes}};
    return cost_op(sim->input->costs, sim->kind, &op).us;
}

/* Runs a batch down the pipeline from now; returns when stage 0, that is the leader, is free again. */
static int64_t dispatch(struct replica_sim *sim, const struct sched_batch *batch, int64_t now_ns)
{
    struct cost_model *costs = sim->input->costs;
    int n_stages = sim->replica->n_stages;
    int64_t yields = shapes_of(sim, batch);
    int64_t rows = most_tokens(sim);
    double send_us = 0;
    if (n_stages > 1)
        send_us = cost_send_us(costs, sim->kind, &sim->split, rows, sim->between_nodes);
    int64_t arrives_ns = now_ns;
    int64_t leader_ns = now_ns;
    for (int s = 0; s < n_stages; s++) {
        struct step_cost cost;
        stage_cost_step(&cost, sim->stages[s], sim->groups, sim->split.attention_dp);
        int64_t start_ns = arrives_ns > sim->free_ns[s] ? arrives_ns : sim->free_ns[s];
        int64_t end_ns = start_ns + to_ns(cost.us + (s == 0 ? message_us(sim, batch) : 0));
        sim->free_ns[s] = end_ns;
        sim->busy_ns[s] += end_ns - start_ns;
        step_cost_add(&sim->total[s], &cost, 1);
        if (s == 0)
            leader_ns = end_ns;
        arrives_ns = end_ns + to_ns(s + 1 < n_stages ? send_us : 0);
    }
    if (n_stages > 1) {
        struct op tokens = {.kind = OP_SEND_RECV,
                .dtype = DTYPE_F32,
                .degree = 2,
                .busy = sim->split.busy,
                .nodes = sim->between_nodes ? 2 : 0,
                .dim = {4 * (yields > 0 ? yields : 1)}};
        arrives_ns += to_ns(cost_op(costs, sim->kind, &tokens).us);
    }
    sim->out[sim->n_out++] = (struct flight){*batch, arrives_ns};
    sim->result->steps++;
    return leader_ns;
}

/* The leader learns of the oldest batch's tokens. */
static void take_result(struct replica_sim *sim, int64_t now_ns)
{
    const struct sched_batch *batch = &sim->out[0].batch;
    for (int i = 0; i < batch->n_items; i++) {
        const struct sched_item *item = &batch->items[i];
        if (!item->samples)
            continue;
        int64_t r = item->request;
        int64_t produced = sched_produced(sim->sched, r) + 1;
        if (produced == 1)
            sim->result->first_token_ns[r] = now_ns;
        if (produced >= sim->input->requests->items[r].output_len)
            sim->result->finish_ns[r] = now_ns;
    }
    sched_done(sim->sched, batch, now_ns);
    sim->n_out--;
    memmove(sim->out, sim->out + 1, sizeof *sim->out * (size_t)sim->n_out);
}

static bool run_loop(struct replica_sim *sim, struct err *err)
{
    int64_t now_ns = 0;
    while (!sched_idle(sim->sched)) {
        while (sim->n_out > 0 && sim->out[0].result_ns <= now_ns)
            take_result(sim, now_ns);
        struct sched_batch batch;
        if (sim->n_out < sim->replica->in_flight && sched_next(sim->sched, now_ns, &batch)) {
            now_ns = dispatch(sim, &batch, now_ns);
            continue;
        }
        if (sched_idle(sim->sched))
            break;
        int64_t next_ns = sched_wake_ns(sim->sched, now_ns);
        if (sim->n_out > 0 && sim->out[0].result_ns < next_ns)
            next_ns = sim->out[0].result_ns;
        if (next_ns == INT64_MAX)
            return err_set(err, ERR_NO,
                    "the simulated scheduler is stuck: a request needs more KV blocks than the "
                    "%lld there "
                    "are; raise kv_blocks",
                    (long long)sim->replica->kv_blocks);
        now_ns = next_ns > now_ns ? next_ns : now_ns + 1;
    }
    return true;
}

static bool open_stages(struct replica_sim *sim, struct err *err)
{
    const struct plan *plan = sim->input->plan;
    const struct cluster *cluster = cost_cluster(sim->input->costs);
    for (int s = 0; s < sim->replica->n_stages; s++) {
        const struct plan_stage *stage = &sim->replica->stages[s];
        int kind;
        struct split split = cost_plan_split(plan, sim->replica, stage, cluster, &kind);
        if (kind < 0)
            return err_at(err, stage->pos, "the cluster has no device kind %s",
                    stage->kind != NULL ? stage->kind : "(none)");
        if (s == 0) {
            sim->split = split;
            sim->kind = kind;
            int64_t per_node = cost_node_devices(cluster, kind) / (stage->n_ranks * stage->threads);
            sim->between_nodes = per_node < sim->replica->n_stages;
        }
        sim->stages[s] = stage_cost_open(sim->input->costs, kind, &split,
                (struct piece){stage->first_layer, stage->end_layer}, err);
        if (sim->stages[s] == NULL)
            return false;
    }
    return true;
}

/* What falls to one replica, and where its sums go. */
struct share {
    int64_t *mine;
    int64_t n_mine;
    struct step_cost *total; /* per stage */
    int64_t *busy_ns;
};

static bool run_replica(struct simulate_result *out, const struct simulate_input *input, int r,
        const struct share *share, struct err *err)
{
    bool ok = false;
    struct arena arena = {0};
    const struct plan_replica *replica = &input->plan->replicas[r];
    size_t n = (size_t)replica->n_stages;
    struct replica_sim sim = {.input = input,
            .replica = replica,
            .result = out,
            .total = share->total,
            .busy_ns = share->busy_ns};
    sim.stages = ARENA_NEW(&arena, struct stage_cost *, n);
    sim.free_ns = ARENA_NEW(&arena, int64_t, n);
    sim.out = ARENA_NEW(&arena, struct flight, replica->in_flight + 1);
    if (!open_stages(&sim, err))
        goto done;
    sim.groups = ARENA_NEW(&arena, struct step_shape, sim.split.attention_dp);
    sim.prefill = ARENA_NEW(
            &arena, struct seq_shape, (int64_t)replica->max_seqs + sim.split.attention_dp + 1);
    struct sched_limits limits = {.max_seqs = replica->max_seqs,
            .max_tokens = replica->max_tokens,
            .in_flight = replica->in_flight,
            .n_pools = sim.split.attention_dp,
            .n_blocks = replica->kv_blocks,
            .block_tokens = input->plan->block_tokens};
    sim.sched = sched_open(&limits, input->requests, share->mine, share->n_mine, err);
    if (sim.sched == NULL || !run_loop(&sim, err))
        goto done;
    for (int64_t i = 0; i < share->n_mine; i++)
        out->preemptions += sched_preemptions(sim.sched, share->mine[i]);
    ok = true;
done:
    sched_close(sim.sched);
    for (size_t s = 0; s < n; s++)
        stage_cost_close(sim.stages[s]);
    arena_free(&arena);
    return ok;
}

/* The formulas of docs/method.md. */
static void figures_of(struct simulate_result *out, const struct simulate_input *input)
{
    struct arena arena = {0};
    const struct requests *requests = input->requests;
    struct plan_figures *f = &out->figures;
    double *ttft = ARENA_NEW(&arena, double, requests->n + 1);
    double *tpot = ARENA_NEW(&arena, double, requests->n + 1);
    double *e2e = ARENA_NEW(&arena, double, requests->n + 1);
    int64_t n = 0;
    int64_t n_tpot = 0;
    int64_t last_ns = 0;
    int64_t good = 0;
    double output = 0;
    double total = 0;
    for (int64_t r = 0; r < requests->n; r++) {
        const struct request *request = &requests->items[r];
        if (out->finish_ns[r] == 0) {
            out->unfinished++;
            continue;
        }
        ttft[n] = (double)(out->first_token_ns[r] - request->arrival_ns) * 1e-3;
        e2e[n] = (double)(out->finish_ns[r] - request->arrival_ns) * 1e-3;
        double between_us = 0;
        if (request->output_len > 1) {
            between_us = (double)(out->finish_ns[r] - out->first_token_ns[r]) * 1e-3
                         / (double)(request->output_len - 1);
            tpot[n_tpot++] = between_us;
        }
        const struct workload *w = input->workload;
        good += w == NULL
                || ((w->slo.ttft_us <= 0 || ttft[n] <= w->slo.ttft_us)
                        && (w->slo.tpot_us <= 0 || between_us <= w->slo.tpot_us));
        n++;
        last_ns = out->finish_ns[r] > last_ns ? out->finish_ns[r] : last_ns;
        output += (double)request->output_len;
        total += (double)(request->output_len + request->prompt_len);
    }
    f->makespan_s = (double)last_ns * 1e-9;
    if (n > 0 && last_ns > 0) {
        f->output_tokens_per_s = output / f->makespan_s;
        f->total_tokens_per_s = total / f->makespan_s;
        f->requests_per_s = (double)n / f->makespan_s;
        f->goodput_requests_per_s = (double)good / f->makespan_s;
    }
    struct summary s;
    summary_of(&s, ttft, n);
    f->ttft_p50_us = s.median;
    f->ttft_p99_us = s.p99;
    summary_of(&s, tpot, n_tpot);
    f->tpot_p50_us = s.median;
    f->tpot_p99_us = s.p99;
    summary_of(&s, e2e, n);
    f->e2e_p50_us = s.median;
    arena_free(&arena);
}

/* The interval of throughput follows the slowest stage's: it sets the pace. */
static void interval_of(struct simulate_result *out)
{
    out->figures.lo_frac = out->figures.hi_frac = 1;
    double most = 0;
    for (int i = 0; i < out->n_stages; i++) {
        const struct step_cost *total = &out->stages[i].total;
        if (total->us <= most || total->hi_us <= 0 || total->lo_us <= 0)
            continue;
        most = total->us;
        out->figures.lo_frac = total->us / total->hi_us;
        out->figures.hi_frac = total->us / total->lo_us;
    }
}

static void memory_of(struct simulate_result *out, const struct plan *plan)
{
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            int64_t bytes = stage->weight_bytes + stage->kv_bytes + stage->work_bytes;
            if (bytes > out->figures.memory_bytes)
                out->figures.memory_bytes = bytes;
        }
}

bool simulate_run(struct simulate_result *out, const struct simulate_input *input,
        struct arena *arena, struct err *err)
{
    bool ok = false;
    const struct plan *plan = input->plan;
    const struct requests *requests = input->requests;
    struct arena scratch = {0};
    memset(out, 0, sizeof *out);
    for (int r = 0; r < plan->n_replicas; r++)
        out->n_stages += plan->replicas[r].n_stages;
    out->stages = ARENA_NEW(arena, struct simulate_stage, out->n_stages);
    out->first_token_ns = ARENA_NEW(arena, int64_t, requests->n + 1);
    out->finish_ns = ARENA_NEW(arena, int64_t, requests->n + 1);

    int *route = ARENA_NEW(&scratch, int, requests->n + 1);
    double *speed = ARENA_NEW(&scratch, double, plan->n_replicas);
    int64_t *mine = ARENA_NEW(&scratch, int64_t, requests->n + 1);
    struct step_cost *total = ARENA_NEW(&scratch, struct step_cost, out->n_stages);
    int64_t *busy_ns = ARENA_NEW(&scratch, int64_t, out->n_stages);
    for (int r = 0; r < plan->n_replicas; r++)
        speed[r] = 1;
    sched_route(route, requests, speed, plan->n_replicas);
    int at = 0;
    for (int r = 0; r < plan->n_replicas; r++) {
        struct share share = {.mine = mine, .total = total + at, .busy_ns = busy_ns + at};
        for (int64_t i = 0; i < requests->n; i++)
            if (route[i] == r)
                mine[share.n_mine++] = i;
        if (share.n_mine > 0 && !run_replica(out, input, r, &share, err)) {
            err_context(err, "simulating replica %d", r);
            goto done;
        }
        at += plan->replicas[r].n_stages;
    }
    figures_of(out, input);
    for (int i = 0; i < out->n_stages; i++) {
        out->stages[i].total = total[i];
        if (out->figures.makespan_s > 0)
            out->stages[i].busy_frac = (double)busy_ns[i] * 1e-9 / out->figures.makespan_s;
    }
    interval_of(out);
    memory_of(out, plan);
    ok = true;
done:
    arena_free(&scratch);
    return ok;
}
