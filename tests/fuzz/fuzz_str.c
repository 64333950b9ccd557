/* Option and field values: what is accepted must be written so that it reads back as the same value. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"

/* NOLINTNEXTLINE(readability-identifier-naming): the library gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sizes(const char *text)
{
    struct err err = {0};
    char buf[32];
    int64_t bytes = 0, back = 0;
    if (str_to_bytes(&bytes, text, &err)
            && (bytes < 0 || !str_to_bytes(&back, str_from_bytes(buf, bytes), &err)
                    || back != bytes))
        abort();
    err_clear(&err);
    if (str_to_i64(&bytes, text, &err))
        str_show_bytes(buf, (double)bytes);
}

static void reals(const char *text)
{
    struct err err = {0};
    char buf[32];
    double value = 0, back = 0;
    if (str_to_us(&value, text, &err)
            && (!(value >= 0) || !str_to_us(&back, str_from_us(buf, value), &err) || back != value))
        abort();
    err_clear(&err);
    if (str_to_bytes_per_s(&value, text, &err)
            && (!str_to_bytes_per_s(&back, str_from_bytes_per_s(buf, value), &err)
                    || back != value))
        abort();
    err_clear(&err);
    if (str_to_double(&value, text, &err)
            && (!str_to_double(&back, str_from_double(buf, value), &err) || back != value))
        abort();
    if (err.kind == ERR_NONE && fabs(value) < 1e15)
        str_show_us(buf, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"prompt", "output", "requests"};
    char text[256];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    sizes(text);
    reals(text);
    str_nearest(text, names, 3);
    return 0;
}
