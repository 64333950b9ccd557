#include "cli/profile_sink.h"

#include <string.h>

#include "db/profile_store.h"
#include "profiler/trial.h"

/*
 * An op measured again: where the intervals of both times overlap, all samples count alike. Otherwise one of them was
 * disturbed without a sign of it, and disturbance only adds: the quicker one stays.
 */
static void merge(struct profile_point *point, const double **samples, const double *old, int n_old,
        struct arena *arena)
{
    struct profile_point before = *point;
    if (n_old < 1)
        return;
    trial_summarise(&before, old, n_old, arena);
    if (point->hi_us < before.lo_us)
        return;
    if (before.hi_us < point->lo_us) {
        *point = before;
        *samples = old;
        return;
    }
    double *all = ARENA_NEW(arena, double, n_old + point->samples);
    memcpy(all, old, (size_t)n_old * sizeof *all);
    memcpy(all + n_old, *samples, (size_t)point->samples * sizeof *all);
    *samples = all;
    trial_summarise(point, all, n_old + point->samples, arena);
}

static bool store_again(struct profile_sink *sink, const struct profile_point *point,
        const double *samples, struct err *err)
{
    struct arena arena = {0};
    struct profile_point merged = *point;
    double *old;
    int64_t n;
    bool added;
    bool ok = profile_store_samples(&old, &n, sink->db, sink->device, &point->op, &arena, err);
    if (ok) {
        merge(&merged, &samples, old, (int)n, &arena);
        ok = profile_store_add(&added, sink->db, sink->provenance, sink->device, &merged, samples,
                STORE_REPLACE, err);
    }
    if (ok)
        profile_guide_add(sink->guide, &merged);
    arena_free(&arena);
    return ok;
}

bool profile_sink_point(
        void *self, const struct profile_point *point, const double *samples, struct err *err)
{
    struct profile_sink *sink = self;
    bool added;
    if (sink->guide)
        return store_again(sink, point, samples, err);
    return profile_store_add(&added, sink->db, sink->provenance, sink->device, point, samples,
            point->looks > 1 ? STORE_REPLACE_OWN : STORE_KEEP, err);
}

bool profile_sink_ceilings(
        struct profile_sink *sink, const struct profile_summary *summary, struct err *err)
{
    for (int i = 0; i < summary->n_ceilings; i++) {
        const struct profiler_ceiling *c = &summary->ceilings[i];
        struct profile_ceiling row = {c->degree, c->busy, c->peak_flops, c->peak_bytes_per_s};
        if (!profile_store_ceiling_at(sink->db, sink->provenance, sink->device, &row, err))
            return false;
    }
    return true;
}
