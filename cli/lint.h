/*
 * lint - do the program's own tables keep their promises? Called by tests (--check-tables,
 * --check-file).
 */
#ifndef CLI_LINT_H
#define CLI_LINT_H

#include "cli/cli.h"

/* Every option and every key of every file format has help, names are unique, defaults parse. */
MUST_CHECK bool lint_tables(
        const struct command *const *commands, const struct opt *global, struct err *err);

/* Reads and checks a YAML input of any format, as its command would; says what it is on stdout. */
MUST_CHECK bool lint_file(const char *path, struct arena *arena, struct err *err);

#endif
