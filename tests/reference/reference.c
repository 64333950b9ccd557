/*
 * The runtime against PyTorch and transformers: reference RANKS FIXTURE...
 *
 * Runs every layout of that many ranks on each fixture: prefill in chunks, a cache so small that sequences are
 * preempted, prompts that share prefixes. Greedy tokens must be the reference's, logits near it; in deterministic
 * mode they must have the bits of one rank with one thread and no prefix cache, and drawn tokens must be its too.
 * All layouts run in one job; what one rank says is left in a file for it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/half.h"
#include "core/log.h"
#include "runtime/runtime.h"
#include "tests/mpi/start_ranks.h"
#include "tests/reference/fixture.h"

enum {
    MOST_RANKS = 4
};

enum only {
    ALL,
    DENSE,
    EXPERTS
};

/* Alike stages but for tp; the layers of the first stage: half of them, or all but one. */
struct layout {
    const char *name;
    int ranks;
    enum only only;
    int replicas, stages;
    bool uneven;
    int threads, in_flight;
    int tp[2], ep, adp;
};

static const struct layout layouts[] = {
        {"one", 1, ALL, 1, 1, false, 1, 1, {1}, 1, 1},
        {"threads", 1, ALL, 1, 1, false, 2, 1, {1}, 1, 1},
        {"tp2", 2, ALL, 1, 1, false, 1, 1, {2}, 1, 1},
        {"pp2", 2, ALL, 1, 2, false, 1, 2, {1, 1}, 1, 1},
        {"uneven", 2, ALL, 1, 2, true, 1, 1, {1, 1}, 1, 1},
        {"dp2", 2, ALL, 2, 1, false, 1, 1, {1}, 1, 1},
        {"tp2ep2", 2, EXPERTS, 1, 1, false, 1, 1, {2}, 2, 1},
        {"adp2ep2", 2, EXPERTS, 1, 1, false, 1, 1, {1}, 2, 2},
        {"tp1pp2tp2", 3, DENSE, 1, 2, false, 1, 2, {1, 2}, 1, 1},
        {"tp2pp2", 4, ALL, 1, 2, false, 1, 2, {2, 2}, 1, 1},
        {"tp4ep4", 4, EXPERTS, 1, 1, false, 1, 1, {4}, 4, 1},
        {"adp2ep2pp2", 4, EXPERTS, 1, 2, false, 1, 2, {1, 1}, 2, 2},
};
enum {
    N_LAYOUTS = sizeof layouts / sizeof *layouts
};

enum mode {
    DETERMINISTIC,
    FAST,
    SAMPLED, /* and deterministic */
    MODES
};
static const char *const mode_names[] = {"deterministic", "fast", "sampled"};

/* What one rank with one thread and no prefix cache says. */
struct baseline {
    float **logits;    /* by request */
    int32_t **sampled; /* by request */
};

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

static void fill_stage(struct plan_stage *stage, const struct layout *layout, int s, int first_rank,
        const struct model *model, struct arena *arena)
{
    int n = layout->tp[s] * layout->adp, *ranks = ARENA_NEW(arena, int, n);
    int cut = layout->stages == 1 ? 0 : layout->uneven ? model->n_layers - 1 : model->n_layers / 2;

    for (int i = 0; i < n; i++)
        ranks[i] = first_rank + i;
    *stage = (struct plan_stage){.first_layer = s == 0 ? 0 : cut,
            .end_layer = s == layout->stages - 1 ? model->n_layers : cut,
            .tp = layout->tp[s],
            .ep = layout->ep,
            .attention_dp = layout->adp,
            .threads = layout->threads,
            .kind = "cpu",
            .ranks = ranks,
            .n_ranks = n};
}

static void make_plan(struct plan *plan, const struct fixture *f, const struct layout *layout,
        bool deterministic, struct arena *arena)
{
    int rank = 0;

    *plan = (struct plan){.name = layout->name,
            .model = f->path,
            .dtype = (int)f->dtype,
            .kv_dtype = DTYPE_F32,
            .block_tokens = FIXTURE_BLOCK_TOKENS,
            .max_len = 112,
            .deterministic = deterministic,
            .prefix_cache = true,
            .replicas = ARENA_NEW(arena, struct plan_replica, layout->replicas),
            .n_replicas = layout->replicas,
            .n_ranks = layout->ranks};
    for (int r = 0; r < layout->replicas; r++) {
        struct plan_replica *replica = &plan->replicas[r];

        *replica =
                (struct plan_replica){.stages = ARENA_NEW(arena, struct plan_stage, layout->stages),
                        .n_stages = layout->stages,
                        .max_seqs = 4,
                        .max_tokens = 8,
                        .in_flight = layout->in_flight,
                        .kv_blocks = 36};
        for (int s = 0; s < layout->stages; s++) {
            fill_stage(&replica->stages[s], layout, s, rank, &f->model, arena);
            rank += replica->stages[s].n_ranks;
        }
    }
}

