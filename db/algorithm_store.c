#include "db/algorithm_store.h"

#include <stdio.h>
#include <string.h>

#include "db/sql_store.h"

/* -1 for a name that is none of them: a newer program may know more. */
static int32_t find_name(const char *const *names, const char *name)
{
    for (int32_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

/* false for a row of no use here. */
static bool entry_of(struct algorithm_entry *e, const struct rows *rows, struct arena *arena)
{
    int64_t bytes = 0;
    const void *blob = sql_blob(rows, 10, &bytes);

    memset(e, 0, sizeof *e); /* it goes to other ranks as bytes */
    if (bytes != ALGORITHM_BYTES)
        return false;
    memcpy(e->algorithm.bytes, blob, ALGORITHM_BYTES);
    snprintf(e->site.device, sizeof e->site.device, "%s", sql_text(rows, 0, arena));
    e->site.driver = (int32_t)sql_int(rows, 1);
    snprintf(e->site.library, sizeof e->site.library, "%s", sql_text(rows, 2, arena));
    e->algorithm.shape =
            (struct algorithm_shape){.dtype = find_name(dtype_names, sql_text(rows, 3, arena)),
                    .form = find_name(algorithm_form_names, sql_text(rows, 4, arena)),
                    .m = sql_int(rows, 5),
                    .n = sql_int(rows, 6),
                    .k = sql_int(rows, 7),
                    .ldx = sql_int(rows, 8),
                    .ldy = sql_int(rows, 9)};
    e->algorithm.us = sql_real(rows, 11);
    return e->algorithm.shape.dtype >= 0 && e->algorithm.shape.form >= 0;
}

bool algorithm_store_read(
        struct algorithm_book *book, struct db *db, struct arena *arena, struct err *err)
{
    struct algorithm_entry entry;
    struct rows rows;

    *book = (struct algorithm_book){.arena = arena};
    if (!sql_select(&rows, db, "algorithm",
                "device,driver,library,dtype,form,m,n,k,ldx,ldy,bytes,cost_us", "ORDER BY id",
                NO_VALUES, err))
        return false;
    while (sql_next(&rows, err))
        if (entry_of(&entry, &rows, arena))
            algorithm_note(book, &entry.site, &entry.algorithm);
    book->n_known = book->n;
    return err->kind == ERR_NONE;
}

static bool put(struct db *db, const struct algorithm_entry *e, struct err *err)
{
    const struct algorithm_shape *s = &e->algorithm.shape;
    const struct value device = V_TEXT(e->site.device), driver = V_INT(e->site.driver),
                       library = V_TEXT(e->site.library), dtype = V_TEXT(dtype_names[s->dtype]),
                       form = V_TEXT(algorithm_form_names[s->form]);
    int64_t id;

    if (!sql_run(db,
                "DELETE FROM algorithm WHERE device=?1 AND driver=?2 AND library=?3 AND dtype=?4 "
                "AND form=?5 AND m=?6 AND n=?7 AND k=?8 AND ldx=?9 AND ldy=?10",
                VALUES(device, driver, library, dtype, form, V_INT(s->m), V_INT(s->n), V_INT(s->k),
                        V_INT(s->ldx), V_INT(s->ldy)),
                err))
        return false;
    return sql_insert(&id, db, "algorithm",
            VALUES(device, driver, library, dtype, form, V_INT(s->m), V_INT(s->n), V_INT(s->k),
                    V_INT(s->ldx), V_INT(s->ldy), V_BLOB(e->algorithm.bytes, ALGORITHM_BYTES),
                    V_REAL(e->algorithm.us)),
            err);
}

bool algorithm_store_write(struct db *db, const struct algorithm_book *book, struct err *err)
{
    bool ok = true;

    if (book->n == book->n_known)
        return true;
    if (!sql_begin(db, err))
        return false;
    for (int64_t i = book->n_known; ok && i < book->n; i++)
        ok = put(db, &book->items[i], err);
    return sql_finish(db, ok, err);
}
