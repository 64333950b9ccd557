#include "core/spec/plan.h"

#include <math.h>
#include <string.h>

#include "core/file.h"

const char *const replica_role_names[] = {"mixed", "prefill", "decode", NULL};

/* As kernels/dev.h numbers them; a test compares. */
static const char *const isa_names[] = {"auto", "portable", "avx2", "avx512", NULL};

/* STAGE_DTYPE_PLAN, then dtype_file_names; a test compares. */
static const char *const dtype_names_here[] = {
        "plan", "f32", "bf16", "f16", "f8", "f8_block", NULL};

/* As cluster.h numbers them. */
static const char *const device_names[] = {"cpu", "cuda", NULL};

#define AT(member) offsetof(struct plan_stage, member)
static const struct conf_field stage_fields[] = {
        {"first_layer", CONF_INT, AT(first_layer), .required = true, .min = 0, .max = 65535,
                .pos = AT(pos), .help = "first layer of the stage, counted from 0"},
        {"end_layer", CONF_INT, AT(end_layer), .required = true, .min = 1, .max = 65536,
                .help = "the layer after the last one"},
        {"tp", CONF_INT, AT(tp), .min = 1, .max = 4096, .def = "1",
                .help = "tensor parallel: ranks that split heads and columns"},
        {"ep", CONF_INT, AT(ep), .min = 1, .max = 4096, .def = "1",
                .help = "expert parallel: groups that each hold a part of the experts"},
        {"attention_dp", CONF_INT, AT(attention_dp), .min = 1, .max = 4096, .def = "1",
                .help = "groups of tp ranks that attend to different sequences"},
        {"threads", CONF_INT, AT(threads), .min = 1, .max = 4096, .def = "1",
                .help = "devices that one rank drives"},
        {"kind", CONF_STRING, AT(kind), .required = true, .help = "device kind of the cluster"},
        {"dtype", CONF_ENUM, AT(dtype), .names = dtype_names_here, .def = "plan",
                .help = "of its weights; plan: that of all stages"},
        {"kv_dtype", CONF_ENUM, AT(kv_dtype), .names = dtype_names_here, .def = "plan",
                .help = "of its KV cache, likewise"},
        {"device", CONF_ENUM, AT(device), .names = device_names, .def = "cpu",
                .help = "what a device of that kind is; cuda: a GPU, one for each rank"},
        {"isa", CONF_ENUM, AT(isa), .names = isa_names, .def = "auto",
                .help = "cpu: instruction set of the kernels, where kinds of CPU stand side by "
                        "side"},
        {"ranks", CONF_INT_LIST, AT(ranks), .count = AT(n_ranks), .required = true, .min = 0,
                .max = 1 << 20, .help = "world ranks; group g holds entries g*tp to g*tp+tp-1"},
        {"weights", CONF_BYTES, AT(weight_bytes), .help = "predicted, of one rank"},
        {"kv", CONF_BYTES, AT(kv_bytes), .help = "predicted KV cache of one rank"},
        {"work", CONF_BYTES, AT(work_bytes), .help = "predicted work buffers of one rank"},
        {"step", CONF_US, AT(step_us),
                .help = "predicted time of a full decode step; prefill: of a full step of prompts"},
        {0}};
static const struct conf_table stage_table = {
        .size = sizeof(struct plan_stage), .fields = stage_fields, .help = "a pipeline stage"};
#undef AT

