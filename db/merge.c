/*
 * Merging goes table by table, parents first. A row is looked up by its key, which is what makes it the
 * same row in both files; links are rewritten to the ids that the parents have here. Details of a run come
 * along only with a run that was not here before.
 */
#include "db/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/sql_store.h"

enum {
    MOST_COLUMNS = 32
};

/* How to tell that a row is here: `key` over the row's columns as parameters. "" = belongs to a run. */
static const struct rule {
    const char *table, *key;
} rules[] = {
        {"provenance", "WHERE host IS ?1 AND device IS ?2 AND kernel IS ?3 AND software IS ?4 AND "
                       "commit_id IS ?5 "
                       "AND build IS ?6 AND clocks IS ?7 AND wall_s=?8 AND cores=?9 AND load IS "
                       "?10 AND origin IS "
                       "?11"},
        {"device", "WHERE name=?1"},
        {"op_point", "WHERE device=?1 AND kind=?3 AND dtype=?4 AND degree=?5 AND busy=?6 AND d0=?7 "
                     "AND d1=?8 AND "
                     "d2=?9 AND d3=?10 AND d4=?11 AND d5=?12 AND nodes=?26 AND d6=?27 AND d7=?28"},
        {"ceiling", "WHERE device=?1 AND degree=?3 AND busy=?4"},
        {"plan", "WHERE digest=?1"},
        {"run", "WHERE uid=?1"},
        {"run_figure", ""},
        {"run_request", ""},
        {"run_step", ""},
        {"check_result", "WHERE provenance=?1 AND device=?2 AND kind=?3 AND wall_s=?5 AND "
                         "size_class=?12"},
        {"algorithm", "WHERE device=?1 AND driver=?2 AND library=?3 AND dtype=?4 AND form=?5 AND "
                      "m=?6 AND n=?7 AND k=?8 AND ldx=?9 AND ldy=?10"},
};

struct link_map {
    int64_t *to; /* by id there: id here */
    bool *fresh; /* was added by this merge */
    int64_t size;
};

struct merge {
    struct db *db, *from;
    struct arena arena;
    struct link_map maps[sizeof rules / sizeof *rules];
    struct db_merge_counts *added;
};

static int rule_of(const char *table)
{
    for (int r = 0; r < (int)(sizeof rules / sizeof *rules); r++)
        if (strcmp(rules[r].table, table) == 0)
            return r;
    return -1;
}

/* The parent table that an integer column points to is the one of its name. */
static int parent_of(const char *column, enum value_type type)
{
    return type == VALUE_INT ? rule_of(column) : -1;
}

static bool make_map(struct merge *merge, int r, struct err *err)
{
    char sql[128];
    struct rows rows;
    snprintf(sql, sizeof sql, "SELECT ifnull(max(id),0)+1 FROM %s", rules[r].table);
    if (!sql_query(&rows, merge->from, sql, NO_VALUES, err))
        return false;
    struct link_map *map = &merge->maps[r];
    map->size = sql_next(&rows, err) ? sql_int(&rows, 0) : 1;
    sql_end(&rows);
    map->to = ARENA_NEW(&merge->arena, int64_t, map->size);
    map->fresh = ARENA_NEW(&merge->arena, bool, map->size);
    return err->kind == ERR_NONE;
}

static void count_row(struct db_merge_counts *added, const char *table)
{
    added->rows++;
    added->points += strcmp(table, "op_point") == 0;
    added->runs += strcmp(table, "run") == 0;
}

static bool merge_row(struct merge *merge, int r, const struct rows *rows, struct err *err)
{
    struct value values[MOST_COLUMNS];
    int n = sql_columns(rows) - 1;
    int64_t id = sql_int(rows, 0), here = 0;
    const struct values row = {values, n};

    for (int c = 0; c < n; c++) {
        bool is_null;
        values[c] = sql_value(rows, c + 1, &is_null);
        int parent = parent_of(sql_column_name(rows, c + 1), values[c].type);
        if (parent < 0)
            continue;
        struct link_map *map = &merge->maps[parent];
        if (values[c].i < 1 || values[c].i >= map->size)
            return err_set(err, ERR_INPUT,
                    "%s: table %s, row %lld: points to a row that is not there",
                    db_path(merge->from), rules[r].table, (long long)id);
        if (!*rules[r].key && !map->fresh[values[c].i])
            return true; /* the run was here already, with its details */
        values[c].i = map->to[values[c].i];
    }
    if (*rules[r].key && !sql_find(&here, merge->db, rules[r].table, rules[r].key, row, err))
        return false;
    bool fresh = here == 0;
    if (fresh && !sql_insert(&here, merge->db, rules[r].table, row, err))
        return false;
    if (fresh)
        count_row(merge->added, rules[r].table);
    merge->maps[r].to[id] = here;
    merge->maps[r].fresh[id] = fresh;
    return true;
}

static bool merge_table(struct merge *merge, int r, struct err *err)
{
    char columns[1024];
    struct rows rows = {0};

    snprintf(columns, sizeof columns, "id,%s", db_columns_of(merge->from, rules[r].table));
    bool ok = make_map(merge, r, err)
              && sql_select(
                      &rows, merge->from, rules[r].table, columns, "ORDER BY id", NO_VALUES, err);
    while (ok && sql_next(&rows, err))
        ok = merge_row(merge, r, &rows, err);
    sql_end(&rows);
    return ok && err->kind == ERR_NONE;
}

bool db_merge(struct db_merge_counts *added, struct db *db, struct db *from, struct err *err)
{
    struct merge merge = {.db = db, .from = from, .added = added};
    int64_t checked;

    *added = (struct db_merge_counts){0};
    if (!db_check(from, &checked, err) || !sql_begin(db, err))
        return false;
    bool ok = true;
    for (int r = 0; ok && r < (int)(sizeof rules / sizeof *rules); r++)
        ok = merge_table(&merge, r, err);
    ok = sql_finish(db, ok, err);
    if (!ok)
        *added = (struct db_merge_counts){0};
    arena_free(&merge.arena);
    return ok;
}
