#include "cli/run_trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"

/* Requests stand beside the replicas. */
#define REQUESTS_PID 1000000

struct text {
    char *memory;
    int64_t len, cap;
    bool failed, some; /* some: an event was written, the next one needs a comma */
};

static void put(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put(struct text *t, const char *fmt, ...)
{
    enum {
        ROOM = 512
    };
    va_list args;

    if (t->cap - t->len < ROOM && !t->failed) {
        int64_t cap = t->cap > 0 ? 2 * t->cap : 1 << 16;
        char *more = realloc(t->memory, (size_t)cap);

        t->failed = more == NULL;
        t->memory = more ? more : t->memory;
        t->cap = more ? cap : t->cap;
    }
    if (t->failed)
        return;
    va_start(args, fmt);
    t->len += vsnprintf(t->memory + t->len, ROOM, fmt, args);
    va_end(args);
}

static const char *comma(struct text *t)
{
    const char *before = t->some ? ",\n" : "\n";

    t->some = true;
    return before;
}

static double us(int64_t ns)
{
    return (double)ns / 1e3;
}

static void put_names(struct text *t, const struct rank_trace *r)
{
    if (r->stage == 0 && r->index == 0)
        put(t,
                "%s{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": %d, \"args\": "
                "{\"name\": \"replica %d\"}}",
                comma(t), r->replica, r->replica);
    put(t,
            "%s{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": %d, \"tid\": %d, \"args\": "
            "{\"name\": \"rank %d, stage %d.%d\"}}",
            comma(t), r->replica, r->rank, r->rank, r->stage, r->index);
}

static void put_rank(struct text *t, const struct rank_trace *r)
{
    put_names(t, r);
    for (int64_t i = 0; i < r->n_steps; i++) {
        const struct run_step *step = &r->steps[i];

        put(t,
                "%s{\"name\": \"%s\", \"cat\": \"step\", \"ph\": \"X\", \"pid\": %d, \"tid\": %d, "
                "\"ts\": %.3f, \"dur\": %.3f, \"args\": {\"step\": %lld, \"sequences\": %d, "
                "\"tokens\": %d, \"prefill_tokens\": %d, \"waited_us\": %.3f}}",
                comma(t), step->prefill_tokens > 0 ? "step with prefill" : "decode step",
                r->replica, r->rank, us(step->start_ns), us(step->busy_ns), (long long)step->step,
                step->sequences, step->tokens, step->prefill_tokens, us(step->wait_ns));
    }
    for (int64_t i = 0; i < r->n_events; i++) {
        const struct run_event *e = &r->events[i];
        const char *kind = op_is_collective((enum op_kind)e->kind) ? "exchange" : "op";

        put(t,
                "%s{\"name\": \"%s\", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": %d, \"tid\": %d, "
                "\"ts\": %.3f, \"dur\": %.3f}",
                comma(t), op_kind_names[e->kind], kind, r->replica, r->rank, us(e->start_ns),
                us(e->took_ns));
    }
}

/* A span of its own for each part; overlapping requests get rows of their own (async events). */
static void put_span(
        struct text *t, const char *name, int64_t request, int64_t from_ns, int64_t to_ns)
{
    for (int end = 0; end < 2; end++)
        put(t,
                "%s{\"name\": \"%s\", \"cat\": \"request\", \"ph\": \"%s\", \"id\": %lld, \"pid\": "
                "%d, \"tid\": 0, \"ts\": %.3f}",
                comma(t), name, end ? "e" : "b", (long long)request, REQUESTS_PID,
                us(end ? to_ns : from_ns));
}

static void put_request(struct text *t, const struct run_request *r)
{
    if (r->outcome == REQUEST_REFUSED_FULL || r->outcome == REQUEST_REFUSED_LATE)
        put(t,
                "%s{\"name\": \"refused\", \"cat\": \"request\", \"ph\": \"n\", \"id\": %lld, "
                "\"pid\": %d, \"tid\": 0, \"ts\": %.3f}",
                comma(t), (long long)r->request, REQUESTS_PID, us(r->arrival_ns));
    if (r->first_token_ns < 0)
        return;
    put_span(t, "first token", r->request, r->arrival_ns, r->first_token_ns);
    if (r->finish_ns >= 0)
        put_span(t, "output", r->request, r->first_token_ns, r->finish_ns);
}

bool run_write_trace(const char *path, const struct runtime_result *result, struct err *err)
{
    struct text t = {0};
    int64_t lost = 0;
    bool ok = false;

    put(&t, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [");
    for (int r = 0; r < result->n_trace; r++) {
        put_rank(&t, &result->trace[r]);
        lost += result->trace[r].events_lost;
    }
    put(&t,
            "%s{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": %d, \"args\": {\"name\": "
            "\"requests\"}}",
            comma(&t), REQUESTS_PID);
    for (int64_t i = 0; i < result->n_requests; i++)
        put_request(&t, &result->records[i]);
    put(&t, "\n], \"otherData\": {\"ops_left_out\": %lld}}\n", (long long)lost);
    if (t.failed)
        err_set(err, ERR_ENV, "not enough memory for a trace of this run: trace fewer requests");
    else
        ok = file_write(path, t.memory, t.len, err);
    free(t.memory);
    return ok;
}