#define AT(member) offsetof(struct plan_replica, member)
static const struct conf_field replica_fields[] = {
        {"role", CONF_ENUM, AT(role), .names = replica_role_names, .def = "mixed",
                .help = "whole requests, or one side of separate prefill and decode pools"},
        {"max_seqs", CONF_INT, AT(max_seqs), .required = true, .min = 1, .max = 1 << 20,
                .pos = AT(pos), .help = "sequences that step together in one micro-batch"},
        {"max_tokens", CONF_INT, AT(max_tokens), .required = true, .min = 1, .max = 1 << 24,
                .help = "tokens in one step of one pool of sequences"},
        {"in_flight", CONF_INT, AT(in_flight), .min = 1, .max = 4096, .def = "1",
                .help = "micro-batches in the pipeline, at most the number of stages"},
        {"kv_blocks", CONF_I64, AT(kv_blocks), .required = true, .min = 1, .max = 1LL << 40,
                .help = "KV blocks of each pool of sequences, on every stage"},
        {"kv_rate", CONF_RATE, AT(kv_rate),
                .help = "prefill: at which caches leave the replica; absent = at once"},
        {"kv_latency", CONF_US, AT(kv_latency_us), .help = "prefill: of handing one cache on"},
        {"requests_per_s", CONF_DOUBLE, AT(requests_per_s), .max = 1e15,
                .help = "mixed beside prefill: by which requests are dealt; absent = by steps"},
        {"stages", CONF_STRUCT_LIST, AT(stages), .count = AT(n_stages), .required = true,
                .sub = &stage_table, .help = "pipeline stages in order"},
        {0}};
static const struct conf_table replica_table = {
        .size = sizeof(struct plan_replica), .fields = replica_fields, .help = "a replica"};
#undef AT

#define AT(member) offsetof(struct plan_figures, member)
static const struct conf_field figure_fields[] = {
        {"output_tokens_per_s", CONF_DOUBLE, AT(output_tokens_per_s), .help = "generated tokens"},
        {"total_tokens_per_s", CONF_DOUBLE, AT(total_tokens_per_s), .help = "prompts included"},
        {"requests_per_s", CONF_DOUBLE, AT(requests_per_s), .help = "finished requests"},
        {"ttft_p50", CONF_US, AT(ttft_p50_us), .help = "time to first token, median"},
        {"ttft_p99", CONF_US, AT(ttft_p99_us), .help = "time to first token, 99th percentile"},
        {"tpot_p50", CONF_US, AT(tpot_p50_us), .help = "time per output token, median"},
        {"tpot_p99", CONF_US, AT(tpot_p99_us), .help = "time per output token, 99th percentile"},
        {"e2e_p50", CONF_US, AT(e2e_p50_us), .help = "arrival to last token, median"},
        {"makespan_s", CONF_DOUBLE, AT(makespan_s), .help = "seconds until the last token"},
        {"memory", CONF_BYTES, AT(memory_bytes), .help = "of the fullest rank"},
        {"goodput_requests_per_s", CONF_DOUBLE, AT(goodput_requests_per_s),
                .help = "requests that met the objectives"},
        {"lo_frac", CONF_DOUBLE, AT(lo_frac), .help = "lower end of the throughput, relative"},
        {"hi_frac", CONF_DOUBLE, AT(hi_frac), .help = "upper end of the throughput, relative"},
        {"price_per_hour", CONF_DOUBLE, AT(price_per_hour),
                .help = "of the devices it uses, where the cluster has prices"},
        {"price_per_mtoken", CONF_DOUBLE, AT(price_per_mtoken),
                .help = "of a million output tokens at that throughput"},
        {0}};
static const struct conf_table figure_table = {
        .size = sizeof(struct plan_figures), .fields = figure_fields, .help = "predicted figures"};
#undef AT

#define AT(member) (offsetof(struct plan, certificate.member) - offsetof(struct plan, certificate))
static const struct conf_field certificate_fields[] = {
        {"objective", CONF_STRING, AT(objective),
                .help = "what the most was asked of; of a latency or price, the least"},
        {"value", CONF_DOUBLE, AT(value), .help = "objective of this plan"},
        {"bound", CONF_DOUBLE, AT(bound), .help = "no legal plan is better than this"},
        {"gap_frac", CONF_DOUBLE, AT(gap_frac), .help = "(bound - value) / bound"},
        {"best", CONF_DOUBLE, AT(best),
                .help = "best steady state found; this plan's is another where the simulated "
                        "workload prefers it"},
        {"solve_s", CONF_DOUBLE, AT(solve_s), .help = "seconds the solver took"},
        {"programs", CONF_I64, AT(programs), .help = "integer programs solved"},
        {"nodes", CONF_I64, AT(nodes), .help = "branch-and-bound nodes"},
        {"columns", CONF_I64, AT(columns), .help = "replica patterns that were priced in"},
        {"oracle", CONF_STRING, AT(oracle), .help = "who proved it"},
        {"forced", CONF_BOOL, AT(forced), .help = "the plan was forced: no claim is made"}, {0}};
