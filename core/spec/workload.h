/*
 * workload - arrival process, prompt and output lengths, sampling, service objectives; and the list of
 * requests they stand for, made the same way wherever it is asked for (simulator and runtime).
 */
#ifndef CORE_SPEC_WORKLOAD_H
#define CORE_SPEC_WORKLOAD_H

#include "core/conf.h"

enum arrival_process {
    ARRIVAL_OFFLINE,
    ARRIVAL_POISSON,
    ARRIVAL_UNIFORM,
    ARRIVAL_TRACE,
    ARRIVAL_STEADY /* evenly, as fast as the plan can take them: requests_pace */
};
enum length_dist {
    LENGTH_CONSTANT,
    LENGTH_UNIFORM,
    LENGTH_LOGNORMAL
};
enum trace_format {
    TRACE_AUTO,
    TRACE_AZURE_CSV,
    TRACE_MOONCAKE_JSONL
};

struct length_spec {
    int dist;         /* enum length_dist */
    int64_t mean;     /* constant: the value; lognormal: the mean */
    int64_t min, max; /* uniform: inclusive bounds; lognormal: clamp */
    double sigma;     /* lognormal: of the logarithm */
};

/* A share of the requests, drawn by the seed. */
struct workload_class {
    const char *name;
    double share; /* relative to the others' */
    int64_t priority;
    double deadline_us; /* 0 = that of admission */
};

struct workload {
    const char *name;
    int64_t requests; /* 0 = all of the trace */
    int64_t seed;
    struct {
        int process;  /* enum arrival_process */
        double per_s; /* poisson, uniform: requests a second */
    } arrival;
    struct length_spec prompt, output;
    struct {
        const char *path;               /* relative to the workload file */
        int format;                     /* enum trace_format; auto by content */
        int64_t skip;                   /* requests left out at the start */
        double time_scale;              /* > 1 = faster arrivals; default 1 */
        double length_scale;            /* lengths are multiplied and rounded up; default 1 */
        int64_t max_prompt, max_output; /* clamp, 0 = none */
    } trace;
    struct {
        double temperature; /* 0 = greedy */
        int64_t top_k;      /* 0 = all */
        double top_p;       /* default 1 */
        int64_t seed;
        const int *stop; /* tokens that end a request before its output length */
        int n_stop;
    } sampling;
    struct {
        double ttft_us, tpot_us; /* 0 = none */
        double percentile;       /* fraction of requests that must meet it, default 0.9 */
    } slo;
    struct {
        int64_t max_queue;  /* per replica: core/sched.h; 0 = any number may wait */
        double deadline_us; /* from arrival to the first step; 0 = none */
    } admission;
    struct workload_class *classes; /* none = all alike, priority 0 */
    int n_classes;
    struct pos requests_pos, arrival_pos, prompt_pos, output_pos, trace_pos;
};

struct request {
    int64_t arrival_ns;             /* from the start of the run */
    int64_t prompt_len, output_len; /* both >= 1 */
    uint64_t seed;                  /* of its prompt tokens and its sampling */
    const int64_t *prefix_hash;     /* Mooncake: one per 512-token block; NULL = none */
    int n_prefix_hash;
    int priority;        /* 0 to 15, larger goes first */
    int64_t deadline_ns; /* from the start of the run; not begun by then = refused; 0 = none */
};

struct requests {
    struct request *items; /* ascending arrival */
    int64_t n;
    int hash_tokens; /* prompt tokens that a prefix hash stands for; 0 = 512, as Mooncake's */
    int64_t n_warm,
            n_cool; /* the first ones fill the system, the last ones keep it full: in no figure */
    bool unpaced;   /* steady arrivals whose rate nobody has set: they stand a second apart */
};

extern const struct conf_table workload_table; /* "shardwright-workload" 1 */

MUST_CHECK bool workload_read_file(
        struct workload *out, const char *path, struct arena *arena, struct err *err);
/* The requests of a trace at its own times, with all other keys as they are when left out. Borrows the path. */
void workload_of_trace(struct workload *out, const char *path);
MUST_CHECK bool workload_check(const struct workload *workload, struct err *err);
/* Reads the trace when there is one: a bad row is refused with file:line:column. Deterministic. */
MUST_CHECK bool workload_requests(struct requests *out, const struct workload *workload,
        struct arena *arena, struct err *err);
/* Sets the rate of steady arrivals, and nothing where there are others. ERR_INPUT when it is not above 0. */
MUST_CHECK bool requests_pace(struct requests *requests, double per_s, struct err *err);
/* The two trace readers, from bytes; path is for messages. Arrivals count from the first row. */
MUST_CHECK bool trace_read_azure(struct requests *out, const char *text, int64_t len,
        const char *path, struct arena *arena, struct err *err);
MUST_CHECK bool trace_read_mooncake(struct requests *out, const char *text, int64_t len,
        const char *path, struct arena *arena, struct err *err);
/* Token i of a request's prompt: a counter-based hash, uniform over the vocabulary. Requests that share
 * prefix hashes share those tokens. */
int32_t request_token(const struct request *request, int64_t i, int64_t vocab);
/* For a prompt of given tokens: a hash for each of its full blocks, as a prefix cache wants them. A hash stands for
 * all tokens before the block, too. */
void request_hash_prompt(
        struct request *request, const int32_t *tokens, int block_tokens, struct arena *arena);

#endif
