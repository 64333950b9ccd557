#include "core/clock.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static int64_t (*replacement)(void);

int64_t clock_now_ns(void)
{
    if (replacement != NULL)
        return replacement();
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_wall_s(void)
{
    return (int64_t)time(NULL);
}

void clock_sleep_ns(int64_t ns)
{
    if (ns <= 0)
        return;
    struct timespec rest = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

void clock_replace(int64_t (*now_ns)(void))
{
    replacement = now_ns;
}