static const struct conf_table certificate_table = {.size = sizeof(((struct plan *)0)->certificate),
        .fields = certificate_fields,
        .help = "the proof"};
#undef AT

#define AT(member) offsetof(struct plan_runner_up, member)
static const struct conf_field runner_up_fields[] = {
        {"what", CONF_STRING, AT(what), .required = true, .help = "its layout in short"},
        {"output_tokens_per_s", CONF_DOUBLE, AT(output_tokens_per_s), .help = "predicted"},
        {"ttft_p50", CONF_US, AT(ttft_p50_us), .help = "predicted"},
        {"tpot_p50", CONF_US, AT(tpot_p50_us), .help = "predicted"},
        {"memory", CONF_BYTES, AT(memory_bytes), .help = "of the fullest rank"},
        {"loses_frac", CONF_DOUBLE, AT(loses_frac), .help = "how far behind the chosen plan"},
        {"why", CONF_STRING, AT(why), .help = "what holds it back"}, {0}};
static const struct conf_table runner_up_table = {.size = sizeof(struct plan_runner_up),
        .fields = runner_up_fields,
        .help = "another plan that was considered"};
#undef AT

#define AT(member) offsetof(struct plan, member)
static const struct conf_field plan_fields[] = {
        {"name", CONF_STRING, AT(name), .help = "shown in reports"},
        {"model", CONF_STRING, AT(model), .required = true, .help = "name or path of the model"},
        {"model_digest", CONF_STRING, AT(model_digest), .help = "of the model's dimensions"},
        {"cluster", CONF_STRING, AT(cluster), .help = "name of the cluster"},
        {"workload", CONF_STRING, AT(workload), .help = "path of the workload"},
        {"expert_map", CONF_STRING, AT(expert_map),
                .help = "which ep group holds which experts; left out = equal parts in order"},
        {"profile_digest", CONF_STRING, AT(profile_digest), .help = "of the costs it rests on"},
        {"dtype", CONF_ENUM, AT(dtype), .names = dtype_file_names, .required = true,
                .help = "of the weights"},
        {"kv_dtype", CONF_ENUM, AT(kv_dtype), .names = dtype_file_names, .required = true,
                .help = "of the KV cache"},
        {"block_tokens", CONF_INT, AT(block_tokens), .min = 1, .max = 4096, .def = "16",
                .help = "tokens in a KV block"},
        {"max_len", CONF_INT, AT(max_len), .required = true, .min = 1, .max = 1 << 28,
                .help = "longest sequence, prompt and output"},
        {"mtp_layers", CONF_INT, AT(mtp_layers), .min = 0, .max = 64,
                .help = "multi-token-prediction layers that the last stages have memory for"},
        {"deterministic", CONF_BOOL, AT(deterministic), .def = "false",
                .help = "the same tokens for every plan, bit for bit; slower"},
        {"prefix_cache", CONF_BOOL, AT(prefix_cache), .def = "false",
                .help = "prompts that begin alike share their KV blocks"},
        {"n_ranks", CONF_INT, AT(n_ranks), .required = true, .min = 1, .max = 1 << 20,
                .help = "ranks in all"},
        {"machines", CONF_INT_LIST, AT(machines), .count = AT(n_machines), .min = 0, .max = 1 << 20,
                .help = "machine of each rank, counted from 0; left out: all on one"},
        {"hosts", CONF_STRING_LIST, AT(hosts), .count = AT(n_hosts),
                .help = "names of the machines, for ssh; from the cluster"},
        {"replicas", CONF_STRUCT_LIST, AT(replicas), .count = AT(n_replicas), .required = true,
                .sub = &replica_table, .help = "one entry for each replica"},
        {"predicted", CONF_STRUCT, AT(predicted), .sub = &figure_table,
                .help = "what it will deliver, simulated on the workload"},
        {"certificate", CONF_STRUCT, AT(certificate), .sub = &certificate_table,
                .help = "what was proven"},
        {"binding", CONF_STRING, AT(binding), .help = "the constraint that holds it back"},
        {"serving", CONF_STRING, AT(serving),
                .help = "separate prefill and decode replicas or not, and what that gains or "
                        "loses"},
        {"arrivals", CONF_STRING, AT(arrivals),
                .help = "of a workload with steady arrivals: the rate that was found"},
        {"cost_sources", CONF_STRING, AT(cost_sources),
                .help = "shares of the predicted time by where its costs come from"},
        {"bottleneck", CONF_STRING, AT(bottleneck), .help = "compute, memory, network or bubble"},
        {"runners_up", CONF_STRUCT_LIST, AT(runners_up), .count = AT(n_runners_up),
                .sub = &runner_up_table, .help = "the next best plans"},
        {"why", CONF_STRUCT, AT(why), .sub = &plan_why_table,
                .help = "what holds the plan back, and which better ones were refused"},
        {0}};
