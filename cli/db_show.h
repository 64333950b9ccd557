/*
 * db_show - tables that `db` prints of what was measured.
 */
#ifndef CLI_DB_SHOW_H
#define CLI_DB_SHOW_H

#include "cli/cli.h"
#include "db/db.h"

/* Exchanges of every device kind: time, algbw, busbw. */
MUST_CHECK bool db_show_exchanges(struct cli *cli, struct db *db);

#endif
