/*
 * One pass over libyaml's events. The table of the struct being read says what each key must hold; the
 * current event is always the first event of the value at hand when a read_ function is entered, and
 * the last one when it returns.
 */
#include "core/conf.h"

#include <string.h>

#include <yaml.h>

#include "core/conf_value.h"
#include "core/file.h"
#include "core/str.h"

#define MOST_DEPTH 32
#define MOST_BYTES (16 << 20)

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool have_event;
    int depth;
    const char *path;
    struct arena *arena;
    struct err *err;
};

static bool read_members(
        struct reader *r, const struct conf_table *table, void *out, struct pos start);

static struct pos pos_of(const struct reader *r)
{
    yaml_mark_t mark = r->event.start_mark;
    return (struct pos){r->path, (int)mark.line + 1, (int)mark.column + 1};
}

static bool parser_failed(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return err_set(r->err, ERR_ENV, "%s: not enough memory to read it", r->path);
    yaml_mark_t mark = p->problem_mark;
    struct pos pos = {r->path, (int)mark.line + 1, (int)mark.column + 1};
    const char *problem = p->problem == NULL ? "unreadable" : p->problem;
    if (p->error == YAML_READER_ERROR)
        return err_set(r->err, ERR_INPUT, "%s: byte %zu: %s, expected UTF-8 text", r->path,
                p->problem_offset, problem);
    return err_at(r->err, pos, "%s, expected YAML", problem);
}

/* Aliases make small files large, and anchors and tags are of no use without them. */
static bool event_allowed(struct reader *r)
{
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return err_at(r->err, pos_of(r), "found an alias, expected the value itself");
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        r->depth++;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        r->depth++;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
    if (anchor != NULL)
        return err_at(r->err, pos_of(r), "found the anchor \"&%.40s\", expected a plain value",
                (const char *)anchor);
    if (tag != NULL)
        return err_at(r->err, pos_of(r), "found the tag \"%.40s\", expected a plain value",
                (const char *)tag);
    if (r->depth > MOST_DEPTH)
        return err_at(r->err, pos_of(r), "nested deeper than %d levels", MOST_DEPTH);
    return true;
}

static void drop_event(struct reader *r)
{
    if (r->have_event)
        yaml_event_delete(&r->event);
    r->have_event = false;
}

static bool next(struct reader *r)
{
    drop_event(r);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return parser_failed(r);
    r->have_event = true;
    return event_allowed(r);
}

/* The text of the current scalar, or NULL with err filled. */
static const char *scalar(struct reader *r, const char *key, const char *expected)
{
    if (r->event.type != YAML_SCALAR_EVENT) {
        const char *found = r->event.type == YAML_MAPPING_START_EVENT ? "a mapping" : "a list";
        err_at(r->err, pos_of(r), "%s: found %s, expected %s", key, found, expected);
        return NULL;
    }
    const char *text = (const char *)r->event.data.scalar.value;
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)) {
        err_at(r->err, pos_of(r), "%s: found nothing, expected %s", key, expected);
        return NULL;
    }
    if (strlen(text) != r->event.data.scalar.length) {
        err_at(r->err, pos_of(r), "%s: found text with a NUL character in it", key);
        return NULL;
    }
    return text;
}

static bool read_scalar(struct reader *r, void *to, const struct conf_field *f)
{
    const char *text = scalar(r, f->key, f->help);
    if (text == NULL)
        return false;
    if (conf_value_set(to, f, text, r->arena, r->err))
        return true;
    struct pos pos = pos_of(r);
    return err_context(r->err, "%s:%d:%d: %s", pos.path, pos.line, pos.column, f->key);
}

static bool read_struct(struct reader *r, void *to, const struct conf_field *f)
{
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return err_at(r->err, pos_of(r), "%s: found %s, expected a mapping with the keys of %s",
                f->key, r->event.type == YAML_SCALAR_EVENT ? "a single value" : "a list",
                f->sub->help);
    return read_members(r, f->sub, to, pos_of(r));
}

