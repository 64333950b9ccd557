/*
 * One statement a row: the key is looked up, the row is put in and its checksum made by SQLite itself. A
 * quarter of a million rows take a few seconds so; with a look-up of their own, twice that.
 */
#include <stdio.h>

#include "db/import.h"
#include "db/sql_store.h"

enum {
    FIRST_VALUE = 2 /* after the id */
};

static bool next_id(int64_t *id, struct db *db, struct err *err)
{
    struct rows rows;
    if (!sql_query(&rows, db, "SELECT ifnull(max(id),0)+1 FROM op_point", NO_VALUES, err))
        return false;
    *id = sql_next(&rows, err) ? sql_int(&rows, 0) : 1;
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

static const char *insert_statement(struct db *db, int n_values, struct arena *arena)
{
    const char *marks = "?1";
    for (int i = FIRST_VALUE; i < n_values + 1; i++)
        marks = arena_printf(arena, "%s,?%d", marks, i);
    return arena_printf(arena,
            "INSERT INTO op_point (id,%s,row_sum) VALUES (%s,row_sum('op_point',%s)) ON CONFLICT "
            "(device,kind,dtype,degree,busy,d0,d1,d2,d3,d4,d5,nodes,d6,d7) DO NOTHING",
            db_columns_of(db, "op_point"), marks, marks);
}

struct target {
    struct db *db;
    const char *sql; /* made with the first point */
    int64_t id, device, provenance;
    bool replace;
    struct arena arena;
};

static bool drop_old(const struct target *target, const struct op *op, struct err *err)
{
    return sql_run(target->db,
            "DELETE FROM op_point WHERE device=?1 AND kind=?2 AND dtype=?3 AND degree=?4 AND "
            "busy=?5 "
            "AND d0=?6 AND d1=?7 AND d2=?8 AND d3=?9 AND d4=?10 AND d5=?11 AND d6=?12 AND d7=?13 "
            "AND nodes=?14",
            VALUES(V_INT(target->device), V_TEXT(op_kind_names[op->kind]),
                    V_TEXT(dtype_names[op->dtype]), V_INT(op->degree), V_INT(op->busy),
                    V_INT(op->dim[0]), V_INT(op->dim[1]), V_INT(op->dim[2]), V_INT(op->dim[3]),
                    V_INT(op->dim[4]), V_INT(op->dim[5]), V_INT(op->dim[6]), V_INT(op->dim[7]),
                    V_INT(op->nodes)),
            err);
}

static bool put_point(struct target *target, const struct profile_point *point, struct err *err)
{
    const struct op *op = &point->op;
    const struct value items[] = {V_INT(target->id), V_INT(target->device),
            V_INT(target->provenance), V_TEXT(op_kind_names[op->kind]),
            V_TEXT(dtype_names[op->dtype]), V_INT(op->degree), V_INT(op->busy), V_INT(op->dim[0]),
            V_INT(op->dim[1]), V_INT(op->dim[2]), V_INT(op->dim[3]), V_INT(op->dim[4]),
            V_INT(op->dim[5]), V_REAL(point->cost_us), V_REAL(point->lo_us), V_REAL(point->hi_us),
            V_REAL(point->min_us), V_REAL(point->q1_us), V_REAL(point->q3_us),
            V_REAL(point->p99_us), V_REAL(point->mad_us), V_INT(point->samples), V_INT(point->cold),
            V_TEXT(cost_source_names[point->source]), V_TEXT(point->stop), V_BLOB(NULL, 0),
            V_INT(op->nodes), V_INT(op->dim[6]), V_INT(op->dim[7]), V_TEXT(point->kernel)};
    const struct values values = {items, sizeof items / sizeof *items};
    if (target->sql == NULL)
        target->sql = insert_statement(target->db, values.n, &target->arena);
    return sql_run(target->db, target->sql, values, err);
}

static bool device_of(int64_t *id, struct db *db, const char *device, struct err *err)
{
    if (!sql_find(id, db, "device", "WHERE name=?1", VALUES(V_TEXT(device)), err))
        return false;
    return *id != 0 || sql_insert(id, db, "device", VALUES(V_TEXT(device)), err);
}

static bool store_batch(struct import_counts *counts, struct target *target,
        const struct import_batch *batch, struct err *err)
{
    if (!provenance_store(&target->provenance, target->db, &batch->provenance, err)
            || !device_of(&target->device, target->db, batch->device, err))
        return false;
    for (int64_t i = 0; i < batch->n; i++) {
        const struct profile_point *point = &batch->points[i];
        if ((target->replace && !drop_old(target, &point->op, err))
                || !put_point(target, point, err))
            return false;
        bool added = sql_changes(target->db) > 0;
        target->id += added;
        counts->added += added;
        counts->kept += !added;
    }
    return true;
}

bool import_store(struct import_counts *counts, struct db *db, const struct imported *imported,
        bool replace, struct err *err)
{
    struct target target = {.db = db, .replace = replace};

    *counts = (struct import_counts){0};
    if (!sql_begin(db, err))
        return false;
    bool ok = next_id(&target.id, db, err);
    for (int i = 0; ok && i < imported->n; i++)
        ok = store_batch(counts, &target, &imported->batches[i], err);
    ok = sql_finish(db, ok, err);
    arena_free(&target.arena);
    if (!ok)
        *counts = (struct import_counts){0};
    return ok;
}
