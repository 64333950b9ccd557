/*
 * profile_store - profile points in and out. A point is committed when profile_store_add returns.
 */
#ifndef DB_PROFILE_STORE_H
#define DB_PROFILE_STORE_H

#include "db/db.h"

/* A row that says who measured; the same provenance gives the same id again. */
MUST_CHECK bool provenance_store(
        int64_t *id, struct db *db, const struct provenance *provenance, struct err *err);
/* Key = device kind + op. An existing key is kept unless replace; *added tells. samples may be NULL. */
MUST_CHECK bool profile_store_add(bool *added, struct db *db, int64_t provenance, const char *device,
        const struct profile_point *point, const double *samples, bool replace, struct err *err);
/* Everything measured on a device kind, checksums verified, finished (sorted). */
MUST_CHECK bool profile_store_read(struct profile *out, struct db *db, const char *device,
        struct arena *arena, struct err *err);
/* Ceilings of a device kind: peak FLOP/s and bytes/s of one rank with `degree` threads and `busy` ranks. */
MUST_CHECK bool profile_store_ceiling(struct db *db, int64_t provenance, const char *device,
        double peak_flops, double peak_bytes_per_s, struct err *err);

#endif
