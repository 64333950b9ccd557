#include <string.h>

#include "core/conf.h"
#include "core/conf_value.h"

static const char *type_name(enum conf_type type)
{
    switch (type) {
    case CONF_BOOL:
        return "true or false";
    case CONF_INT:
    case CONF_I64:
        return "whole number";
    case CONF_DOUBLE:
        return "number";
    case CONF_STRING:
        return "text";
    case CONF_ENUM:
        return "one of";
    case CONF_BYTES:
        return "size (`80GiB`)";
    case CONF_US:
        return "duration (`2.5ms`)";
    case CONF_RATE:
        return "rate (`25GB/s`)";
    case CONF_INT_LIST:
    case CONF_I64_LIST:
        return "list of whole numbers";
    case CONF_DOUBLE_LIST:
        return "list of numbers";
    case CONF_STRING_LIST:
        return "list of texts";
    case CONF_STRUCT:
        return "mapping";
    case CONF_STRUCT_LIST:
        return "list of mappings";
    }
    return "";
}

static void print_range(FILE *out, const struct conf_field *f, struct arena *arena)
{
    if (f->min == 0 && f->max == 0)
        return;
    double ends[2] = {f->min, f->max};
    const char *text[2];
    for (int i = 0; i < 2; i++) {
        struct conf_field shown = *f;
        int64_t bytes = ends[i] < 0x1p63 ? (int64_t)ends[i] : INT64_MAX;
        bool is_bytes = f->type == CONF_BYTES;
        if (!is_bytes && f->type != CONF_US && f->type != CONF_RATE)
            shown.type = CONF_DOUBLE;
        text[i] = conf_value_show(is_bytes ? (const void *)&bytes : &ends[i], &shown, arena);
    }
    fprintf(out, ", %s to %s", text[0], text[1]);
}

static void print_fields(
        FILE *out, const struct conf_table *table, const char *prefix, struct arena *arena)
{
    for (const struct conf_field *f = table->fields; f->key != NULL; f++) {
        fprintf(out, "| `%s%s` | %s", prefix, f->key, type_name(f->type));
        for (int i = 0; f->type == CONF_ENUM && f->names[i] != NULL; i++)
            fprintf(out, "%s `%s`", i == 0 ? "" : ",", f->names[i]);
        print_range(out, f, arena);
        if (f->required)
            fputs(" | required", out);
        else if (f->def != NULL)
            fprintf(out, " | `%s`", f->def);
        else
            fputs(" | ", out);
        fprintf(out, " | %s |\n", f->help);
        if (f->sub != NULL) {
            const char *dots = f->type == CONF_STRUCT_LIST ? "[]." : ".";
            print_fields(out, f->sub, arena_printf(arena, "%s%s%s", prefix, f->key, dots), arena);
        }
    }
}

void conf_document(FILE *out, const struct conf_table *table)
{
    struct arena arena = {0};
    if (table->format != NULL) {
        fputs("| key | value | default | meaning |\n|---|---|---|---|\n", out);
        fprintf(out, "| `format` | `%s` | required | the first line |\n", table->format);
        fprintf(out, "| `version` | whole number, 1 to %d | required | the second line |\n",
                table->version);
    }
    print_fields(out, table, "", &arena);
    arena_free(&arena);
}
