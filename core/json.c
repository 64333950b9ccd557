#include "core/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/str.h"

struct json {
    json_t *root;
};

/* struct json_node is never defined: a node is jansson's value under another name. */
static const json_t *value_of(const struct json_node *node)
{
    return (const json_t *)node;
}

static const struct json_node *node_of(const json_t *value)
{
    return (const struct json_node *)value;
}

struct json *json_read(const char *text, int64_t len, const char *path, struct err *err)
{
    return json_read_at(text, len, (struct pos){.path = path, .line = 1}, err);
}

struct json *json_read_at(const char *text, int64_t len, struct pos start, struct err *err)
{
    json_error_t error;
    if (len <= 0) {
        err_at(err, start, "is empty, expected JSON");
        return NULL;
    }
    /* jansson limits the depth to 2048 (JSON_PARSER_MAX_DEPTH) and refuses wide integers itself. */
    json_t *root = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root == NULL) {
        struct pos pos = {
                .path = start.path, .line = start.line - 1 + error.line, .column = error.column};
        err_at(err, pos, "%s, expected JSON", error.text);
        return NULL;
    }
    struct json *doc = calloc(1, sizeof *doc);
    if (doc == NULL) {
        json_decref(root);
        err_set(err, ERR_ENV, "%s: not enough memory", start.path);
        return NULL;
    }
    doc->root = root;
    return doc;
}

void json_close(struct json *doc)
{
    if (doc == NULL)
        return;
    json_decref(doc->root);
    free(doc);
}

const struct json_node *json_root(const struct json *doc)
{
    return node_of(doc->root);
}

enum json_kind json_kind(const struct json_node *node)
{
    const json_t *value = value_of(node);
    if (value == NULL)
        return JSON_KIND_NULL;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return JSON_KIND_OBJECT;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_STRING:
        return JSON_KIND_TEXT;
    case JSON_INTEGER:
        return JSON_KIND_INT;
    case JSON_REAL:
        return JSON_KIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOL;
    case JSON_NULL:
        break;
    }
    return JSON_KIND_NULL;
}

const struct json_node *json_get(const struct json_node *object, const char *key)
{
    return node_of(json_object_get(value_of(object), key));
}

int64_t json_count(const struct json_node *node)
{
    const json_t *value = value_of(node);
    if (json_is_array(value))
        return (int64_t)json_array_size(value);
    return json_is_object(value) ? (int64_t)json_object_size(value) : 0;
}

const struct json_node *json_at(const struct json_node *array, int64_t i)
{
    return node_of(json_array_get(value_of(array), (size_t)i));
}

/* jansson's iterators want an object that they could change; nothing here does. */
static json_t *iterable(const struct json_node *object)
{
    union {
        const json_t *from;
        json_t *to;
    } value = {.from = value_of(object)};
    return value.to;
}

void *json_first(const struct json_node *object)
{
    return json_kind(object) == JSON_KIND_OBJECT ? json_object_iter(iterable(object)) : NULL;
}

void *json_next(const struct json_node *object, void *member)
{
    return json_object_iter_next(iterable(object), member);
}

const struct json_node *json_member_value(void *member, const char **key)
{
    *key = json_object_iter_key(member);
    return node_of(json_object_iter_value(member));
}

const struct json_node *json_member(const struct json_node *object, int64_t i, const char **key)
{
    void *member = json_first(object);
    while (member != NULL && i-- > 0)
        member = json_next(object, member);
    if (member == NULL)
        return NULL;
    return json_member_value(member, key);
}

const char *json_text(const struct json_node *node, const char *def)
{
    const char *text = json_string_value(value_of(node));
    return text == NULL ? def : text;
}

int64_t json_int(const struct json_node *node, int64_t def)
{
    const json_t *value = value_of(node);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : def;
}

double json_double(const struct json_node *node, double def)
{
    const json_t *value = value_of(node);
    return json_is_number(value) ? json_number_value(value) : def;
}

bool json_bool(const struct json_node *node, bool def)
{
    const json_t *value = value_of(node);
    return json_is_boolean(value) ? json_is_true(value) : def;
}