static bool read_list(struct reader *r, char *out, const struct conf_field *f)
{
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return err_at(r->err, pos_of(r), "%s: found %s, expected a list", f->key,
                r->event.type == YAML_SCALAR_EVENT ? "a single value" : "a mapping");
    int64_t bytes = conf_element_bytes(f), room = 0;
    int n = 0;
    char *items = NULL;
    while (true) {
        if (!next(r))
            return false;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (n == room) {
            room = room == 0 ? 4 : room * 2;
            items = arena_grow(r->arena, items, n, room, bytes);
        }
        void *to = items + n * bytes;
        bool ok = f->type == CONF_STRUCT_LIST ? read_struct(r, to, f) : read_scalar(r, to, f);
        if (!ok)
            return false;
        n++;
    }
    memcpy(out + f->at, &items, sizeof items);
    memcpy(out + f->count, &n, sizeof n);
    return true;
}

static bool read_value(struct reader *r, char *out, const struct conf_field *f)
{
    if (f->type == CONF_STRUCT)
        return read_struct(r, out + f->at, f);
    return conf_element_bytes(f) > 0 ? read_list(r, out, f) : read_scalar(r, out + f->at, f);
}

static bool reader_open(struct reader *r, const char *text, int64_t len)
{
    if (!yaml_parser_initialize(&r->parser))
        return err_set(r->err, ERR_ENV, "%s: not enough memory to read it", r->path);
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, (size_t)len);
    return true;
}

/* Moves n events on. */
static bool skip(struct reader *r, int n)
{
    while (n-- > 0) {
        if (!next(r))
            return false;
    }
    return true;
}

static void reader_close(struct reader *r)
{
    drop_event(r);
    yaml_parser_delete(&r->parser);
}

/* Defaults are written in the table as a person would write them in the file, lists included. */
static bool set_default(char *out, const struct conf_field *f, struct arena *arena, struct err *err)
{
    if (conf_element_bytes(f) == 0)
        return conf_value_set(out + f->at, f, f->def, arena, err);
    struct reader r = {.path = f->key, .arena = arena, .err = err};
    if (!reader_open(&r, f->def, (int64_t)strlen(f->def)))
        return false;
    /* stream start, document start, sequence start */
    bool ok = skip(&r, 3) && read_list(&r, out, f);
    reader_close(&r);
    return ok;
}

bool conf_defaults(void *out, const struct conf_table *table, struct arena *arena, struct err *err)
{
    for (const struct conf_field *f = table->fields; f->key != NULL; f++) {
        bool ok = true;
        if (f->type == CONF_STRUCT)
            ok = conf_defaults((char *)out + f->at, f->sub, arena, err);
        else if (f->def != NULL)
            ok = set_default(out, f, arena, err);
        if (!ok) {
            err->kind = ERR_BUG;
            return err_context(err, "default of %s", f->key);
        }
    }
    return true;
}

static const struct conf_field *find_field(const struct conf_table *table, const char *key, int *n)
{
    const struct conf_field *found = NULL;
    *n = 0;
    for (const struct conf_field *f = table->fields; f->key != NULL; f++, (*n)++) {
        if (strcmp(f->key, key) == 0)
            found = f;
    }
    return found;
}

static bool unknown_key(struct reader *r, const struct conf_table *table, const char *key, int n)
{
    const char **names = ARENA_NEW(r->arena, const char *, n);
    for (int i = 0; i < n; i++)
        names[i] = table->fields[i].key;
    const char *near = str_nearest(key, names, n);
    if (near != NULL)
        return err_at(r->err, pos_of(r), "unknown key \"%.60s\", did you mean \"%s\"?", key, near);
    char *all = arena_strdup(r->arena, "");
    for (int i = 0; i < n; i++)
        all = arena_printf(r->arena, "%s%s%s", all, i == 0 ? "" : ", ", names[i]);
    return err_at(r->err, pos_of(r), "unknown key \"%.60s\", expected one of %s", key, all);
}

/* The current event is a key. */
static bool read_member(
        struct reader *r, const struct conf_table *table, void *out, struct pos *seen)
{
    const char *key = scalar(r, "key", "a name");
    if (key == NULL)
        return false;
    int n = 0;
    const struct conf_field *f = find_field(table, key, &n);
    if (f == NULL)
        return unknown_key(r, table, key, n);
    struct pos *first = &seen[f - table->fields];
    if (first->line > 0)
        return err_at(r->err, pos_of(r), "duplicate key \"%s\", first given on line %d", key,
                first->line);
    *first = pos_of(r);
    if (!next(r))
        return false;
    if (f->pos != 0)
        *(struct pos *)((char *)out + f->pos) = pos_of(r);
    return read_value(r, out, f);
}

