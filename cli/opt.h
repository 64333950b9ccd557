/*
 * opt - command lines described by tables: one row per option gives parsing, help, man page and completion.
 *
 * Accepts --name value, --name=value, -o value, -ovalue, grouped flags (-qv) and `--`. A valued option given
 * twice is refused, as is a misspelt one, with the nearest known name. Values are checked against the row;
 * the message says what was found and what was expected.
 */
#ifndef CLI_OPT_H
#define CLI_OPT_H

#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

enum opt_type {
    OPT_FLAG,    /* bool */
    OPT_INT,     /* int */
    OPT_I64,     /* int64_t */
    OPT_DOUBLE,  /* double */
    OPT_STRING,  /* const char * */
    OPT_STRINGS, /* const char *const * in the arena, may be given again; int count at .count */
    OPT_ENUM,    /* int, .names ends with NULL */
    OPT_ENUMS,   /* the same with commas between; unsigned, bit i for names[i] */
    OPT_BYTES,   /* int64_t, "80GiB" */
    OPT_SECONDS  /* double seconds, "90s", "2min" */
};

struct opt {
    const char *name; /* "max-seqs" for --max-seqs */
    char letter;      /* 'o' for -o; 0 = none */
    enum opt_type type;
    size_t at, count;  /* offsetof in the command's options struct */
    const char *value; /* "FILE", shown in help */
    const char *const *names;
    double min, max; /* both 0 = unchecked */
    const char *def; /* default as text */
    bool required;
    const char *help; /* never empty (a test checks) */
};

/* A table and the struct it fills, which the caller has zeroed. */
struct opt_set {
    const struct opt *table; /* ends with name == NULL; NULL = no options */
    void *out;
};

struct opt_line {
    int argc;
    char **argv;          /* in: words to parse; out: the operands, in order */
    bool stop_at_operand; /* leave everything from the first operand on */
    const char *help;     /* what to type for help, ends a message: "shardwright plan --help" */
};

/* Fills in the defaults of a table. ERR_BUG when a default does not parse. */
MUST_CHECK bool opt_defaults(const struct opt_set *set, struct arena *arena, struct err *err);
/* Parses line->argv by the sets; the first set that knows a name wins. */
MUST_CHECK bool opt_parse(const struct opt_set *sets, int n_sets, struct opt_line *line,
        struct arena *arena, struct err *err);

#endif
