/* The requests that a workload stands for: every draw is a function of the seed and the request's number. */
#include <math.h>

#include "core/file.h"
#include "core/random.h"
#include "core/spec/workload.h"

#define MOST_TOKENS (1 << 28)

/* Streams of one seed: which draw a counter belongs to. */
enum stream {
    STREAM_PROMPT = 1,
    STREAM_OUTPUT,
    STREAM_ARRIVAL,
    STREAM_REQUEST,
    STREAM_CLASS
};

static uint64_t stream_seed(const struct workload *w, enum stream stream)
{
    return random_u64((uint64_t)w->seed, (uint64_t)stream);
}

/* Box and Muller: two uniform draws make one normal. */
static double normal(uint64_t seed, int64_t i)
{
    double u = 1 - random_unit(seed, 2 * (uint64_t)i);
    double v = random_unit(seed, 2 * (uint64_t)i + 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static int64_t draw_length(const struct length_spec *spec, uint64_t seed, int64_t i)
{
    double value = 0;
    switch ((enum length_dist)spec->dist) {
    case LENGTH_CONSTANT:
        return spec->mean;
    case LENGTH_UNIFORM:
        return spec->min + random_below(seed, (uint64_t)i, spec->max - spec->min + 1);
    case LENGTH_LOGNORMAL:
        value = exp(log((double)spec->mean) - spec->sigma * spec->sigma / 2
                    + spec->sigma * normal(seed, i));
        value = fmin(fmax(value, 1), MOST_TOKENS);
        break;
    }
    int64_t length = llround(value);
    if (length < spec->min)
        length = spec->min;
    if (spec->max > 0 && length > spec->max)
        length = spec->max;
    return length;
}

static void draw_lengths(struct requests *out, const struct workload *w, struct arena *arena)
{
    out->n = w->requests;
    out->items = ARENA_NEW(arena, struct request, out->n);
    for (int64_t i = 0; i < out->n; i++) {
        out->items[i].prompt_len = draw_length(&w->prompt, stream_seed(w, STREAM_PROMPT), i);
        out->items[i].output_len = draw_length(&w->output, stream_seed(w, STREAM_OUTPUT), i);
    }
}

static int64_t scaled(int64_t length, double scale, int64_t most)
{
    double value = ceil((double)length * scale);
    if (value > MOST_TOKENS)
        value = MOST_TOKENS;
    int64_t result = value < 1 ? 1 : (int64_t)value;
    return most > 0 && result > most ? most : result;
}

/* Leaves the slice that was asked for, its times from the first request that is left. */
static bool take_slice(struct requests *out, const struct workload *w, struct err *err)
{
    if (w->trace.skip >= out->n)
        return err_at(err, w->trace_pos, "trace: skip is %lld, but %s has %lld requests",
                (long long)w->trace.skip, w->trace.path, (long long)out->n);
    int64_t left = out->n - w->trace.skip;
    if (w->requests > left)
        return err_at(err, w->requests_pos,
                "found %lld requests, but %s has %lld after the skipped ones",
                (long long)w->requests, w->trace.path, (long long)left);
    out->items += w->trace.skip;
    out->n = w->requests > 0 ? w->requests : left;
    int64_t first = out->items[0].arrival_ns;
    for (int64_t i = 0; i < out->n; i++) {
        struct request *r = &out->items[i];
        double after = (double)(r->arrival_ns - first) / w->trace.time_scale;
        if (after > 9e18)
            return err_at(err, w->trace_pos, "trace: arrivals reach beyond 292 years");
        r->arrival_ns = (int64_t)after;
        r->prompt_len = scaled(r->prompt_len, w->trace.length_scale, w->trace.max_prompt);
        r->output_len = scaled(r->output_len, w->trace.length_scale, w->trace.max_output);
    }
    return true;
}

static bool read_trace(
        struct requests *out, const struct workload *w, struct arena *arena, struct err *err)
{
    char *text = NULL;
    int64_t len = 0;
    if (!file_read(&text, &len, w->trace.path, arena, err))
        return false;
    int format = w->trace.format;
    if (format == TRACE_AUTO)
        format = len > 0 && text[0] == '{' ? TRACE_MOONCAKE_JSONL : TRACE_AZURE_CSV;
    bool ok = format == TRACE_AZURE_CSV
                      ? trace_read_azure(out, text, len, w->trace.path, arena, err)
                      : trace_read_mooncake(out, text, len, w->trace.path, arena, err);
    return ok && take_slice(out, w, err);
}

static bool draw_arrivals(struct requests *out, const struct workload *w, struct err *err)
{
    uint64_t seed = stream_seed(w, STREAM_ARRIVAL);
    double at_s = 0;
    for (int64_t i = 0; i < out->n; i++) {
        switch ((enum arrival_process)w->arrival.process) {
        case ARRIVAL_OFFLINE:
            at_s = 0;
            break;
        case ARRIVAL_POISSON:
            at_s += -log(1 - random_unit(seed, (uint64_t)i)) / w->arrival.per_s;
            break;
        case ARRIVAL_UNIFORM:
            at_s = (double)i / w->arrival.per_s;
            break;
        case ARRIVAL_STEADY:
            at_s = (double)i;
            break;
        case ARRIVAL_TRACE:
            return true;
        }
        if (at_s > 9e9)
            return err_at(err, w->arrival_pos, "arrival: the last request comes after 285 years");
        out->items[i].arrival_ns = llround(at_s * 1e9);
    }
    return true;
}

static const struct workload_class *draw_class(const struct workload *w, int64_t i)
{
    double sum = 0;
    for (int c = 0; c < w->n_classes; c++)
        sum += w->classes[c].share;
    double at = sum * random_unit(stream_seed(w, STREAM_CLASS), (uint64_t)i);
    int c = 0;
    while (c + 1 < w->n_classes && at >= w->classes[c].share)
        at -= w->classes[c++].share;
    return w->n_classes > 0 ? &w->classes[c] : NULL;
}

/* After the arrivals are known. */
static void draw_classes(struct requests *out, const struct workload *w)
{
    for (int64_t i = 0; i < out->n; i++) {
        const struct workload_class *class = draw_class(w, i);
        struct request *r = &out->items[i];
        double deadline_us = w->admission.deadline_us;
        if (class != NULL) {
            r->priority = (int)class->priority;
            if (class->deadline_us > 0)
                deadline_us = class->deadline_us;
        }
        if (deadline_us > 0)
            r->deadline_ns = r->arrival_ns + llround(deadline_us * 1e3);
    }
}

bool workload_requests(
        struct requests *out, const struct workload *w, struct arena *arena, struct err *err)
{
    *out = (struct requests){0};
    if (w->trace.path == NULL)
        draw_lengths(out, w, arena);
    else if (!read_trace(out, w, arena, err))
        return false;
    uint64_t seed = stream_seed(w, STREAM_REQUEST);
    for (int64_t i = 0; i < out->n; i++)
        out->items[i].seed = random_u64(seed, (uint64_t)i);
    if (!draw_arrivals(out, w, err))
        return false;
    draw_classes(out, w);
    if (w->arrival.process == ARRIVAL_STEADY) {
        out->unpaced = true;
        out->n_warm = out->n_cool = out->n / 3;
    }
    return true;
}

bool requests_pace(struct requests *requests, double per_s, struct err *err)
{
    if (!requests->unpaced)
        return true;
    if (!(per_s > 0))
        return err_set(err, ERR_INPUT,
                "the workload's arrivals are steady, at the rate that the plan predicts, and the "
                "plan predicts none: plan with this workload, or use \"process: uniform\" and "
                "\"per_s\"");
    for (int64_t i = 0; i < requests->n; i++) {
        struct request *r = &requests->items[i];
        int64_t patience_ns = r->deadline_ns - r->arrival_ns;
        r->arrival_ns = llround((double)i / per_s * 1e9);
        if (r->deadline_ns > 0)
            r->deadline_ns = r->arrival_ns + patience_ns;
    }
    requests->unpaced = false;
    return true;
}

/* Mooncake's blocks of 512 tokens: equal hashes are equal tokens. */
#define PREFIX_BLOCK 512

int32_t request_token(const struct request *request, int64_t i, int64_t vocab)
{
    uint64_t seed = request->seed, counter = (uint64_t)i;
    int64_t block = i / PREFIX_BLOCK;
    if (block < request->n_prefix_hash) {
        seed = random_mix((uint64_t)request->prefix_hash[block]);
        counter = (uint64_t)(i % PREFIX_BLOCK);
    }
    return (int32_t)random_below(seed, counter, vocab < INT32_MAX ? vocab : INT32_MAX);
}

void request_hash_prompt(
        struct request *request, const int32_t *tokens, int block_tokens, struct arena *arena)
{
    int n = (int)(request->prompt_len / block_tokens);
    int64_t *hashes = ARENA_NEW(arena, int64_t, n);
    uint64_t hash = 0;

    for (int b = 0; b < n; b++) {
        for (int t = 0; t < block_tokens; t++)
            hash = random_mix(hash * 31 + (uint64_t)tokens[(int64_t)b * block_tokens + t] + 1);
        hashes[b] = (int64_t)(hash >> 1);
    }
    request->prefix_hash = hashes;
    request->n_prefix_hash = n;
}
