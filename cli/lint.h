/*
 * lint - do the program's own tables keep their promises? Called by tests (--check-tables).
 */
#ifndef CLI_LINT_H
#define CLI_LINT_H

#include "cli/cli.h"

/* Every option and every key of every file format has help, names are unique, defaults parse. */
MUST_CHECK bool lint_tables(
        const struct command *const *commands, const struct opt *global, struct err *err);

#endif
