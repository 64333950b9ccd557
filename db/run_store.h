/*
 * run_store - plans, runs and their measurements in and out.
 */
#ifndef DB_RUN_STORE_H
#define DB_RUN_STORE_H

#include "db/db.h"

/* The plan's YAML and its key figures; the same text gives the same id. */
MUST_CHECK bool run_store_plan(int64_t *id, struct db *db, const struct plan *plan, struct err *err);
MUST_CHECK bool run_store_begin(int64_t *run, struct db *db, int64_t plan, int64_t provenance,
        const char *model, const char *workload, struct err *err);
MUST_CHECK bool run_store_figure(
        struct db *db, int64_t run, const struct run_figure *figure, struct err *err);
MUST_CHECK bool run_store_request(
        struct db *db, int64_t run, const struct run_request *request, struct err *err);
MUST_CHECK bool run_store_step(struct db *db, int64_t run, const struct run_step *step, struct err *err);
/* status: "done", "failed", "stopped". Everything of a run since begin is one transaction. */
MUST_CHECK bool run_store_end(struct db *db, int64_t run, const char *status, const char *bottleneck,
        const struct plan_figures *measured, struct err *err);

struct run_row {
    int64_t id, plan_id;
    const char *model, *workload, *plan_name, *status, *bottleneck, *host, *device, *commit;
    int64_t wall_s;
    struct plan plan;
    struct plan_figures measured;
    struct run_figure *figures;
    int64_t n_figures;
    struct run_request *requests;
    int64_t n_requests;
    struct run_step *steps;
    int64_t n_steps;
};
/* The newest runs first (limit 0 = all). Details (figures, requests, steps) only when asked. */
MUST_CHECK bool run_store_list(struct run_row **out, int64_t *n, struct db *db, int64_t limit,
        bool details, struct arena *arena, struct err *err);
MUST_CHECK bool run_store_read(
        struct run_row *out, struct db *db, int64_t run, struct arena *arena, struct err *err);

/* Held-out checks of the profile (profile --check): stored and shown in the report. */
struct check_store_row {
    const char *device, *op_kind;
    int64_t n, wall_s;
    double mape, median, p90, p99, bias, coverage;
};
MUST_CHECK bool check_store_add(struct db *db, int64_t provenance,
        const struct check_store_row *row, struct err *err);
MUST_CHECK bool check_store_read(
        struct check_store_row **out, int64_t *n, struct db *db, struct arena *arena, struct err *err);

#endif
