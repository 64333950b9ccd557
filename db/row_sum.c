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

static void put_type(struct sum *sum, int type)
{
    put(sum, &type, sizeof type);
}

static void put_int(struct sum *sum, int64_t i)
{
    put(sum, &i, sizeof i);
}

static void put_real(struct sum *sum, double r)
{
    r += 0.0; /* the file does not keep a minus before zero */
    put(sum, &r, sizeof r);
}

static void put_bytes(struct sum *sum, const void *p, int64_t bytes)
{
    put(sum, &bytes, sizeof bytes);
    if (bytes > 0)
        put(sum, p, (size_t)bytes);
}

static void put_value(struct sum *sum, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    put_type(sum, type);
    if (type == SQLITE_INTEGER)
        put_int(sum, sqlite3_value_int64(value));
    else if (type == SQLITE_FLOAT)
        put_real(sum, sqlite3_value_double(value));
    else if (type != SQLITE_NULL) {
        const void *p = sqlite3_value_blob(value);
        put_bytes(sum, p, sqlite3_value_bytes(value));
    }
}

static void row_sum(sqlite3_context *context, int n, sqlite3_value **values)
{
    struct sum sum;
    sum.n = 0;
    sum.streamed = false;
    for (int i = 0; i < n; i++)
        put_value(&sum, values[i]);
    sqlite3_result_int64(context, result(&sum));
}

int row_sum_register(sqlite3 *handle)
{
    return sqlite3_create_function(handle, "row_sum", -1,
            SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL, row_sum, NULL, NULL);
}

int64_t row_sum_of(sqlite3_stmt *stmt, const char *table, int n)
{
    struct sum sum;
    sum.n = 0;
    sum.streamed = false;
    put_type(&sum, SQLITE_TEXT);
    put_bytes(&sum, table, (int64_t)strlen(table));
    for (int i = 0; i < n; i++) /* unprotected values: a handle belongs to one thread */
        put_value(&sum, sqlite3_column_value(stmt, i));
    return result(&sum);
}
