#include "db/row_sum.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size: it lives on the stack */
#include <xxhash.h>

/* Small pieces are put together first: most rows are hashed in one go. */
struct sum {
    unsigned char bytes[512];
    size_t n;
    bool streamed;
    XXH64_state_t state;
};

static void flush(struct sum *sum)
{
    if (!sum->streamed)
        XXH64_reset(&sum->state, 0);
    sum->streamed = true;
    XXH64_update(&sum->state, sum->bytes, sum->n);
    sum->n = 0;
}

static void put(struct sum *sum, const void *p, size_t n)
{
    if (sum->n + n > sizeof sum->bytes)
        flush(sum);
    if (n > sizeof sum->bytes) {
        XXH64_update(&sum->state, p, n);
        return;
    }
    memcpy(sum->bytes + sum->n, p, n);
    sum->n += n;
}

static int64_t result(struct sum *sum)
{
    if (!sum->streamed)
        return (int64_t)XXH64(sum->bytes, sum->n, 0);
    flush(sum);
    return (int64_t)XXH64_digest(&sum->state);
}

static void put_value(struct sum *sum, const struct value *value)
{
    static const int types[] = {[VALUE_INT] = SQLITE_INTEGER,
            [VALUE_REAL] = SQLITE_FLOAT,
            [VALUE_TEXT] = SQLITE_TEXT,
            [VALUE_BLOB] = SQLITE_BLOB,
            [VALUE_NULL] = SQLITE_NULL};
    double r = value->r + 0.0; /* the file does not keep a minus before zero */
    put(sum, &types[value->type], sizeof *types);
    switch (value->type) {
    case VALUE_INT:
        put(sum, &value->i, sizeof value->i);
        break;
    case VALUE_REAL:
        put(sum, &r, sizeof r);
        break;
    case VALUE_TEXT:
    case VALUE_BLOB:
        put(sum, &value->i, sizeof value->i);
        if (value->i > 0)
            put(sum, value->p, (size_t)value->i);
        break;
    case VALUE_NULL:
        break;
    }
}

static void row_sum(sqlite3_context *context, int n, sqlite3_value **values)
{
    struct sum sum;
    sum.n = 0;
    sum.streamed = false;
    for (int i = 0; i < n; i++) {
        struct value value;
        sql_take_value(&value, values[i]);
        put_value(&sum, &value);
    }
    sqlite3_result_int64(context, result(&sum));
}

int row_sum_register(sqlite3 *handle)
{
    return sqlite3_create_function(handle, "row_sum", -1,
            SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL, row_sum, NULL, NULL);
}

int64_t row_sum_of(const char *table, const struct value *values, int n)
{
    const struct value name = {.type = VALUE_TEXT, .i = (int64_t)strlen(table), .p = table};
    struct sum sum;
    sum.n = 0;
    sum.streamed = false;
    put_value(&sum, &name);
    for (int i = 0; i < n; i++)
        put_value(&sum, &values[i]);
    return result(&sum);
}
