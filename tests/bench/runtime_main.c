/*
 * Times the runtime itself beside the limits of the machine; tests/bench/runtime builds and runs it.
 * usage: bench_runtime [--quick] [--only REGEX] [--model DIR] [--rounds N] [--steps N] [--context N] [--ops]
 *                      [--source DIR] [--figures FILE]
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/ranks.h"
#include "tests/bench/runtime_bench.h"

enum {
    MODELS = 3,
    DTYPES = 3
};

struct options {
    const char *figures, *model;
    bool quick;
};

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool bench_wants(const struct bench *b, const char *key)
{
    return !b->some || regexec(&b->only, key, 0, NULL, 0) == 0;
}

static const struct bench_figure *find(const struct bench *b, const char *key)
{
    for (int i = 0; i < b->n_figures; i++)
        if (strcmp(b->figures[i].key, key) == 0)
            return &b->figures[i];
    return NULL;
}

void bench_add(struct bench *b, const char *key, const char *unit, double wanted, double value)
{
    const struct bench_figure *found = find(b, key);
    int at = found ? (int)(found - b->figures) : b->n_figures;

    if (at == BENCH_FIGURES || isnan(value))
        return;
    struct bench_figure *f = &b->figures[at];
    if (!found) {
        *f = (struct bench_figure){.unit = unit, .wanted = wanted};
        snprintf(f->key, sizeof f->key, "%s", key);
        b->n_figures++;
    }
    if (f->n < BENCH_ROUNDS)
        f->values[f->n++] = value;
}

double bench_last(const struct bench *b, const char *key)
{
    const struct bench_figure *f = find(b, key);

    return f ? f->values[f->n - 1] : (double)NAN;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

void bench_print(struct bench *b, FILE *file)
{
    for (int i = 0; i < b->n_figures; i++) {
        struct bench_figure *f = &b->figures[i];
        double *v = f->values;
        qsort(v, (size_t)f->n, sizeof *v, by_value);
        double median = f->n % 2 ? v[f->n / 2] : (v[f->n / 2 - 1] + v[f->n / 2]) / 2;
        double scale = median >= 1e9 ? 1e-9 : 1;
        printf("%-44s %9.3f %s%s (%.3f to %.3f", f->key, median * scale, scale < 1 ? "G" : "",
                f->unit, v[0] * scale, v[f->n - 1] * scale);
        if (isnan(f->wanted))
            printf(")\n");
        else
            printf("; wanted %g)\n", f->wanted);
        if (file)
            fprintf(file, "%s\t%.6g\t%s\t%.6g\t%.6g\t%.6g\n", f->key, median, f->unit, v[0],
                    v[f->n - 1], isnan(f->wanted) ? 0 : f->wanted);
    }
}

static const enum dtype dtypes[DTYPES] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};

/* Whether there is anything but whole runs to be measured. */
static bool steps_wanted(const struct bench *b, const struct model *models, int n)
{
    bool some = false;

    for (int i = 0; i < n * DTYPES; i++)
        some = some || subject_wanted(b, models[i / DTYPES].name, dtypes[i % DTYPES]);
    return some || bench_wants(b, "limit.read.t1");
}

/* Every (model, dtype) of which something is wanted; a round takes all in turn. */
static bool measure_steps(
        struct bench *b, struct model *models, int n, const char *weights, struct err *err)
{
    struct subject *subjects[MODELS * DTYPES] = {NULL};
    struct dev *devs[BENCH_THREADS] = {NULL};
    bool ok = true;

    for (int t = 0; t < BENCH_THREADS && ok; t++) {
        devs[t] = dev_host_open(&(struct dev_options){.threads = t + 1}, err);
        ok = devs[t] != NULL;
    }
    struct limits *limits = ok ? limits_open(devs[0], err) : NULL;
    ok = limits != NULL;
    for (int i = 0; i < n * DTYPES && ok; i++) {
        const struct model *model = &models[i / DTYPES];
        if (!subject_wanted(b, model->name, dtypes[i % DTYPES]))
            continue;
        subjects[i] = subject_open(b, model, weights, dtypes[i % DTYPES], err);
        ok = subjects[i] != NULL;
    }
    for (int round = 0; round < b->rounds && ok; round++) {
        for (int t = 0; t < BENCH_THREADS; t++)
            limits_measure(limits, b, devs[t]);
        for (int i = 0; i < n * DTYPES; i++)
            if (subjects[i])
                subject_measure(subjects[i], b);
    }
    for (int i = 0; i < n * DTYPES; i++)
        subject_close(subjects[i]);
    limits_close(limits);
    for (int t = 0; t < BENCH_THREADS; t++)
        dev_close(devs[t]);
    return ok;
}

