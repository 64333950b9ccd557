/*
 * cli - the command table, and what every command gets.
 *
 * One file per command: cmd_NAME.c defines `const struct command command_NAME`. Command lines are described
 * by tables: help, man page (--help-roff) and completion follow from them.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stddef.h>

#include "core/arena.h"
#include "core/err.h"
#include "core/ranks.h"

enum opt_type {
    OPT_FLAG,     /* bool */
    OPT_INT,      /* int */
    OPT_I64,      /* int64_t */
    OPT_DOUBLE,   /* double */
    OPT_STRING,   /* const char * */
    OPT_STRINGS,  /* const char ** in the arena, may be given again; count at .count */
    OPT_ENUM,     /* int, .names */
    OPT_BYTES,    /* int64_t, "80GiB" */
    OPT_SECONDS   /* double seconds, "90s", "2min" */
};

struct opt {
    const char *name;       /* "max-seqs" for --max-seqs */
    char letter;            /* 'o' for -o; 0 = none */
    enum opt_type type;
    size_t at, count;       /* offsetof in the command's options struct */
    const char *value;      /* "FILE", shown in help */
    const char *const *names;
    double min, max;        /* both 0 = unchecked */
    const char *def;        /* default as text */
    bool required;
    const char *help;       /* never empty (a test checks) */
};

struct cli {
    struct arena *arena;
    struct err *err;
    int argc;               /* operands left after options */
    char **argv;
    int full_argc;          /* the whole command line, to start ranks with */
    char **full_argv;
    const char *data_dir;
    bool json, quiet, verbose, no_color;
};

struct command {
    const char *name, *summary;      /* one line */
    const char *usage;               /* operands: "MODEL" or "" */
    const char *description;         /* paragraphs for help and man page */
    const char *examples;            /* lines to type */
    const struct opt *opts;          /* ends with name == NULL */
    size_t options_size;
    int min_operands, max_operands;
    /* true = done; else err is filled and its kind is the exit status */
    bool (*run)(struct cli *cli, void *options);
};

extern const struct command command_doctor, command_profile, command_plan, command_run, command_report,
        command_gate, command_weights, command_db, command_simulate;

/* Runs the command as n ranks: starts them (this same command line) when not yet inside a job, and then
 * *inside is false and the exit status is the job's; otherwise *inside is true and *ranks is open. */
bool cli_ranks(struct cli *cli, int n, struct ranks **ranks, bool *inside);

#endif
