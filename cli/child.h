/*
 * child - another program run to its end, with what it printed.
 */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include "core/arena.h"
#include "core/err.h"

/* argv ends with NULL; argv[0] is looked up in PATH. *out is its stdout. A child that fails gives its own
 * exit status as the kind of the error, when that is a kind, and the end of its stderr in the message. */
MUST_CHECK bool child_run(
        char **out, int64_t *len, char *const argv[], struct arena *arena, struct err *err);

#endif
