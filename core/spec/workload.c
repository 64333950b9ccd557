#include "core/spec/workload.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/random.h"

#define MOST_TOKENS   (1 << 28)
#define MOST_REQUESTS 100000000

static const char *const process_names[] = {"offline", "poisson", "uniform", "trace", NULL};
static const char *const dist_names[] = {"constant", "uniform", "lognormal", NULL};
static const char *const trace_names[] = {"auto", "azure-csv", "mooncake-jsonl", NULL};

// NOLINTBEGIN(bugprone-macro-parentheses): a member name cannot be in parentheses
#define PART(part, member) \
    (offsetof(struct workload, part.member) - offsetof(struct workload, part))
// NOLINTEND(bugprone-macro-parentheses)

#define AT(member) PART(arrival, member)
static const struct conf_field arrival_fields[] = {
        {"process", CONF_ENUM, AT(process), .names = process_names, .def = "offline",
                .help = "offline: all at once; trace: at the times of the trace"},
        {"per_s", CONF_DOUBLE, AT(per_s), .min = 1e-6, .max = 1e9,
                .help = "poisson and uniform: requests a second"},
        {0}};
static const struct conf_table arrival_table = {.size = sizeof(((struct workload *)0)->arrival),
        .fields = arrival_fields,
        .help = "arrivals"};
#undef AT

#define AT(member) offsetof(struct length_spec, member)
static const struct conf_field length_fields[] = {
        {"dist", CONF_ENUM, AT(dist), .names = dist_names, .def = "constant",
                .help = "how lengths are drawn"},
        {"mean", CONF_I64, AT(mean), .min = 1, .max = MOST_TOKENS,
                .help = "constant: the length; lognormal: the mean"},
        {"min", CONF_I64, AT(min), .min = 1, .max = MOST_TOKENS,
                .help = "uniform: the smallest; lognormal: lengths below become this"},
        {"max", CONF_I64, AT(max), .min = 1, .max = MOST_TOKENS,
                .help = "uniform: the largest; lognormal: lengths above become this"},
        {"sigma", CONF_DOUBLE, AT(sigma), .min = 1e-6, .max = 10,
                .help = "lognormal: standard deviation of the logarithm"},
        {0}};
static const struct conf_table length_table = {
        .size = sizeof(struct length_spec), .fields = length_fields, .help = "lengths in tokens"};
#undef AT

#define AT(member) PART(trace, member)
static const struct conf_field trace_fields[] = {
        {"path", CONF_STRING, AT(path), .required = true,
                .help = "Azure CSV or Mooncake JSONL, relative to this file"},
        {"format", CONF_ENUM, AT(format), .names = trace_names, .def = "auto",
                .help = "auto looks at the first character"},
        {"skip", CONF_I64, AT(skip), .min = 0, .max = MOST_REQUESTS, .def = "0",
                .help = "requests left out at the start"},
        {"time_scale", CONF_DOUBLE, AT(time_scale), .min = 1e-6, .max = 1e6, .def = "1",
                .help = "2 = requests come twice as fast"},
        {"length_scale", CONF_DOUBLE, AT(length_scale), .min = 1e-6, .max = 1e3, .def = "1",
                .help = "lengths are multiplied by this and rounded up"},
        {"max_prompt", CONF_I64, AT(max_prompt), .min = 0, .max = MOST_TOKENS,
                .help = "longer prompts are cut to this; 0 = never"},
        {"max_output", CONF_I64, AT(max_output), .min = 0, .max = MOST_TOKENS,
                .help = "longer outputs are cut to this; 0 = never"},
        {0}};
static const struct conf_table trace_table = {.size = sizeof(((struct workload *)0)->trace),
        .fields = trace_fields,
        .help = "a request trace"};
#undef AT

#define AT(member) PART(sampling, member)
static const struct conf_field sampling_fields[] = {
        {"temperature", CONF_DOUBLE, AT(temperature), .min = 0, .max = 100, .def = "0",
                .help = "0 = greedy"},
        {"top_k", CONF_I64, AT(top_k), .min = 0, .max = MOST_TOKENS, .def = "0",
                .help = "sample from the k likeliest tokens; 0 = all"},
        {"top_p", CONF_DOUBLE, AT(top_p), .min = 1e-6, .max = 1, .def = "1",
                .help = "sample from the likeliest tokens that make up this share"},
        {"seed", CONF_I64, AT(seed), .def = "0", .help = "of the draws"}, {0}};
static const struct conf_table sampling_table = {.size = sizeof(((struct workload *)0)->sampling),
        .fields = sampling_fields,
        .help = "sampling"};
#undef AT

#define AT(member) PART(slo, member)
static const struct conf_field slo_fields[] = {
        {"ttft", CONF_US, AT(ttft_us), .min = 0, .max = 1e15, .def = "0",
                .help = "time to first token at most; 0 = no objective"},
        {"tpot", CONF_US, AT(tpot_us), .min = 0, .max = 1e15, .def = "0",
                .help = "time per output token at most; 0 = no objective"},
        {"percentile", CONF_DOUBLE, AT(percentile), .min = 0.01, .max = 1, .def = "0.9",
                .help = "fraction of the requests that must meet them"},
        {0}};
