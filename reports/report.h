/*
 * report - run ids -> one self-contained HTML page and CSV files. reports reads the database only.
 */
#ifndef REPORTS_REPORT_H
#define REPORTS_REPORT_H

#include "db/run_store.h"
#include "db/profile_store.h"

struct report_options {
    const int64_t *runs;  /* NULL = all runs of the newest model and workload */
    int n_runs;
    const char *out_dir;  /* report.html, *.csv */
    const char *title;
    bool reproducible;    /* no dates: same database, same bytes */
};
MUST_CHECK bool report_write(struct db *db, const struct report_options *options, struct err *err);

#endif
