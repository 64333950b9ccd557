/*
 * From a model to the plan of its cluster: every stage that planner/stages.h prices, from sums over layers, against the
 * whole piece priced alone; the solution of that instance against brute force; and the plan that comes out against the
 * checker, read back from its own text.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "planner/stages.h"
#include "planner/whole.h"
#include "tests/oracle/oracle.h"
#include "tests/unit/planner_fixture.h"

static int count_of(int def)
{
    const char *text = getenv("SHARDWRIGHT_INSTANCES");
    return text != NULL ? atoi(text) : def;
}

/* A random model on a random cluster, and what the planner makes of it before it solves anything. */
struct world {
    struct fixture f;
    struct planner_input input;
    struct demand demand;
    struct cost_model *costs;
    struct layout *layouts;
    int n_layouts;
    uint64_t seed, drawn;
};

static double draw(struct world *w, double lo, double hi)
{
    return lo + (hi - lo) * random_unit(w->seed, w->drawn++);
}

static int pick(struct world *w, int lo, int hi)
{
    return lo + (int)random_below(w->seed, w->drawn++, hi - lo + 1);
}

/* Dense, with experts, or both; now and then layers that see a window only. */
static void make_model(struct world *w)
{
    struct fixture *f = &w->f;
    fixture_model(f, pick(w, 2, 6), draw(w, 0, 1) < 0.5 ? 4 : 0);
    for (int l = 0; l < f->model.n_layers; l++) {
        if (f->model.moe.n > 0 && draw(w, 0, 1) < 0.4)
            f->layers[l].moe = false;
        if (draw(w, 0, 1) < 0.2) {
            f->layers[l].attention = ATTENTION_WINDOW;
            f->layers[l].window = 32;
        }
    }
}

/* 1 to 3 kinds of GPU, so that the whole cluster is one program; one or two nodes of each. */
static void make_cluster(struct world *w)
{
    static const char *const names[] = {"fast", "mid", "slow"};
    struct fixture *f = &w->f;
    int n_kinds = pick(w, 1, 3);
    for (int k = 0; k < n_kinds; k++) {
        fixture_kind(f, names[k], pick(w, 1, n_kinds > 1 ? 2 : 4), (int64_t)draw(w, 2e6, 4e7),
                draw(w, 1e10, 1e11), draw(w, 2e9, 2e10));
        f->kinds[k].type = DEVICE_CUDA;
        f->kinds[k].threads = NULL;
        f->kinds[k].n_threads = 0;
        f->nodes[k].count = pick(w, 1, 2);
    }
    f->links[1] =
            (struct cluster_link){.name = "net", .inside = false, .rate = 1e9, .latency_us = 8};
    f->cluster.n_links = 2;
}

static bool make_world(struct world *w, uint64_t seed)
{
    struct err err = {0};
    memset(w, 0, sizeof *w);
    w->seed = seed;
    make_model(w);
    make_cluster(w);
    fixture_requests(&w->f, pick(w, 4, 40), pick(w, 8, 100), pick(w, 2, 40));
    if (draw(w, 0, 1) < 0.5)
        w->f.workload.slo.tpot_us = draw(w, 100, 3000);
    w->input = (struct planner_input){.model = &w->f.model,
            .cluster = &w->f.cluster,
            .workload = &w->f.workload,
            .requests = &w->f.requests,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .simulate_best = 2,
            .reproducible = true};
    demand_of(&w->demand, &w->f.requests);
    w->costs = cost_open(&w->f.model, &w->f.cluster, NULL, 0, &err);
    if (w->costs == NULL
            || !space_layouts(&w->layouts, &w->n_layouts, &w->input, &w->f.arena, &err))
        fail_msg("%s", err.text);
    return true;
}

static void close_world(struct world *w)
{
    cost_close(w->costs);
    arena_free(&w->f.arena);
}

