/*
 * safetensors - every number in a header is a claim about the file; none is used before it was compared
 * with the file's length and with its neighbours.
 */
#include "models/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"

/* The reference implementation refuses longer headers too. */
static const int64_t max_header_bytes = 100000000;

static const struct {
    const char *name;
    enum dtype dtype;
} dtypes[] = {{"F32", DTYPE_F32}, {"BF16", DTYPE_BF16}, {"F16", DTYPE_F16}, {"F8_E4M3", DTYPE_F8}};

const char *safetensors_dtype(enum dtype dtype)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (dtypes[i].dtype == dtype)
            return dtypes[i].name;
    return "?";
}

int64_t safetensors_elements(const int64_t *dim, int n_dims)
{
    int64_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= dim[i];
    return n;
}

static bool read_dtype(struct safetensors_entry *entry, const struct json_node *node,
        const char *path, struct err *err)
{
    const char *text = json_text(json_get(node, "dtype"), NULL);

    if (!text)
        return err_set(err, ERR_INPUT, "%s: tensor %s has no dtype", path, entry->name);
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (strcmp(text, dtypes[i].name) == 0) {
            entry->dtype = dtypes[i].dtype;
            return true;
        }
    }
    return err_set(err, ERR_INPUT,
            "%s: tensor %s has dtype %s, supported are F32, BF16, F16 and F8_E4M3; checkpoints "
            "that "
            "are quantised otherwise are not read",
            path, entry->name, text);
}

/* Product of the shape in bytes, or -1 when it leaves 62 bits. */
static int64_t shape_bytes(const struct safetensors_entry *entry)
{
    int64_t bytes = dtype_bytes(entry->dtype);

    for (int i = 0; i < entry->n_dims; i++) {
        if (entry->dim[i] > 0 && bytes > ((int64_t)1 << 62) / entry->dim[i])
            return -1;
        bytes *= entry->dim[i];
    }
    return bytes;
}

static bool read_shape(struct safetensors_entry *entry, const struct json_node *node,
        const char *path, struct err *err)
{
    const struct json_node *shape = json_get(node, "shape");

    if (json_kind(shape) != JSON_KIND_ARRAY || json_count(shape) > 4)
        return err_set(err, ERR_INPUT, "%s: tensor %s: shape is not a list of at most 4 sizes",
                path, entry->name);
    entry->n_dims = (int)json_count(shape);
    for (int i = 0; i < entry->n_dims; i++) {
        entry->dim[i] = json_int(json_at(shape, i), -1);
        if (entry->dim[i] < 0)
            return err_set(err, ERR_INPUT,
                    "%s: tensor %s: size %d of its shape is not a number from 0 on", path,
                    entry->name, i);
    }
    return true;
}

static bool read_entry(struct safetensors_entry *entry, const struct json_node *node,
        int64_t data_at, int64_t file_bytes, const char *path, struct err *err)
{
    const struct json_node *offsets = json_get(node, "data_offsets");

    if (json_kind(node) != JSON_KIND_OBJECT)
        return err_set(err, ERR_INPUT, "%s: tensor %s is not an object", path, entry->name);
    if (!read_dtype(entry, node, path, err) || !read_shape(entry, node, path, err))
        return false;
    int64_t begin = json_int(json_at(offsets, 0), -1), end = json_int(json_at(offsets, 1), -1);
    if (json_kind(offsets) != JSON_KIND_ARRAY || json_count(offsets) != 2 || begin < 0
            || end < begin)
        return err_set(err, ERR_INPUT,
                "%s: tensor %s: data_offsets are not [begin, end] with begin <= end", path,
                entry->name);
    if (end > file_bytes - data_at)
        return err_set(err, ERR_INPUT,
                "%s: tensor %s ends at byte %lld of the data, the file has only %lld: it is "
                "truncated or its "
                "header is wrong; copy the file again",
                path, entry->name, (long long)end, (long long)(file_bytes - data_at));
    int64_t bytes = shape_bytes(entry);
    if (bytes != end - begin)
        return err_set(err, ERR_INPUT,
                "%s: tensor %s takes %lld bytes by its offsets, its shape and dtype need %lld",
                path, entry->name, (long long)(end - begin), (long long)bytes);
    entry->begin = data_at + begin;
    entry->end = data_at + end;
    return true;
}

static int by_begin(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static bool fill_the_file(struct safetensors_entry *entries, int64_t n, int64_t data_at,
        int64_t file_bytes, const char *path, struct err *err)
{
    int64_t at = data_at;

    if (n > 0)
        qsort(entries, (size_t)n, sizeof(*entries), by_begin);
    for (int64_t i = 0; i < n; i++) {
        const struct safetensors_entry *entry = &entries[i];
        if (entry->begin < at)
            return err_set(err, ERR_INPUT, "%s: tensors %s and %s overlap", path,
                    i > 0 ? entries[i - 1].name : "?", entry->name);
        if (entry->begin > at)
            return err_set(err, ERR_INPUT, "%s: a hole of %lld bytes before tensor %s", path,
                    (long long)(entry->begin - at), entry->name);
        at = entry->end;
    }
    if (at < file_bytes)
        return err_set(err, ERR_INPUT, "%s: %lld bytes after the last tensor belong to none", path,
                (long long)(file_bytes - at));
    return true;
}

static bool header_length(int64_t *out, const unsigned char *bytes, int64_t file_bytes,
        const char *path, struct err *err)
{
    uint64_t len = 0;

    if (file_bytes < 8)
        return err_set(err, ERR_INPUT,
                "%s: %lld bytes are no safetensors file, its header alone has 8", path,
                (long long)file_bytes);
    for (int i = 7; i >= 0; i--)
        len = len << 8 | bytes[i];
    if (len > (uint64_t)(file_bytes - 8) || len > (uint64_t)max_header_bytes)
        return err_set(err, ERR_INPUT,
                "%s: the header claims %llu bytes, the file has %lld and a header at most %lld: "
                "truncated, or "
                "not a safetensors file",
                path, (unsigned long long)len, (long long)(file_bytes - 8),
                (long long)max_header_bytes);
    *out = (int64_t)len;
    return true;
}

bool safetensors_read(struct safetensors_entry **out, int64_t *n, const void *bytes,
        int64_t file_bytes, const char *path, struct arena *arena, struct err *err)
{
    bool ok = false;
    int64_t len = 0;

    *n = 0;
    *out = NULL;
    if (!header_length(&len, bytes, file_bytes, path, err))
        return false;
    struct json *doc = json_read((const char *)bytes + 8, len, path, err);
    if (!doc)
        return err_context(err, "header of %s", path);
    const struct json_node *root = json_root(doc);
    if (json_kind(root) != JSON_KIND_OBJECT) {
        err_set(err, ERR_INPUT, "%s: the header is not a JSON object", path);
        goto done;
    }
    *out = ARENA_NEW(arena, struct safetensors_entry, json_count(root) + 1);
    for (void *m = json_first(root); m; m = json_next(root, m)) {
        const char *name;
        const struct json_node *node = json_member_value(m, &name);
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct safetensors_entry *entry = &(*out)[(*n)++];
        entry->name = arena_strdup(arena, name);
        if (!read_entry(entry, node, 8 + len, file_bytes, path, err))
            goto done;
    }
    ok = fill_the_file(*out, *n, 8 + len, file_bytes, path, err);
done:
    json_close(doc);
    return ok;
}
