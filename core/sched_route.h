/*
 * sched_route - which replica serves which request. Runtime and simulator ask here, so they agree.
 *
 * Least loaded, by work that is known when a request comes: every replica has a clock that says when it will
 * have worked off what it was given, at the speed that the plan predicts for it. A request goes where it
 * would be done first; among equals to the replica that has been idle longest, then to the first. Nothing
 * is fed back from the replicas: all ranks work out the same route without a message, whatever their timing.
 */
#ifndef CORE_SCHED_ROUTE_H
#define CORE_SCHED_ROUTE_H

#include "core/spec/plan.h"
#include "core/spec/workload.h"

struct router; /* hidden: it guards the clocks */

/* speed: work per nanosecond of each replica; 0 everywhere = unknown, then work is spread evenly for good.
 * Memory that cannot be had ends the process, as in core/arena.h. */
struct router *router_open(const double *speed, int n_replicas);
void router_close(struct router *router);
/* The replica for `work` that comes now; calls are in order of time. */
int router_pick(struct router *router, int64_t now_ns, double work);

/* Tokens per nanosecond that a full replica decodes, or takes of prompts where that is all it does, by the plan's step
 * times; 0 when it has none. */
double route_speed(const struct plan_replica *replica);
/* By replica what its work is dealt by, speed[n_replicas]: route_speed; or, where all that take prompts say what comes to
 * them (requests_per_s), that for these: then true. 0 for all that take prompts, or all that decode, when one of them has
 * none. */
bool route_speeds(double *speed, const struct plan *plan);
/* A replica for every request among those that take prompts (mixed and prefill). The work of a request is its
 * tokens, prompt and output; the prompt's alone where prefill has a pool of its own. Speeds in requests a second are
 * those of a mean request. out[requests->n]. */
void route_requests(int *out, const struct requests *requests, const struct plan *plan);
/* A decode replica for every request with more than one output token that a prefill replica takes (route: as above);
 * -1 for the others. The work is its outputs. */
void route_outputs(
        int *out, const struct requests *requests, const struct plan *plan, const int *route);

#endif
