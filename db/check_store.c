#include "db/check_store.h"

#include "db/sql_store.h"

bool check_store_add(
        struct db *db, int64_t provenance, const struct check_store_row *row, struct err *err)
{
    int64_t id;
    return sql_insert(&id, db, "check_result",
            VALUES(V_INT(provenance), V_TEXT(row->device), V_TEXT(row->op_kind), V_INT(row->n),
                    V_INT(row->wall_s), V_REAL(row->mape), V_REAL(row->median), V_REAL(row->p90),
                    V_REAL(row->p99), V_REAL(row->bias), V_REAL(row->coverage),
                    V_TEXT(row->size_class), V_REAL(row->noise)),
            err);
}

bool check_store_read(struct check_store_row **out, int64_t *n, struct db *db, struct arena *arena,
        struct err *err)
{
    struct rows rows;
    int64_t most = 0;

    *n = 0;
    *out = NULL;
    if (!sql_select(&rows, db, "check_result",
                "device,kind,n,wall_s,mape,median,p90,p99,bias,coverage,size_class,noise",
                "ORDER BY wall_s DESC,id", NO_VALUES, err))
        return false;
    while (sql_next(&rows, err)) {
        if (*n == most) {
            *out = arena_grow(arena, *out, most, most * 2 + 16, sizeof **out);
            most = most * 2 + 16;
        }
        (*out)[(*n)++] = (struct check_store_row){.device = sql_text(&rows, 0, arena),
                .op_kind = sql_text(&rows, 1, arena),
                .n = sql_int(&rows, 2),
                .wall_s = sql_int(&rows, 3),
                .mape = sql_real(&rows, 4),
                .median = sql_real(&rows, 5),
                .p90 = sql_real(&rows, 6),
                .p99 = sql_real(&rows, 7),
                .bias = sql_real(&rows, 8),
                .coverage = sql_real(&rows, 9),
                .size_class = sql_text(&rows, 10, arena),
                .noise = sql_real(&rows, 11)};
    }
    return err->kind == ERR_NONE;
}
