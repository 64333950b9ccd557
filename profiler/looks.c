#include "profiler/looks.h"

#include <math.h>
#include <string.h>

void looks_add(struct looked *to, const struct trial_result *look, struct arena *arena)
{
    const struct profile_point before = to->point;
    struct profile_point *point = &to->point;
    int32_t n_before = before.looks > 0 ? before.samples : 0;
    int32_t n = n_before + look->point.samples;
    double *all = ARENA_NEW(arena, double, n);

    if (n_before > 0)
        memcpy(all, to->samples, (size_t)n_before * sizeof *all);
    memcpy(all + n_before, look->samples, (size_t)look->point.samples * sizeof *all);
    to->samples = all;
    to->disturbed = look->disturbed && (to->disturbed || before.looks == 0);
    *point = look->point;
    if (before.looks == 0)
        return;
    trial_summarise(point, all, n, arena);
    point->looks = before.looks + 1;
    point->cost_us = (before.cost_us * before.looks + look->point.cost_us) / point->looks;
    point->lo_us = fmin(before.lo_us, look->point.lo_us);
    point->hi_us = fmax(before.hi_us, look->point.hi_us);
}
