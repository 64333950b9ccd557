/*
 * meter - what a rank did and how long it took: every op by kind and by exact shape, and every step.
 *
 * One clock read per op: an op lasts from the end of the one before. All memory is taken and touched up front;
 * when the table of shapes is full, further shapes are counted by kind only. What metering itself costs is
 * measured when it is opened.
 */
#ifndef RUNTIME_METER_H
#define RUNTIME_METER_H

#include "core/clock.h"
#include "core/spec/measure.h"

struct meter_use {
    struct op op;
    int64_t count, ns;
};

struct meter {
    int64_t mark_ns; /* end of what was metered last */
    int64_t kind_ns[OP_KIND_COUNT], kind_count[OP_KIND_COUNT];
    int64_t lost_ns[OP_KIND_COUNT], lost_count[OP_KIND_COUNT]; /* of them, those without a shape */
    struct meter_use *uses; /* open addressing; count 0 = empty */
    int64_t n_uses, cap_uses;
    struct run_step *steps;
    int64_t n_steps, cap_steps; /* n_steps may exceed cap_steps: those were not kept */
    struct run_event *events;   /* with a trace: ops one by one */
    int64_t n_events, cap_events;
    int64_t start_ns;         /* of the run, for events */
    double op_cost_ns;        /* of metering one op */
    int64_t busy_ns, wait_ns; /* in steps; between steps with work to come */
    int64_t schedule_ns;      /* leader: making and sending batches, taking results */
    int64_t starved_ns;       /* leader: nothing had arrived */
};

/* Keeps that many steps, and events (0 = none). */
MUST_CHECK bool meter_open(struct meter *meter, int64_t steps, int64_t events, struct err *err);
void meter_close(struct meter *meter);
/* Forgets what the warm-up did. */
void meter_reset(struct meter *meter);
/* What follows starts now. */
void meter_mark(struct meter *meter);
/* `op` ran from the mark until now. */
void meter_op(struct meter *meter, const struct op *op);
void meter_step(struct meter *meter, const struct run_step *step);
/* What metering all ops so far took. */
int64_t meter_own_ns(const struct meter *meter);
/* Moves the shapes in use to the front, in order of op_compare, and ends metering. */
void meter_finish(struct meter *meter);

#endif
