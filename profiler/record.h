/*
 * record - what was measured, as a file that source_replay plays back: a machine for tests and bug reports.
 *
 * JSON, one document a line: first {"format": "shardwright-recording", "version": 1, ...}, then one per op
 * with its samples in microseconds.
 */
#ifndef PROFILER_RECORD_H
#define PROFILER_RECORD_H

#include "core/arena.h"
#include "core/spec/profile.h"

struct recording {
    char *text;
    int64_t len, cap;
};

void record_begin(struct recording *recording, const char *device);
void record_add(
        struct recording *recording, const struct profile_point *point, const double *samples);
/* Writes the file and forgets what was recorded. */
MUST_CHECK bool record_end(struct recording *recording, const char *path, struct err *err);

struct recorded {
    struct op op;
    bool cold;
    double *samples;
    int n;
};
/* Ascending by op_compare; messages carry path and line. */
MUST_CHECK bool record_read(
        struct recorded **out, int64_t *n, const char *path, struct arena *arena, struct err *err);

#endif
