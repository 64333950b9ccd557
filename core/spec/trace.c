/*
 * Request traces as they are published. Azure: CSV, one header line, times in 100 ns. Mooncake: one JSON
 * object a line, times in milliseconds. Rows are put in order of arrival; equal times keep their order.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/spec/workload.h"

#define MOST_TOKENS (1 << 28)

/* Where in the text the reader is. */
struct cursor {
    const char *at, *end, *line_start;
    struct pos pos;
};

static struct pos here(const struct cursor *c)
{
    struct pos pos = c->pos;
    pos.column = (int)(c->at - c->line_start) + 1;
    return pos;
}

static bool at_line_end(const struct cursor *c)
{
    return c->at == c->end || *c->at == '\n' || *c->at == '\r';
}

static void next_line(struct cursor *c)
{
    while (c->at < c->end && *c->at != '\n')
        c->at++;
    if (c->at < c->end)
        c->at++;
    c->line_start = c->at;
    c->pos.line++;
}

static int64_t count_lines(const char *text, int64_t len)
{
    int64_t n = 1;
    for (int64_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

static bool read_digits(struct cursor *c, int64_t *out, int most_digits, struct err *err)
{
    int n = 0;
    int64_t value = 0;
    struct pos start = here(c);
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (++n > most_digits)
            return err_at(err, start, "found a number of more than %d digits", most_digits);
        value = value * 10 + (*c->at++ - '0');
    }
    if (n == 0)
        return err_at(err, start, "expected digits");
    *out = value;
    return true;
}

static bool read_char(struct cursor *c, char wanted, struct err *err)
{
    if (at_line_end(c))
        return err_at(err, here(c), "the row ends early, expected \"%c\"", wanted);
    if (*c->at != wanted)
        return err_at(err, here(c), "found \"%c\", expected \"%c\"", *c->at, wanted);
    c->at++;
    return true;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, days_from_civil). */
static int64_t days_from_date(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Up to nine digits after the point, as nanoseconds. */
static bool read_fraction(struct cursor *c, int64_t *ns, struct err *err)
{
    const char *start = c->at;
    if (!read_digits(c, ns, 9, err))
        return false;
    for (int64_t n = c->at - start; n < 9; n++)
        *ns *= 10;
    return true;
}

/* "2023-11-16 18:15:46.6805900", also with "+00:00" behind it. */
static bool read_time(struct cursor *c, int64_t *ns, struct err *err)
{
    struct pos start = here(c);
    int64_t part[6] = {0}, fraction = 0;
    static const char between[] = "-- ::";
    for (int i = 0; i < 6; i++) {
        if (!read_digits(c, &part[i], i == 0 ? 4 : 2, err))
            return false;
        if (i < 5 && !read_char(c, between[i], err))
            return false;
    }
    if (part[0] < 1970 || part[0] > 2200 || part[1] < 1 || part[1] > 12 || part[2] < 1
            || part[2] > 31 || part[3] > 23 || part[4] > 59 || part[5] > 60)
        return err_at(err, start, "found a time that does not exist, expected YYYY-MM-DD HH:MM:SS");
    if (!at_line_end(c) && *c->at == '.') {
        c->at++;
        if (!read_fraction(c, &fraction, err))
            return false;
    }
    if (c->end - c->at >= 6 && memcmp(c->at, "+00:00", 6) == 0)
        c->at += 6;
    int64_t s = days_from_date(part[0], part[1], part[2]) * 86400 + part[3] * 3600 + part[4] * 60
                + part[5];
    *ns = s * 1000000000 + fraction;
    return true;
}

static bool read_length(struct cursor *c, int64_t *out, const char *what, struct err *err)
{
    struct pos start = here(c);
    if (!read_digits(c, out, 10, err))
        return false;
    if (*out < 1 || *out > MOST_TOKENS)
        return err_at(err, start, "%s is %lld, expected 1 to %d tokens", what, (long long)*out,
                MOST_TOKENS);
    return true;
}

static bool read_azure_row(struct cursor *c, struct request *r, struct err *err)
{
    if (!read_time(c, &r->arrival_ns, err) || !read_char(c, ',', err)
            || !read_length(c, &r->prompt_len, "ContextTokens", err) || !read_char(c, ',', err)
            || !read_length(c, &r->output_len, "GeneratedTokens", err))
        return false;
    if (!at_line_end(c))
        return err_at(err, here(c),
                "found \"%c\" after the last column, expected the end of the row", *c->at);
    return true;
}

struct keyed {
    struct request request;
    int64_t row;
};

static int by_arrival(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->request.arrival_ns != y->request.arrival_ns)
        return x->request.arrival_ns < y->request.arrival_ns ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

static bool in_order(const struct requests *requests)
{
    for (int64_t i = 1; i < requests->n; i++) {
        if (requests->items[i].arrival_ns < requests->items[i - 1].arrival_ns)
            return false;
    }
    return true;
}

static bool finish(struct requests *out, const char *path, struct err *err)
{
    if (out->n == 0)
        return err_set(err, ERR_INPUT, "%s: the trace has no requests", path);
    if (!in_order(out)) {
        struct keyed *rows = malloc((size_t)out->n * sizeof *rows);
        if (rows == NULL)
            return err_set(err, ERR_ENV, "%s: not enough memory to sort it", path);
        for (int64_t i = 0; i < out->n; i++)
            rows[i] = (struct keyed){out->items[i], i};
        qsort(rows, (size_t)out->n, sizeof *rows, by_arrival);
        for (int64_t i = 0; i < out->n; i++)
            out->items[i] = rows[i].request;
        free(rows);
    }
    int64_t first = out->items[0].arrival_ns;
    for (int64_t i = 0; i < out->n; i++)
        out->items[i].arrival_ns -= first;
    return true;
}

bool trace_read_azure(struct requests *out, const char *text, int64_t len, const char *path,
        struct arena *arena, struct err *err)
{
    static const char header[] = "TIMESTAMP,ContextTokens,GeneratedTokens";
    const int64_t header_len = (int64_t)sizeof header - 1;
    struct cursor c = {text, text + len, text, {arena_strdup(arena, path), 1, 1}};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        c.at = c.line_start = text + 3; /* a byte order mark */
    *out = (struct requests){0};
    if (c.end - c.at < header_len || memcmp(c.at, header, (size_t)header_len) != 0)
        return err_at(err, here(&c), "expected the header %s", header);
    c.at += header_len;
    if (!at_line_end(&c))
        return err_at(err, here(&c), "expected the header %s and no more columns", header);
    next_line(&c);
    out->items = ARENA_NEW(arena, struct request, count_lines(text, len));
    while (c.at < c.end) {
        if (!at_line_end(&c) && !read_azure_row(&c, &out->items[out->n++], err))
            return false;
        next_line(&c);
    }
    return finish(out, path, err);
}

static bool token_count(int64_t *out, const struct json_node *object, const char *key,
        struct pos line, struct err *err)
{
    *out = json_int(json_get(object, key), -1);
    if (*out < 1 || *out > MOST_TOKENS)
        return err_at(err, line, "\"%s\" must be a whole number from 1 to %d", key, MOST_TOKENS);
    return true;
}

static bool read_mooncake_row(struct request *r, const struct json_node *object, struct pos line,
        struct arena *arena, struct err *err)
{
    if (json_kind(object) != JSON_KIND_OBJECT)
        return err_at(err, line, "expected an object {\"timestamp\": ..., \"input_length\": ...}");
    double ms = json_double(json_get(object, "timestamp"), -1);
    if (!(ms >= 0 && ms < 9e12))
        return err_at(err, line, "\"timestamp\" must be milliseconds from 0 to 9e12");
    r->arrival_ns = llround(ms * 1e6);
    if (!token_count(&r->prompt_len, object, "input_length", line, err)
            || !token_count(&r->output_len, object, "output_length", line, err))
        return false;
    const struct json_node *hashes = json_get(object, "hash_ids");
    if (hashes == NULL)
        return true;
    if (json_kind(hashes) != JSON_KIND_ARRAY)
        return err_at(err, line, "\"hash_ids\" must be a list of whole numbers");
    int64_t n = json_count(hashes);
    int64_t *ids = ARENA_NEW(arena, int64_t, n);
    for (int64_t i = 0; i < n; i++) {
        const struct json_node *id = json_at(hashes, i);
        if (json_kind(id) != JSON_KIND_INT)
            return err_at(err, line, "\"hash_ids\" must be a list of whole numbers");
        ids[i] = json_int(id, 0);
    }
    r->prefix_hash = ids;
    r->n_prefix_hash = (int)n;
    return true;
}

bool trace_read_mooncake(struct requests *out, const char *text, int64_t len, const char *path,
        struct arena *arena, struct err *err)
{
    struct cursor c = {text, text + len, text, {arena_strdup(arena, path), 1, 1}};
    *out = (struct requests){.items = ARENA_NEW(arena, struct request, count_lines(text, len))};
    for (; c.at < c.end; next_line(&c)) {
        if (at_line_end(&c))
            continue;
        const char *line_end = memchr(c.at, '\n', (size_t)(c.end - c.at));
        int64_t line_len = (line_end == NULL ? c.end : line_end) - c.at;
        struct json *doc = json_read_at(c.at, line_len, here(&c), err);
        if (doc == NULL)
            return false;
        bool ok = read_mooncake_row(&out->items[out->n++], json_root(doc), here(&c), arena, err);
        json_close(doc);
        if (!ok)
            return false;
    }
    return finish(out, path, err);
}
