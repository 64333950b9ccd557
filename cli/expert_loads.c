#include "cli/expert_loads.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"

#define MOST_LAYERS  65536
#define MOST_EXPERTS 4096

struct reader {
    struct expert_loads *out;
    const char *path;
    int64_t cap;
    int n_row; /* numbers of the row that is being read */
    struct arena *arena;
    struct err *err;
};

static bool take(struct reader *r, double load, struct pos pos)
{
    int64_t n = (int64_t)r->out->n_layers * r->out->n_experts + r->n_row;
    if (!isfinite(load) || load < 0)
        return err_at(r->err, pos, "found the load %g, expected a number of 0 or more", load);
    if (r->n_row == MOST_EXPERTS)
        return err_at(r->err, pos, "found more than %d experts in a row", MOST_EXPERTS);
    if (n == r->cap) {
        int64_t cap = r->cap > 0 ? 2 * r->cap : 1024;
        r->out->load = arena_grow(r->arena, r->out->load, n, cap, sizeof *r->out->load);
        r->cap = cap;
    }
    r->out->load[n] = load;
    r->n_row++;
    return true;
}

static bool end_row(struct reader *r, struct pos pos)
{
    if (r->out->n_layers == 0)
        r->out->n_experts = r->n_row;
    if (r->n_row != r->out->n_experts)
        return err_at(r->err, pos, "the row has %d numbers, expected %d as in the first row",
                r->n_row, r->out->n_experts);
    if (r->out->n_layers == MOST_LAYERS)
        return err_at(r->err, pos, "found more than %d rows", MOST_LAYERS);
    r->out->n_layers++;
    r->n_row = 0;
    return true;
}

/* One cell from at; *at goes to the comma or the end of the line behind it. */
static bool read_cell(struct reader *r, const char **at, const char *end, struct pos pos)
{
    char *stop;
    while (*at < end && (**at == ' ' || **at == '\t'))
        ++*at;
    double load = strtod(*at, &stop);
    bool number = stop > *at && stop <= end;
    while (number && stop < end && isspace((unsigned char)*stop))
        stop++;
    if (number && (stop == end || *stop == ',')) {
        *at = stop;
        return take(r, load, pos);
    }
    const char *comma = memchr(*at, ',', (size_t)(end - *at));
    int64_t len = (comma != NULL ? comma : end) - *at;
    return err_at(r->err, pos, "found \"%.*s\", expected the load of an expert, a number",
            (int)(len < 40 ? len : 40), *at);
}

static bool read_line(struct reader *r, const char *line, const char *end, int number)
{
    const char *at = line;
    struct pos pos = {r->path, number, 1};
    for (;;) {
        pos.column = (int)(at - line) + 1;
        if (!read_cell(r, &at, end, pos))
            return false;
        if (at == end)
            return end_row(r, (struct pos){r->path, number, 1});
        at++;
    }
}

/* Names of columns: a first line whose first word begins with a letter. */
static bool is_header(const char *line, int number)
{
    while (*line == ' ' || *line == '"')
        line++;
    return number == 1 && (isalpha((unsigned char)*line) || *line == '#');
}

static bool read_csv(struct reader *r, const char *text, int64_t len)
{
    const char *stop = text + len;
    int number = 1;
    for (const char *line = text; line < stop; number++) {
        const char *end = memchr(line, '\n', (size_t)(stop - line));
        end = end != NULL ? end : stop;
        const char *last = end;
        while (last > line && isspace((unsigned char)last[-1]))
            last--;
        if (last > line && !is_header(line, number) && !read_line(r, line, last, number))
            return false;
        line = end + 1;
    }
    return true;
}

static bool read_json_row(struct reader *r, const struct json_node *row, int64_t i)
{
    struct pos file = {r->path, 0, 0};
    if (json_kind(row) != JSON_KIND_ARRAY)
        return err_at(r->err, file, "row %lld is no array, expected one number for each expert",
                (long long)i + 1);
    for (int64_t j = 0; j < json_count(row); j++) {
        const struct json_node *cell = json_at(row, j);
        bool number = json_kind(cell) == JSON_KIND_INT || json_kind(cell) == JSON_KIND_REAL;
        if (!number)
            return err_at(r->err, file, "row %lld, element %lld is no number", (long long)i + 1,
                    (long long)j + 1);
        if (!take(r, json_double(cell, 0), file))
            return err_context(
                    r->err, "row %lld, element %lld", (long long)i + 1, (long long)j + 1);
    }
    return end_row(r, file) || err_context(r->err, "row %lld", (long long)i + 1);
}

static bool read_json(struct reader *r, const char *text, int64_t len)
{
    struct json *doc = json_read(text, len, r->path, r->err);
    bool ok = doc != NULL;
    for (int64_t i = 0; ok && i < json_count(json_root(doc)); i++)
        ok = read_json_row(r, json_at(json_root(doc), i), i);
    json_close(doc);
    return ok;
}

bool expert_loads_read(
        struct expert_loads *out, const char *path, struct arena *arena, struct err *err)
{
    char *text;
    int64_t len;
    *out = (struct expert_loads){0};
    struct reader r = {out, path, .arena = arena, .err = err};
    if (!file_read(&text, &len, path, arena, err))
        return false;
    const char *first = text;
    while (isspace((unsigned char)*first))
        first++;
    if (*first == '[' ? !read_json(&r, text, len) : !read_csv(&r, text, len))
        return false;
    if (out->n_layers == 0 || out->n_experts == 0)
        return err_at(err, (struct pos){path, 1, 1},
                "found no loads, expected one row of numbers for each layer");
    return true;
}
