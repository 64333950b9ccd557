#include "cli/run_files.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"

static bool exists(const char *path)
{
    return access(path, R_OK) == 0;
}

/* Paths in a plan are relative to where it was made, mostly here, else beside the plan. */
static const char *find_beside(const char *plan, const char *name, struct arena *arena)
{
    const char *beside = file_beside(plan, name, arena);

    return exists(name) || !exists(beside) ? name : beside;
}

static bool read_workload(
        struct run_input *out, struct cli *cli, const char *plan, const char *path)
{
    const char *named = out->plan.workload;

    if (!path && named && *named) {
        const char *shipped = arena_printf(cli->arena, "%s/examples/%s.yaml", cli->data_dir, named);

        path = find_beside(plan, named, cli->arena);
        if (!exists(path) && exists(shipped))
            path = shipped;
        if (!exists(path))
            return err_set(cli->err, ERR_INPUT,
                    "the plan was made for workload \"%s\", which is no file here: give one with "
                    "--workload FILE",
                    named);
    }
    if (!path)
        return err_set(
                cli->err, ERR_INPUT, "the plan names no workload: give one with --workload FILE");
    return workload_read_file(&out->workload, path, cli->arena, cli->err)
           && workload_requests(&out->requests, &out->workload, cli->arena, cli->err)
           && requests_pace(&out->requests, out->plan.predicted.requests_per_s, cli->err);
}

static bool read_prompt(struct request *request, int32_t **tokens, const char *line, int64_t len,
        struct pos pos, struct cli *cli)
{
    struct json *doc = json_read(line, len, pos.path, cli->err);
    const struct json_node *list = NULL;
    double deadline_ms = 0;
    bool ok = false;

    if (!doc)
        return err_context(cli->err, "line %d", pos.line);
    list = json_get(json_root(doc), "prompt");
    request->prompt_len = json_count(list);
    request->output_len = json_int(json_get(json_root(doc), "output_len"), 0);
    request->arrival_ns = (int64_t)(json_double(json_get(json_root(doc), "arrival_ms"), 0) * 1e6);
    request->seed = (uint64_t)json_int(json_get(json_root(doc), "seed"), pos.line);
    request->priority = (int)json_int(json_get(json_root(doc), "priority"), 0);
    deadline_ms = json_double(json_get(json_root(doc), "deadline_ms"), 0);
    if (deadline_ms > 0)
        request->deadline_ns = request->arrival_ns + (int64_t)(deadline_ms * 1e6);
    if (request->priority < 0 || request->priority > 15 || !(deadline_ms >= 0)) {
        err_at(cli->err, pos, "expected a priority of 0 to 15 and a deadline_ms of at least 0");
        goto done;
    }
    if (json_kind(list) != JSON_KIND_ARRAY || request->prompt_len < 1) {
        err_at(cli->err, pos, "expected {\"prompt\": [token ids], \"output_len\": N}");
        goto done;
    }
    if (request->output_len < 1 || request->output_len > 1 << 24) {
        err_at(cli->err, pos, "output_len is %lld, expected at least 1",
                (long long)request->output_len);
        goto done;
    }
    *tokens = ARENA_NEW(cli->arena, int32_t, request->prompt_len);
    for (int64_t i = 0; i < request->prompt_len; i++) {
        int64_t token = json_int(json_at(list, i), -1);

        if (token < 0 || token > INT32_MAX) {
            err_at(cli->err, pos, "entry %lld of the prompt is no token id", (long long)i);
            goto done;
        }
        (*tokens)[i] = (int32_t)token;
    }
    ok = true;
done:
    json_close(doc);
    return ok;
}

static bool read_prompts(struct run_input *out, struct cli *cli, const char *path)
{
    char *text = NULL;
    int64_t len = 0, n = 0, lines = 1;

    if (!file_read(&text, &len, path, cli->arena, cli->err))
        return false;
    for (int64_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    struct request *items = ARENA_NEW(cli->arena, struct request, lines);
    int32_t **prompts = ARENA_NEW(cli->arena, int32_t *, lines);
    struct pos pos = {path, 0, 1};
    for (char *line = text, *end = NULL; line < text + len; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + len - line));
        end = end ? end : text + len;
        pos.line++;
        if (end == line)
            continue;
        if (!read_prompt(&items[n], &prompts[n], line, end - line, pos, cli))
            return false;
        request_hash_prompt(&items[n], prompts[n], out->plan.block_tokens, cli->arena);
        if (n > 0 && items[n].arrival_ns < items[n - 1].arrival_ns)
            return err_at(
                    cli->err, pos, "arrives before the line above; expected rising arrival_ms");
        n++;
    }
    out->requests =
            (struct requests){.items = items, .n = n, .hash_tokens = out->plan.block_tokens};
    out->prompts = (const int32_t *const *)prompts;
    if (!out->workload.name)
        out->workload.name = path;
    return true;
}