/* Steps, then whole runs: those are processes of their own. */
static bool measure(
        struct bench *b, struct model *models, int n, const char *weights, struct err *err)
{
    bool ok = !steps_wanted(b, models, n) || measure_steps(b, models, n, weights, err);

    for (int round = 0; round < b->rounds && ok; round++)
        for (int i = 0; i < n && ok; i++)
            ok = scaling_measure(b, &models[i], weights, DTYPE_BF16, err);
    scaling_summarise(b);
    return ok;
}

static bool read_models(struct model *models, int *n, const struct bench *b,
        const struct options *o, struct arena *arena, struct err *err)
{
    static const char *const names[MODELS] = {"tests/bench/llama-160m.yaml",
            "models/qwen3-moe-small.yaml", "tests/bench/llama-1b.yaml"};

    *n = o->model ? 1 : o->quick ? MODELS - 1 : MODELS;
    for (int i = 0; i < *n; i++) {
        const char *path =
                o->model ? o->model : arena_printf(arena, "%s/%s", b->source_dir, names[i]);
        if (!model_read(&models[i], path, b->source_dir, arena, err))
            return false;
        models[i].path = path;
    }
    return true;
}

static bool parse(struct bench *b, struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--quick") == 0) {
            o->quick = true;
            b->rounds = 3;
            b->steps = 16;
            continue;
        }
        if (strcmp(name, "--ops") == 0) {
            b->ops = true;
            continue;
        }
        if (++i == argc)
            return false;
        if (strcmp(name, "--only") == 0)
            b->some = regcomp(&b->only, argv[i], REG_EXTENDED | REG_NOSUB) == 0;
        else if (strcmp(name, "--model") == 0)
            o->model = argv[i];
        else if (strcmp(name, "--rounds") == 0)
            b->rounds = (int)strtol(argv[i], NULL, 10);
        else if (strcmp(name, "--steps") == 0)
            b->steps = (int)strtol(argv[i], NULL, 10);
        else if (strcmp(name, "--context") == 0)
            b->context = (int)strtol(argv[i], NULL, 10);
        else if (strcmp(name, "--source") == 0)
            b->source_dir = argv[i];
        else if (strcmp(name, "--figures") == 0)
            o->figures = argv[i];
        else
            return false;
        if (strcmp(name, "--only") == 0 && !b->some)
            return false;
    }
    return b->rounds >= 1 && b->rounds <= BENCH_ROUNDS && b->steps >= 1 && b->context >= 1
           && b->context + b->steps <= 512;
}

int main(int argc, char **argv)
{
    static struct bench b = {.rounds = 5, .steps = 64, .context = 64, .source_dir = "."};
    struct options o = {0};
    struct arena arena = {0};
    struct err err = {0};
    struct model models[MODELS];
    int n = 0;

    if (ranks_launched())
        return scaling_job(argc, argv);
    b.self = argv[0];
    if (!parse(&b, &o, argc, argv)) {
        fprintf(stderr, "bench_runtime: bad options; the head of tests/bench/runtime lists them\n");
        return 2;
    }
    bool ok =
            read_models(models, &n, &b, &o, &arena, &err) && measure(&b, models, n, o.model, &err);
    FILE *file = o.figures ? fopen(o.figures, "w") : NULL;
    bench_print(&b, file);
    if (!ok)
        fprintf(stderr, "bench_runtime: %s\n", err.text);
    if (file)
        fclose(file);
    arena_free(&arena);
    if (b.some)
        regfree(&b.only);
    return ok ? 0 : (int)err.kind;
}
