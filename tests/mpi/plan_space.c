/*
 * Every legal plan gives the tokens of one rank: plan_space N [MOST [MODEL [pools]]]
 *
 * Enumerates the plans of N ranks for each tiny model (stages of every legal split, alike or not, in replicas alike
 * or not), runs MOST plans of each model (0 = each layout once) one after another in one job, deterministically, and compares
 * every request's tokens, greedy and drawn, with those of one rank, and the bytes each rank holds with those that
 * the planner puts into a plan. Limits, layers, threads and micro-batches differ from plan to plan, so that
 * prompts are cut into chunks and sequences are preempted. MODEL may be all. With pools, only plans in which prefill
 * and decode replicas hand caches over, some beside replicas that do both.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "models/graph.h"
#include "planner/cost.h"
#include "runtime/runtime.h"
#include "tests/mpi/plan_layouts.h"
#include "tests/mpi/start_ranks.h"

enum {
    REQUESTS = 6,
    MAX_LEN = 28,
    BLOCK_TOKENS = 4,
    SAMPLING_WAYS = 2
};

static const char *const model_names[] = {
        "tiny-llama", "tiny-qwen3-moe", "tiny-deepseek-v3", "tiny-gpt-oss"};
enum {
    MODELS = sizeof model_names / sizeof model_names[0]
};

/* What all runs of a model have in common. */
struct bench {
    struct arena arena;
    struct model model;
    struct workload workload[SAMPLING_WAYS];
    struct requests requests;
    int32_t *want[SAMPLING_WAYS][REQUESTS];
};

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Layers before stage `stage`: an even split, moved by up to one layer where there is room. */
static int first_layer(int n_layers, int n_stages, int stage, uint64_t draw)
{
    int at = n_layers * stage / n_stages;
    int before = n_layers * (stage - 1) / n_stages, behind = n_layers * (stage + 1) / n_stages;
    int moved = at + (int)(draw >> (2 * stage)) % 3 - 1;

    if (stage == 0 || stage == n_stages)
        return at;
    return moved > before + 1 && moved < behind - 1 ? moved : at;
}

static void fill_stage(struct plan_stage *stage, const struct shape *shape, int first_rank,
        int threads, struct arena *arena)
{
    int n = layout_ranks(shape), *ranks = ARENA_NEW(arena, int, n);

    for (int i = 0; i < n; i++)
        ranks[i] = first_rank + i;
    stage->tp = shape->tp;
    stage->attention_dp = shape->adp;
    stage->ep = shape->ep;
    stage->threads = threads;
    stage->kind = "core";
    stage->ranks = ranks;
    stage->n_ranks = n;
}

/* Limits and the rest differ from plan to plan, by a hash of its number. */
static void make_plan(struct plan *plan, const struct layout *layout, const struct model *model,
        uint64_t number, struct arena *arena)
{
    static const int seqs[] = {1, 2, 4, 6}, tokens[] = {3, 8, 32}, blocks[] = {7, 9, 40};
    int rank = 0;

    *plan = (struct plan){.name = "space",
            .model = model->name,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .block_tokens = BLOCK_TOKENS,
            .max_len = MAX_LEN,
            .deterministic = true,
            .replicas = ARENA_NEW(arena, struct plan_replica, layout->n_replicas),
            .n_replicas = layout->n_replicas};
    for (int r = 0; r < layout->n_replicas; r++) {
        struct plan_replica *replica = &plan->replicas[r];
        uint64_t draw = mix(number * 31 + (uint64_t)r + 1);
        int n = layout->n_stages[r];

        replica->stages = ARENA_NEW(arena, struct plan_stage, n);
        replica->n_stages = n;
        for (int s = 0; s < n; s++) {
            struct plan_stage *stage = &replica->stages[s];

            fill_stage(stage, &layout->stages[r][s], rank, 1 + (int)(draw >> (40 + s)) % 2, arena);
            stage->first_layer = first_layer(model->n_layers, n, s, draw);
            stage->end_layer = first_layer(model->n_layers, n, s + 1, draw);
            rank += stage->n_ranks;
        }
        replica->max_seqs = seqs[draw % 4];
        replica->max_tokens = tokens[draw / 4 % 3];
        replica->kv_blocks = blocks[draw / 12 % 3];
        replica->in_flight = 1 + (int)(draw / 36 % (uint64_t)n);
        if (replica->max_seqs < plan_pools(replica))
            replica->max_seqs = plan_pools(replica);
    }
    plan->n_ranks = rank;
}