/* A stage from the whole piece: no sums, no classes. */
static struct instance_price price_alone(const struct world *w, const struct stages *stages,
        int kind, int config, int limits, struct piece piece)
{
    const struct stage_limits *l = stages_limits(stages, limits);
    struct split split = stages_split(stages, kind, config);
    struct instance_price out = {0};
    int64_t block = graph_kv_block_bytes(&w->f.model, &split, piece, PLAN_BLOCK_TOKENS);
    int64_t room = w->f.kinds[kind].memory_bytes * split.threads
                   - graph_weight_bytes(&w->f.model, &split, piece)
                   - graph_work_bytes(&w->f.model, &split, piece, l->max_seqs, l->max_tokens);
    while (out.most_in_flight < stages_instance(stages)->max_stages
            && demand_role_blocks(
                       &w->demand, l->role, l->max_seqs, out.most_in_flight + 1, l->groups)
                               * block
                       <= room)
        out.most_in_flight++;
    struct steady steady;
    if (out.most_in_flight == 0
            || !steady_of_role(&steady, &w->demand, l->role, (double)l->max_seqs / l->groups,
                    l->max_tokens, l->groups))
        return out;
    double mixed_frac = steady.mixed_frac;
    assert_true(mixed_frac
                == (l->role == ROLE_PREFILL      ? 1
                        : l->role == ROLE_DECODE ? 0
                                                 : mixed_frac));
    const struct step_shape *shapes[] = {&steady.pure, &steady.mixed};
    const double shares[] = {1 - mixed_frac, mixed_frac};
    bool between = cost_between_nodes(&w->f.cluster);
    for (int i = 0; i < 2; i++) {
        struct step_cost step;
        if (shares[i] <= 0)
            continue;
        cost_piece(&step, w->costs, kind, &split, piece, shapes[i]);
        out.us += shares[i] * step.us;
        out.send_us += shares[i] * cost_send_us(w->costs, kind, &split, shapes[i]->tokens, between);
    }
    /* Caches that come or go at the rate of requests may take longer. */
    int64_t blocks = (int64_t)ceil(w->demand.prompt / PLAN_BLOCK_TOKENS);
    double cache_us = cost_cache_us(w->costs, kind, &split, blocks * block, between);
    if (l->role != ROLE_MIXED)
        out.us = fmax(out.us, l->requests_per_step / l->groups * cache_us);
    return out;
}

static bool close_to(double found, double expected)
{
    return fabs(found - expected) <= 1e-9 * fabs(expected);
}

static int compare_prices(const struct world *w, const struct stages *stages)
{
    const struct instance *in = stages_instance(stages);
    int compared = 0;
    for (int l = 0; l < in->n_limits; l++)
        for (int c = 0; c < in->n_configs; c++)
            for (int k = 0; k < in->n_kinds; k++) {
                if (in->configs[c].family != in->limits[l].family || in->configs[c].devices[k] < 1)
                    continue;
                for (int first = 0; first < in->n_layers; first++)
                    for (int end = first + 1; end <= in->n_layers; end++) {
                        struct instance_price found;
                        in->price(in->self, &found, k, c, l, first, end);
                        struct instance_price alone =
                                price_alone(w, stages, k, c, l, (struct piece){first, end});
                        compared++;
                        if (found.most_in_flight == alone.most_in_flight
                                && (alone.most_in_flight == 0
                                        || (close_to(found.us, alone.us)
                                                && close_to(found.send_us, alone.send_us))))
                            continue;
                        fail_msg("seed %d, layers %d to %d on %s with %s and %s: %.12g us, %d in "
                                 "flight; alone %.12g us, %d",
                                (int)w->seed, first, end - 1, in->kinds[k].name,
                                in->configs[c].name, in->limits[l].name, found.us,
                                found.most_in_flight, alone.us, alone.most_in_flight);
                    }
            }
    return compared;
}

static void stages_cost_what_they_cost_alone(void **unused)
{
    (void)unused;
    int compared = 0;
    int n = count_of(40);
    for (int i = 0; i < n; i++) {
        struct world w;
        struct err err = {0};
        make_world(&w, (uint64_t)i);
        struct stages *stages =
                stages_open(&w.input, w.costs, &w.demand, w.layouts, w.n_layouts, 1, &err);
        if (stages == NULL)
            fail_msg("%s", err.text);
        compared += compare_prices(&w, stages);
        stages_close(stages);
        close_world(&w);
    }
    printf("%d stages of %d random models and clusters cost what they cost alone\n", compared, n);
}

