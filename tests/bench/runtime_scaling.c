/*
 * Whole runs through the serving loop: one rank with two threads beside two ranks with one each, which has
 * the same cores. Each run is a process (or two) of its own; rounds take the kinds of plan in turn.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/runtime.h"
#include "tests/bench/runtime_bench.h"

enum job_plan {
    PLAN_THREADS,
    PLAN_TP,
    PLAN_PP,
    PLAN_EP
};

/* What is run: requests of one shape, all there from the start. */
struct job {
    const char *name;
    enum job_plan plan;
    int requests, prompt, output;
    int max_seqs;
    bool prefill; /* rate: prompt tokens a second; otherwise output tokens */
};

/* pp 2 has two micro-batches in flight, each as large as the batch of the one rank. */
static const struct job jobs[] = {
        {"decode-threads", PLAN_THREADS, 1, 16, 96, 1},
        {"decode-tp", PLAN_TP, 1, 16, 96, 1},
        {"prefill-threads", PLAN_THREADS, 4, 512, 1, 4, .prefill = true},
        {"prefill-tp", PLAN_TP, 4, 512, 1, 4, .prefill = true},
        {"batch-threads", PLAN_THREADS, 16, 16, 64, 8},
        {"batch-pp", PLAN_PP, 16, 16, 64, 8},
        {"batch-ep", PLAN_EP, 16, 16, 64, 8},
};
#define JOBS (int)(sizeof jobs / sizeof jobs[0])

static const struct pair {
    const char *name; /* figure scaling.NAME.MODEL.DTYPE */
    const char *two_ranks, *two_threads;
    bool moe;
    double wanted;
} pairs[] = {
        {"tp2_decode", "decode-tp", "decode-threads", false, 0.97},
        {"tp2_prefill", "prefill-tp", "prefill-threads", false, 0.97},
        {"pp2", "batch-pp", "batch-threads", false, 0.95},
        {"ep2", "batch-ep", "batch-threads", true, 0.95},
};
#define PAIRS (int)(sizeof pairs / sizeof pairs[0])

struct job_memory {
    struct plan plan;
    struct plan_replica replica;
    struct plan_stage stages[2];
    int ranks[2];
};

static void make_plan(
        struct job_memory *p, const struct job *job, const struct model *model, enum dtype dtype)
{
    int n = job->plan == PLAN_PP ? 2 : 1, width = job->plan >= PLAN_TP && n == 1 ? 2 : 1;
    int half = model->n_layers / 2;

    p->ranks[0] = 0;
    p->ranks[1] = 1;
    for (int s = 0; s < n; s++)
        p->stages[s] = (struct plan_stage){.first_layer = s == 0 ? 0 : half,
                .end_layer = s == n - 1 ? model->n_layers : half,
                .tp = width,
                .ep = job->plan == PLAN_EP ? 2 : 1,
                .attention_dp = 1,
                .threads = job->plan == PLAN_THREADS ? 2 : 1,
                .ranks = p->ranks + s,
                .n_ranks = width};
    p->replica = (struct plan_replica){.stages = p->stages,
            .n_stages = n,
            .max_seqs = job->max_seqs,
            .max_tokens = 512,
            .in_flight = n,
            .kv_blocks = (int64_t)n * job->max_seqs * ((job->prompt + job->output) / 16 + 2)};
    p->plan = (struct plan){.name = job->name,
            .dtype = (int)dtype,
            .kv_dtype = (int)dtype,
            .block_tokens = 16,
            .max_len = job->prompt + job->output,
            .replicas = &p->replica,
            .n_replicas = 1,
            .n_ranks = job->plan == PLAN_THREADS ? 1 : 2};
}

/* The rate on rank 0, 0 elsewhere. */
static bool run_job(double *rate, const struct job *job, const struct model *model,
        const char *weights, enum dtype dtype, struct ranks *ranks, struct err *err)
{
    struct arena arena = {0};
    struct job_memory memory;
    struct workload workload = {.name = job->name,
            .requests = job->requests,
            .seed = 1,
            .prompt = {LENGTH_CONSTANT, job->prompt, 0, 0, 0},
            .output = {LENGTH_CONSTANT, job->output, 0, 0, 0}};
    struct requests requests;
    struct runtime_result result;

    make_plan(&memory, job, model, dtype);
    struct runtime_options options = {.plan = &memory.plan,
            .model = model,
            .weights = weights,
            .workload = &workload,
            .requests = &requests,
            .seed = 1};
    bool ok = workload_requests(&requests, &workload, &arena, err)
              && runtime_run(&result, &options, ranks, NULL, &arena, err);
    *rate = 0;
    if (ok && ranks_rank(ranks) == 0)
        *rate = job->prefill         ? result.measured.total_tokens_per_s
                : job->max_seqs == 1 ? 1e6 / result.measured.tpot_p50_us
                                     : result.measured.output_tokens_per_s;
    arena_free(&arena);
    return ok;
}

