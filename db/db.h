/*
 * db - the costs database: open, migrate, transaction, check.
 *
 * WAL, STRICT tables, foreign keys, user_version migrations, a checksum in every row (SQLite does not
 * notice a flipped bit inside a row). A newer version is refused. Writers use BEGIN IMMEDIATE.
 */
#ifndef DB_DB_H
#define DB_DB_H

#include <stdint.h>

#include "core/arena.h"
#include "core/spec/measure.h"

struct db;

enum db_mode { DB_READ, DB_WRITE }; /* WRITE creates and migrates */
MUST_CHECK struct db *db_open(const char *path, enum db_mode mode, struct err *err);
void db_close(struct db *db);
const char *db_path(const struct db *db);
/* Checksums, foreign keys, integrity; ERR_INPUT names table and row of the first bad one and how many. */
MUST_CHECK bool db_check(struct db *db, int64_t *rows_checked, struct err *err);
MUST_CHECK bool db_vacuum(struct db *db, struct err *err);
/* One CSV file per table into dir. */
MUST_CHECK bool db_export_csv(struct db *db, const char *dir, struct err *err);

#endif
