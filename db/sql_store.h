/*
 * sql_store - statements with values, for the files of this folder only: they need no SQLite header.
 *
 * Rows go in through sql_insert, which adds id and checksum, and come out through sql_select, which
 * verifies the checksum of every row it returns.
 */
#ifndef DB_SQL_STORE_H
#define DB_SQL_STORE_H

#include "db/db.h"

struct value {
    enum value_type {
        VALUE_INT,
        VALUE_REAL,
        VALUE_TEXT,
        VALUE_BLOB,
        VALUE_NULL
    } type;
    int64_t i;     /* integer, or bytes of a blob; of text as well where sql_take read it */
    double r;      /* NaN is stored as NULL */
    const void *p; /* text or blob; NULL is stored as NULL */
};

#define V_INT(x)                    \
    {                               \
        .type = VALUE_INT, .i = (x) \
    }
#define V_REAL(x)                    \
    {                                \
        .type = VALUE_REAL, .r = (x) \
    }
#define V_TEXT(x)                    \
    {                                \
        .type = VALUE_TEXT, .p = (x) \
    }
#define V_BLOB(x, len)                           \
    {                                            \
        .type = VALUE_BLOB, .p = (x), .i = (len) \
    }
struct values {
    const struct value *items;
    int n;
};
#define VALUES(...)                                       \
    ((struct values){(const struct value[]){__VA_ARGS__}, \
            (int)(sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value))})
#define NO_VALUES ((struct values){NULL, 0})

/* BEGIN IMMEDIATE; ERR_BUSY when somebody else writes for longer than the timeout. */
MUST_CHECK bool sql_begin(struct db *db, struct err *err);
/* Commits when ok, else rolls back and returns false. */
MUST_CHECK bool sql_finish(struct db *db, bool ok, struct err *err);
/* One statement without result; sql must be a literal or outlive db. */
MUST_CHECK bool sql_run(struct db *db, const char *sql, struct values values, struct err *err);
/* Rows changed by the last statement. */
int64_t sql_changes(struct db *db);

/* values: all columns between id and row_sum, in the order of the schema. */
MUST_CHECK bool sql_insert(
        int64_t *id, struct db *db, const char *table, struct values values, struct err *err);
/* After an UPDATE of one row: its new checksum. */
MUST_CHECK bool sql_resum(struct db *db, const char *table, int64_t id, struct err *err);

struct rows {
    struct db *db;
    void *stmt;
    const char *table;   /* NULL = no checksum to verify */
    const char *scanned; /* sql_scan's */
    int n_columns;       /* without those that verify */
    bool cached;
};
/* SELECT <columns> FROM <table> <tail>. Ends by itself when sql_next returns false. */
MUST_CHECK bool sql_select(struct rows *rows, struct db *db, const char *table, const char *columns,
        const char *tail, struct values values, struct err *err);
/* All columns as the schema has them, id first and row_sum last, of rows in the order of their ids: quicker than
 * sql_select where there are very many. sql_next verifies nothing then; sql_take verifies the row and hands it out,
 * texts without a NUL, everything until the next call. */
MUST_CHECK bool sql_scan(struct rows *rows, struct db *db, const char *table, const char *tail,
        struct values values, struct err *err);
enum {
    SQL_COLUMNS = 40 /* more than any table has */
};
MUST_CHECK bool sql_take(struct value cells[SQL_COLUMNS], const struct rows *rows, struct err *err);
struct sqlite3_value;
void sql_take_value(struct value *out, struct sqlite3_value *value);
/* Any query. */
MUST_CHECK bool sql_query(
        struct rows *rows, struct db *db, const char *sql, struct values values, struct err *err);
/* true = a row is there; false = no more, or err is filled (err->kind tells). */
bool sql_next(struct rows *rows, struct err *err);
void sql_end(struct rows *rows);
int64_t sql_int(const struct rows *rows, int column);
double sql_real(const struct rows *rows, int column); /* NULL gives NaN */
/* In the arena; NULL stays NULL. */
const char *sql_text(const struct rows *rows, int column, struct arena *arena);
const void *sql_blob(const struct rows *rows, int column, int64_t *bytes); /* until the next call */
/* The value as it is; text and blob until the next call. */
struct value sql_value(const struct rows *rows, int column, bool *is_null);
int sql_columns(const struct rows *rows);
const char *sql_column_name(const struct rows *rows, int column);

/* The id of the one row that matches, or 0. Verifies its checksum. */
MUST_CHECK bool sql_find(int64_t *id, struct db *db, const char *table, const char *tail,
        struct values values, struct err *err);

/* Tables with checksums, parents first; NULL-terminated. */
extern const char *const db_tables[];
/* "row_sum('t',id,a,b)" of a table, and "a,b" (neither id nor row_sum). */
const char *db_sum_of(const struct db *db, const char *table);
const char *db_columns_of(const struct db *db, const char *table);

#endif
