#include "core/conf_value.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/str.h"

static bool in_range(const struct conf_field *f, double value, const char *text, struct err *err)
{
    if ((f->min == 0 && f->max == 0) || (value >= f->min && value <= f->max))
        return true;
    char lo[32], hi[32];
    switch (f->type) {
    case CONF_BYTES:
        str_from_bytes(lo, (int64_t)f->min);
        str_from_bytes(hi, f->max < 0x1p63 ? (int64_t)f->max : INT64_MAX);
        break;
    case CONF_US:
        str_from_us(lo, f->min);
        str_from_us(hi, f->max);
        break;
    case CONF_RATE:
        str_from_bytes_per_s(lo, f->min);
        str_from_bytes_per_s(hi, f->max);
        break;
    default: /* plain numbers and lists of them */
        str_from_double(lo, f->min);
        str_from_double(hi, f->max);
        break;
    }
    return err_set(err, ERR_INPUT, "found %.60s, expected %s to %s", text, lo, hi);
}

static bool set_enum(int *to, const struct conf_field *f, const char *text, struct err *err)
{
    int n = 0;
    for (; f->names[n] != NULL; n++) {
        if (strcmp(f->names[n], text) == 0) {
            *to = n;
            return true;
        }
    }
    char all[256] = "";
    size_t used = 0;
    for (int i = 0; i < n && used + 1 < sizeof all; i++) {
        const char *glue = i == 0 ? "" : i == n - 1 ? " or " : ", ";
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", glue, f->names[i]);
    }
    const char *near = str_nearest(text, f->names, n);
    err_set(err, ERR_INPUT, "found \"%.60s\", expected %s", text, all);
    if (near != NULL) {
        size_t len = strlen(err->text);
        snprintf(err->text + len, sizeof err->text - len, "; did you mean \"%s\"?", near);
    }
    return false;
}

static bool set_bool(bool *to, const char *text, struct err *err)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return err_set(err, ERR_INPUT, "found \"%.60s\", expected true or false", text);
    *to = text[0] == 't';
    return true;
}

static bool set_int(int *to, const struct conf_field *f, const char *text, struct err *err)
{
    int64_t value = 0;
    if (!str_to_i64(&value, text, err) || !in_range(f, (double)value, text, err))
        return false;
    if (value < INT_MIN || value > INT_MAX)
        return err_set(err, ERR_INPUT, "found %.60s, expected a number of at most 31 bits", text);
    *to = (int)value;
    return true;
}

/* One value of a field, or one element of a list field, from its text. */
bool conf_value_set(void *to, const struct conf_field *f, const char *text, struct arena *arena,
        struct err *err)
{
    double *real = to;
    int64_t *wide = to;
    switch (f->type) {
    case CONF_BOOL:
        return set_bool(to, text, err);
    case CONF_INT:
    case CONF_INT_LIST:
        return set_int(to, f, text, err);
    case CONF_I64:
    case CONF_I64_LIST:
        return str_to_i64(wide, text, err) && in_range(f, (double)*wide, text, err);
    case CONF_DOUBLE:
    case CONF_DOUBLE_LIST:
        return str_to_double(real, text, err) && in_range(f, *real, text, err);
    case CONF_STRING:
    case CONF_STRING_LIST:
        *(const char **)to = arena_strdup(arena, text);
        return true;
    case CONF_ENUM:
        return set_enum(to, f, text, err);
    case CONF_BYTES:
        return str_to_bytes(wide, text, err) && in_range(f, (double)*wide, text, err);
    case CONF_US:
        return str_to_us(real, text, err) && in_range(f, *real, text, err);
    case CONF_RATE:
        return str_to_bytes_per_s(real, text, err) && in_range(f, *real, text, err);
    case CONF_STRUCT:
    case CONF_STRUCT_LIST:
        break;
    }
    return err_set(err, ERR_BUG, "a struct has no scalar value");
}

int64_t conf_element_bytes(const struct conf_field *f)
{
    switch (f->type) {
    case CONF_INT_LIST:
        return sizeof(int);
    case CONF_I64_LIST:
        return sizeof(int64_t);
    case CONF_DOUBLE_LIST:
        return sizeof(double);
    case CONF_STRING_LIST:
        return sizeof(char *);
    case CONF_STRUCT_LIST:
        return (int64_t)f->sub->size;
    default:
        return 0; /* not a list */
    }
}

const char *conf_value_show(const void *from, const struct conf_field *f, struct arena *arena)
{
    const double *real = from;
    const int64_t *wide = from;
    const int *narrow = from;
    char *buf = arena_alloc(arena, 32);
    int n = 0;
    switch (f->type) {
    case CONF_BOOL:
        return *(const bool *)from ? "true" : "false";
    case CONF_INT:
    case CONF_INT_LIST:
        snprintf(buf, 32, "%d", *narrow);
        return buf;
    case CONF_I64:
    case CONF_I64_LIST:
        snprintf(buf, 32, "%lld", (long long)*wide);
        return buf;
    case CONF_DOUBLE:
    case CONF_DOUBLE_LIST:
        return isfinite(*real) ? str_from_double(buf, *real) : NULL;
    case CONF_STRING:
    case CONF_STRING_LIST:
        return *(const char *const *)from;
    case CONF_ENUM:
        while (f->names[n] != NULL)
            n++;
        return *narrow >= 0 && *narrow < n ? f->names[*narrow] : NULL;
    case CONF_BYTES:
        return *wide >= 0 ? str_from_bytes(buf, *wide) : NULL;
    case CONF_US:
        return isfinite(*real) && *real >= 0 ? str_from_us(buf, *real) : NULL;
    case CONF_RATE:
        return isfinite(*real) && *real >= 0 ? str_from_bytes_per_s(buf, *real) : NULL;
    case CONF_STRUCT:
    case CONF_STRUCT_LIST:
        break;
    }
    return NULL;
}
