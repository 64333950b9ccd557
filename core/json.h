/*
 * json - the one door to jansson. Duplicate keys are refused; integers keep 63 bits; depth is limited.
 *
 * Reading gives borrowed nodes that live until json_close. Writing appends to a growing text.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

struct json;      /* a document */
struct json_node; /* borrowed from it */

/* Messages carry path:line:column. */
MUST_CHECK struct json *json_read(const char *text, int64_t len, const char *path, struct err *err);
/* The same for text that starts on another line of its file, such as one line of JSONL. */
MUST_CHECK struct json *json_read_at(
        const char *text, int64_t len, struct pos start, struct err *err);
void json_close(struct json *doc);
const struct json_node *json_root(const struct json *doc);

/* Names that jansson does not have, for a program's symbols go before a library's. */
enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_BOOL,
    JSON_KIND_INT,
    JSON_KIND_REAL,
    JSON_KIND_TEXT,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};
enum json_kind json_kind(const struct json_node *node); /* JSON_KIND_NULL for NULL */
const struct json_node *json_get(
        const struct json_node *object, const char *key); /* NULL if absent */
int64_t json_count(const struct json_node *node);         /* elements of an array or object */
const struct json_node *json_at(const struct json_node *array, int64_t i);
/* i-th member of an object in file order; walks from the start. Large objects: json_first. */
const struct json_node *json_member(const struct json_node *object, int64_t i, const char **key);
/* for (void *m = json_first(o); m != NULL; m = json_next(o, m)) value = json_member_value(m, &key); */
void *json_first(const struct json_node *object);
void *json_next(const struct json_node *object, void *member);
const struct json_node *json_member_value(void *member, const char **key);
const char *json_text(const struct json_node *node, const char *def);
int64_t json_int(const struct json_node *node, int64_t def); /* def when absent or not an integer */
double json_double(const struct json_node *node, double def); /* integers too */
bool json_bool(const struct json_node *node, bool def);

/* A writer: json_object_begin(w, NULL) … json_end(w). key is NULL inside arrays and at the top. */
struct json_writer {
    char *text;
    int64_t len, cap;
    int depth;
    bool first[64];
    char closer[64];
    bool pretty; /* two-space indentation */
};
void json_object_begin(struct json_writer *w, const char *key);
void json_array_begin(struct json_writer *w, const char *key);
void json_end(struct json_writer *w);
void json_put_string(
        struct json_writer *w, const char *key, const char *value); /* NULL writes null */
void json_put_int(struct json_writer *w, const char *key, int64_t value);
void json_put_double(struct json_writer *w, const char *key,
        double value); /* shortest that reads back; NaN, inf: null */
void json_put_bool(struct json_writer *w, const char *key, bool value);
void json_writer_free(struct json_writer *w);

#endif
