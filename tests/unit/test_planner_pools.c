/* Separate prefill and decode replicas, and least prices: what the planner says against what follows from its plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/cost.h"
#include "planner/planner.h"
#include "planner/steady.h"

#include "planner_runs.h"

#define MIB (INT64_C(1) << 20)

enum {
    DEVICES = 8,
    PROMPT = 300,
    OUTPUT = 100
};

/* Eight GPUs in a machine; requests at a rate that nothing can serve. */
static void make_rack(struct fixture *f, struct planner_input *input, int n_layers, int64_t memory)
{
    memset(f, 0, sizeof *f);
    fixture_model(f, n_layers, 0);
    fixture_kind(f, "gpu", DEVICES, memory, 1e13, 1e11);
    fixture_accelerators(f);
    f->kinds[0].price_per_hour = 2;
    fixture_requests(f, 64, PROMPT, OUTPUT);
    for (int i = 0; i < 64; i++)
        f->items[i].arrival_ns = i * 1000;
    fixture_input(input, f);
}

/* Costs as the program sees them: every device of the machine works. */
static struct split split_of(
        const struct plan *plan, const struct plan_replica *replica, const struct fixture *f)
{
    int kind;
    struct split split = cost_plan_split(plan, replica, &replica->stages[0], &f->cluster, &kind);
    split.busy = DEVICES;
    return split;
}

static double transfer_us(struct cost_model *costs, const struct plan *plan,
        const struct plan_replica *replica, const struct fixture *f)
{
    double most = 0;
    for (int s = 0; s < replica->n_stages; s++) {
        struct split split = split_of(plan, replica, f);
        split.tp = replica->stages[s].tp;
        struct piece piece = {replica->stages[s].first_layer, replica->stages[s].end_layer};
        int64_t blocks = (PROMPT + PLAN_BLOCK_TOKENS - 1) / PLAN_BLOCK_TOKENS;
        int64_t bytes = blocks * graph_kv_block_bytes(&f->model, &split, piece, PLAN_BLOCK_TOKENS);
        most = fmax(most, cost_cache_us(costs, 0, &split, bytes, false));
    }
    return most;
}

/* Requests a second of a replica of one stage, from its limits alone. */
static double rate_of(struct cost_model *costs, const struct plan *plan,
        const struct plan_replica *replica, const struct fixture *f)
{
    struct split split = split_of(plan, replica, f);
    bool prefill = replica->role == ROLE_PREFILL;
    int64_t q = replica->max_tokens;
    struct seq_shape seq[256];
    struct step_shape shape = {.tokens = replica->max_seqs,
            .decode_batch = replica->max_seqs,
            .decode_kv_tokens = replica->max_seqs * (PROMPT + OUTPUT / 2),
            .logits_rows = replica->max_seqs};
    double requests = replica->max_seqs / (OUTPUT - 1.0);
    if (prefill) {
        int64_t each = q < PROMPT ? q : PROMPT;
        shape = (struct step_shape){.tokens = q, .prefill = seq};
        shape.logits_rows = shape.n_prefill = q < PROMPT ? 1 : (int)llround((double)q / PROMPT);
        assert_true(shape.n_prefill <= 256);
        for (int i = 0; i < shape.n_prefill; i++)
            seq[i] = (struct seq_shape){each, llround((double)(each + PROMPT) / 2)};
        requests = (double)q / PROMPT;
    }
    shape.group_tokens = shape.tokens;
    struct step_cost step;
    cost_piece(&step, costs, 0, &split, (struct piece){0, f->model.n_layers}, &shape);
    return requests / fmax(step.us, requests * transfer_us(costs, plan, replica, f)) * 1e6;
}

static void both_sides_are_priced_alone(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    struct err err = {0};
    make_rack(&f, &input, 1, 512 * MIB); /* one layer: no pipelines */
    input.serving = SERVING_DISAGGREGATED;
    fixture_plan(&plan, &input, &f);
    struct cost_model *costs = cost_open(&f.model, &f.cluster, NULL, 0, &err);
    double rate[3] = {0};
    double slowest = 0;
    for (int r = 0; r < plan.n_replicas; r++) {
        rate[plan.replicas[r].role] += rate_of(costs, &plan, &plan.replicas[r], &f);
        slowest = fmax(slowest, transfer_us(costs, &plan, &plan.replicas[r], &f));
    }
    assert_true(rate[ROLE_MIXED] == 0);
    double served = fmin(rate[ROLE_PREFILL], rate[ROLE_DECODE]) * OUTPUT;
    assert_true(fabs(plan.certificate.value - served) < 1e-6 * served);
    assert_true(plan.certificate.bound >= plan.certificate.value * (1 - 1e-12));
    /* 19 blocks of both KV halves, once. */
    double bytes = 19.0 * PLAN_BLOCK_TOKENS * 2 * 4 * 32 * 2;
    for (int r = 0; r < plan.n_replicas; r++) {
        const struct plan_replica *replica = &plan.replicas[r];
        double us = replica->kv_latency_us + bytes / replica->kv_rate * 1e6;
        if (replica->role == ROLE_PREFILL)
            assert_true(fabs(us - slowest) < 1e-6 * slowest);
        else
            assert_true(replica->kv_rate == 0);
    }
    assert_true(plan_check(&plan, &f.model, &f.cluster, &err));
    cost_close(costs);
    arena_free(&f.arena);
}

