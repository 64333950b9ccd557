/*
 * db_compare - what got slower from one database to another, for `db compare`.
 */
#ifndef CLI_DB_COMPARE_H
#define CLI_DB_COMPARE_H

#include "cli/cli.h"
#include "db/db.h"

struct db_compare {
    const char *after;    /* path of the other database */
    const char *device;   /* device kind, NULL = all that both have */
    double threshold;     /* fraction */
    const char *csv_path; /* every shape goes there; NULL = nowhere */
};

/* Prints kinds and the shapes that got slower the most. ERR_NO when a kind got slower beyond the rule. */
MUST_CHECK bool db_compare(struct cli *cli, struct db *before, const struct db_compare *request);

#endif
