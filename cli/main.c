/*
 * main - the command table; the only place that prints errors and exits.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/lint.h"
#include "core/file.h"
#include "core/log.h"
#include "core/str.h"
#include "core/version.h"

/* One line each, in the order in which they are used. */
static const struct command *const commands[] = {
        &command_doctor,
        &command_model,
        &command_weights,
        &command_profile,
        &command_import,
        &command_export,
        &command_plan,
        &command_simulate,
        &command_experts,
        &command_run,
        &command_report,
        &command_gate,
        &command_db,
        &command_version,
        NULL,
};

struct global_options {
    bool json, quiet, verbose, no_color, help, version, help_roff, completion, check_tables;
    const char *data_dir, *check_file;
};

#define AT(field) offsetof(struct global_options, field)

static const struct opt global_opts[] = {
        {"json", 0, OPT_FLAG, AT(json), .help = "print results as JSON"},
        {"quiet", 'q', OPT_FLAG, AT(quiet), .help = "no progress and no remarks, errors only"},
        {"verbose", 'v', OPT_FLAG, AT(verbose), .help = "say what is being done"},
        {"data-dir", 0, OPT_STRING, AT(data_dir), .value = "DIR",
                .help = "where the shipped models and examples lie"},
        {"no-color", 0, OPT_FLAG, AT(no_color), .help = "no colours (also: NO_COLOR set)"},
        {"help", 'h', OPT_FLAG, AT(help), .help = "print this help"},
        {"help-roff", 0, OPT_FLAG, AT(help_roff), .help = "print the man page"},
        {NULL},
};

/* Before the command only. */
static const struct opt program_opts[] = {
        {"version", 0, OPT_FLAG, AT(version), .help = "print the version"},
        {"completion", 0, OPT_FLAG, AT(completion), .help = "print a completion script for bash"},
        {"check-tables", 0, OPT_FLAG, AT(check_tables), .help = "check the program's own tables"},
        {"check-file", 0, OPT_STRING, AT(check_file), .value = "FILE",
                .help = "check a YAML input of any kind"},
        {NULL},
};

static int n_commands(void)
{
    int n = 0;
    while (commands[n])
        n++;
    return n;
}

static const struct command *find_command(const char *name, struct arena *arena, struct err *err)
{
    const char **names = ARENA_NEW(arena, const char *, n_commands() + 1);
    for (int i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
        names[i] = commands[i]->name;
    }
    const char *near = str_nearest(name, names, n_commands());
    if (near)
        err_set(err, ERR_INPUT,
                "unknown command \"%s\"; did you mean \"%s\"? (`shardwright --help` lists them)",
                name, near);
    else
        err_set(err, ERR_INPUT, "unknown command \"%s\" (`shardwright --help` lists them)", name);
    return NULL;
}

/* --help wins over everything else on the line, also where something required is missing. */
static bool asks(int argc, char **argv, const char *name, const char *letter)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], name) == 0 || (letter && strcmp(argv[i], letter) == 0))
            return true;
    return false;
}

static void setup(struct cli *cli, const struct global_options *options)
{
    cli->json = options->json;
    cli->quiet = options->quiet;
    cli->verbose = options->verbose && !options->quiet;
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    cli->no_color = options->no_color || (no_color && *no_color) || (term && !strcmp(term, "dumb"))
                    || !isatty(STDOUT_FILENO);
    cli->data_dir = file_data_dir(options->data_dir, cli->arena);
    enum log_level level = cli->verbose ? LOG_DEBUG : LOG_INFO;
    /* The ranks of a job would all say the same; cli_ranks lets the first one speak. */
    log_setup(cli->quiet || ranks_launched() ? LOG_ERROR : level, 0);
}

static bool check_operands(const struct command *command, const struct cli *cli, struct err *err)
{
    if (cli->argc < command->min_operands)
        return err_set(err, ERR_INPUT,
                "%s is missing: shardwright %s %s [options] (see shardwright %s --help)",
                command->max_operands > 1 ? "an operand" : command->usage, command->name,
                command->usage, command->name);
    if (cli->argc > command->max_operands)
        return err_set(err, ERR_INPUT, "unexpected \"%s\" (see shardwright %s --help)",
                cli->argv[command->max_operands], command->name);
    return true;
}

