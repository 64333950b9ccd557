/*
 * db_predict - what the costs of a database say of rows in an imported table's format.
 */
#ifndef CLI_DB_PREDICT_H
#define CLI_DB_PREDICT_H

#include "cli/cli.h"
#include "db/import.h"

struct db_predict {
    const char *input; /* "-" reads stdin */
    struct import_options format;
};

/* Writes every row as it is, with prediction, interval and source behind it, and the error where the row has a
 * cost; then the errors by kind on stderr. */
MUST_CHECK bool db_predict(struct cli *cli, struct db *db, const struct db_predict *request);

#endif
