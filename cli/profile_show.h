/*
 * profile_show - what `profile` prints: the summary of a measurement, and the errors of --check.
 */
#ifndef CLI_PROFILE_SHOW_H
#define CLI_PROFILE_SHOW_H

#include "cli/profile_guide.h"
#include "profiler/profiler.h"

struct profile_shown {
    const char *db;
    bool dry_run, replay;
    const struct profile_guide *guide; /* NULL = no error was asked for */
};

void profile_show_summary(const struct profile_summary *s, const struct profile_shown *options);
void profile_show_summary_json(
        const struct profile_summary *s, const struct profile_shown *options);
/* "under 20 us", or "all". */
const char *profile_show_class(int size_class);
void profile_show_check(const struct check_row *rows, int n);
void profile_show_check_json(const struct check_row *rows, int n);

#endif
