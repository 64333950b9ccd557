/*
 * log - lines on stderr with level, rank and time. Never results: those go to stdout.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

enum log_level {
    LOG_ERROR,
    LOG_WARN,
    LOG_INFO,
    LOG_DEBUG
};

void log_setup(enum log_level most, int rank);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Progress on one line, with ETA, only when stderr is a terminal; rate-limited. done == total ends it. */
void log_progress(const char *what, int64_t done, int64_t total, double eta_s);

#endif
