/*
 * Every value is turned to text first (conf_value_show) and compared with that of a struct that has only
 * its defaults: what reads back the same is left out. libyaml's emitter does quoting and indentation.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "core/conf.h"
#include "core/conf_value.h"

struct writer {
    yaml_emitter_t emitter;
    char *text;
    size_t len, room;
    struct arena *arena;
    struct err *err;
};

static bool write_members(struct writer *w, const struct conf_table *table, const void *in);

static int append(void *self, unsigned char *bytes, size_t n)
{
    struct writer *w = self;
    if (w->len + n + 1 > w->room) {
        size_t room = w->room * 2 + n + 1024;
        char *more = realloc(w->text, room);
        if (more == NULL)
            return 0;
        w->text = more;
        w->room = room;
    }
    memcpy(w->text + w->len, bytes, n);
    w->len += n;
    w->text[w->len] = '\0';
    return 1;
}

/* The initialisers of libyaml return 0 only without memory; emit takes the event over in any case. */
static bool emit(struct writer *w, int initialised, yaml_event_t *event)
{
    if (initialised && yaml_emitter_emit(&w->emitter, event))
        return true;
    const char *problem = w->emitter.problem == NULL ? "not enough memory" : w->emitter.problem;
    return err_set(w->err, initialised && w->emitter.error != YAML_MEMORY_ERROR ? ERR_BUG : ERR_ENV,
            "writing YAML: %s", problem);
}

/* Text that another YAML reader would take for a number, a truth or nothing is quoted. */
static bool looks_typed(const char *text)
{
    static const char *const words[] = {"~", "null", "Null", "NULL", "true", "True", "TRUE",
            "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON",
            "off", "Off", "OFF", "y", "Y", "n", "N"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], text) == 0)
            return true;
    }
    if (text[0] == '\0')
        return true;
    char *end = NULL;
    strtod(text, &end);
    return end != text && *end == '\0';
}

static bool put_text(struct writer *w, const char *text, bool is_string)
{
    yaml_event_t event;
    yaml_scalar_style_t style = is_string && looks_typed(text) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
                                                               : YAML_ANY_SCALAR_STYLE;
    char *copy = arena_strdup(w->arena, text);
    errno = 0; /* the initialiser does not tell which it is: no memory, or not UTF-8 */
    int made = yaml_scalar_event_initialize(
            &event, NULL, NULL, (yaml_char_t *)copy, (int)strlen(copy), 1, 1, style);
    if (!made && errno != ENOMEM)
        return err_set(w->err, ERR_BUG, "writing YAML: text that is not UTF-8: \"%.60s\"", text);
    return emit(w, made, &event);
}

static bool put_value(struct writer *w, const void *from, const struct conf_field *f)
{
    const char *text = conf_value_show(from, f, w->arena);
    if (text == NULL)
        return err_set(w->err, ERR_BUG, "writing %s: it has no value that can be written", f->key);
    return put_text(w, text, f->type == CONF_STRING || f->type == CONF_STRING_LIST);
}

static bool begin_mapping(struct writer *w)
{
    yaml_event_t event;
    int made = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE);
    return emit(w, made, &event);
}

static bool end_mapping(struct writer *w)
{
    yaml_event_t event;
    return emit(w, yaml_mapping_end_event_initialize(&event), &event);
}

static int list_count(const char *in, const struct conf_field *f)
{
    int n = 0;
    memcpy(&n, in + f->count, sizeof n);
    return n;
}

static const char *list_items(const char *in, const struct conf_field *f)
{
    const char *items = NULL;
    memcpy(&items, in + f->at, sizeof items);
    return items;
}

static bool put_list(struct writer *w, const char *in, const struct conf_field *f)
{
    yaml_event_t event;
    bool structs = f->type == CONF_STRUCT_LIST;
    int made = yaml_sequence_start_event_initialize(
            &event, NULL, NULL, 1, structs ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE);
    if (!emit(w, made, &event))
        return false;
    const char *items = list_items(in, f);
    int64_t bytes = conf_element_bytes(f);
    for (int i = 0; i < list_count(in, f); i++) {
        const char *item = items + i * bytes;
        bool ok = structs ? begin_mapping(w) && write_members(w, f->sub, item) && end_mapping(w)
                          : put_value(w, item, f);
        if (!ok)
            return false;
    }
    return emit(w, yaml_sequence_end_event_initialize(&event), &event);
}