/* A decode replica has one pool of sequences. */
static bool can_separate(const struct layout *layout)
{
    bool decode = false;

    for (int r = 0; r < layout->n_replicas; r++) {
        bool one = true;

        for (int s = 0; s < layout->n_stages[r]; s++)
            one = one && layout->stages[r][s].adp == 1;
        decode = decode || one;
    }
    return decode && layout->n_replicas > 1;
}

/* Roles by a hash of the plan's number: one decode replica at least, one prefill replica at least. */
static void separate(struct plan *plan, uint64_t number)
{
    int decode = -1, prefill = -1;

    for (int i = 0; i < plan->n_replicas; i++) {
        int r = (int)((number + (uint64_t)i) % (uint64_t)plan->n_replicas);
        struct plan_replica *replica = &plan->replicas[r];
        bool one = plan_pools(replica) == 1;

        replica->role = (int)(mix(number * 17 + (uint64_t)r) % 3);
        if (replica->role == ROLE_DECODE && !one)
            replica->role = ROLE_PREFILL;
        if (decode < 0 && one)
            replica->role = ROLE_DECODE;
        else if (prefill < 0)
            replica->role = ROLE_PREFILL;
        decode = replica->role == ROLE_DECODE ? r : decode;
        prefill = replica->role == ROLE_PREFILL ? r : prefill;
    }
}

/* What the planner says that each rank will hold. */
static bool price_memory(
        struct plan *plan, const struct model *model, const struct expert_map *map, struct err *err)
{
    struct device_kind kind = {
            .name = "core", .memory_bytes = 1 << 30, .flops = 1e9, .memory_rate = 1e9};
    struct cluster_node node = {
            .name = "here", .count = 1, .kind = "core", .devices = LAYOUT_RANKS};
    struct cluster_link link = {.name = "shm", .inside = true, .rate = 1e9, .latency_us = 1};
    struct cluster cluster = {"here", &kind, 1, &node, 1, &link, 1};
    struct cost_model *costs = cost_open(model, &cluster, NULL, 0, err);

    for (int r = 0; costs && r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            struct plan_stage *stage = &plan->replicas[r].stages[s];
            int unused = 0;
            struct split split =
                    cost_plan_split(plan, &plan->replicas[r], stage, &cluster, &unused);
            split.expert_slots = map ? map->slots : 0;
            struct plan_replica limits = plan->replicas[r]; /* of a group, over its pools */
            limits.kv_blocks *= plan_stage_pools(&limits, stage);
            limits.max_tokens *= plan_stage_pools(&limits, stage);
            struct rank_bytes bytes =
                    cost_memory(costs, &split, (struct piece){stage->first_layer, stage->end_layer},
                            &limits, plan->block_tokens);

            stage->weight_bytes = bytes.weight;
            stage->kv_bytes = bytes.kv;
            stage->work_bytes = bytes.work;
        }
    cost_close(costs);
    return costs != NULL;
}

static bool close_enough(const struct runtime_result *result, const char *what)
{
    double want = 0, have = 0;
    int rank = -1;

    for (int64_t i = 0; i < result->n_figures; i++) {
        const struct run_figure *f = &result->figures[i];

        if (f->scope != FIGURE_RANK || strcmp(f->name, "rss_bytes") == 0)
            continue;
        if (f->index != rank)
            want = have = 0;
        rank = f->index;
        want += isnan(f->predicted) ? 0 : f->predicted;
        have += f->measured;
        if (strcmp(f->name, "work_bytes") == 0 && fabs(have / want - 1) > 0.02) {
            fprintf(stderr, "%s: rank %d holds %.0f bytes, the plan says %.0f\n", what, rank, have,
                    want);
            return false;
        }
    }
    return rank >= 0;
}

static bool same_tokens(
        const struct bench *bench, int way, const struct runtime_result *result, const char *what)
{
    for (int i = 0; i < REQUESTS; i++)
        for (int64_t t = 0; t < bench->requests.items[i].output_len; t++)
            if (t >= result->n_tokens[i] || result->tokens[i][t] != bench->want[way][i][t]) {
                fprintf(stderr, "%s: token %lld of request %d is %d, one rank says %d\n", what,
                        (long long)t, i, t < result->n_tokens[i] ? result->tokens[i][t] : -1,
                        bench->want[way][i][t]);
                return false;
            }
    return true;
}