static const struct job *find_job(const char *name)
{
    for (int i = 0; i < JOBS; i++)
        if (strcmp(jobs[i].name, name) == 0)
            return &jobs[i];
    return NULL;
}

int scaling_job(int argc, char **argv)
{
    struct arena arena = {0};
    struct err err = {0};
    struct model model;
    double rate = 0;
    struct ranks *ranks = ranks_open(&argc, &argv, &err);
    char **a = argv + argc - 5;
    const struct job *job = ranks && argc > 6 ? find_job(a[0]) : NULL;
    bool ok = job && model_read(&model, a[1], ".", &arena, &err)
              && run_job(&rate, job, &model, *a[2] ? a[2] : NULL,
                      (enum dtype)strtol(a[3], NULL, 10), ranks, &err);

    if (ok && ranks_rank(ranks) == 0) {
        FILE *file = fopen(a[4], "w");
        ok = file && fprintf(file, "%.9g\n", rate) > 0;
        if (file)
            fclose(file);
    }
    if (!ok)
        fprintf(stderr, "bench_runtime: %s\n", err.text);
    ranks_close(ranks);
    arena_free(&arena);
    return ok ? 0 : 3;
}

/* Starts the program again as the ranks of a job. */
static bool start_job(double *rate, const struct bench *b, const struct job *job,
        const struct model *model, const char *weights, enum dtype dtype, struct err *err)
{
    char path[] = "/tmp/bench_runtime_XXXXXX", number[16];
    int fd = mkstemp(path), status = -1;
    char option[] = "--job", name[64], what[4096], from[4096], line[64];
    bool ok = false;

    if (fd < 0)
        return err_set(err, ERR_ENV, "no temporary file");
    snprintf(number, sizeof number, "%d", (int)dtype);
    snprintf(name, sizeof name, "%s", job->name);
    snprintf(what, sizeof what, "%s", model->path);
    snprintf(from, sizeof from, "%s", weights ? weights : "");
    char *command[] = {b->self, option, name, what, from, number, path, NULL};
    FILE *file = fdopen(fd, "r");
    if (ranks_launch(job->plan == PLAN_THREADS ? 1 : 2, command, &status, err))
        ok = (status == 0 && file && fgets(line, sizeof line, file))
             || err_set(err, ERR_ENV, "%s ended with status %d", job->name, status);
    if (ok)
        *rate = strtod(line, NULL);
    if (file)
        fclose(file);
    remove(path);
    return ok;
}

static bool measure_job(struct bench *b, const char *name, const struct model *model,
        const char *weights, enum dtype dtype, struct err *err)
{
    const struct job *job = find_job(name);
    char key[80];
    double rate = 0;

    if (!start_job(&rate, b, job, model, weights, dtype, err))
        return false;
    snprintf(key, sizeof key, "run.%s.%s.%s", name, model->name, dtype_names[dtype]);
    bench_add(b, key, "tokens/s", (double)NAN, rate);
    return true;
}

void scaling_summarise(struct bench *b)
{
    static const struct {
        const char *key;
        double wanted;
    } sums[] = {{"scaling.tp2", 0.97}, {"scaling.pp2", 0.95}, {"scaling.ep2", 0.95}};
    int n = b->n_figures;

    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        for (int round = 0; round < b->rounds; round++) {
            double least = (double)NAN;

            for (int f = 0; f < n; f++)
                if (strncmp(b->figures[f].key, sums[i].key, strlen(sums[i].key)) == 0
                        && round < b->figures[f].n && !(b->figures[f].values[round] >= least))
                    least = b->figures[f].values[round];
            bench_add(b, sums[i].key, "fraction", sums[i].wanted, least);
        }
}

bool scaling_measure(struct bench *b, const struct model *model, const char *weights,
        enum dtype dtype, struct err *err)
{
    char key[80], of[80];

    for (int i = 0; i < PAIRS; i++) {
        const struct pair *p = &pairs[i];
        snprintf(key, sizeof key, "scaling.%s.%s.%s", p->name, model->name, dtype_names[dtype]);
        if (p->moe != (model->moe.n > 0) || !bench_wants(b, key))
            continue;
        if (!measure_job(b, p->two_threads, model, weights, dtype, err)
                || !measure_job(b, p->two_ranks, model, weights, dtype, err))
            return err_context(err, "%s", key);
        snprintf(of, sizeof of, "run.%s.%s.%s", p->two_threads, model->name, dtype_names[dtype]);
        double one = bench_last(b, of);
        snprintf(of, sizeof of, "run.%s.%s.%s", p->two_ranks, model->name, dtype_names[dtype]);
        bench_add(b, key, "fraction", p->wanted, bench_last(b, of) / one);
    }
    return true;
}
