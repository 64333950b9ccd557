#include "profiler/record.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"

static const char format_name[] = "shardwright-recording";
enum {
    FORMAT_VERSION = 1,
    MOST_SAMPLES = 100000,
    FEWEST_DIMS = 6 /* recordings of the first versions */
};

static void append(struct recording *recording, const char *text, int64_t len)
{
    if (recording->len + len + 1 > recording->cap) {
        int64_t cap = (recording->len + len + 1) * 2;
        char *more = realloc(recording->text, (size_t)cap);
        if (!more)
            abort();
        recording->text = more;
        recording->cap = cap;
    }
    memcpy(recording->text + recording->len, text, (size_t)len);
    recording->len += len;
    recording->text[recording->len++] = '\n';
}

void record_begin(struct recording *recording, const char *device)
{
    struct json_writer w = {0};
    json_object_begin(&w, NULL);
    json_put_string(&w, "format", format_name);
    json_put_int(&w, "version", FORMAT_VERSION);
    json_put_string(&w, "device", device);
    json_end(&w);
    append(recording, w.text, w.len);
    json_writer_free(&w);
}

void record_add(
        struct recording *recording, const struct profile_point *point, const double *samples)
{
    struct json_writer w = {0};
    const struct op *op = &point->op;

    json_object_begin(&w, NULL);
    json_put_string(&w, "kind", op_kind_names[op->kind]);
    json_put_string(&w, "dtype", dtype_names[op->dtype]);
    json_put_int(&w, "degree", op->degree);
    json_put_int(&w, "busy", op->busy);
    if (op->nodes > 0)
        json_put_int(&w, "nodes", op->nodes);
    json_array_begin(&w, "dim");
    for (int d = 0; d < OP_DIMS; d++)
        json_put_int(&w, NULL, op->dim[d]);
    json_end(&w);
    json_put_bool(&w, "cold", point->cold);
    json_array_begin(&w, "us");
    for (int i = 0; i < point->samples; i++)
        json_put_double(&w, NULL, samples[i]);
    json_end(&w);
    json_end(&w);
    append(recording, w.text, w.len);
    json_writer_free(&w);
}

bool record_end(struct recording *recording, const char *path, struct err *err)
{
    bool ok = file_write(path, recording->text, recording->len, err);
    free(recording->text);
    *recording = (struct recording){0};
    return ok;
}

static int name_index(const char *const *names, const char *text)
{
    for (int i = 0; text && names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

static bool read_samples(struct recorded *out, const struct json_node *root, struct pos pos,
        struct arena *arena, struct err *err)
{
    const struct json_node *us = json_get(root, "us");
    int64_t n = json_kind(us) == JSON_KIND_ARRAY ? json_count(us) : 0;

    if (n < 1 || n > MOST_SAMPLES)
        return err_at(err, pos, "expected \"us\" with 1 to %d samples", (int)MOST_SAMPLES);
    out->samples = ARENA_NEW(arena, double, n);
    out->n = (int)n;
    for (int64_t i = 0; i < n; i++) {
        out->samples[i] = json_double(json_at(us, i), -1);
        if (!(out->samples[i] >= 0))
            return err_at(err, pos, "sample %lld is not a time in microseconds", (long long)i + 1);
    }
    return true;
}

static bool read_op(struct recorded *out, const struct json_node *root, struct pos pos,
        struct arena *arena, struct err *err)
{
    int kind = name_index(op_kind_names, json_text(json_get(root, "kind"), NULL));
    int dtype = name_index(dtype_names, json_text(json_get(root, "dtype"), NULL));
    int64_t degree = json_int(json_get(root, "degree"), 0),
            busy = json_int(json_get(root, "busy"), 0),
            nodes = json_int(json_get(root, "nodes"), 0);
    const struct json_node *dim = json_get(root, "dim");

    if (kind < 0 || dtype < 0)
        return err_at(err, pos, "\"%s\" is not an op kind or dtype of this version",
                json_text(json_get(root, kind < 0 ? "kind" : "dtype"), ""));
    if (degree < 1 || degree > INT32_MAX || busy < 1 || busy > INT32_MAX || nodes < 0
            || nodes > INT32_MAX || json_count(dim) < FEWEST_DIMS || json_count(dim) > OP_DIMS)
        return err_at(err, pos, "expected degree and busy of at least 1 and %d to %d dimensions",
                (int)FEWEST_DIMS, OP_DIMS);
    out->op = (struct op){.kind = (enum op_kind)kind,
            .dtype = (enum dtype)dtype,
            .degree = (int32_t)degree,
            .busy = (int32_t)busy,
            .nodes = (int32_t)nodes};
    for (int d = 0; d < OP_DIMS; d++)
        out->op.dim[d] = json_int(json_at(dim, d), 0);
    out->cold = json_bool(json_get(root, "cold"), false);
    return read_samples(out, root, pos, arena, err);
}

static bool read_header(const struct json_node *root, struct pos pos, struct err *err)
{
    const char *format = json_text(json_get(root, "format"), "");
    int64_t version = json_int(json_get(root, "version"), 0);

    if (strcmp(format, format_name) != 0)
        return err_at(err, pos,
                "expected a recording (\"format\": \"%s\") that `shardwright profile "
                "--record` wrote",
                format_name);
    if (version < 1 || version > FORMAT_VERSION)
        return err_at(err, pos, "version %lld, this program reads up to %d", (long long)version,
                FORMAT_VERSION);
    return true;
}

static int by_op(const void *a, const void *b)
{
    const struct recorded *x = a, *y = b;
    return op_compare(&x->op, &y->op);
}

bool record_read(
        struct recorded **out, int64_t *n, const char *path, struct arena *arena, struct err *err)
{
    char *text;
    int64_t len, most = 0;

    *n = 0;
    *out = NULL;
    if (!file_read(&text, &len, path, arena, err))
        return false;
    struct pos pos = {path, 0, 1};
    for (char *line = text, *end; *line; line = end + (*end == '\n')) {
        end = line + strcspn(line, "\n");
        pos.line++;
        if (end == line)
            continue;
        struct json *doc = json_read_at(line, end - line, pos, err);
        if (!doc)
            return false;
        bool ok;
        if (pos.line == 1) {
            ok = read_header(json_root(doc), pos, err);
        } else {
            if (*n == most) {
                *out = arena_grow(arena, *out, most, most * 2 + 64, sizeof **out);
                most = most * 2 + 64;
            }
            ok = read_op(&(*out)[(*n)++], json_root(doc), pos, arena, err);
        }
        json_close(doc);
        if (!ok)
            return false;
    }
    if (pos.line == 0)
        return err_at(err, (struct pos){path, 1, 1}, "empty: expected a recording");
    if (*n > 0)
        qsort(*out, (size_t)*n, sizeof **out, by_op);
    return true;
}
