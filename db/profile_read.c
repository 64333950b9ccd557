/* Reading a profile: one scan over its rows, each verified, without those that nobody asks for. */
#include <math.h>
#include <string.h>

#include "db/profile_store.h"
#include "db/sql_store.h"

/* Columns of op_point as the schema has them (sql_scan). Later migrations append theirs. */
enum column {
    AT_KIND = 3,
    AT_DTYPE,
    AT_DEGREE,
    AT_BUSY,
    AT_D0,
    AT_COST_US = 13,
    AT_LO_US,
    AT_HI_US,
    AT_MIN_US,
    AT_Q1_US,
    AT_Q3_US,
    AT_P99_US,
    AT_MAD_US,
    AT_SAMPLES,
    AT_COLD,
    AT_SOURCE,
    AT_STOP,
    AT_NODES = 26,
    AT_D6,
    AT_KERNEL = 29
};

/* A scan over the points of one device. Names come in runs: the last one of each column is tried first. */
struct point_scan {
    struct db *db;
    struct rows rows;
    struct value cells[SQL_COLUMNS]; /* of the row */
    int last[AT_KERNEL + 1];
    enum column unknown;   /* whose name nobody knows */
    const char *texts[64]; /* that stand in row after row, kept once */
    int n_texts;
};

static bool is_text(const struct value *cell, const char *text)
{
    return cell->type == VALUE_TEXT && (int64_t)strlen(text) == cell->i
           && memcmp(cell->p, text, (size_t)cell->i) == 0;
}

/* The index of a name, or -1: the row is from another version. */
static int name_index(struct point_scan *scan, enum column column, const char *const *names)
{
    int *last = &scan->last[column];
    if (is_text(&scan->cells[column], names[*last]))
        return *last;
    for (int i = 0; names[i]; i++)
        if (is_text(&scan->cells[column], names[i]))
            return *last = i;
    scan->unknown = column;
    return -1;
}

static bool unknown_name(const struct point_scan *scan, struct err *err)
{
    const struct value *cell = &scan->cells[scan->unknown];
    bool text = cell->type == VALUE_TEXT;
    return err_set(err, ERR_INPUT,
            "%s: table op_point: unknown %s \"%.*s\": expected one that this version knows: use "
            "the "
            "shardwright that wrote it",
            db_path(scan->db), sql_column_name(&scan->rows, (int)scan->unknown),
            text ? (int)cell->i : 0, text ? (const char *)cell->p : "");
}

static const char *keep_text(struct point_scan *scan, enum column column, struct arena *arena)
{
    const struct value *cell = &scan->cells[column];
    if (cell->type != VALUE_TEXT)
        return NULL;
    for (int i = scan->n_texts - 1; i >= 0; i--)
        if (is_text(cell, scan->texts[i]))
            return scan->texts[i];
    const char *copy = arena_strndup(arena, cell->p, cell->i);
    if (scan->n_texts < (int)(sizeof scan->texts / sizeof *scan->texts))
        scan->texts[scan->n_texts++] = copy;
    return copy;
}

static double real_of(const struct value *cell)
{
    return cell->type == VALUE_REAL ? cell->r : (double)NAN;
}

static bool read_op(struct op *op, struct point_scan *scan)
{
    const struct value *cells = scan->cells;
    int kind = name_index(scan, AT_KIND, op_kind_names);
    int dtype = name_index(scan, AT_DTYPE, dtype_names);

    if (kind < 0 || dtype < 0)
        return false;
    *op = (struct op){.kind = (enum op_kind)kind,
            .dtype = (enum dtype)dtype,
            .degree = (int32_t)cells[AT_DEGREE].i,
            .busy = (int32_t)cells[AT_BUSY].i,
            .nodes = (int32_t)cells[AT_NODES].i};
    for (int d = 0; d < OP_DIMS; d++)
        op->dim[d] = cells[d < 6 ? AT_D0 + d : AT_D6 + d - 6].i;
    return true;
}

