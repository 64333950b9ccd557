/*
 * The file and its version. Statements are in sql_store.c, care (check, merge,
 * export) in care.c.
 */
#include "db/db.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/handle.h"
#include "db/row_sum.h"
#include "db/sql_store.h"

extern const char db_schema_1[], db_schema_2[], db_schema_3[], db_schema_4[], db_schema_5[],
        db_schema_6[];

static const char *const migrations[] = {
        db_schema_1, db_schema_2, db_schema_3, db_schema_4, db_schema_5, db_schema_6};

enum {
    NEWEST = sizeof migrations / sizeof *migrations,
    APPLICATION = 0x53485744, /* "SHWD": a database of this program */
    TIMEOUT_MS = 5000
};

const char *const db_tables[] = {"provenance", "device", "op_point", "ceiling", "plan", "run",
        "run_figure", "run_request", "run_step", "check_result", "algorithm", NULL};

bool db_fail(struct db *db, int rc, const char *doing, struct err *err)
{
    const char *said = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_BUSY,
                "%s: another process is writing to it: try again when that one has finished",
                db->path);
    case SQLITE_FULL:
        return err_set(err, ERR_ENV,
                "%s: no space left on the disk while %s; nothing of it was stored: free some space "
                "and "
                "repeat the command",
                db->path, doing);
    case SQLITE_IOERR:
        return err_set(err, ERR_ENV, "%s: input/output error while %s: %s", db->path, doing,
                strerror(db->handle ? sqlite3_system_errno(db->handle) : EIO));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return err_set(err, ERR_ENV,
                "%s: not writable: check the permissions of the file and its folder", db->path);
    case SQLITE_NOTADB:
        return err_set(err, ERR_INPUT,
                "%s: not a database: expected a file that `shardwright profile --db` made",
                db->path);
    case SQLITE_CORRUPT:
        return err_set(err, ERR_INPUT,
                "%s: the file is damaged (%s): restore a copy, or delete it and profile again",
                db->path, said);
    case SQLITE_NOMEM:
        return err_set(err, ERR_ENV, "%s: out of memory while %s", db->path, doing);
    default:
        return err_set(err, ERR_BUG, "%s: %s: %s", db->path, doing, said);
    }
}

static bool run_script(struct db *db, const char *sql, const char *doing, struct err *err)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK || db_fail(db, rc, doing, err);
}

static bool pragma_int(int *out, struct db *db, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || db_fail(db, rc, "reading its version", err);
}

static bool migrate(struct db *db, struct err *err)
{
    int version = 0;
    char text[64];

    if (!sql_begin(db, err))
        return false;
    /* Again, now that nobody else can migrate. */
    bool ok = pragma_int(&version, db, "PRAGMA user_version", err);
    for (; ok && version < NEWEST; version++)
        ok = run_script(db, migrations[version], "migrating it", err);
    if (ok) {
        snprintf(text, sizeof text, "PRAGMA user_version = %d; PRAGMA application_id = %d", NEWEST,
                APPLICATION);
        ok = run_script(db, text, "migrating it", err);
    }
    return sql_finish(db, ok, err);
}

/* Ours, of a version we know, and of this version after the call. */
static bool check_version(struct db *db, enum db_mode mode, struct err *err)
{
    int version = 0, application = 0, tables = 0;

    if (!pragma_int(&version, db, "PRAGMA user_version", err)
            || !pragma_int(&application, db, "PRAGMA application_id", err)
            || !pragma_int(&tables, db, "SELECT count(*) FROM sqlite_schema", err))
        return false;
    if (application != APPLICATION && (application != 0 || tables > 0))
        return err_set(err, ERR_INPUT,
                "%s: a database of another program: expected one that `shardwright profile --db` "
                "made",
                db->path);
    if (version > NEWEST)
        return err_set(err, ERR_INPUT,
                "%s: version %d, this program reads up to %d: use a newer shardwright, or another "
                "file",
                db->path, version, NEWEST);
    if (version == NEWEST)
        return true;
    if (mode == DB_WRITE)
        return migrate(db, err);
    if (version == 0)
        return err_set(err, ERR_INPUT,
                "%s: empty: fill it with `shardwright profile --db %s` first", db->path, db->path);
    return err_set(err, ERR_INPUT,
            "%s: version %d, this program reads %d: bring it up to date with `shardwright db "
            "vacuum %s`",
            db->path, version, NEWEST, db->path);
}