static bool run(struct runtime_result *out, const struct fixture *f, const struct plan *plan,
        bool sampled, struct ranks *ranks, struct arena *arena, struct err *err)
{
    struct workload workload = {.sampling = {.top_p = 1}};
    struct runtime_options options = {.plan = plan,
            .model = &f->model,
            .weights = f->path,
            .workload = &workload,
            .requests = &f->requests,
            .prompts = (const int32_t *const *)f->prompts,
            .warmup_steps = -1,
            .keep_tokens = true,
            .keep_logits = !sampled};

    if (sampled) {
        workload.sampling.temperature = 0.8;
        workload.sampling.top_k = 40;
        workload.sampling.top_p = 0.95;
        workload.sampling.seed = 3;
    }
    return plan_consistent(plan, err) && runtime_run(out, &options, ranks, NULL, arena, err);
}

static bool same_tokens(const struct fixture *f, const struct runtime_result *result,
        int32_t *const *want, const char *what)
{
    for (int64_t i = 0; i < f->requests.n; i++)
        for (int64_t t = 0; t < f->requests.items[i].output_len; t++)
            if (t >= result->n_tokens[i] || result->tokens[i][t] != want[i][t]) {
                fprintf(stderr, "%s: token %lld of request %lld is %d, expected %d\n", what,
                        (long long)t, (long long)i,
                        t < result->n_tokens[i] ? result->tokens[i][t] : -1, want[i][t]);
                return false;
            }
    return true;
}

/* ||mine - reference|| / ||reference|| over all requests. */
static double error_of(const struct fixture *f, float *const *mine)
{
    double difference = 0, norm = 0;

    for (int64_t i = 0; i < f->requests.n; i++)
        for (int64_t at = 0; at < f->requests.items[i].output_len * f->model.vocab; at++) {
            double want = (double)f->logits[i][at], d = (double)mine[i][at] - want;

            difference += d * d;
            norm += want * want;
        }
    return sqrt(difference / norm);
}

static bool same_bits(const struct fixture *f, float *const *a, float *const *b)
{
    for (int64_t i = 0; i < f->requests.n; i++)
        for (int64_t at = 0; at < f->requests.items[i].output_len * f->model.vocab; at++)
            if (half_bits(a[i][at]) != half_bits(b[i][at]))
                return false;
    return true;
}

/* The layouts must try what they are there to try. Replicas and pools divide the requests. */
static bool tried(
        const struct runtime_result *result, const struct layout *layout, const char *what)
{
    if (layout->replicas * layout->adp > 1
            || (result->n_preemptions > 0 && result->n_reused_tokens > 0))
        return true;
    fprintf(stderr, "%s: %lld preemptions, %lld prompt tokens found in the cache: expected some\n",
            what, (long long)result->n_preemptions, (long long)result->n_reused_tokens);
    return false;
}

/* On rank 0. */
static bool right(const struct fixture *f, const struct layout *layout, enum mode mode,
        const struct runtime_result *result, const struct baseline *baseline, const char *what)
{
    if (!tried(result, layout, what)
            || !same_tokens(f, result, mode == SAMPLED ? baseline->sampled : f->want, what))
        return false;
    if (mode == SAMPLED)
        return true;
    double error = error_of(f, result->logits);
    printf("%s: relative error %.3g, at most %g; %lld preemptions, %lld tokens reused\n", what,
            error, f->tolerance, (long long)result->n_preemptions,
            (long long)result->n_reused_tokens);
    if (!(error <= f->tolerance)) {
        fprintf(stderr, "%s: relative error %.3g, at most %g\n", what, error, f->tolerance);
        return false;
    }
    if (mode == DETERMINISTIC && !same_bits(f, result->logits, baseline->logits)) {
        fprintf(stderr, "%s: other bits than one rank with one thread and no prefix cache\n", what);
        return false;
    }
    return true;
}

static bool try_layout(const struct fixture *f, const struct layout *layout, enum mode mode,
        const struct baseline *baseline, struct ranks *ranks)
{
    struct arena arena = {0};
    struct err err = {0};
    struct plan plan;
    struct runtime_result result;
    char what[96];
    bool ok = false;

    snprintf(what, sizeof what, "%s %s %s", f->name, layout->name, mode_names[mode]);
    make_plan(&plan, f, layout, mode != FAST, &arena);
    ok = run(&result, f, &plan, mode == SAMPLED, ranks, &arena, &err);
    if (!ok && ranks_rank(ranks) == 0)
        fprintf(stderr, "%s: %s\n", what, err.text);
    if (ok && ranks_rank(ranks) == 0)
        ok = right(f, layout, mode, &result, baseline, what);
    ok = ranks_agree(ranks, ok || err_set(&err, ERR_BUG, "another answer"), &err);
    arena_free(&arena);
    return ok;
}

