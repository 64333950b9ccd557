/* A test that is one rank starts its own command line on several. */
#ifndef TESTS_MPI_START_RANKS_H
#define TESTS_MPI_START_RANKS_H

#include <stdio.h>
#include <string.h>

#include "core/ranks.h"

/* The exit status: that of the ranks, 77 where there is no launcher (skipped), 1 when a rank died. */
static inline int start_ranks(int n, char **argv)
{
    struct err err = {0};
    int status = 0;

    if (ranks_launch(n, argv, &status, &err))
        return status;
    fprintf(stderr, "%s\n", err.text);
    return strstr(err.text, "no launcher") ? 77 : 1;
}

#endif