bool run_read(struct run_input *out, struct cli *cli, const char *plan, const char *model,
        const char *workload, const char *prompts)
{
    if (!plan_read_file(&out->plan, plan, cli->arena, cli->err))
        return false;
    if (!model)
        model = find_beside(plan, out->plan.model, cli->arena);
    if (!model_read(&out->model, model, cli->data_dir, cli->arena, cli->err))
        return err_context(cli->err, "model of %s", plan);
    if (out->plan.expert_map && *out->plan.expert_map) {
        out->experts = ARENA_NEW(cli->arena, struct expert_map, 1);
        if (!expert_map_read_file(out->experts, find_beside(plan, out->plan.expert_map, cli->arena),
                    cli->arena, cli->err))
            return err_context(cli->err, "expert_map of %s", plan);
    }
    if ((workload || !prompts) && !read_workload(out, cli, plan, workload))
        return false;
    return !prompts || read_prompts(out, cli, prompts);
}

bool run_write_tokens(const char *path, const struct runtime_result *result, struct err *err)
{
    struct arena arena = {0};
    int64_t cap = 64, len = 0;
    bool ok = false;

    for (int64_t i = 0; i < result->n_requests; i++)
        cap += 64 + 13 * result->n_tokens[i];
    char *text = arena_alloc(&arena, cap);
    for (int64_t i = 0; i < result->n_requests; i++) {
        len += snprintf(
                text + len, (size_t)(cap - len), "{\"request\": %lld, \"tokens\": [", (long long)i);
        for (int64_t t = 0; t < result->n_tokens[i]; t++)
            len += snprintf(
                    text + len, (size_t)(cap - len), "%s%d", t ? ", " : "", result->tokens[i][t]);
        len += snprintf(text + len, (size_t)(cap - len), "]}\n");
    }
    ok = file_write(path, text, len, err);
    arena_free(&arena);
    return ok;
}

static const char *const outcome_names[] = {"pending", "finished", "refused-full", "refused-late"};

bool run_write_requests(const char *path, const struct runtime_result *result,
        const struct run_input *in, struct err *err)
{
    enum {
        ROW = 256
    };
    struct arena arena = {0};
    char *text = arena_alloc(&arena, ROW * (result->n_requests + 1));
    int64_t len = snprintf(text, ROW,
            "request,replica,priority,prompt_tokens,reused_tokens,output_tokens,arrival_ms,"
            "first_token_ms,finish_ms,preemptions,outcome\n");

    for (int64_t i = 0; i < result->n_requests; i++) {
        const struct run_request *r = &result->records[i];
        char first[32] = "", finish[32] = "";

        if (r->first_token_ns >= 0)
            snprintf(first, sizeof first, "%.3f", (double)r->first_token_ns / 1e6);
        if (r->finish_ns >= 0)
            snprintf(finish, sizeof finish, "%.3f", (double)r->finish_ns / 1e6);
        len += snprintf(text + len, ROW, "%lld,%d,%d,%lld,%lld,%lld,%.3f,%s,%s,%d,%s\n",
                (long long)i, r->replica, in->requests.items[i].priority, (long long)r->prompt_len,
                (long long)r->reused_tokens, (long long)r->output_len, (double)r->arrival_ns / 1e6,
                first, finish, r->preemptions, outcome_names[r->outcome]);
    }
    bool ok = file_write(path, text, len, err);
    arena_free(&arena);
    return ok;
}

bool run_write_logits(const char *path, const struct runtime_result *result,
        const struct run_input *in, struct err *err)
{
    struct arena arena = {0};
    int64_t n = 0, at = 0;
    bool ok = false;

    for (int64_t i = 0; i < result->n_requests; i++)
        n += in->requests.items[i].output_len * in->model.vocab;
    float *all = ARENA_NEW(&arena, float, n);
    for (int64_t i = 0; i < result->n_requests; i++) {
        int64_t count = in->requests.items[i].output_len * in->model.vocab;

        if (result->logits[i])
            memcpy(all + at, result->logits[i], (size_t)count * sizeof *all);
        at += count;
    }
    ok = file_write(path, (const char *)all, n * (int64_t)sizeof *all, err);
    arena_free(&arena);
    return ok;
}
