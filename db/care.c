/*
 * Care of a whole database: check, drop damaged rows, vacuum, export. Tables and columns come from the
 * schema, so a new table needs nothing here.
 */
#include "db/db.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "db/sql_store.h"

struct damage {
    int64_t rows, bad;
    const char *table; /* of the first one */
    int64_t row;
};

static bool check_sums(struct damage *damage, struct db *db, const char *table, struct err *err)
{
    char sql[1024];
    struct rows rows;

    snprintf(sql, sizeof sql, "SELECT id, %s IS row_sum FROM %s ORDER BY id", db_sum_of(db, table),
            table);
    if (!sql_query(&rows, db, sql, NO_VALUES, err))
        return false;
    while (sql_next(&rows, err)) {
        damage->rows++;
        if (sql_int(&rows, 1))
            continue;
        if (damage->bad++ == 0) {
            damage->table = table;
            damage->row = sql_int(&rows, 0);
        }
    }
    return err->kind == ERR_NONE;
}

static bool check_links(struct db *db, struct arena *arena, struct err *err)
{
    struct rows rows;
    if (!sql_query(&rows, db, "SELECT \"table\", rowid, parent FROM pragma_foreign_key_check",
                NO_VALUES, err))
        return false;
    if (sql_next(&rows, err)) {
        const char *table = sql_text(&rows, 0, arena), *parent = sql_text(&rows, 2, arena);
        err_set(err, ERR_INPUT,
                "%s: table %s, row %lld: points to a row of %s that is not there: restore a copy "
                "of the "
                "database",
                db_path(db), table, (long long)sql_int(&rows, 1), parent);
    }
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

static bool check_file(struct db *db, struct arena *arena, struct err *err)
{
    struct rows rows;
    if (!sql_query(
                &rows, db, "SELECT integrity_check FROM pragma_integrity_check(1)", NO_VALUES, err))
        return false;
    if (sql_next(&rows, err)) {
        const char *said = sql_text(&rows, 0, arena);
        if (said && strcmp(said, "ok") != 0)
            err_set(err, ERR_INPUT,
                    "%s: the file is damaged (%s): restore a copy, or delete it and profile again",
                    db_path(db), said);
    }
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

bool db_check(struct db *db, int64_t *rows_checked, struct err *err)
{
    struct arena arena = {0};
    struct damage damage = {0};

    bool ok = check_file(db, &arena, err);
    for (int t = 0; ok && db_tables[t]; t++)
        ok = check_sums(&damage, db, db_tables[t], err);
    if (ok && damage.bad > 0)
        ok = err_set(err, ERR_INPUT,
                "%s: table %s, row %lld: its checksum does not hold; %lld of %lld rows are "
                "damaged: "
                "restore a copy, or drop them with `shardwright db check --drop-damaged %s` and "
                "measure "
                "again",
                db_path(db), damage.table, (long long)damage.row, (long long)damage.bad,
                (long long)damage.rows, db_path(db));
    ok = ok && check_links(db, &arena, err);
    *rows_checked = damage.rows;
    arena_free(&arena);
    return ok;
}

bool db_orphans(struct db *db, int64_t *n, struct err *err)
{
    static const char sql[] =
            "SELECT (SELECT count(*) FROM provenance WHERE id NOT IN (SELECT provenance FROM "
            "op_point UNION SELECT provenance FROM ceiling UNION SELECT provenance FROM run "
            "UNION SELECT provenance FROM check_result))"
            " + (SELECT count(*) FROM device WHERE id NOT IN (SELECT device FROM op_point UNION "
            "SELECT device FROM ceiling))"
            " + (SELECT count(*) FROM plan WHERE id NOT IN (SELECT plan FROM run))";
    struct rows rows;
    if (!sql_query(&rows, db, sql, NO_VALUES, err))
        return false;
    *n = sql_next(&rows, err) ? sql_int(&rows, 0) : 0;
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

bool db_drop_damaged(struct db *db, int64_t *dropped, struct err *err)
{
    /* Rows that nothing points to. Losing a parent would lose sound children with it. */
    static const char *const leaves[] = {"op_point", "ceiling", "run_figure", "run_request",
            "run_step", "check_result", "algorithm", NULL};
    char sql[1024];

    *dropped = 0;
    if (!sql_begin(db, err))
        return false;
    bool ok = true;
    for (int t = 0; ok && leaves[t]; t++) {
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s IS NOT row_sum", leaves[t],
                db_sum_of(db, leaves[t]));
        ok = sql_run(db, sql, NO_VALUES, err);
        if (ok)
            *dropped += sql_changes(db);
    }
    return sql_finish(db, ok, err);
}

bool db_vacuum(struct db *db, struct err *err)
{
    return sql_run(db, "VACUUM", NO_VALUES, err)
           && sql_run(db, "PRAGMA wal_checkpoint(TRUNCATE)", NO_VALUES, err);
}

static void csv_text(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            putc('"', out);
        putc(*text, out);
    }
    putc('"', out);
}

static void csv_value(FILE *out, struct value value, bool is_null)
{
    const unsigned char *bytes = value.p;
    if (is_null)
        return;
    switch (value.type) {
    case VALUE_INT:
        fprintf(out, "%lld", (long long)value.i);
        break;
    case VALUE_REAL:
        fprintf(out, "%.17g", value.r);
        break;
    case VALUE_TEXT:
        csv_text(out, value.p);
        break;
    case VALUE_NULL:
        break;
    case VALUE_BLOB:
        for (int64_t i = 0; i < value.i; i++)
            fprintf(out, "%02x", bytes[i]);
        break;
    }
}

static bool export_table(struct db *db, const char *table, const char *dir, struct err *err)
{
    char sql[1024], *text = NULL;
    size_t len = 0;
    struct arena arena = {0};
    struct rows rows = {0};
    FILE *out = open_memstream(&text, &len);

    bool ok = out || err_set(err, ERR_ENV, "%s: out of memory", table);
    snprintf(sql, sizeof sql, "id,%s", db_columns_of(db, table));
    ok = ok && sql_select(&rows, db, table, sql, "ORDER BY id", NO_VALUES, err);
    for (int c = 0; ok && c < sql_columns(&rows); c++)
        fprintf(out, "%s%s", c ? "," : "", sql_column_name(&rows, c));
    while (ok && sql_next(&rows, err)) {
        fputs("\r\n", out);
        for (int c = 0; c < sql_columns(&rows); c++) {
            bool is_null;
            struct value value = sql_value(&rows, c, &is_null);
            if (c)
                putc(',', out);
            csv_value(out, value, is_null);
        }
    }
    ok = ok && err->kind == ERR_NONE;
    if (ok)
        fputs("\r\n", out);
    if (out && fclose(out) != 0 && ok)
        ok = err_set(err, ERR_ENV, "%s: out of memory", table);
    ok = ok && file_write(arena_printf(&arena, "%s/%s.csv", dir, table), text, (int64_t)len, err);
    sql_end(&rows);
    free(text);
    arena_free(&arena);
    return ok;
}

bool db_export_csv(struct db *db, const char *dir, struct err *err)
{
    if (!file_make_dirs(dir, err))
        return false;
    for (int t = 0; db_tables[t]; t++)
        if (!export_table(db, db_tables[t], dir, err))
            return false;
    return true;
}
