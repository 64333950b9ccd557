/*
 * profile_store - profile points in and out. A point is committed when profile_store_add returns.
 */
#ifndef DB_PROFILE_STORE_H
#define DB_PROFILE_STORE_H

#include "db/db.h"

/* A row that says who measured; the same provenance gives the same id again. */
MUST_CHECK bool provenance_store(
        int64_t *id, struct db *db, const struct provenance *provenance, struct err *err);
/* NULL fields where nothing is known. */
MUST_CHECK bool provenance_read(
        struct provenance *out, struct db *db, int64_t id, struct arena *arena, struct err *err);
/* What becomes of a point whose key is there. */
enum store_existing {
    STORE_KEEP,
    STORE_REPLACE,
    STORE_REPLACE_OWN /* one of the same provenance is replaced, another one is kept */
};
/* Key = device kind + op; *added tells whether the point is stored now. samples may be NULL. */
MUST_CHECK bool profile_store_add(bool *added, struct db *db, int64_t provenance,
        const char *device, const struct profile_point *point, const double *samples,
        enum store_existing existing, struct err *err);
/* Everything measured on a device kind, checksums verified, finished (sorted). The peaks are those of one
 * thread with the most ranks busy. A device kind nobody measured gives an empty profile. */
MUST_CHECK bool profile_store_read(struct profile *out, struct db *db, const char *device,
        struct arena *arena, struct err *err);
/* What is wanted of points that share nothing with busy neighbours (imports): by op kind, a bit for each enum
 * dtype. All others are. */
struct profile_filter {
    unsigned dtypes[OP_KIND_COUNT];
};
/* The same of the points that the filter takes; rows that it leaves out are not verified, the digest is that of the
 * rest. */
MUST_CHECK bool profile_store_read_some(struct profile *out, struct db *db, const char *device,
        const struct profile_filter *filter, struct arena *arena, struct err *err);
/* The samples of one point, in microseconds, in the order they were taken; *n 0 when not kept. */
MUST_CHECK bool profile_store_samples(double **samples, int64_t *n, struct db *db,
        const char *device, const struct op *op, struct arena *arena, struct err *err);
/* Names of the device kinds with points, sorted. */
MUST_CHECK bool profile_store_devices(
        const char ***names, int *n, struct db *db, struct arena *arena, struct err *err);

/* Peak FLOP/s and bytes/s of one rank with `degree` threads while `busy` ranks of the host work. */
struct profile_ceiling {
    int degree, busy;
    double peak_flops, peak_bytes_per_s;
};
/* An existing one of the same device, degree and busy is replaced. */
MUST_CHECK bool profile_store_ceiling_at(struct db *db, int64_t provenance, const char *device,
        const struct profile_ceiling *ceiling, struct err *err);
/* The same for degree 1, busy 1: where only one figure is known (datasheets, imports). */
MUST_CHECK bool profile_store_ceiling(struct db *db, int64_t provenance, const char *device,
        double peak_flops, double peak_bytes_per_s, struct err *err);
MUST_CHECK bool profile_store_ceilings(struct profile_ceiling **out, int *n, struct db *db,
        const char *device, struct arena *arena, struct err *err);

#endif