#undef AT

const struct conf_table plan_table = {.format = "shardwright-plan",
        .version = 1,
        .size = sizeof(struct plan),
        .fields = plan_fields,
        .help = "which layers run where"};

static bool check_stage(const struct plan *plan, const struct plan_stage *stage, int expected_first,
        bool *taken, struct err *err)
{
    if (stage->first_layer != expected_first)
        return err_at(err, stage->pos,
                "the stage starts at layer %d, expected %d: no layer may be "
                "missing or held twice",
                stage->first_layer, expected_first);
    if (stage->end_layer <= stage->first_layer)
        return err_at(err, stage->pos, "the stage ends at layer %d, expected more than %d",
                stage->end_layer, stage->first_layer);
    if (stage->n_ranks != stage->tp * stage->attention_dp)
        return err_at(err, stage->pos, "the stage has %d ranks, expected tp * attention_dp = %d",
                stage->n_ranks, stage->tp * stage->attention_dp);
    if (stage->n_ranks % stage->ep != 0)
        return err_at(err, stage->pos, "ep is %d, expected a divisor of the stage's %d ranks",
                stage->ep, stage->n_ranks);
    for (int i = 0; i < stage->n_ranks; i++) {
        int rank = stage->ranks[i];
        if (rank < 0 || rank >= plan->n_ranks)
            return err_at(
                    err, stage->pos, "found rank %d, expected 0 to %d", rank, plan->n_ranks - 1);
        if (taken[rank])
            return err_at(err, stage->pos, "rank %d is used twice", rank);
        taken[rank] = true;
    }
    return true;
}

int plan_pools(const struct plan_replica *replica)
{
    int pools = 1;
    for (int i = 0; i < replica->n_stages; i++)
        if (replica->stages[i].attention_dp > pools)
            pools = replica->stages[i].attention_dp;
    return pools;
}

int plan_stage_pools(const struct plan_replica *replica, const struct plan_stage *stage)
{
    return plan_pools(replica) / stage->attention_dp;
}

enum dtype plan_stage_dtype(const struct plan *plan, const struct plan_stage *stage)
{
    return (enum dtype)(
            stage->dtype == STAGE_DTYPE_PLAN ? plan->dtype : stage->dtype - STAGE_DTYPE_FIRST);
}

enum dtype plan_stage_kv_dtype(const struct plan *plan, const struct plan_stage *stage)
{
    return (enum dtype)(stage->kv_dtype == STAGE_DTYPE_PLAN ? plan->kv_dtype
                                                            : stage->kv_dtype - STAGE_DTYPE_FIRST);
}

static bool check_pools(const struct plan_replica *replica, struct err *err)
{
    int pools = plan_pools(replica);
    for (int i = 0; i < replica->n_stages; i++)
        if (pools % replica->stages[i].attention_dp != 0)
            return err_at(err, replica->stages[i].pos,
                    "attention_dp is %d, expected a divisor of the %d groups that another stage "
                    "has: each group serves a whole number of them",
                    replica->stages[i].attention_dp, pools);
    return true;
}