/* What may be mixed is at least as good as either kind alone, as far as was proven. */
static void auto_beats_either_kind(void **unused)
{
    (void)unused;
    for (int n_layers = 2; n_layers <= 8; n_layers += 3) {
        double value[3];
        double bound[3];
        for (int serving = 0; serving < 3; serving++) {
            struct fixture f;
            struct planner_input input;
            struct plan plan;
            make_rack(&f, &input, n_layers, 64 * MIB);
            f.workload.slo.tpot_us = 4000;
            f.workload.slo.ttft_us = 1e6;
            input.serving = serving;
            fixture_plan(&plan, &input, &f);
            for (int r = 0; r < plan.n_replicas && serving != SERVING_AUTO; r++)
                assert_int_equal(
                        plan.replicas[r].role == ROLE_MIXED, serving == SERVING_AGGREGATED);
            value[serving] = plan.certificate.value;
            bound[serving] = plan.certificate.bound;
            arena_free(&f.arena);
        }
        for (int serving = 1; serving < 3; serving++)
            assert_true(bound[SERVING_AUTO] >= value[serving] * (1 - 1e-9));
        assert_true(bound[SERVING_AUTO] >= value[SERVING_AUTO] * (1 - 1e-9));
    }
}

static void less_demand_costs_no_more(void **unused)
{
    (void)unused;
    double last = HUGE_VAL;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make_rack(&f, &input, 4, 64 * MIB);
    fixture_plan(&plan, &input, &f);
    double most = plan.certificate.value / OUTPUT;
    for (double share = 0.95; share > 0.05; share /= 2) {
        input.objective = OBJECTIVE_PRICE;
        input.demand_per_s = share * most;
        fixture_plan(&plan, &input, &f);
        assert_string_equal(plan.certificate.objective, "price_per_hour");
        assert_true(plan.certificate.bound <= plan.certificate.value * (1 + 1e-12));
        assert_true(fabs(plan.predicted.price_per_hour - 2.0 * plan.n_ranks) < 1e-9);
        assert_true(plan.certificate.value <= last * (1 + 1e-3));
        assert_true(plan.certificate.value <= 2.0 * DEVICES * (1 + 1e-9));
        double mtoken =
                plan.predicted.price_per_hour / (plan.predicted.output_tokens_per_s * 3600) * 1e6;
        assert_true(fabs(plan.predicted.price_per_mtoken - mtoken) < 1e-9 * mtoken);
        last = plan.certificate.value;
    }
    assert_true(last < 2.0 * DEVICES); /* some device was saved */
    arena_free(&f.arena);
}

/* What was forced stands in the plan, and what was left free is no worse than a choice of it. */
static void forced_sides_are_kept(void **unused)
{
    (void)unused;
    static const char *const forced[] = {"prefill.tp=2,prefill.dp=1,decode.dp=3,decode.max_seqs=16",
            "prefill.tp=2,decode.max_seqs=16", "decode.layers=1+3,tp=1,decode.in_flight=2"};
    double value[3];
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        struct planner_input input;
        struct plan plan;
        struct err err = {0};
        int n[3] = {0};
        make_rack(&f, &input, 4, 64 * MIB);
        if (!plan_force_parse(&input.force, forced[i], &f.arena, &err))
            fail_msg("%s", err.text);
        fixture_plan(&plan, &input, &f);
        assert_true(plan.certificate.forced);
        for (int r = 0; r < plan.n_replicas; r++) {
            const struct plan_replica *replica = &plan.replicas[r];
            bool decode = replica->role == ROLE_DECODE;
            n[replica->role]++;
            assert_true(i == 2 || decode || replica->stages[0].tp == 2);
            assert_true(i == 2 || !decode || replica->max_seqs == 16);
            assert_true(i != 2 || !decode
                        || (replica->n_stages == 2 && replica->stages[0].end_layer == 1
                                && replica->in_flight == 2));
        }
        assert_true(n[ROLE_MIXED] == 0 && n[ROLE_PREFILL] > 0 && n[ROLE_DECODE] > 0);
        assert_true(i != 0 || (n[ROLE_PREFILL] == 1 && n[ROLE_DECODE] == 3));
        value[i] = plan.certificate.value;
        arena_free(&f.arena);
    }
    assert_true(value[1] >= value[0] * (1 - 1e-9));
}

static void refuse(const struct planner_input *input, enum err_kind kind, const char *part)
{
    struct arena arena = {0};
    struct err err = {0};
    struct plan plan;
    assert_false(planner_run(&plan, input, &arena, &err));
    assert_int_equal(err.kind, kind);
    if (strstr(err.text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, err.text);
    arena_free(&arena);
}

static void what_cannot_be_is_refused_with_the_reason(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    make_rack(&f, &input, 4, 64 * MIB);
    input.objective = OBJECTIVE_PRICE;
    input.demand_per_s = 1e7;
    refuse(&input, ERR_NO, "none more than");
    input.demand_per_s = 1;
    f.kinds[0].price_per_hour = 0;
    refuse(&input, ERR_INPUT, "device kind gpu has no price_per_hour");
    f.kinds[0].price_per_hour = 2;
    for (int i = 0; i < 64; i++)
        f.items[i].arrival_ns = 0;
    input.demand_per_s = 0;
    refuse(&input, ERR_INPUT, "give --demand");
    input.objective = OBJECTIVE_TTFT;
    input.serving = SERVING_DISAGGREGATED;
    refuse(&input, ERR_INPUT, "--serving aggregated");
    input.objective = OBJECTIVE_THROUGHPUT;
    for (int i = 0; i < 64; i++)
        f.items[i].output_len = 1;
    refuse(&input, ERR_NO, "no plan with separate prefill and decode replicas");
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(both_sides_are_priced_alone),
            cmocka_unit_test(auto_beats_either_kind),
            cmocka_unit_test(less_demand_costs_no_more),
            cmocka_unit_test(forced_sides_are_kept),
            cmocka_unit_test(what_cannot_be_is_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
