#include "core/conf_json.h"

#include <stdio.h>
#include <string.h>

#include "core/conf_value.h"

/* The key with the unit that a bare number needs. */
static const char *key_of(char *buf, size_t room, const struct conf_field *field)
{
    const char *unit = field->type == CONF_BYTES  ? "_bytes"
                       : field->type == CONF_US   ? "_us"
                       : field->type == CONF_RATE ? "_bytes_per_s"
                                                  : "";
    snprintf(buf, room, "%s%s", field->key, unit);
    return buf;
}

/* One value, or one element of a list; key NULL inside arrays. */
static void put_value(
        struct json_writer *w, const char *key, const void *at, const struct conf_field *field)
{
    switch (field->type) {
    case CONF_BOOL:
        json_put_bool(w, key, *(const bool *)at);
        break;
    case CONF_INT:
    case CONF_INT_LIST:
        json_put_int(w, key, *(const int *)at);
        break;
    case CONF_I64:
    case CONF_I64_LIST:
    case CONF_BYTES:
        json_put_int(w, key, *(const int64_t *)at);
        break;
    case CONF_DOUBLE:
    case CONF_DOUBLE_LIST:
    case CONF_US:
    case CONF_RATE:
        json_put_double(w, key, *(const double *)at);
        break;
    case CONF_STRING:
    case CONF_STRING_LIST:
        json_put_string(w, key, *(const char *const *)at);
        break;
    case CONF_ENUM:
        json_put_string(w, key, field->names[*(const int *)at]);
        break;
    case CONF_STRUCT:
    case CONF_STRUCT_LIST:
        break;
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): tables nest a few levels deep. */
static void put_list(
        struct json_writer *w, const char *key, const char *in, const struct conf_field *field)
{
    const char *elements = *(const char *const *)(const void *)(in + field->at);
    int n = *(const int *)(const void *)(in + field->count);
    bool structs = field->type == CONF_STRUCT_LIST;
    int64_t bytes = structs ? (int64_t)field->sub->size : conf_element_bytes(field);
    json_array_begin(w, key);
    for (int i = 0; i < n; i++) {
        if (!structs) {
            put_value(w, NULL, elements + i * bytes, field);
            continue;
        }
        json_object_begin(w, NULL);
        conf_put_json(w, elements + i * bytes, field->sub);
        json_end(w);
    }
    json_end(w);
}

/* NOLINTNEXTLINE(misc-no-recursion) */
void conf_put_json(struct json_writer *w, const void *in, const struct conf_table *table)
{
    for (const struct conf_field *field = table->fields; field->key != NULL; field++) {
        char key[96];
        key_of(key, sizeof key, field);
        const char *base = in;
        if (field->type == CONF_STRUCT) {
            json_object_begin(w, key);
            conf_put_json(w, base + field->at, field->sub);
            json_end(w);
        } else if (field->type == CONF_STRUCT_LIST || conf_element_bytes(field) > 0) {
            put_list(w, key, base, field);
        } else {
            put_value(w, key, base + field->at, field);
        }
    }
}
