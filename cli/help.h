/*
 * help - a command and its option table as text for people: help in 80 columns, a man page, completion.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "cli/cli.h"

/* A few lines: how to call the program and what its commands are. */
void help_short(FILE *out, const struct command *const *commands);
/* All of it, with the options that every command takes. */
void help_program(FILE *out, const struct command *const *commands, const struct opt *global);
void help_command(FILE *out, const struct command *command, const struct opt *global);

/* Man pages, section 1: mandoc -man language, no dates, so that the same program gives the same page. */
void help_roff_program(FILE *out, const struct command *const *commands, const struct opt *global);
void help_roff_command(FILE *out, const struct command *command, const struct opt *global);

/* A bash script to source. */
void help_completion(FILE *out, const struct command *const *commands, const struct opt *global);

#endif
