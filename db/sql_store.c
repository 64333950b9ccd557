#include "db/sql_store.h"

#include <limits.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/handle.h"
#include "db/row_sum.h"

/* Statements are kept: preparing costs more than running most of them. */
static bool prepare(struct rows *rows, struct db *db, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = NULL;

    *rows = (struct rows){.db = db};
    for (int i = 0; i < db->n_cached; i++) {
        if (!db->cache[i].busy && strcmp(db->cache[i].sql, sql) == 0) {
            db->cache[i].busy = true;
            rows->stmt = db->cache[i].stmt;
            rows->cached = true;
            return true;
        }
    }
    int rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK)
        return db_fail(db, rc, sql, err);
    rows->stmt = stmt;
    if (db->n_cached < DB_CACHE) {
        int i = db->n_cached++;
        db->cache[i].sql = arena_strdup(&db->arena, sql);
        db->cache[i].stmt = stmt;
        db->cache[i].busy = true;
        rows->cached = true;
    }
    return true;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct value *value)
{
    switch (value->type) {
    case VALUE_INT:
        return sqlite3_bind_int64(stmt, at, value->i);
    case VALUE_REAL: /* SQLite makes NULL of NaN itself, but says so nowhere near */
        return isnan(value->r) ? sqlite3_bind_null(stmt, at)
                               : sqlite3_bind_double(stmt, at, value->r);
    case VALUE_TEXT:
        return sqlite3_bind_text(stmt, at, value->p, -1, SQLITE_TRANSIENT);
    case VALUE_NULL:
        return sqlite3_bind_null(stmt, at);
    case VALUE_BLOB:
        if (!value->p)
            return sqlite3_bind_null(stmt, at);
        return sqlite3_bind_blob64(stmt, at, value->p, (sqlite3_uint64)value->i, SQLITE_TRANSIENT);
    }
    return SQLITE_MISUSE;
}

bool sql_query(
        struct rows *rows, struct db *db, const char *sql, struct values values, struct err *err)
{
    if (!prepare(rows, db, sql, err))
        return false;
    int rc = SQLITE_OK;
    /* A lookup by key gets the whole row and names the first columns only. */
    int wanted = sqlite3_bind_parameter_count(rows->stmt);
    for (int i = 0; i < values.n && i < wanted && rc == SQLITE_OK; i++)
        rc = bind_one(rows->stmt, i + 1, &values.items[i]);
    rows->n_columns = sqlite3_column_count(rows->stmt);
    if (rc != SQLITE_OK) {
        sql_end(rows);
        return db_fail(db, rc, "binding values", err);
    }
    return true;
}

bool sql_select(struct rows *rows, struct db *db, const char *table, const char *columns,
        const char *tail, struct values values, struct err *err)
{
    char sql[2048];
    *rows = (struct rows){.db = db};
    int len = snprintf(sql, sizeof sql, "SELECT %s,id,%s IS row_sum FROM %s %s", columns,
            db_sum_of(db, table), table, tail);
    if (len >= (int)sizeof sql)
        return err_set(err, ERR_BUG, "%s: statement too long: %s", db->path, sql);
    if (!sql_query(rows, db, sql, values, err))
        return false;
    rows->table = table;
    rows->n_columns -= 2;
    return true;
}

bool sql_scan(struct rows *rows, struct db *db, const char *table, const char *tail,
        struct values values, struct err *err)
{
    char sql[2048];
    *rows = (struct rows){.db = db};
    /* Through an index every row would be looked up on its own. */
    int len = snprintf(sql, sizeof sql, "SELECT id,%s,row_sum FROM %s NOT INDEXED %s",
            db_columns_of(db, table), table, tail);
    if (len >= (int)sizeof sql)
        return err_set(err, ERR_BUG, "%s: statement too long: %s", db->path, sql);
    if (!sql_query(rows, db, sql, values, err))
        return false;
    rows->scanned = table;
    rows->n_columns--;
    return true;
}

static bool damaged(const struct rows *rows, const char *table, int64_t id, struct err *err)
{
    const char *path = rows->db->path;
    return err_set(err, ERR_INPUT,
            "%s: table %s, row %lld: its checksum does not hold, the row was damaged: `shardwright "
            "db check %s` lists how many; restore a copy, or drop the damaged rows with "
            "`shardwright db check --drop-damaged %s` and measure again",
            path, table, (long long)id, path, path);
}

void sql_take_value(struct value *out, sqlite3_value *value)
{
    out->i = 0;
    out->r = 0;
    out->p = NULL;
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        out->type = VALUE_INT;
        out->i = sqlite3_value_int64(value);
        break;
    case SQLITE_FLOAT:
        out->type = VALUE_REAL;
        out->r = sqlite3_value_double(value);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        out->type = sqlite3_value_type(value) == SQLITE_TEXT ? VALUE_TEXT : VALUE_BLOB;
        out->p = sqlite3_value_blob(value); /* before the length, as SQLite wants it */
        out->i = sqlite3_value_bytes(value);
        break;
    default:
        out->type = VALUE_NULL;
    }
}

bool sql_take(struct value cells[SQL_COLUMNS], const struct rows *rows, struct err *err)
{
    int n = rows->n_columns;
    if (n >= SQL_COLUMNS)
        return err_set(
                err, ERR_BUG, "%s: table %s has too many columns", rows->db->path, rows->scanned);
    for (int c = 0; c <= n; c++) /* unprotected values: a handle belongs to one thread */
        sql_take_value(&cells[c], sqlite3_column_value(rows->stmt, c));
    return (cells[n].type == VALUE_INT && row_sum_of(rows->scanned, cells, n) == cells[n].i)
           || damaged(rows, rows->scanned, cells[0].i, err);
}

