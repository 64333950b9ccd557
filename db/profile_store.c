#include "db/profile_store.h"

#include <string.h>

#include "db/sql_store.h"

bool provenance_store(
        int64_t *id, struct db *db, const struct provenance *provenance, struct err *err)
{
    const struct value items[] = {V_TEXT(provenance->host), V_TEXT(provenance->device),
            V_TEXT(provenance->kernel), V_TEXT(provenance->software), V_TEXT(provenance->commit),
            V_TEXT(provenance->build), V_TEXT(provenance->clocks), V_INT(provenance->wall_s),
            V_INT(provenance->cores), V_REAL(provenance->load), V_TEXT(provenance->origin)};
    const struct values values = {items, sizeof items / sizeof *items};

    if (!sql_begin(db, err))
        return false;
    bool ok = sql_find(id, db, "provenance",
            "WHERE host IS ?1 AND device IS ?2 AND kernel IS ?3 AND software IS ?4 AND commit_id "
            "IS ?5 "
            "AND build IS ?6 AND clocks IS ?7 AND wall_s=?8 AND cores=?9 AND load IS ?10 AND "
            "origin IS "
            "?11",
            values, err);
    if (ok && *id == 0)
        ok = sql_insert(id, db, "provenance", values, err);
    return sql_finish(db, ok, err);
}

bool provenance_read(
        struct provenance *out, struct db *db, int64_t id, struct arena *arena, struct err *err)
{
    struct rows rows;

    *out = (struct provenance){0};
    if (!sql_select(&rows, db, "provenance",
                "host,device,kernel,software,commit_id,build,clocks,wall_s,cores,load,origin",
                "WHERE id=?1", VALUES(V_INT(id)), err))
        return false;
    if (sql_next(&rows, err)) {
        out->host = sql_text(&rows, 0, arena);
        out->device = sql_text(&rows, 1, arena);
        out->kernel = sql_text(&rows, 2, arena);
        out->software = sql_text(&rows, 3, arena);
        out->commit = sql_text(&rows, 4, arena);
        out->build = sql_text(&rows, 5, arena);
        out->clocks = sql_text(&rows, 6, arena);
        out->wall_s = sql_int(&rows, 7);
        out->cores = (int)sql_int(&rows, 8);
        out->load = sql_real(&rows, 9);
        out->origin = sql_text(&rows, 10, arena);
    }
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

static bool device_id(int64_t *id, struct db *db, const char *device, bool make, struct err *err)
{
    if (!sql_find(id, db, "device", "WHERE name=?1", VALUES(V_TEXT(device)), err))
        return false;
    if (*id == 0 && make)
        return sql_insert(id, db, "device", VALUES(V_TEXT(device)), err);
    return true;
}

static const char point_key[] =
        "WHERE device=?1 AND kind=?2 AND dtype=?3 AND degree=?4 AND "
        "busy=?5 AND d0=?6 AND d1=?7 AND "
        "d2=?8 AND d3=?9 AND d4=?10 AND d5=?11 AND nodes=?12 AND d6=?13 AND "
        "d7=?14";

static bool find_point(
        int64_t *id, struct db *db, int64_t device, const struct op *op, struct err *err)
{
    return sql_find(id, db, "op_point", point_key,
            VALUES(V_INT(device), V_TEXT(op_kind_names[op->kind]), V_TEXT(dtype_names[op->dtype]),
                    V_INT(op->degree), V_INT(op->busy), V_INT(op->dim[0]), V_INT(op->dim[1]),
                    V_INT(op->dim[2]), V_INT(op->dim[3]), V_INT(op->dim[4]), V_INT(op->dim[5]),
                    V_INT(op->nodes), V_INT(op->dim[6]), V_INT(op->dim[7])),
            err);
}

static bool insert_point(struct db *db, int64_t device, int64_t provenance,
        const struct profile_point *point, const double *samples, struct err *err)
{
    const struct op *op = &point->op;
    int64_t id;
    return sql_insert(&id, db, "op_point",
            VALUES(V_INT(device), V_INT(provenance), V_TEXT(op_kind_names[op->kind]),
                    V_TEXT(dtype_names[op->dtype]), V_INT(op->degree), V_INT(op->busy),
                    V_INT(op->dim[0]), V_INT(op->dim[1]), V_INT(op->dim[2]), V_INT(op->dim[3]),
                    V_INT(op->dim[4]), V_INT(op->dim[5]), V_REAL(point->cost_us),
                    V_REAL(point->lo_us), V_REAL(point->hi_us), V_REAL(point->min_us),
                    V_REAL(point->q1_us), V_REAL(point->q3_us), V_REAL(point->p99_us),
                    V_REAL(point->mad_us), V_INT(point->samples), V_INT(point->cold),
                    V_TEXT(cost_source_names[point->source]), V_TEXT(point->stop),
                    V_BLOB(samples, point->samples * (int64_t)sizeof *samples), V_INT(op->nodes),
                    V_INT(op->dim[6]), V_INT(op->dim[7]), V_TEXT(point->kernel)),
            err);
}

/* NOLINTNEXTLINE(readability-function-size): what a point is, whose it is, and what to do with it */
bool profile_store_add(bool *added, struct db *db, int64_t provenance, const char *device,
        const struct profile_point *point, const double *samples, enum store_existing existing,
        struct err *err)
{
    int64_t device_row = 0, id = 0, gone = 0;

