/*
 * report - run ids -> one self-contained HTML page and CSV files. reports reads the database only.
 */
#ifndef REPORTS_REPORT_H
#define REPORTS_REPORT_H

#include "db/profile_store.h"
#include "db/run_store.h"

struct report_options {
    const int64_t
            *runs; /* NULL = all runs; each model and workload gets its chapter, newest first */
    int n_runs;
    const char *out_dir; /* report.html, *.csv */
    const char *title;   /* NULL = "Shardwright report" */
    bool reproducible;   /* no dates: same database, same bytes */
};

struct report_summary {
    const char *path;       /* of report.html */
    const char **headlines; /* "MODEL, WORKLOAD: sentence" by chapter */
    int64_t n_headlines;
    int64_t n_runs, n_charts;
    int n_csv;
};

MUST_CHECK bool report_write(struct report_summary *out, struct db *db,
        const struct report_options *options, struct arena *arena, struct err *err);

#endif