bool sql_next(struct rows *rows, struct err *err)
{
    if (!rows->stmt)
        return false;
    int rc = sqlite3_step(rows->stmt);
    if (rc == SQLITE_ROW) {
        if (!rows->table || sqlite3_column_int(rows->stmt, rows->n_columns + 1))
            return true;
        damaged(rows, rows->table, sqlite3_column_int64(rows->stmt, rows->n_columns), err);
    } else if (rc != SQLITE_DONE) {
        const char *table = rows->table ? rows->table : rows->scanned;
        db_fail(rows->db, rc, table ? table : "reading", err);
    }
    sql_end(rows);
    return false;
}

void sql_end(struct rows *rows)
{
    if (!rows->stmt)
        return;
    if (rows->cached) {
        sqlite3_reset(rows->stmt);
        sqlite3_clear_bindings(rows->stmt);
        for (int i = 0; i < rows->db->n_cached; i++)
            if (rows->db->cache[i].stmt == rows->stmt)
                rows->db->cache[i].busy = false;
    } else {
        sqlite3_finalize(rows->stmt);
    }
    rows->stmt = NULL;
}

bool sql_run(struct db *db, const char *sql, struct values values, struct err *err)
{
    struct rows rows;
    if (!sql_query(&rows, db, sql, values, err))
        return false;
    int rc = sqlite3_step(rows.stmt);
    /* Filled before sql_end: the reset would replace the message. */
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW || db_fail(db, rc, "storing", err);
    sql_end(&rows);
    return ok;
}

int64_t sql_changes(struct db *db)
{
    return sqlite3_changes64(db->handle);
}

bool sql_begin(struct db *db, struct err *err)
{
    if (db->depth > 0 || sql_run(db, "BEGIN IMMEDIATE", NO_VALUES, err)) {
        db->depth++;
        return true;
    }
    return false;
}

bool sql_finish(struct db *db, bool ok, struct err *err)
{
    if (--db->depth > 0)
        return ok;
    if (ok)
        ok = sql_run(db, "COMMIT", NO_VALUES, err);
    /* A full disk has rolled back by itself. */
    if (!ok && !sqlite3_get_autocommit(db->handle)) {
        struct err ignored = {0};
        if (!sql_run(db, "ROLLBACK", NO_VALUES, &ignored))
            return false;
    }
    return ok;
}

bool sql_insert(
        int64_t *id, struct db *db, const char *table, struct values values, struct err *err)
{
    char sql[2048], marks[256] = "";
    int len = 0;

    for (int i = 0; i < values.n; i++)
        len += snprintf(marks + len, sizeof marks - (size_t)len, ",?%d", i + 1);
    snprintf(sql, sizeof sql,
            "INSERT INTO %s (id,%s,row_sum) SELECT n%s,row_sum('%s',n%s) FROM (SELECT "
            "ifnull(max(id),0)+1 AS n FROM %s)",
            table, db_columns_of(db, table), marks, table, marks, table);
    if (!sql_run(db, sql, values, err))
        return false;
    *id = sqlite3_last_insert_rowid(db->handle);
    return true;
}

bool sql_resum(struct db *db, const char *table, int64_t id, struct err *err)
{
    char sql[1024];
    snprintf(sql, sizeof sql, "UPDATE %s SET row_sum=%s WHERE id=?1", table, db_sum_of(db, table));
    return sql_run(db, sql, VALUES(V_INT(id)), err);
}

bool sql_find(int64_t *id, struct db *db, const char *table, const char *tail, struct values values,
        struct err *err)
{
    struct rows rows;
    *id = 0;
    if (!sql_select(&rows, db, table, "id", tail, values, err))
        return false;
    if (sql_next(&rows, err))
        *id = sql_int(&rows, 0);
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

int64_t sql_int(const struct rows *rows, int column)
{
    return sqlite3_column_int64(rows->stmt, column);
}

double sql_real(const struct rows *rows, int column)
{
    if (sqlite3_column_type(rows->stmt, column) == SQLITE_NULL)
        return (double)NAN;
    return sqlite3_column_double(rows->stmt, column);
}

const char *sql_text(const struct rows *rows, int column, struct arena *arena)
{
    const char *text = (const char *)sqlite3_column_text(rows->stmt, column);
    return text ? arena_strdup(arena, text) : NULL;
}

const void *sql_blob(const struct rows *rows, int column, int64_t *bytes)
{
    const void *p = sqlite3_column_blob(rows->stmt, column);
    *bytes = sqlite3_column_bytes(rows->stmt, column);
    return p;
}

struct value sql_value(const struct rows *rows, int column, bool *is_null)
{
    struct value value = {.type = VALUE_TEXT};
    int type = sqlite3_column_type(rows->stmt, column);

    *is_null = type == SQLITE_NULL;
    if (type == SQLITE_INTEGER) {
        value.type = VALUE_INT;
        value.i = sqlite3_column_int64(rows->stmt, column);
    } else if (type == SQLITE_FLOAT) {
        value.type = VALUE_REAL;
        value.r = sqlite3_column_double(rows->stmt, column);
    } else if (type == SQLITE_BLOB) {
        value.type = VALUE_BLOB;
        value.p = sql_blob(rows, column, &value.i);
    } else if (type == SQLITE_TEXT) {
        value.p = sqlite3_column_text(rows->stmt, column);
    }
    return value;
}

int sql_columns(const struct rows *rows)
{
    return rows->n_columns;
}

const char *sql_column_name(const struct rows *rows, int column)
{
    return sqlite3_column_name(rows->stmt, column);
}