    *added = false;
    if (!sql_begin(db, err))
        return false;
    bool ok = device_id(&device_row, db, device, true, err)
              && find_point(&id, db, device_row, &point->op, err);
    if (ok && id != 0 && existing != STORE_KEEP)
        ok = sql_find(&gone, db, "op_point", "WHERE id=?1 AND (?2 OR provenance=?3)",
                     VALUES(V_INT(id), V_INT(existing == STORE_REPLACE), V_INT(provenance)), err)
             && sql_run(db, "DELETE FROM op_point WHERE id=?1", VALUES(V_INT(gone)), err);
    *added = ok && id == gone;
    if (*added)
        ok = insert_point(db, device_row, provenance, point, samples, err);
    ok = sql_finish(db, ok, err);
    *added = *added && ok;
    return ok;
}

bool profile_store_samples(double **samples, int64_t *n, struct db *db, const char *device,
        const struct op *op, struct arena *arena, struct err *err)
{
    struct rows rows;
    int64_t device_row, id, bytes = 0;

    *samples = NULL;
    *n = 0;
    if (!device_id(&device_row, db, device, false, err) || !find_point(&id, db, device_row, op, err)
            || !sql_select(&rows, db, "op_point", "samples", "WHERE id=?1", VALUES(V_INT(id)), err))
        return false;
    if (sql_next(&rows, err)) {
        const void *blob = sql_blob(&rows, 0, &bytes);
        *n = bytes / (int64_t)sizeof **samples;
        *samples = ARENA_NEW(arena, double, *n);
        if (*n > 0)
            memcpy(*samples, blob, (size_t)*n * sizeof **samples);
    }
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

bool profile_store_devices(
        const char ***names, int *n, struct db *db, struct arena *arena, struct err *err)
{
    struct rows rows;
    int most = 0;

    *n = 0;
    *names = NULL;
    if (!sql_select(&rows, db, "device", "name",
                "WHERE id IN (SELECT device FROM op_point) ORDER BY name", NO_VALUES, err))
        return false;
    while (sql_next(&rows, err)) {
        if (*n == most) {
            *names = arena_grow(arena, *names, most, most * 2 + 4, sizeof **names);
            most = most * 2 + 4;
        }
        (*names)[(*n)++] = sql_text(&rows, 0, arena);
    }
    return err->kind == ERR_NONE;
}

bool profile_store_ceiling_at(struct db *db, int64_t provenance, const char *device,
        const struct profile_ceiling *ceiling, struct err *err)
{
    int64_t device_row, id;

    if (!sql_begin(db, err))
        return false;
    bool ok = device_id(&device_row, db, device, true, err)
              && sql_run(db, "DELETE FROM ceiling WHERE device=?1 AND degree=?2 AND busy=?3",
                      VALUES(V_INT(device_row), V_INT(ceiling->degree), V_INT(ceiling->busy)), err)
              && sql_insert(&id, db, "ceiling",
                      VALUES(V_INT(device_row), V_INT(provenance), V_INT(ceiling->degree),
                              V_INT(ceiling->busy), V_REAL(ceiling->peak_flops),
                              V_REAL(ceiling->peak_bytes_per_s)),
                      err);
    return sql_finish(db, ok, err);
}

bool profile_store_ceiling(struct db *db, int64_t provenance, const char *device, double peak_flops,
        double peak_bytes_per_s, struct err *err)
{
    struct profile_ceiling ceiling = {1, 1, peak_flops, peak_bytes_per_s};
    return profile_store_ceiling_at(db, provenance, device, &ceiling, err);
}

bool profile_store_ceilings(struct profile_ceiling **out, int *n, struct db *db, const char *device,
        struct arena *arena, struct err *err)
{
    struct rows rows;
    int64_t device_row;
    int most = 0;

    *n = 0;
    *out = NULL;
    if (!device_id(&device_row, db, device, false, err)
            || !sql_select(&rows, db, "ceiling", "degree,busy,peak_flops,peak_bytes_per_s",
                    "WHERE device=?1 ORDER BY degree,busy", VALUES(V_INT(device_row)), err))
        return false;
    while (sql_next(&rows, err)) {
        if (*n == most) {
            *out = arena_grow(arena, *out, most, most * 2 + 4, sizeof **out);
            most = most * 2 + 4;
        }
        (*out)[(*n)++] = (struct profile_ceiling){(int)sql_int(&rows, 0), (int)sql_int(&rows, 1),
                sql_real(&rows, 2), sql_real(&rows, 3)};
    }
    return err->kind == ERR_NONE;
}
