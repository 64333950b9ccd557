/*
 * run_store - plans, runs and their measurements in and out.
 */
#ifndef DB_RUN_STORE_H
#define DB_RUN_STORE_H

#include "db/check_store.h"
#include "db/db.h"

/* The plan's YAML and its key figures; the same text gives the same id. */
MUST_CHECK bool run_store_plan(
        int64_t *id, struct db *db, const struct plan *plan, struct err *err);
/* The run is in the database from here on, with status "running": a killed one keeps it. */
MUST_CHECK bool run_store_begin(int64_t *run, struct db *db, int64_t plan, int64_t provenance,
        const char *model, const char *workload, struct err *err);
/* Each row is stored when the call returns, and holds no lock for longer: about 20 us. Between
 * run_store_batch_begin and _end they are one transaction, which is faster and shuts other writers out. */
MUST_CHECK bool run_store_figure(
        struct db *db, int64_t run, const struct run_figure *figure, struct err *err);
MUST_CHECK bool run_store_request(
        struct db *db, int64_t run, const struct run_request *request, struct err *err);
MUST_CHECK bool run_store_step(
        struct db *db, int64_t run, const struct run_step *step, struct err *err);
MUST_CHECK bool run_store_batch_begin(struct db *db, struct err *err);
/* Commits when ok, else takes the batch back. */
MUST_CHECK bool run_store_batch_end(struct db *db, bool ok, struct err *err);
/* status: "done", "failed", "stopped". */
MUST_CHECK bool run_store_end(struct db *db, int64_t run, const char *status,
        const char *bottleneck, const struct plan_figures *measured, struct err *err);

struct run_row {
    int64_t id, plan_id;
    const char *model, *workload, *plan_name, *status, *bottleneck, *host, *device, *commit;
    int64_t wall_s;
    struct plan plan;
    struct plan_figures measured; /* NaN and 0 while running */
    struct run_figure *figures;
    int64_t n_figures;
    struct run_request *requests;
    int64_t n_requests;
    struct run_step *steps;
    int64_t n_steps;
    struct provenance provenance;
};
/* The newest runs first (limit 0 = all). Details (figures, requests, steps) only when asked. */
MUST_CHECK bool run_store_list(struct run_row **out, int64_t *n, struct db *db, int64_t limit,
        bool details, struct arena *arena, struct err *err);
/* ERR_INPUT when there is no such run. */
MUST_CHECK bool run_store_read(
        struct run_row *out, struct db *db, int64_t run, struct arena *arena, struct err *err);

#endif
