/*
 * db - the costs database: open, migrate, transaction, check.
 *
 * WAL, STRICT tables, foreign keys, user_version migrations, a checksum in every row (SQLite does not
 * notice a flipped bit inside a row). A newer version is refused. Writers use BEGIN IMMEDIATE and wait
 * five seconds for each other, then ERR_BUSY. What a call has stored survives the death of the process;
 * a power cut may take the last calls back, never leave half of one.
 */
#ifndef DB_DB_H
#define DB_DB_H

#include <stdint.h>

#include "core/arena.h"
#include "core/spec/measure.h"

struct db; /* for one thread at a time */

enum db_mode {
    DB_READ,
    DB_WRITE
}; /* WRITE creates and migrates */
MUST_CHECK struct db *db_open(const char *path, enum db_mode mode, struct err *err);
void db_close(struct db *db);
const char *db_path(const struct db *db);
/* How long to wait for another writer; default 5000. */
void db_set_timeout(struct db *db, int ms);
/* Checksums, foreign keys, integrity; ERR_INPUT names table and row of the first bad one and how many. */
MUST_CHECK bool db_check(struct db *db, int64_t *rows_checked, struct err *err);
/* Rows that nothing refers to though they are there to be referred to: provenances, devices, plans. No damage: a
 * measurement that was stopped before its first row, or damaged rows that were dropped, leave them. */
MUST_CHECK bool db_orphans(struct db *db, int64_t *n, struct err *err);
/* Removes measured rows whose checksum does not hold (profile points, ceilings, checks and the details
 * of runs), so that they can be measured again. */
MUST_CHECK bool db_drop_damaged(struct db *db, int64_t *dropped, struct err *err);
MUST_CHECK bool db_vacuum(struct db *db, struct err *err);
/* Takes over what `from` has and db has not, in one transaction; an equal key keeps db's row. from is
 * checked first. */
struct db_merge_counts {
    int64_t points, runs, rows; /* added; rows counts all tables */
};
MUST_CHECK bool db_merge(
        struct db_merge_counts *added, struct db *db, struct db *from, struct err *err);
/* One CSV file per table (RFC 4180) into dir, which is made; numbers read back exactly. */
MUST_CHECK bool db_export_csv(struct db *db, const char *dir, struct err *err);

#endif
