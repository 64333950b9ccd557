#include "profiler/disturb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/clock.h"

enum {
    CANARY_ROUNDS = 20000 /* about 30 us of dependent multiplications */
};
static const double slow_clock = 1.15;

/* The same work every time: slower means a slower clock, or somebody else on the core. */
static double canary_us(void)
{
    int64_t begin = clock_now_ns();
    volatile uint64_t sink = 1;
    uint64_t x = sink;
    for (int i = 0; i < CANARY_ROUNDS; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    sink = x;
    return (double)(clock_now_ns() - begin) * 1e-3;
}

bool disturb_slow_clock(struct disturb *disturb)
{
    double best = canary_us();
    for (int i = 0; i < 2 && best > disturb->best_us * slow_clock; i++) {
        double again = canary_us();
        best = again < best ? again : best;
    }
    if (disturb->best_us == 0 || best < disturb->best_us)
        disturb->best_us = best;
    return best > disturb->best_us * slow_clock;
}

/* Ticks (usually 10 ms) that the hypervisor kept from this machine. */
int64_t disturb_stolen_ticks(void)
{
    long long t[8] = {0};
    FILE *file = fopen("/proc/stat", "re");
    if (!file)
        return 0;
    char line[256] = "", *at = line + 3;
    if (fgets(line, sizeof line, file) && strncmp(line, "cpu", 3) == 0)
        for (int i = 0; i < 8; i++)
            t[i] = strtoll(at, &at, 10);
    fclose(file);
    return t[7];
}

int64_t disturb_lost_cpu(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}