static bool run_command(struct cli *cli, const struct command *command,
        struct global_options *options, struct opt_line *line)
{
    void *out = arena_alloc(cli->arena, (int64_t)command->options_size + 1);
    const struct opt_set sets[] = {{command->opts, out}, {global_opts, options}};

    line->stop_at_operand = false;
    line->help = arena_printf(cli->arena, "shardwright %s --help", command->name);
    if (asks(line->argc, line->argv, "--help", "-h")) {
        help_command(stdout, command, global_opts);
        return true;
    }
    if (asks(line->argc, line->argv, "--help-roff", NULL)) {
        help_roff_command(stdout, command, global_opts);
        return true;
    }
    if (!opt_defaults(&sets[0], cli->arena, cli->err)
            || !opt_parse(sets, 2, line, cli->arena, cli->err))
        return false;
    cli->argc = line->argc;
    cli->argv = line->argv;
    setup(cli, options);
    return check_operands(command, cli, cli->err) && command->run(cli, out);
}

/* Options before the command, then the command. */
static bool dispatch(struct cli *cli)
{
    struct global_options options = {0};
    const struct opt_set sets[] = {{program_opts, &options}, {global_opts, &options}};
    struct opt_line line = {cli->full_argc - 1, ARENA_NEW(cli->arena, char *, cli->full_argc), true,
            "shardwright --help"};
    /* The parser keeps operands in front; the line itself stays whole, to start ranks with. */
    for (int i = 0; i < line.argc; i++)
        line.argv[i] = cli->full_argv[i + 1];

    if (!opt_parse(sets, 2, &line, cli->arena, cli->err))
        return false;
    bool for_command = line.argc > 0 && strcmp(line.argv[0], "help") != 0;
    if (options.version)
        return command_version.run(cli, NULL);
    if (options.check_tables)
        return lint_tables(commands, global_opts, cli->err);
    if (options.check_file)
        return lint_file(options.check_file, cli->arena, cli->err);
    if (options.completion)
        help_completion(stdout, commands, global_opts);
    else if (options.help_roff && !for_command)
        help_roff_program(stdout, commands, global_opts);
    else if ((options.help && !for_command) || (line.argc == 1 && !for_command))
        help_program(stdout, commands, global_opts);
    if (options.completion
            || (!for_command && (options.help_roff || options.help || line.argc == 1)))
        return true;
    if (line.argc == 0) {
        help_short(stderr, commands);
        cli->status = ERR_INPUT;
        return true;
    }
    int skip = for_command ? 1 : 2; /* "help plan" is "plan --help" */
    const struct command *command = find_command(line.argv[skip - 1], cli->arena, cli->err);
    if (!command)
        return false;
    if (!for_command || options.help) {
        help_command(stdout, command, global_opts);
        return true;
    }
    line.argc -= skip;
    line.argv += skip;
    return run_command(cli, command, &options, &line);
}

static void print_error(const struct cli *cli)
{
    /* After ranks_agree every rank holds the same failure: one of them tells. */
    if (cli->ranks && ranks_rank(cli->ranks) != 0)
        return;
    fflush(stdout);
    fprintf(stderr, "shardwright: %s\n", cli->err->text);
    if (cli->err->kind == ERR_BUG)
        fprintf(stderr,
                "shardwright: this is a bug in shardwright %s (%s): please report it with the "
                "command "
                "line\n",
                version_number, version_commit);
}

/* A full disk behind stdout is a failure like any other; a reader who left (| head) is not. */
static int close_stdout(int status)
{
    bool failed = ferror(stdout) != 0;
    int cause = errno;
    if (fflush(stdout) != 0) {
        failed = true;
        cause = errno;
    }
    if (!failed)
        return status;
    if (cause == EPIPE)
        return 128 + SIGPIPE;
    fprintf(stderr, "shardwright: cannot write the results to stdout: %s\n", strerror(cause));
    return status ? status : ERR_ENV;
}

int main(int argc, char **argv)
{
    struct arena arena = {0};
    struct err err = {0};
    struct cli cli = {.arena = &arena, .err = &err, .full_argc = argc, .full_argv = argv};

    bool ok = dispatch(&cli);
    if (!ok) {
        cli_fail_together(&cli);
        print_error(&cli);
    }
    int status = close_stdout(ok ? cli.status : (int)err.kind);
    if (cli.ranks)
        ranks_close(cli.ranks);
    arena_free(&arena);
    return status;
}