static void clusters_of_models_equal_brute_force(void **unused)
{
    (void)unused;
    int n = count_of(40);
    int feasible = 0;
    for (int i = 0; i < n; i++) {
        struct world w;
        struct err err = {0};
        struct oracle_answer best;
        struct search_result found;
        struct columns_result solved;
        make_world(&w, 1000 + (uint64_t)i);
        struct stages *stages =
                stages_open(&w.input, w.costs, &w.demand, w.layouts, w.n_layouts, 1, &err);
        if (stages == NULL)
            fail_msg("%s", err.text);
        oracle_dynamic(&best, stages_instance(stages));
        const struct whole_question question = {.input = &w.input,
                .costs = w.costs,
                .demand = &w.demand,
                .layouts = w.layouts,
                .n_layouts = w.n_layouts,
                .keep = 2,
                .tighten = 1};
        assert_true(best.done);
        if (!whole_run(&found, &solved, &question, &w.f.arena, &err))
            fail_msg("%s", err.text);
        assert_null(solved.trouble); /* no solver died on the way */
        if (!close_to(solved.value, best.value) || !solved.proven)
            fail_msg("seed %d: %.12g, expected %.12g, bound %.12g", i, solved.value, best.value,
                    solved.bound);
        feasible += best.feasible;
        stages_close(stages);
        close_world(&w);
    }
    printf("%d random models on random clusters equal the dynamic program, %d of them feasible\n",
            n, feasible);
    if (n >= 40)
        assert_true(feasible > n / 3 && feasible < n);
}

/* What comes out, read back from its text alone. */
static void check_again(const struct world *w, const struct plan *plan)
{
    struct arena arena = {0};
    struct err err = {0};
    struct plan again;
    char *text;
    char *twice;
    if (!conf_write(&text, plan, &plan_table, &arena, &err)
            || !conf_read(&again, &plan_table, text, (int64_t)strlen(text), "plan", &arena, &err)
            || !plan_consistent(&again, &err)
            || !plan_check(&again, &w->f.model, &w->f.cluster, &err)
            || !conf_write(&twice, &again, &plan_table, &arena, &err))
        fail_msg("seed %d: %s", (int)w->seed, err.text);
    assert_string_equal(text, twice);
    arena_free(&arena);
}

/* Objectives, free and forced; GPUs, and CPU hosts that are searched one configuration at a time. */
static void every_plan_passes_the_checker(void **unused)
{
    (void)unused;
    static const char *const forces[] = {
            "", "pp=2", "dp=2", "tp=2", "adp=2", "max_seqs=2,pp=2", "kv_blocks=64", "tp=1,pp=1"};
    int n = count_of(64);
    int plans = 0;
    int none = 0;
    for (int i = 0; i < n; i++) {
        struct world w;
        struct plan plan;
        struct err err = {0};
        make_world(&w, 2000 + (uint64_t)i);
        for (int k = 0; k < w.f.cluster.n_kinds && i % 3 == 2; k++)
            w.f.kinds[k].type = DEVICE_CPU;
        w.input.objective = i % 5 == 4 ? pick(&w, 1, 2) : OBJECTIVE_THROUGHPUT;
        if (!plan_force_parse(&w.input.force, forces[i % 8], &w.f.arena, &err))
            fail_msg("%s", err.text);
        if (planner_run(&plan, &w.input, &w.f.arena, &err)) {
            check_again(&w, &plan);
            plans++;
        } else if (err.kind == ERR_NO) {
            none++;
        } else {
            fail_msg("seed %d: %s", i, err.text);
        }
        close_world(&w);
    }
    printf("%d plans pass the checker, %d questions have none\n", plans, none);
    if (n >= 40)
        assert_true(plans > n / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(stages_cost_what_they_cost_alone),
            cmocka_unit_test(clusters_of_models_equal_brute_force),
            cmocka_unit_test(every_plan_passes_the_checker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
