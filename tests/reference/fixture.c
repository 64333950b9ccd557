#include "tests/reference/fixture.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"

enum {
    OWN = 3 /* requests of a fixture */
};

/*
 * More requests: prompt `of` of the fixture again, with `more` of its answer as part of the prompt. Greedy, they
 * answer with the rest, from the same logits.
 */
static const struct {
    int of, more;
} follows[] = {{0, 20}, {1, 7}, {2, 0}, {2, 31}};
enum {
    FOLLOWS = sizeof follows / sizeof *follows
};

/* The list `key` of line `line` of a JSONL file. */
static bool read_list(int32_t **out, int64_t *n, const char *path, int line, const char *key,
        struct arena *arena, struct err *err)
{
    char *text = NULL, *end = NULL;
    int64_t len = 0;
    struct json *doc = NULL;
    const struct json_node *list = NULL;

    if (!file_read(&text, &len, path, arena, err))
        return false;
    for (int i = 0; i < line && text; i++)
        text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    end = text ? strchr(text, '\n') : NULL;
    if (!end)
        return err_set(err, ERR_INPUT, "%s has no line %d", path, line + 1);
    doc = json_read(text, end - text, path, err);
    if (!doc)
        return false;
    list = json_get(json_root(doc), key);
    *n = json_count(list);
    *out = ARENA_NEW(arena, int32_t, *n);
    for (int64_t i = 0; i < *n; i++)
        (*out)[i] = (int32_t)json_int(json_at(list, i), -1);
    json_close(doc);
    return *n > 0 || err_set(err, ERR_INPUT, "%s: no \"%s\" in line %d", path, key, line + 1);
}

static bool read_own(struct fixture *f, int i, struct arena *arena, struct err *err)
{
    struct request *r = &f->requests.items[i];

    *r = (struct request){.seed = (uint64_t)i + 1};
    return read_list(&f->prompts[i], &r->prompt_len,
                   arena_printf(arena, "%s/prompts.jsonl", f->path), i, "prompt", arena, err)
           && read_list(&f->want[i], &r->output_len,
                   arena_printf(arena, "%s/tokens.jsonl", f->path), i, "tokens", arena, err);
}

/* The logits of all requests of the fixture, one behind the other. */
static bool read_logits(struct fixture *f, struct arena *arena, struct err *err)
{
    char *bytes = NULL;
    int64_t len = 0, at = 0;

    if (!file_read(&bytes, &len, arena_printf(arena, "%s/logits.f32", f->path), arena, err))
        return false;
    for (int i = 0; i < OWN; i++) {
        int64_t n = f->requests.items[i].output_len * f->model.vocab;

        f->logits[i] = ARENA_NEW(arena, float, n);
        if ((at + n) * (int64_t)sizeof(float) <= len)
            memcpy(f->logits[i], bytes + at * (int64_t)sizeof(float), sizeof(float) * (size_t)n);
        at += n;
    }
    return at * (int64_t)sizeof(float) == len
           || err_set(err, ERR_INPUT, "%s/logits.f32: %lld bytes, expected %lld", f->path,
                   (long long)len, (long long)at * (int64_t)sizeof(float));
}

static void follow(struct fixture *f, int i, struct arena *arena)
{
    int of = follows[i].of, more = follows[i].more, at = OWN + i;
    const struct request *before = &f->requests.items[of];
    struct request *r = &f->requests.items[at];

    *r = (struct request){.seed = (uint64_t)at + 1,
            .prompt_len = before->prompt_len + more,
            .output_len = before->output_len - more};
    f->prompts[at] = ARENA_NEW(arena, int32_t, r->prompt_len);
    memcpy(f->prompts[at], f->prompts[of], sizeof(int32_t) * (size_t)before->prompt_len);
    memcpy(f->prompts[at] + before->prompt_len, f->want[of], sizeof(int32_t) * (size_t)more);
    f->want[at] = f->want[of] + more;
    f->logits[at] = f->logits[of] + more * f->model.vocab;
}

bool fixture_read(struct fixture *f, const char *path, struct arena *arena, struct err *err)
{
    const char *name = strrchr(path, '/'), *dtype = NULL;

    *f = (struct fixture){.path = path, .name = name ? name + 1 : path, .tolerance = 1e-4};
    dtype = strrchr(f->name, '-');
    if (dtype && strcmp(dtype, "-bf16") == 0) {
        f->dtype = DTYPE_BF16;
        f->tolerance = 2e-2;
    } else if (dtype && strcmp(dtype, "-f16") == 0) {
        f->dtype = DTYPE_F16;
    }
    if (!model_read(&f->model, path, path, arena, err))
        return false;
    f->requests = (struct requests){
            ARENA_NEW(arena, struct request, OWN + FOLLOWS), OWN + FOLLOWS, FIXTURE_BLOCK_TOKENS};
    f->prompts = ARENA_NEW(arena, int32_t *, OWN + FOLLOWS);
    f->want = ARENA_NEW(arena, int32_t *, OWN + FOLLOWS);
    f->logits = ARENA_NEW(arena, float *, OWN + FOLLOWS);
    for (int i = 0; i < OWN; i++)
        if (!read_own(f, i, arena, err))
            return false;
    if (!read_logits(f, arena, err))
        return false;
    for (int i = 0; i < FOLLOWS; i++)
        follow(f, i, arena);
    for (int i = 0; i < OWN + FOLLOWS; i++)
        request_hash_prompt(&f->requests.items[i], f->prompts[i], FIXTURE_BLOCK_TOKENS, arena);
    return true;
}
