/*
 * clock - monotonic nanoseconds; replaceable in tests.
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdint.h>

int64_t clock_now_ns(void);
/* Wall time for provenance: seconds since the epoch. */
int64_t clock_wall_s(void);
void clock_sleep_ns(int64_t ns);
/* Tests put a function here; NULL restores the real clock. */
void clock_replace(int64_t (*now_ns)(void));

#endif