/* Collective over one rank. Leaves its results in the arena. */
static void make_baseline(
        struct baseline *out, const struct fixture *f, struct ranks *alone, struct arena *arena)
{
    struct err err = {0};
    struct plan plan;
    struct runtime_result greedy, drawn;

    make_plan(&plan, f, &layouts[0], true, arena);
    plan.prefix_cache = false;
    if (!run(&greedy, f, &plan, false, alone, arena, &err)
            || !run(&drawn, f, &plan, true, alone, arena, &err))
        die(f->name, &err);
    *out = (struct baseline){greedy.logits, drawn.tokens};
    if (memcmp(drawn.tokens[0], f->want[0],
                sizeof(int32_t) * (size_t)f->requests.items[0].output_len)
            == 0) {
        fprintf(stderr, "%s: what was drawn is what greed gives\n", f->name);
        exit(1);
    }
}

/* To or from the file. */
static bool move_baseline(
        struct baseline *b, const struct fixture *f, FILE *file, bool write, struct arena *arena)
{
    bool ok = true;

    if (!write) {
        b->logits = ARENA_NEW(arena, float *, f->requests.n);
        b->sampled = ARENA_NEW(arena, int32_t *, f->requests.n);
    }
    for (int64_t i = 0; ok && i < f->requests.n; i++) {
        size_t tokens = (size_t)f->requests.items[i].output_len;
        size_t values = tokens * (size_t)f->model.vocab;

        if (write) {
            ok = fwrite(b->logits[i], sizeof(float), values, file) == values
                 && fwrite(b->sampled[i], sizeof(int32_t), tokens, file) == tokens;
            continue;
        }
        b->logits[i] = ARENA_NEW(arena, float, (int64_t)values);
        b->sampled[i] = ARENA_NEW(arena, int32_t, (int64_t)tokens);
        ok = fread(b->logits[i], sizeof(float), values, file) == values
             && fread(b->sampled[i], sizeof(int32_t), tokens, file) == tokens;
    }
    return ok;
}

static bool write_baselines(FILE *file, char **paths, int n, struct ranks *alone)
{
    bool ok = file != NULL;

    for (int i = 0; ok && i < n; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct fixture f;
        struct baseline baseline;

        if (!fixture_read(&f, paths[i], &arena, &err))
            die(paths[i], &err);
        make_baseline(&baseline, &f, alone, &arena);
        ok = move_baseline(&baseline, &f, file, true, &arena);
        arena_free(&arena);
    }
    return file && fclose(file) == 0 && ok;
}

static bool fits(const struct layout *layout, const struct fixture *f, int n_ranks)
{
    return layout->ranks == n_ranks
           && (layout->only == ALL || (layout->only == EXPERTS) == (f->model.moe.n > 0));
}

/* Every layout of as many ranks as there are, in every mode. */
static int try_fixture(const char *path, FILE *baselines, struct ranks *ranks)
{
    struct arena arena = {0};
    struct err err = {0};
    struct fixture f;
    struct baseline baseline;
    int failed = 0;

    if (!fixture_read(&f, path, &arena, &err)
            || !(move_baseline(&baseline, &f, baselines, false, &arena)
                    || err_set(&err, ERR_ENV, "what one rank says is cut short")))
        die(path, &err);
    for (int l = 0; l < N_LAYOUTS; l++)
        for (int mode = 0; fits(&layouts[l], &f, ranks_count(ranks)) && mode < MODES; mode++)
            failed += !try_layout(&f, &layouts[l], (enum mode)mode, &baseline, ranks);
    arena_free(&arena);
    return failed;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    int n = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0, status = 0;
    char name[] = "/tmp/reference.XXXXXX";
    const char *path = getenv("REFERENCE_BASELINES");

    if (n < 1 || n > MOST_RANKS) {
        fprintf(stderr, "usage: reference RANKS FIXTURE...\n");
        return 2;
    }
    log_setup(LOG_ERROR, 0);
    struct ranks *ranks = ranks_open(&argc, &argv, &err);
    if (!ranks)
        die("ranks", &err);
    if (!ranks_launched()) {
        int fd = mkstemp(name);
        path = name;
        if (fd < 0 || !write_baselines(fdopen(fd, "wb"), argv + 2, argc - 2, ranks)) {
            fprintf(stderr, "cannot write %s\n", name);
            return 1;
        }
        setenv("REFERENCE_BASELINES", path, 1);
    }
    if (n > 1 && !ranks_launched()) {
        status = start_ranks(n, argv);
        remove(path);
        return status;
    }
    FILE *baselines = path ? fopen(path, "rb") : NULL;
    for (int i = 2; baselines && i < argc; i++)
        status += try_fixture(argv[i], baselines, ranks);
    if (baselines)
        fclose(baselines);
    else
        status = 1;
    if (!ranks_launched())
        remove(path);
    ranks_close(ranks);
    return status > 0;
}