/* The current event is the start of the mapping, or the last value of its header. */
static bool read_members(
        struct reader *r, const struct conf_table *table, void *out, struct pos start)
{
    int n = 0;
    find_field(table, "", &n);
    struct pos *seen = ARENA_NEW(r->arena, struct pos, n);
    if (!conf_defaults(out, table, r->arena, r->err))
        return false;
    while (next(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        if (!read_member(r, table, out, seen))
            return false;
    }
    if (r->err->kind != ERR_NONE)
        return false;
    for (int i = 0; i < n; i++) {
        if (table->fields[i].required && seen[i].line == 0)
            return err_at(r->err, start, "the key \"%s\" is missing (%s)", table->fields[i].key,
                    table->fields[i].help);
    }
    return true;
}

/* Moves to the value of `key`, which must come next. */
static const char *header_value(struct reader *r, const char *key, const char *hint)
{
    if (!next(r))
        return NULL;
    if (r->event.type != YAML_SCALAR_EVENT
            || strcmp((const char *)r->event.data.scalar.value, key) != 0) {
        err_at(r->err, pos_of(r), "expected \"%s: %s", key, hint);
        return NULL;
    }
    return next(r) ? scalar(r, key, "a value") : NULL;
}

/* `format: NAME` and `version: N`, in this order, before anything else. */
static bool read_header(struct reader *r, const struct conf_table *table)
{
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return err_at(
                r->err, pos_of(r), "found no keys, expected \"format: %s\" first", table->format);
    const char *hint = arena_printf(r->arena, "%s\" as the first line", table->format);
    const char *format = header_value(r, "format", hint);
    if (format == NULL)
        return false;
    if (strcmp(format, table->format) != 0)
        return err_at(r->err, pos_of(r),
                "found the format \"%.60s\", expected \"%s\": is this the right file?", format,
                table->format);
    hint = arena_printf(r->arena, "%d\" after the format", table->version);
    const char *text = header_value(r, "version", hint);
    int64_t version = 0;
    if (text == NULL)
        return false;
    struct pos pos = pos_of(r);
    if (!str_to_i64(&version, text, r->err))
        return err_context(r->err, "%s:%d:%d: version", pos.path, pos.line, pos.column);
    if (version < 1 || version > table->version)
        return err_at(r->err, pos, "found version %lld, this build reads versions 1 to %d%s",
                (long long)version, table->version, version < 1 ? "" : "; use a newer shardwright");
    return true;
}

static bool read_document(struct reader *r, const struct conf_table *table, void *out)
{
    if (!skip(r, 2)) /* stream start, then document start or stream end */
        return false;
    if (r->event.type == YAML_STREAM_END_EVENT)
        return err_set(r->err, ERR_INPUT, "%s: is empty, expected \"format: %s\" first", r->path,
                table->format);
    if (!next(r))
        return false;
    struct pos start = pos_of(r);
    if (!read_header(r, table) || !read_members(r, table, out, start))
        return false;
    if (!skip(r, 2)) /* document end, then stream end or another document */
        return false;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return err_at(r->err, pos_of(r), "found a second document, expected one");
    return true;
}

bool conf_read(void *out, const struct conf_table *table, const char *text, int64_t len,
        const char *path, struct arena *arena, struct err *err)
{
    memset(out, 0, table->size);
    struct reader r = {.path = arena_strdup(arena, path), .arena = arena, .err = err};
    if (len > MOST_BYTES)
        return err_set(err, ERR_INPUT, "%s: is %lld bytes long, expected at most 16MiB", path,
                (long long)len);
    if (!reader_open(&r, text, len))
        return false;
    bool ok = read_document(&r, table, out);
    reader_close(&r);
    return ok;
}

bool conf_read_file(void *out, const struct conf_table *table, const char *path,
        struct arena *arena, struct err *err)
{
    char *text = NULL;
    int64_t len = 0;
    if (!file_read(&text, &len, path, arena, err))
        return false;
    return conf_read(out, table, text, len, strcmp(path, "-") == 0 ? "stdin" : path, arena, err);
}