/* Plan and expert map come from `of`. */
static bool run_plan(struct runtime_result *result, const struct bench *bench,
        const struct runtime_options *of, int way, struct ranks *ranks, struct arena *arena,
        struct err *err)
{
    struct runtime_options options = {.plan = of->plan,
            .model = &bench->model,
            .workload = &bench->workload[way],
            .requests = &bench->requests,
            .experts = of->experts,
            .seed = 5,
            .warmup_steps = -1,
            .keep_tokens = true};

    return runtime_run(result, &options, ranks, NULL, arena, err);
}

static void open_bench(struct bench *bench, const char *name)
{
    static const int prompts[REQUESTS] = {3, 17, 9, 1, 22, 12};
    static const int outputs[REQUESTS] = {6, 4, 5, 3, 6, 2};
    struct err err = {0};

    memset(bench, 0, sizeof *bench);
    if (!model_read(&bench->model,
                arena_printf(&bench->arena, "%s/models/%s.yaml", getenv("SOURCE_DIR"), name),
                getenv("SOURCE_DIR"), &bench->arena, &err))
        die(name, &err);
    bench->workload[1].sampling.temperature = 0.9;
    bench->workload[1].sampling.top_p = 0.95;
    bench->workload[1].sampling.top_k = 40;
    bench->workload[1].sampling.seed = 3;
    bench->workload[0].sampling.top_p = 1;
    bench->requests.n = REQUESTS;
    bench->requests.items = ARENA_NEW(&bench->arena, struct request, REQUESTS);
    for (int i = 0; i < REQUESTS; i++)
        bench->requests.items[i] = (struct request){
                .prompt_len = prompts[i], .output_len = outputs[i], .seed = (uint64_t)i + 11};
}