static bool read_point(struct profile_point *point, struct point_scan *scan, struct arena *arena)
{
    const struct value *cells = scan->cells;
    int source = name_index(scan, AT_SOURCE, cost_source_names);

    if (source < 0 || !read_op(&point->op, scan))
        return false;
    double *const figures[] = {&point->cost_us, &point->lo_us, &point->hi_us, &point->min_us,
            &point->q1_us, &point->q3_us, &point->p99_us, &point->mad_us};
    for (int i = 0; i < AT_SAMPLES - AT_COST_US; i++)
        *figures[i] = real_of(&cells[AT_COST_US + i]);
    point->samples = (int32_t)cells[AT_SAMPLES].i;
    point->cold = cells[AT_COLD].i != 0;
    point->source = (enum cost_source)source;
    point->stop = keep_text(scan, AT_STOP, arena);
    point->kernel = keep_text(scan, AT_KERNEL, arena);
    return true;
}

/* A filter for SQL: rows that it leaves out are passed over without reading the rest of them. */
static const char *filter_tail(const struct profile_filter *filter, struct arena *arena)
{
    const unsigned all = (1U << DTYPE_COUNT) - 1;
    const char *out = "0";
    for (int k = 0; filter != NULL && k < OP_KIND_COUNT; k++) {
        const char *dtypes = "";
        for (int d = 0; d < DTYPE_COUNT; d++)
            if ((filter->dtypes[k] >> d & 1) != 0)
                dtypes =
                        arena_printf(arena, "%s%s'%s'", dtypes, *dtypes ? "," : "", dtype_names[d]);
        if ((filter->dtypes[k] & all) != all)
            out = arena_printf(arena, "%s OR (kind='%s' AND dtype NOT IN (%s))", out,
                    op_kind_names[k], dtypes);
    }
    return arena_printf(arena, "WHERE device=?1 AND NOT (busy=0 AND (%s))", out);
}

static bool count_points(int64_t *n, struct db *db, int64_t device, struct err *err)
{
    struct rows rows;
    *n = 0;
    if (!sql_query(&rows, db, "SELECT count(*) FROM op_point WHERE device=?1",
                VALUES(V_INT(device)), err))
        return false;
    if (sql_next(&rows, err))
        *n = sql_int(&rows, 0);
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

/* A damaged row that the filter leaves out, or seems to, is never served. */
static bool read_points(struct profile *out, struct db *db, int64_t device,
        const struct profile_filter *filter, struct arena *arena, struct err *err)
{
    struct point_scan scan = {.db = db};
    int64_t most = 0;

    bool ok = count_points(&most, db, device, err);
    out->points = ARENA_NEW(arena, struct profile_point, most);
    ok = ok
         && sql_scan(&scan.rows, db, "op_point", filter_tail(filter, arena), VALUES(V_INT(device)),
                 err);
    /* Another process may add points meanwhile: they are left for the next reading. */
    while (ok && out->n < most && sql_next(&scan.rows, err))
        ok = sql_take(scan.cells, &scan.rows, err)
             && (read_point(&out->points[out->n++], &scan, arena) || unknown_name(&scan, err));
    sql_end(&scan.rows);
    return ok && err->kind == ERR_NONE;
}

bool profile_store_read(struct profile *out, struct db *db, const char *device, struct arena *arena,
        struct err *err)
{
    return profile_store_read_some(out, db, device, NULL, arena, err);
}

bool profile_store_read_some(struct profile *out, struct db *db, const char *device,
        const struct profile_filter *filter, struct arena *arena, struct err *err)
{
    struct profile_ceiling *ceilings;
    int64_t id;
    int n = 0;

    *out = (struct profile){.device = arena_strdup(arena, device)};
    if (!sql_find(&id, db, "device", "WHERE name=?1", VALUES(V_TEXT(device)), err)
            || !read_points(out, db, id, filter, arena, err)
            || !profile_store_ceilings(&ceilings, &n, db, device, arena, err))
        return false;
    /* Sorted by degree, then busy: the last of degree 1 has the most ranks busy. */
    for (int i = 0; i < n && ceilings[i].degree == 1; i++) {
        out->peak_flops = ceilings[i].peak_flops;
        out->peak_bytes_per_s = ceilings[i].peak_bytes_per_s;
    }
    if (!profile_finish(out, err))
        return false;
    out->digest = profile_digest(out, arena);
    return true;
}