static const struct conf_table slo_table = {.size = sizeof(((struct workload *)0)->slo),
        .fields = slo_fields,
        .help = "service objectives"};
#undef AT

#define AT(member) offsetof(struct workload, member)
static const struct conf_field workload_fields[] = {
        {"name", CONF_STRING, AT(name), .def = "workload", .help = "shown in reports"},
        {"requests", CONF_I64, AT(requests), .min = 0, .max = MOST_REQUESTS,
                .pos = AT(requests_pos),
                .help = "how many; with a trace, 0 or left out = all of it"},
        {"seed", CONF_I64, AT(seed), .def = "0", .help = "of arrivals, lengths and prompts"},
        {"arrival", CONF_STRUCT, AT(arrival), .sub = &arrival_table, .pos = AT(arrival_pos),
                .help = "when requests come"},
        {"prompt", CONF_STRUCT, AT(prompt), .sub = &length_table, .pos = AT(prompt_pos),
                .help = "prompt lengths in tokens; not with a trace"},
        {"output", CONF_STRUCT, AT(output), .sub = &length_table, .pos = AT(output_pos),
                .help = "output lengths in tokens; not with a trace"},
        {"trace", CONF_STRUCT, AT(trace), .sub = &trace_table, .pos = AT(trace_pos),
                .help = "lengths, and with `process: trace` also times, from a file"},
        {"sampling", CONF_STRUCT, AT(sampling), .sub = &sampling_table,
                .help = "how tokens are chosen"},
        {"slo", CONF_STRUCT, AT(slo), .sub = &slo_table, .help = "what counts as good service"},
        {0}};
#undef AT

const struct conf_table workload_table = {.format = "shardwright-workload",
        .version = 1,
        .size = sizeof(struct workload),
        .fields = workload_fields,
        .help = "requests and service objectives"};

static bool check_length(
        const struct length_spec *spec, struct pos pos, const char *what, struct err *err)
{
    switch ((enum length_dist)spec->dist) {
    case LENGTH_CONSTANT:
        if (spec->mean <= 0)
            return err_at(err, pos, "%s: a constant length needs \"mean\", at least 1", what);
        return true;
    case LENGTH_UNIFORM:
        if (spec->min <= 0 || spec->max < spec->min)
            return err_at(err, pos,
                    "%s: found min %lld and max %lld, a uniform length needs both, min <= max",
                    what, (long long)spec->min, (long long)spec->max);
        return true;
    case LENGTH_LOGNORMAL:
        if (spec->mean <= 0 || spec->sigma <= 0)
            return err_at(err, pos, "%s: a lognormal length needs \"mean\" and \"sigma\"", what);
        if (spec->max != 0 && spec->max < spec->min)
            return err_at(err, pos, "%s: found min %lld and max %lld, expected min <= max", what,
                    (long long)spec->min, (long long)spec->max);
        return true;
    }
    return err_set(err, ERR_BUG, "%s: no such distribution", what);
}

bool workload_check(const struct workload *w, struct err *err)
{
    bool has_trace = w->trace.path != NULL;
    enum arrival_process process = (enum arrival_process)w->arrival.process;
    if (process == ARRIVAL_TRACE && !has_trace)
        return err_at(err, w->arrival_pos,
                "arrival: found \"process: trace\" without a trace, expected \"trace: {path: "
                "...}\"");
    if ((process == ARRIVAL_POISSON || process == ARRIVAL_UNIFORM) && w->arrival.per_s <= 0)
        return err_at(err, w->arrival_pos, "arrival: the process \"%s\" needs \"per_s\"",
                process_names[process]);
    if (has_trace) {
        if (w->prompt.mean != 0 || w->prompt.max != 0)
            return err_at(err, w->prompt_pos, "prompt: lengths come from the trace, expected none");
        if (w->output.mean != 0 || w->output.max != 0)
            return err_at(err, w->output_pos, "output: lengths come from the trace, expected none");
        return true;
    }
    if (w->requests <= 0)
        return err_at(
                err, w->requests_pos, "the workload has no \"requests\", expected at least 1");
    return check_length(&w->prompt, w->prompt_pos, "prompt", err)
           && check_length(&w->output, w->output_pos, "output", err);
}

bool workload_read_file(
        struct workload *out, const char *path, struct arena *arena, struct err *err)
{
    if (!conf_read_file(out, &workload_table, path, arena, err))
        return false;
    if (!workload_check(out, err)) /* what was left out has no place: it gets at least the file */
        return strncmp(err->text, path, strlen(path)) == 0 ? false : err_context(err, "%s", path);
    if (out->trace.path != NULL)
        out->trace.path = file_beside(path, out->trace.path, arena);
    return true;
}

/* Streams of one seed: which draw a counter belongs to. */
enum stream {
    STREAM_PROMPT = 1,
    STREAM_OUTPUT,
    STREAM_ARRIVAL,
    STREAM_REQUEST
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
        case ARRIVAL_TRACE:
            return true;
        }
        if (at_s > 9e9)
            return err_at(err, w->arrival_pos, "arrival: the last request comes after 285 years");
        out->items[i].arrival_ns = llround(at_s * 1e9);
    }
    return true;
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
    return draw_arrivals(out, w, err);
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
