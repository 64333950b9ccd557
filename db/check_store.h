/*
 * check_store - held-out checks of the profile (profile --check): stored, and shown in the report.
 */
#ifndef DB_CHECK_STORE_H
#define DB_CHECK_STORE_H

#include "db/db.h"

/* Errors are fractions of the measured cost; bias is signed, positive = predicted too much. */
struct check_store_row {
    const char *device, *op_kind;
    const char *size_class; /* "all", or a name of core/spec/profile.h: cost_class_names */
    int64_t n, wall_s;
    double mape, median, p90, p99, bias, coverage;
    double noise; /* how far two measurements of one size are apart; NaN = not known */
};
MUST_CHECK bool check_store_add(
        struct db *db, int64_t provenance, const struct check_store_row *row, struct err *err);
/* Newest first; of one time as they were added. */
MUST_CHECK bool check_store_read(struct check_store_row **out, int64_t *n, struct db *db,
        struct arena *arena, struct err *err);

#endif
