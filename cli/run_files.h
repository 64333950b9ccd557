/*
 * run_files - what `shardwright run` reads and writes: plan, model, workload, prompts; tokens, logits, requests.
 */
#ifndef CLI_RUN_FILES_H
#define CLI_RUN_FILES_H

#include "cli/cli.h"
#include "core/spec/plan.h"
#include "core/spec/workload.h"
#include "models/model.h"
#include "runtime/runtime.h"

struct run_input {
    struct plan plan;
    struct model model;
    struct workload workload;
    struct requests requests;
    struct expert_map *experts;    /* or NULL */
    const int32_t *const *prompts; /* by request, or NULL */
};

/* model, workload, prompts may be NULL: then the plan says. Everything lives in the command's arena. */
MUST_CHECK bool run_read(struct run_input *out, struct cli *cli, const char *plan,
        const char *model, const char *workload, const char *prompts);

/* JSON lines {"request": i, "tokens": [...]}. */
MUST_CHECK bool run_write_tokens(
        const char *path, const struct runtime_result *result, struct err *err);
/* CSV: a row for each request with its times, how it ended and what it reused. */
MUST_CHECK bool run_write_requests(const char *path, const struct runtime_result *result,
        const struct run_input *in, struct err *err);
/* Raw f32, request after request: [output_len, vocab]; zeros where a request stopped early. */
MUST_CHECK bool run_write_logits(const char *path, const struct runtime_result *result,
        const struct run_input *in, struct err *err);

#endif