static void put(struct json_writer *w, const char *text, int64_t len)
{
    if (w->len + len + 1 > w->cap) {
        int64_t cap = w->cap * 2 + len + 256;
        char *more = realloc(w->text, (size_t)cap);
        if (more == NULL) {
            fputs("shardwright: out of memory while writing JSON\n", stderr);
            exit(ERR_ENV);
        }
        w->text = more;
        w->cap = cap;
    }
    memcpy(w->text + w->len, text, (size_t)len);
    w->len += len;
    w->text[w->len] = '\0';
}

static void put_text(struct json_writer *w, const char *text)
{
    put(w, text, (int64_t)strlen(text));
}

static void new_line(struct json_writer *w)
{
    if (!w->pretty)
        return;
    put(w, "\n", 1);
    for (int i = 0; i < w->depth; i++)
        put(w, "  ", 2);
}

/* Length of the UTF-8 sequence at p, or 0 when the bytes are none (RFC 3629). */
static int utf8_length(const unsigned char *p)
{
    int n = p[0] < 0x80                   ? 1
            : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
            : (p[0] & 0xf0) == 0xe0       ? 3
            : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                          : 0;
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0)))
        return 0;
    if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90)))
        return 0;
    return n;
}

/* Escapes what JSON wants escaped; bytes that are not UTF-8 become U+FFFD, so the text stays valid. */
static void put_quoted(struct json_writer *w, const char *text)
{
    static const char plain[] = "\"\\\b\f\n\r\t", escaped[] = "\"\\bfnrt";
    put(w, "\"", 1);
    const unsigned char *p = (const unsigned char *)text;
    while (*p != '\0') {
        const char *found = strchr(plain, *p);
        if (found != NULL) {
            char pair[2] = {'\\', escaped[found - plain]};
            put(w, pair, 2);
            p++;
        } else if (*p < 0x20) {
            char code[8];
            snprintf(code, sizeof code, "\\u%04x", *p);
            put(w, code, 6);
            p++;
        } else {
            int n = utf8_length(p);
            if (n == 0)
                put(w, "\xef\xbf\xbd", 3);
            else
                put(w, (const char *)p, n);
            p += n == 0 ? 1 : n;
        }
    }
    put(w, "\"", 1);
}

static void before_value(struct json_writer *w, const char *key)
{
    if (w->depth > 0) {
        if (!w->first[w->depth])
            put(w, ",", 1);
        new_line(w);
    }
    w->first[w->depth] = false;
    if (key != NULL) {
        put_quoted(w, key);
        put_text(w, w->pretty ? ": " : ":");
    }
}

static void begin(struct json_writer *w, const char *key, const char *opener, char closer)
{
    before_value(w, key);
    put(w, opener, 1);
    assert(w->depth + 1 < (int)sizeof w->closer);
    w->depth++;
    w->first[w->depth] = true;
    w->closer[w->depth] = closer;
}

void json_object_begin(struct json_writer *w, const char *key)
{
    begin(w, key, "{", '}');
}

void json_array_begin(struct json_writer *w, const char *key)
{
    begin(w, key, "[", ']');
}

void json_end(struct json_writer *w)
{
    bool empty = w->first[w->depth];
    char closer = w->closer[w->depth];
    w->depth--;
    if (!empty)
        new_line(w);
    put(w, &closer, 1);
    if (w->depth == 0 && w->pretty)
        put(w, "\n", 1);
}

void json_put_string(struct json_writer *w, const char *key, const char *value)
{
    before_value(w, key);
    if (value == NULL)
        put_text(w, "null");
    else
        put_quoted(w, value);
}

void json_put_int(struct json_writer *w, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    before_value(w, key);
    put_text(w, text);
}

void json_put_double(struct json_writer *w, const char *key, double value)
{
    char text[32];
    before_value(w, key);
    put_text(w, isfinite(value) ? str_from_double(text, value) : "null");
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
    before_value(w, key);
    put_text(w, value ? "true" : "false");
}

void json_writer_free(struct json_writer *w)
{
    free(w->text);
    *w = (struct json_writer){0};
}
