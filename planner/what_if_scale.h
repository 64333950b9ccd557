/*
 * what_if_scale - measured costs of a device that is faster or slower than the one that was measured.
 */
#ifndef PLANNER_WHAT_IF_SCALE_H
#define PLANNER_WHAT_IF_SCALE_H

#include "core/spec/profile.h"

/* New over old; 1 = as it is. */
struct scale {
    double compute, memory; /* FLOP/s, bytes/s of the device */
    double inside, between; /* bytes/s of links inside a machine and between machines */
    double inside_latency, between_latency; /* of an empty message */
};

/*
 * Replaces the profile's points by scaled copies. Of a measured time t the part that a ceiling explains
 * changes with it, the rest (starting a kernel, what it loses) stays:
 *
 *   compute ops  t' = t - r + r'   r = max(FLOP / peak, bytes / rate) at most t, r' with the new ones; peak
 *                                  and rate are the highest that this layout was measured to reach
 *   exchanges    t' = t - w - e + w / bandwidth + e x latency   w = bytes / the highest rate of this exchange,
 *                                  e = the shortest time of this exchange, w + e at most t
 */
void what_if_scale(struct profile *profile, const struct scale *scale, struct arena *arena);

#endif
