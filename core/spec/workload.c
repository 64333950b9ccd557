#include "core/spec/workload.h"

#include <string.h>

#include "core/file.h"

#define MOST_TOKENS   (1 << 28)
#define MOST_REQUESTS 100000000

static const char *const process_names[] = {
        "offline", "poisson", "uniform", "trace", "steady", NULL};
static const char *const dist_names[] = {"constant", "uniform", "lognormal", NULL};
static const char *const trace_names[] = {"auto", "azure-csv", "mooncake-jsonl", NULL};

// NOLINTBEGIN(bugprone-macro-parentheses): a member name cannot be in parentheses
#define PART(part, member) \
    (offsetof(struct workload, part.member) - offsetof(struct workload, part))
// NOLINTEND(bugprone-macro-parentheses)

#define AT(member) PART(arrival, member)
static const struct conf_field arrival_fields[] = {
        {"process", CONF_ENUM, AT(process), .names = process_names, .def = "offline",
                .help = "offline: all at once; trace: at the times of the trace; steady: evenly, "
                        "at "
                        "the highest rate at which the plan keeps the objectives, which `plan` "
                        "finds"},
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
        {"seed", CONF_I64, AT(seed), .def = "0", .help = "of the draws"},
        {"stop", CONF_INT_LIST, AT(stop), .count = AT(n_stop), .min = 0, .max = MOST_TOKENS,
                .help = "token ids that end a request before its output length"},
        {0}};
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

#define AT(member) PART(admission, member)
static const struct conf_field admission_fields[] = {
        {"max_queue", CONF_I64, AT(max_queue), .min = 0, .max = MOST_REQUESTS, .def = "0",
                .help = "requests that may wait at a replica; more are refused; 0 = any number"},
        {"deadline", CONF_US, AT(deadline_us), .min = 0, .max = 1e12, .def = "0",
                .help = "a request that has waited this long is refused; 0 = never"},
        {0}};
static const struct conf_table admission_table = {.size = sizeof(((struct workload *)0)->admission),
        .fields = admission_fields,
        .help = "who is turned away"};
#undef AT

#define AT(member) offsetof(struct workload_class, member)
static const struct conf_field class_fields[] = {
        {"name", CONF_STRING, AT(name), .def = "class", .help = "shown in messages"},
        {"share", CONF_DOUBLE, AT(share), .min = 1e-9, .max = 1e9, .def = "1",
                .help = "of the requests, relative to the other classes"},
        {"priority", CONF_I64, AT(priority), .min = 0, .max = 15, .def = "0",
                .help = "the larger goes first"},
        {"deadline", CONF_US, AT(deadline_us), .min = 0, .max = 1e12, .def = "0",
                .help = "in place of admission.deadline; 0 = that one"},
        {0}};
static const struct conf_table class_table = {.size = sizeof(struct workload_class),
        .fields = class_fields,
        .help = "requests that are treated alike"};
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
        {"admission", CONF_STRUCT, AT(admission), .sub = &admission_table,
                .help = "who is turned away"},
        {"classes", CONF_STRUCT_LIST, AT(classes), .count = AT(n_classes), .sub = &class_table,
                .help = "priorities and deadlines, drawn by the seed; none = all alike"},
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
    if (process == ARRIVAL_STEADY && w->arrival.per_s > 0)
        return err_at(err, w->arrival_pos,
                "arrival: found \"per_s\" with the process \"steady\", whose rate is the plan's: "
                "leave it out, or write \"uniform\"");
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

void workload_of_trace(struct workload *out, const char *path)
{
    *out = (struct workload){.name = path};
    out->arrival.process = ARRIVAL_TRACE;
    out->trace.path = path;
    out->trace.time_scale = out->trace.length_scale = 1;
    out->sampling.top_p = 1;
    out->slo.percentile = 0.9;
}
