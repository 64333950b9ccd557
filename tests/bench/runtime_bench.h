/*
 * runtime_bench - what the parts of tests/bench/runtime share: the figures, which of them are wanted, and
 * the limits of the machine beside which they stand.
 */
#ifndef TESTS_BENCH_RUNTIME_BENCH_H
#define TESTS_BENCH_RUNTIME_BENCH_H

#include <regex.h>
#include <stdint.h>
#include <stdio.h>

#include "core/arena.h"
#include "kernels/dev.h"
#include "models/model.h"

enum {
    BENCH_ROUNDS = 64, /* at most */
    BENCH_FIGURES = 256,
    BENCH_THREADS = 2
};

struct bench_figure {
    char key[80];
    const char *unit;
    double wanted; /* NaN = nothing to compare with */
    double values[BENCH_ROUNDS];
    int n;
};

struct bench {
    struct bench_figure figures[BENCH_FIGURES];
    int n_figures;
    bool ops;  /* print where the time of each figure went */
    bool some; /* `only` was given */
    regex_t only;
    int rounds, steps, context;
    const char *source_dir;
    char *self;
};

double bench_now(void);
/* Whether a figure of this name was asked for. */
bool bench_wants(const struct bench *b, const char *key);
/* One value of a figure, of one round. */
void bench_add(struct bench *b, const char *key, const char *unit, double wanted, double value);
/* The latest value of a figure; NaN when there is none. */
double bench_last(const struct bench *b, const char *key);
/* Sorts and prints medians, least and most; tab-separated to file unless that is NULL. */
void bench_print(struct bench *b, FILE *file);

/* What the threads of a device reach together: reading memory, multiplying and adding in registers, and
 * multiplying matrices by the best library that is installed. The memory is of dev. */
struct limits;
MUST_CHECK struct limits *limits_open(struct dev *dev, struct err *err);
void limits_close(struct limits *limits);
/* Adds limit.read, limit.fma and limit.gemm of as many threads as the device has. */
void limits_measure(struct limits *limits, struct bench *b, struct dev *dev);

/* A model in one dtype, with an engine for each count of threads on the same weights. */
struct subject;
MUST_CHECK struct subject *subject_open(const struct bench *b, const struct model *model,
        const char *weights, enum dtype dtype, struct err *err);
void subject_close(struct subject *s);
/* Whether any of its figures was asked for. */
bool subject_wanted(const struct bench *b, const char *model, enum dtype dtype);
/* One round of its figures; the limits of this round have been measured. */
void subject_measure(struct subject *s, struct bench *b);

/* scaling.tp2, .pp2 and .ep2: the least of each round over models and phases. Before figures are sorted. */
void scaling_summarise(struct bench *b);
/* Whole runs: one rank with two threads against two ranks with one each. */
MUST_CHECK bool scaling_measure(struct bench *b, const struct model *model, const char *weights,
        enum dtype dtype, struct err *err);
/* The program as it is started again for one of these runs: --job NAME MODEL WEIGHTS DTYPE FILE. */
int scaling_job(int argc, char **argv);

#endif
