/*
 * profile_sink - where `profile` puts what is measured: the database, and the guide of --target-error. Rank 0.
 */
#ifndef CLI_PROFILE_SINK_H
#define CLI_PROFILE_SINK_H

#include "cli/profile_guide.h"
#include "core/spec/measure.h"
#include "db/db.h"

struct profile_sink {
    struct db *db;
    int64_t provenance;
    const char *device;
    struct profile_guide *guide; /* NULL = no op is measured twice */
};

/* measure_sink.point */
bool profile_sink_point(
        void *self, const struct profile_point *point, const double *samples, struct err *err);
MUST_CHECK bool profile_sink_ceilings(
        struct profile_sink *sink, const struct profile_summary *summary, struct err *err);

#endif
