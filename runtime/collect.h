/*
 * collect - what every rank measured, brought to rank 0.
 */
#ifndef RUNTIME_COLLECT_H
#define RUNTIME_COLLECT_H

#include "core/ranks.h"
#include "runtime/serve.h"

/* Fixed part; what varies in length follows in messages of its own. */
struct rank_report {
    int32_t rank, replica, stage, index;
    int64_t weight_bytes, kv_bytes, work_bytes, rss_bytes;
    double load_s;
    int64_t end_ns, busy_ns, wait_ns, schedule_ns, starved_ns;
    int64_t kind_ns[OP_KIND_COUNT], kind_count[OP_KIND_COUNT], lost_ns[OP_KIND_COUNT];
    int64_t metering_ns;
    int64_t n_uses, n_steps, steps_dropped, n_events, events_dropped;
    int64_t out_of_time;
};

struct rank_data {
    struct rank_report report;
    struct meter_use *uses;   /* stage leads (index 0) */
    struct run_step *steps;   /* stage leads; all ranks with a trace */
    struct run_event *events; /* with a trace */
};

struct collected {
    struct rank_data *ranks; /* by world rank */
    int n_ranks;
    struct run_request *records; /* by request */
    int32_t **tokens;            /* by request */
    float **logits;              /* by request; NULL unless kept */
};

/* Collective. Rank 0 gets all of it in the arena; the others get nothing. */
void collect_all(struct collected *out, struct serve *serve, double load_s, struct ranks *ranks,
        struct arena *arena);

#endif