static bool same_text(const void *a, const void *b, const struct conf_field *f, struct arena *arena)
{
    const char *x = conf_value_show(a, f, arena), *y = conf_value_show(b, f, arena);
    if (x == NULL || y == NULL)
        return x == y && f->type == CONF_STRING;
    return strcmp(x, y) == 0;
}

/* Whether a struct that has only defaults would hold the same. */
static bool same(const char *in, const char *def, const struct conf_field *f, struct arena *arena)
{
    if (f->type == CONF_STRUCT) {
        for (const struct conf_field *g = f->sub->fields; g->key != NULL; g++) {
            if (!same(in + f->at, def + f->at, g, arena))
                return false;
        }
        return true;
    }
    int64_t bytes = conf_element_bytes(f);
    if (bytes == 0)
        return same_text(in + f->at, def + f->at, f, arena);
    if (list_count(in, f) != list_count(def, f))
        return false;
    for (int i = 0; i < list_count(in, f); i++) {
        if (f->type == CONF_STRUCT_LIST)
            return false; /* these have no defaults */
        if (!same_text(list_items(in, f) + i * bytes, list_items(def, f) + i * bytes, f, arena))
            return false;
    }
    return true;
}

static bool write_members(struct writer *w, const struct conf_table *table, const void *in)
{
    char *def = arena_alloc(w->arena, (int64_t)table->size);
    if (!conf_defaults(def, table, w->arena, w->err))
        return false;
    for (const struct conf_field *f = table->fields; f->key != NULL; f++) {
        if (!f->required && same(in, def, f, w->arena))
            continue;
        if (!put_text(w, f->key, false))
            return false;
        bool ok = false;
        if (f->type == CONF_STRUCT)
            ok = begin_mapping(w) && write_members(w, f->sub, (const char *)in + f->at)
                 && end_mapping(w);
        else if (conf_element_bytes(f) > 0)
            ok = put_list(w, in, f);
        else
            ok = put_value(w, (const char *)in + f->at, f);
        if (!ok)
            return false;
    }
    return true;
}

static bool write_document(struct writer *w, const struct conf_table *table, const void *in)
{
    yaml_event_t event;
    char version[16];
    snprintf(version, sizeof version, "%d", table->version);
    bool ok = emit(w, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event)
              && emit(w, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1), &event);
    ok = ok && begin_mapping(w) && put_text(w, "format", false) && put_text(w, table->format, false)
         && put_text(w, "version", false) && put_text(w, version, false);
    ok = ok && write_members(w, table, in) && end_mapping(w);
    return ok && emit(w, yaml_document_end_event_initialize(&event, 1), &event)
           && emit(w, yaml_stream_end_event_initialize(&event), &event);
}

bool conf_write(char **text, const void *in, const struct conf_table *table, struct arena *arena,
        struct err *err)
{
    struct writer w = {.err = err};
    if (!yaml_emitter_initialize(&w.emitter))
        return err_set(err, ERR_ENV, "writing YAML: not enough memory");
    struct arena scratch = {0};
    w.arena = &scratch;
    yaml_emitter_set_output(&w.emitter, append, &w);
    yaml_emitter_set_width(&w.emitter, -1); /* long texts stay on one line */
    yaml_emitter_set_unicode(&w.emitter, 1);
    yaml_emitter_set_indent(&w.emitter, 2);
    bool ok = write_document(&w, table, in) && yaml_emitter_flush(&w.emitter);
    yaml_emitter_delete(&w.emitter);
    if (ok)
        *text = arena_strndup(arena, w.text, (int64_t)w.len);
    arena_free(&scratch);
    free(w.text);
    return ok;
}
