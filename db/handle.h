/*
 * handle - the inside of struct db, for db.c and sql_store.c. SQLite's types are only named here.
 */
#ifndef DB_HANDLE_H
#define DB_HANDLE_H

#include "db/db.h"

struct sqlite3;
struct sqlite3_stmt;

enum {
    DB_TABLES = 10,
    DB_CACHE = 32
};

struct db {
    struct sqlite3 *handle;
    const char *path;
    struct arena arena;
    const char *columns[DB_TABLES + 1], *sum[DB_TABLES + 1]; /* by index in db_tables */
    struct {
        char *sql; /* in the arena */
        struct sqlite3_stmt *stmt;
        bool busy;
    } cache[DB_CACHE];
    int n_cached;
    int depth; /* of sql_begin */
};

/* Fills err by an SQLite result code; false. */
bool db_fail(struct db *db, int rc, const char *doing, struct err *err);

#endif