/* One rank, one thread, everything at once: what all others are compared with. Left in a file for the job. */
static void write_reference(const char *path, struct ranks *alone)
{
    FILE *file = fopen(path, "wb");

    for (int m = 0; file && m < MODELS; m++) {
        struct bench bench;
        struct plan plan;
        struct err err = {0};
        struct layout one = {.stages = {{{1, 1, 1}}}, .n_stages = {1}, .n_replicas = 1};

        open_bench(&bench, model_names[m]);
        for (int way = 0; model_runs(&bench.model, &err) && way < SAMPLING_WAYS; way++) {
            struct runtime_result result;

            make_plan(&plan, &one, &bench.model, 0, &bench.arena);
            plan.replicas[0].max_seqs = REQUESTS;
            plan.replicas[0].max_tokens = 128;
            plan.replicas[0].kv_blocks = 128;
            plan.replicas[0].stages[0].threads = 1;
            if (!run_plan(&result, &bench, &(struct runtime_options){.plan = &plan}, way, alone,
                        &bench.arena, &err))
                die("one rank", &err);
            for (int i = 0; i < REQUESTS; i++)
                fwrite(result.tokens[i], sizeof(int32_t), (size_t)result.n_tokens[i], file);
        }
        arena_free(&bench.arena);
    }
    if (!file || fclose(file) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

static void read_reference(struct bench *bench, FILE *file)
{
    for (int way = 0; way < SAMPLING_WAYS; way++)
        for (int i = 0; i < REQUESTS; i++) {
            size_t n = (size_t)bench->requests.items[i].output_len;

            bench->want[way][i] = ARENA_NEW(&bench->arena, int32_t, (int64_t)n);
            if (fread(bench->want[way][i], sizeof(int32_t), n, file) != n) {
                fprintf(stderr, "the reference is too short\n");
                exit(1);
            }
        }
}

static bool try_plan(const struct bench *bench, const struct layout *layout, uint64_t number,
        bool pools, struct ranks *ranks)
{
    struct arena arena = {0};
    struct plan plan;
    struct err err = {0};
    struct runtime_result result;
    struct expert_map placed, *map = NULL;
    int way = (int)(mix(number + 7) & 1), ep = layout_ep(layout);

    make_plan(&plan, layout, &bench->model, number, &arena);
    if (pools)
        separate(&plan, number);
    if (bench->model.moe.n > 0 && ep > 1 && bench->model.moe.n % ep == 0 && number % 3 > 0) {
        map = &placed;
        layout_place_experts(map, &bench->model, ep, &arena);
    }
    const char *what = arena_printf(&arena, "%s plan %llu (%s%s)", bench->model.name,
            (unsigned long long)number, plan_show(&plan, &arena), map ? ", experts placed" : "");
    const struct runtime_options wanted = {.plan = &plan, .experts = map};
    bool ok = plan_consistent(&plan, &err) && price_memory(&plan, &bench->model, map, &err)
              && run_plan(&result, bench, &wanted, way, ranks, &arena, &err);

    if (!ok && ranks_rank(ranks) == 0)
        fprintf(stderr, "%s: %s\n", what, err.text);
    if (ok && ranks_rank(ranks) == 0)
        ok = same_tokens(bench, way, &result, what) && close_enough(&result, what);
    ok = ranks_agree(ranks, ok || err_set(&err, ERR_BUG, "another answer"), &err);
    arena_free(&arena);
    return ok;
}

static void keep_separable(struct layouts *layouts)
{
    int64_t n = 0;

    for (int64_t i = 0; i < layouts->n; i++)
        if (can_separate(&layouts->items[i]))
            layouts->items[n++] = layouts->items[i];
    layouts->n = n;
}

/* `most` plans: layouts evenly over their order, or each of them several times with other limits. */
static int64_t run_model(int64_t *run, const char *name, FILE *reference, int64_t most, bool pools,
        struct ranks *ranks)
{
    struct bench bench;
    struct err err = {0};
    int64_t failed = 0, began = clock_now_ns();

    open_bench(&bench, name);
    if (!model_runs(&bench.model, &err)) {
        if (ranks_rank(ranks) == 0)
            printf("%s: not executed by this build\n", name);
        arena_free(&bench.arena);
        return 0;
    }
    read_reference(&bench, reference);
    if (most < 0) { /* not wanted, but its part of the file is read */
        arena_free(&bench.arena);
        return 0;
    }
    struct layouts layouts;
    layouts_find(&layouts, &bench.model, ranks_count(ranks));
    if (pools)
        keep_separable(&layouts);
    int64_t n = most > 0 ? most : layouts.n, legal = layouts.n;
    for (int64_t i = 0; i < n && failed < 3; i++) {
        int64_t which = n < legal ? i * legal / n : i % legal;

        failed += !try_plan(&bench, &layouts.items[which], (uint64_t)i + 1, pools, ranks);
        *run += 1;
    }
    if (ranks_rank(ranks) == 0)
        printf("%s, %d ranks: %lld layouts are legal, %lld plans were run, %lld differ (%.1f s)\n",
                name, ranks_count(ranks), (long long)legal, (long long)n, (long long)failed,
                (double)(clock_now_ns() - began) * 1e-9);
    free(layouts.items);
    arena_free(&bench.arena);
    return failed;
}

static int run_all(struct ranks *ranks, int64_t most, const char *only, bool pools)
{
    FILE *reference = fopen(getenv("PLAN_SPACE_REFERENCE"), "rb");
    int64_t failed = 0, run = 0;

    for (int m = 0; reference && m < MODELS; m++)
        failed += run_model(&run, model_names[m], reference,
                strcmp(only, "all") != 0 && strcmp(only, model_names[m]) != 0 ? -1 : most, pools,
                ranks);
    if (reference)
        fclose(reference);
    if (ranks_rank(ranks) == 0)
        printf("%lld plans\n", (long long)run);
    return failed > 0 || run == 0;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    int n = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0, status = 0;
    char path[64];

    if (n < 1 || n > LAYOUT_RANKS || !getenv("SOURCE_DIR")) {
        fprintf(stderr, "usage: SOURCE_DIR=... plan_space RANKS [MOST [MODEL]]\n");
        return 2;
    }
    log_setup(LOG_ERROR, 0);
    struct ranks *ranks = ranks_open(&argc, &argv, &err);
    if (!ranks)
        die("ranks", &err);
    if (!ranks_launched()) {
        snprintf(path, sizeof path, "/tmp/plan_space.%ld", (long)clock_now_ns());
        setenv("PLAN_SPACE_REFERENCE", path, 1);
        write_reference(path, ranks);
    }
    if (n > 1 && !ranks_launched()) {
        status = start_ranks(n, argv);
        remove(path);
        return status;
    }
    status = run_all(ranks, argc > 2 ? strtoll(argv[2], NULL, 10) : 0, argc > 3 ? argv[3] : "all",
            argc > 4 && strcmp(argv[4], "pools") == 0);
    if (!ranks_launched())
        remove(path);
    ranks_close(ranks);
    return status;
}
