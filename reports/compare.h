/*
 * compare - runs of one model and workload side by side: each plan's predicted against its measured
 * figures, and the plans against each other.
 *
 * error = predicted / measured - 1: positive when the prediction promised too much of a throughput or
 * too long a time. docs/method.md "Predicted against measured".
 */
#ifndef REPORTS_COMPARE_H
#define REPORTS_COMPARE_H

#include "db/run_store.h"

struct plan_result {
    const struct run_row *run;    /* the newest that finished */
    const char *label;            /* "tp 2, pp 2 (14+14)", unique in the comparison */
    int64_t n_runs;               /* that finished */
    bool chosen;                  /* by the planner, not forced */
    struct plan_figures measured; /* medians over the runs */
    double tokens_lo, tokens_hi;  /* slowest and fastest run */
    double throughput_error, ttft_error, tpot_error; /* NaN when unknown */
};

struct comparison {
    const char *model, *workload;
    const struct run_row **runs; /* all of them, newest first, whatever became of them */
    int64_t n_runs, n_finished;
    struct plan_result *plans; /* fastest first */
    int64_t n_plans;
    const struct plan_result *chosen; /* newest plan the planner chose itself, or NULL */
    const struct plan_result *best;   /* fastest, or NULL when nothing finished */
    double throughput_error, ttft_error, tpot_error; /* median of the absolute errors over plans */
    double regret_frac; /* chosen behind best; NaN without a chosen plan */
};

/* One comparison for each model and workload, the newest run's first. Borrows rows. */
int64_t compare_runs(
        struct comparison **out, const struct run_row *rows, int64_t n_rows, struct arena *arena);
/* "tp 2, pp 2 (14+14)", "1 rank x 2 threads" */
const char *compare_label(const struct plan *plan, struct arena *arena);
double compare_error(double predicted, double measured);
/* What the chosen plan, or the best one, promised and delivered: one or two sentences. */
const char *compare_headline(const struct comparison *comparison, struct arena *arena);

#endif
