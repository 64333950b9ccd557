/*
 * cli - the command table, and what every command gets.
 *
 * One file per command: cmd_NAME.c defines `const struct command command_NAME`, one line in main.c lists
 * it. Command lines are described by tables (cli/opt.h): help, man page (--help-roff) and completion
 * follow from them.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/opt.h"
#include "core/ranks.h"

struct cli {
    struct arena *arena;
    struct err *err;
    int argc; /* operands left after options */
    char **argv;
    int full_argc; /* the whole command line, to start ranks with */
    char **full_argv;
    const char *data_dir; /* where shipped models and examples lie; never NULL */
    bool json, quiet, verbose;
    bool no_color; /* also with NO_COLOR set, TERM=dumb, or stdout not a terminal */
    int status;    /* exit status when run returns true: 0 unless the command says otherwise */
    struct ranks *ranks; /* what cli_ranks opened; main closes it */
};

struct command {
    const char *name, *summary; /* one line */
    const char *usage;          /* operands: "MODEL" or "" */
    const char *description;    /* paragraphs for help and man page */
    const char *examples;       /* lines to type */
    const struct opt *opts;     /* ends with name == NULL */
    size_t options_size;
    int min_operands, max_operands;
    /* true = done; else err is filled and its kind is the exit status */
    bool (*run)(struct cli *cli, void *options);
};

extern const struct command command_doctor, command_profile, command_plan, command_run,
        command_report, command_gate, command_weights, command_model, command_db, command_simulate,
        command_import, command_export, command_version, command_experts;

/* Which ranks a command needs, and where. */
struct cli_ranks {
    int n;
    int threads; /* of all ranks together, where they are on one machine; 0 = one for each */
    const int *machines;      /* of each rank, counted from 0; NULL = all on one */
    const char *const *hosts; /* names of the machines; n_hosts = 0: they have none */
    int n_hosts;
    const char *option_hosts; /* --hosts a,b,...: names that win over those, or NULL */
    const char *rsh;          /* --rsh, or NULL */
};
/* Runs the command as n ranks: starts them (this same command line) when not yet inside a job, and then
 * *inside is false, cli->status is the job's exit status and the caller returns true at once; otherwise
 * *inside is true and *ranks is open (main closes it). n = 1 on this host outside a job starts nothing. */
MUST_CHECK bool cli_ranks(
        struct cli *cli, const struct cli_ranks *wanted, struct ranks **ranks, bool *inside);
/* After a failure before cli_ranks inside a job: every rank learns of it, and one of them tells. */
void cli_fail_together(struct cli *cli);
/* Rows of an option table for a struct with `hosts` and `rsh`. */
#define CLI_HOSTS_OPTS(AT)                                                                        \
    {"hosts", 0, OPT_STRING, AT(hosts), .value = "A,B,...",                                       \
            .help = "names of the machines, in the cluster's order; default: those of the file"}, \
    {                                                                                             \
        "rsh", 0, OPT_STRING, AT(rsh),                                                            \
                .value = "PROGRAM",                                                               \
                .help = "starts ranks on other machines in place of ssh: PROGRAM HOST COMMAND..." \
    }

#endif