static bool check_replica(
        const struct plan *plan, const struct plan_replica *replica, bool *taken, struct err *err)
{
    if (replica->n_stages == 0)
        return err_at(err, replica->pos, "the replica has no stages, expected at least one");
    if (replica->in_flight > replica->n_stages)
        return err_at(err, replica->pos, "in_flight is %d, expected at most the %d stages",
                replica->in_flight, replica->n_stages);
    int first = 0;
    for (int i = 0; i < replica->n_stages; i++) {
        if (!check_stage(plan, &replica->stages[i], first, taken, err))
            return false;
        first = replica->stages[i].end_layer;
    }
    return check_pools(replica, err);
}

/* Prefill and decode replicas need each other. */
static bool check_roles(const struct plan *plan, struct err *err)
{
    const struct plan_replica *prefill = NULL;
    const struct plan_replica *decode = NULL;
    for (int i = 0; i < plan->n_replicas; i++) {
        if (plan->replicas[i].role == ROLE_PREFILL)
            prefill = &plan->replicas[i];
        if (plan->replicas[i].role == ROLE_DECODE)
            decode = &plan->replicas[i];
    }
    if ((prefill == NULL) == (decode == NULL))
        return true;
    return err_at(err, prefill != NULL ? prefill->pos : decode->pos,
            "a %s replica without a %s replica, expected both or neither",
            prefill != NULL ? "prefill" : "decode", prefill != NULL ? "decode" : "prefill");
}

double plan_best(const struct plan *plan)
{
    double best = plan->certificate.best;
    double value = plan->certificate.value;
    return best > 0 && fabs(best - value) > 1e-3 * value ? best : value;
}

int plan_machine(const struct plan *plan, int rank)
{
    return rank < plan->n_machines ? plan->machines[rank] : 0;
}

int plan_stage_machines(const struct plan *plan, const struct plan_stage *stage)
{
    int first = plan_machine(plan, stage->ranks[0]);
    int each = 1;
    while (each < stage->n_ranks && plan_machine(plan, stage->ranks[each]) == first)
        each++;
    return each < stage->n_ranks && stage->n_ranks % each == 0 ? stage->n_ranks / each : 0;
}

static bool check_machines(const struct plan *plan, struct err *err)
{
    if (plan->n_machines > 0 && plan->n_machines != plan->n_ranks)
        return err_set(err, ERR_INPUT, "machines has %d entries, expected one for each of %d ranks",
                plan->n_machines, plan->n_ranks);
    for (int r = 0; plan->n_hosts > 0 && r < plan->n_ranks; r++)
        if (plan_machine(plan, r) >= plan->n_hosts)
            return err_set(err, ERR_INPUT, "rank %d is on machine %d, and hosts has %d names", r,
                    plan_machine(plan, r), plan->n_hosts);
    return true;
}

bool plan_consistent(const struct plan *plan, struct err *err)
{
    if (plan->n_replicas == 0)
        return err_set(err, ERR_INPUT, "the plan has no replicas, expected at least one");
    struct arena scratch = {0};
    bool *taken = ARENA_NEW(&scratch, bool, plan->n_ranks);
    bool ok = true;
    for (int i = 0; ok && i < plan->n_replicas; i++)
        ok = check_replica(plan, &plan->replicas[i], taken, err);
    for (int i = 0; ok && i < plan->n_ranks; i++) {
        if (!taken[i])
            ok = err_at(err, plan->replicas[0].pos,
                    "rank %d of %d has no stage, expected every rank in one", i, plan->n_ranks);
    }
    arena_free(&scratch);
    return ok && check_roles(plan, err) && check_machines(plan, err);
}

bool plan_read_file(struct plan *out, const char *path, struct arena *arena, struct err *err)
{
    if (!conf_read_file(out, &plan_table, path, arena, err))
        return false;
    if (plan_consistent(out, err))
        return true;
    return out->n_replicas == 0 ? err_context(err, "%s", path) : false;
}

bool plan_write_file(const struct plan *plan, const char *path, struct err *err)
{
    struct arena arena = {0};
    char *text = NULL;
    bool ok = conf_write(&text, plan, &plan_table, &arena, err)
              && file_write(path, text, (int64_t)strlen(text), err);
    arena_free(&arena);
    return ok;
}
