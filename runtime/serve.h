/*
 * serve - the loop of a rank: the leader schedules, everybody steps.
 *
 * Leader: (1) takes results that have arrived; (2) when fewer than in_flight batches are out and the
 * scheduler has one, sends it out and runs its own stage on it; (3) else waits for a result or the next
 * arrival. planner/simulate.c follows the same rules.
 */
#ifndef RUNTIME_SERVE_H
#define RUNTIME_SERVE_H

#include "runtime/handover.h"
#include "runtime/pipe.h"
#include "runtime/runtime.h"

struct serve {
    const struct runtime_options *options;
    const struct place *place;
    struct engine *engine;
    struct pipe *pipe;
    struct meter *meter;
    struct ranks *ranks;      /* of the job, to end it with */
    int64_t start_ns, end_ns; /* of the run, clock; end of the last result on the leader */
    int64_t idle_since_ns;
    struct batch inbox; /* ranks that follow */
    float **logits;     /* last stage, keep_logits: [request] -> [output_len, vocab] */

    /* leader */
    struct sched *sched;
    const int *route;            /* request -> replica */
    const int *output_route;     /* request -> the decode replica it goes on to; -1 = none */
    struct run_request *records; /* by request; only this replica's are filled */
    int32_t **produced;          /* by request */
    int32_t *local_result;       /* of the group that the leader itself ends */
    struct sched_batch *flying;  /* in order of sending */
    int *flying_slot, n_flying;
    int64_t n_finished, n_refused;
    bool out_of_time;
    int64_t n_mine; /* requests of this replica */

    /* prefill and decode replicas: serve_pools.h */
    struct handover handover;
    struct requests coming;
    int32_t *scratch;   /* block table of one prompt */
    bool *told, *taken; /* by request */
    int32_t *pool_of;   /* of the prefill replica */
    int64_t n_told;
};

/* Opens the scheduler and the records; batches are checked against the plan's limits. The caller has set route
 * and output_route. */
MUST_CHECK bool serve_open(struct serve *serve, const struct runtime_options *options,
        struct engine *engine, struct pipe *pipe, struct arena *arena, struct err *err);
void serve_close(struct serve *serve);
/* Steps that are not counted. */
void serve_warm_up(struct serve *serve, int steps);
/* From start_ns on. Returns when the replica's requests are done or time is up. */
void serve_run(struct serve *serve);

#endif