/* Column lists and checksum expressions come from the schema itself, so that they cannot disagree. */
static bool read_columns(struct db *db, struct err *err)
{
    for (int t = 0; db_tables[t]; t++) {
        struct rows rows;
        const char *columns = "";
        if (!sql_query(&rows, db, "SELECT name FROM pragma_table_info(?1) ORDER BY cid",
                    VALUES(V_TEXT(db_tables[t])), err))
            return false;
        while (sql_next(&rows, err)) {
            const char *name = sql_text(&rows, 0, &db->arena);
            if (strcmp(name, "id") != 0 && strcmp(name, "row_sum") != 0)
                columns = arena_printf(&db->arena, "%s%s%s", columns, *columns ? "," : "", name);
        }
        if (err->kind)
            return false;
        db->columns[t] = columns;
        db->sum[t] = arena_printf(&db->arena, "row_sum('%s',id,%s)", db_tables[t], columns);
    }
    return true;
}

static bool open_handle(struct db *db, enum db_mode mode, struct err *err)
{
    /* A handle belongs to one thread (db.h): without locks a column is read twice as quickly. */
    int flags = SQLITE_OPEN_NOMUTEX
                | (mode == DB_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                    : SQLITE_OPEN_READONLY);
    int rc = sqlite3_open_v2(db->path, &db->handle, flags, NULL);

    if (rc == SQLITE_OK) {
        db_set_timeout(db, TIMEOUT_MS);
        rc = row_sum_register(db->handle);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(
                db->handle, "PRAGMA schema_version", NULL, NULL, NULL); /* opens the file */
    if ((rc & 0xff) == SQLITE_CANTOPEN) {
        int no = db->handle ? sqlite3_system_errno(db->handle) : 0;
        return err_set(err, mode == DB_READ && (no == ENOENT || no == 0) ? ERR_INPUT : ERR_ENV,
                "%s: cannot open it: %s%s", db->path,
                no ? strerror(no) : "no such file, or a directory",
                mode == DB_READ ? "; `shardwright profile --db` makes one" : "");
    }
    return rc == SQLITE_OK || db_fail(db, rc, "opening it", err);
}

struct db *db_open(const char *path, enum db_mode mode, struct err *err)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db) {
        err_set(err, ERR_ENV, "%s: out of memory while opening it", path);
        return NULL;
    }
    db->path = arena_strdup(&db->arena, path);
    bool ok = open_handle(db, mode, err);
    if (ok && mode == DB_WRITE)
        ok = run_script(
                db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", "opening it", err);
    ok = ok
         && run_script(db,
                 "PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = "
                 "OFF",
                 "opening it", err)
         && check_version(db, mode, err) && read_columns(db, err);
    if (!ok) {
        db_close(db);
        return NULL;
    }
    return db;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (int i = 0; i < db->n_cached; i++)
        sqlite3_finalize(db->cache[i].stmt);
    sqlite3_close(db->handle);
    arena_free(&db->arena);
    free(db);
}

const char *db_path(const struct db *db)
{
    return db->path;
}

void db_set_timeout(struct db *db, int ms)
{
    sqlite3_busy_timeout(db->handle, ms);
}

static int table_index(const char *table)
{
    int t = 0;
    while (db_tables[t] && strcmp(db_tables[t], table) != 0)
        t++;
    return t;
}

const char *db_sum_of(const struct db *db, const char *table)
{
    return db->sum[table_index(table)];
}

const char *db_columns_of(const struct db *db, const char *table)
{
    return db->columns[table_index(table)];
}
