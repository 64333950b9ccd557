/*
 * conf - YAML text to struct, by a table of fields. conf_write goes the other way by the same table.
 *
 * Reads with libyaml events only: depth at most 32, size at most 16 MiB, no aliases, no anchors, no
 * duplicate keys. Every file starts with `format: NAME` and `version: N`; a newer version is refused.
 * Unknown keys are refused with the nearest known name. Messages carry path:line:column.
 */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/arena.h"
#include "core/err.h"

enum conf_type {
    CONF_BOOL,        /* bool */
    CONF_INT,         /* int */
    CONF_I64,         /* int64_t */
    CONF_DOUBLE,      /* double, a plain number */
    CONF_STRING,      /* const char * in the arena; absent = NULL or .def */
    CONF_ENUM,        /* int-sized enum; .names is a NULL-terminated list, value = index */
    CONF_BYTES,       /* int64_t, "80GiB" */
    CONF_US,          /* double microseconds, "2.5ms" */
    CONF_RATE,        /* double bytes per second, "400Gbit/s" */
    CONF_INT_LIST,    /* const int * in the arena, count in int at .count */
    CONF_I64_LIST,    /* const int64_t * in the arena, count in int at .count */
    CONF_DOUBLE_LIST, /* const double * in the arena, count in int at .count */
    CONF_STRING_LIST, /* const char *const * in the arena, count in int at .count */
    CONF_STRUCT,      /* nested struct in place, described by .sub */
    CONF_STRUCT_LIST  /* array of .sub->size in the arena, count in int at .count */
};

struct conf_field {
    const char *key;
    enum conf_type type;
    size_t at;    /* offsetof the value */
    size_t count; /* offsetof the int count, for lists */
    bool required;
    double min, max; /* for numbers, sizes, durations and rates; both 0 = unchecked */
    const char *def; /* default, as text in YAML's form; NULL = zero */
    const char *const *names;
    const struct conf_table *sub;
    size_t pos;       /* offsetof a struct pos that keeps where the value stood; 0 = not kept */
    const char *help; /* one line for the reference page; never empty (a test checks) */
};

struct conf_table {
    const char *format;              /* top-level tables: the name after `format:`; nested: NULL */
    int version;                     /* newest version this build reads and the one it writes */
    size_t size;                     /* sizeof the struct */
    const struct conf_field *fields; /* ends with key == NULL */
    const char *help;
};

/* out is zeroed first. path is for messages; the bytes need not come from a file. */
MUST_CHECK bool conf_read(void *out, const struct conf_table *table, const char *text, int64_t len,
        const char *path, struct arena *arena, struct err *err);
/* Opens path ("-" = stdin) and calls conf_read. */
MUST_CHECK bool conf_read_file(void *out, const struct conf_table *table, const char *path,
        struct arena *arena, struct err *err);
/* Fills what has a default; the rest of out is left as it is. */
MUST_CHECK bool conf_defaults(
        void *out, const struct conf_table *table, struct arena *arena, struct err *err);
/* YAML text in the arena. Fields that equal their default are left out. Same input, same bytes. */
MUST_CHECK bool conf_write(char **text, const void *in, const struct conf_table *table,
        struct arena *arena, struct err *err);
/* Markdown reference of a table, for docs/formats. */
void conf_document(FILE *out, const struct conf_table *table);

#endif
