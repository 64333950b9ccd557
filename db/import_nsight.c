/*
 * Nsight Systems exports its reports as SQLite databases (`nsys export --type sqlite`). What kernels cost is in
 * CUPTI_ACTIVITY_KIND_KERNEL; which op they belong to is told by an NVTX range around their launch whose text is an op
 * as op_show writes it, or by a table of kernel names. docs/formats/import.md describes both.
 *
 * An op's time in one range is the time in which at least one of its kernels ran; the point is the median over all
 * ranges of the same op.
 */
#include <fnmatch.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec/op_read.h"
#include "core/summary.h"
#include "db/import.h"

enum {
    DEPTH = 64 /* of ranges in each other */
};

struct range {
    int64_t start, end, thread;
};

/* One execution of an op: kernels of one range, or one kernel that the table names. */
struct sample {
    struct op op;
    int64_t unit; /* which range or kernel: those of one unit are one execution */
    int64_t start, end;
};

struct reader {
    const struct import_file *file;
    const struct import_options *options;
    struct arena *arena;
    sqlite3 *db;
    struct range *ranges; /* by thread and start; only those that are ops */
    struct op *ops;       /* of the ranges */
    int64_t n_ranges;
    struct sample *samples;
    int64_t n, room;
    const char *device_name;
    int64_t launches; /* kernels seen */
};

static bool fail(const struct reader *r, const char *doing, struct err *err)
{
    return err_at(err, (struct pos){r->file->path, 1, 1},
            "%s: %s: expected what `nsys export --type sqlite` writes", doing,
            sqlite3_errmsg(r->db));
}

static bool open_bytes(struct reader *r, struct err *err)
{
    unsigned char *bytes = (unsigned char *)r->file->text;
    if (r->file->len < 100 || memcmp(bytes, "SQLite format 3", 16) != 0)
        return err_at(err, (struct pos){r->file->path, 1, 1},
                "no SQLite database: expected what `nsys export --type sqlite` writes");
    bytes[18] = bytes[19] = 1; /* a write-ahead log cannot be had from memory */
    if (sqlite3_open(":memory:", &r->db) != SQLITE_OK
            || sqlite3_deserialize(r->db, "main", bytes, r->file->len, r->file->len,
                       SQLITE_DESERIALIZE_READONLY)
                       != SQLITE_OK)
        return fail(r, "opening it", err);
    return true;
}

static sqlite3_stmt *prepare(const struct reader *r, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(r->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail(r, "reading its tables", err);
    return stmt;
}

/* Ends the statement; false when it stopped for another reason than having no more rows. */
static bool finish(const struct reader *r, sqlite3_stmt *stmt, int rc, struct err *err)
{
    bool ok = rc == SQLITE_DONE || rc == SQLITE_OK || rc == SQLITE_ROW
              || fail(r, "reading its rows", err);
    sqlite3_finalize(stmt);
    return ok;
}

static bool has_table(const struct reader *r, const char *name)
{
    sqlite3_stmt *stmt = NULL;
    bool has =
            sqlite3_prepare_v2(r->db, "SELECT 1 FROM sqlite_schema WHERE name=?1", -1, &stmt, NULL)
                    == SQLITE_OK
            && sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC) == SQLITE_OK
            && sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    return has;
}

static bool read_device(struct reader *r, struct err *err)
{
    if (!has_table(r, "TARGET_INFO_GPU"))
        return true;
    sqlite3_stmt *stmt = prepare(r, "SELECT name FROM TARGET_INFO_GPU ORDER BY id LIMIT 1", err);
    if (stmt == NULL)
        return false;
    int rc = sqlite3_step(stmt);
    const char *name = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    if (name != NULL)
        r->device_name = arena_strdup(r->arena, name);
    return finish(r, stmt, rc, err);
}

/* Push and pop, or start and end, on one thread; text in the row or by its id. Ranges that are no op pass by. */
static bool read_ranges(struct reader *r, struct err *err)
{
    if (!has_table(r, "NVTX_EVENTS"))
        return true;
    sqlite3_stmt *stmt = prepare(r,
            "SELECT n.rowid, n.start, n.\"end\", n.globalTid, coalesce(n.text, s.value) FROM "
            "NVTX_EVENTS n LEFT JOIN StringIds s ON s.id = n.textId WHERE n.eventType IN (59, 60) "
            "AND n.\"end\" IS NOT NULL ORDER BY n.globalTid, n.start, n.\"end\" DESC",
            err);
    int64_t room = 0;
    int rc = SQLITE_DONE;
    if (stmt == NULL)
        return false;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 4);
        struct op op;
        if (text == NULL || !op_read_meant(text))
            continue;
        if (!op_read(&op, text, err)) {
            err_context(err, "%s: NVTX_EVENTS, row %lld", r->file->path,
                    (long long)sqlite3_column_int64(stmt, 0));
            sqlite3_finalize(stmt);
            return false;
        }
        if (r->n_ranges == room) {
            int64_t more = room * 2 + 64;
            r->ranges = arena_grow(r->arena, r->ranges, room, more, sizeof *r->ranges);
            r->ops = arena_grow(r->arena, r->ops, room, more, sizeof *r->ops);
            room = more;
        }
        r->ops[r->n_ranges] = op;
        r->ranges[r->n_ranges++] = (struct range){.start = sqlite3_column_int64(stmt, 1),
                .end = sqlite3_column_int64(stmt, 2),
                .thread = sqlite3_column_int64(stmt, 3)};
    }
    return finish(r, stmt, rc, err);
}

static void add_sample(
        struct reader *r, const struct op *op, int64_t unit, int64_t start, int64_t end)
{
    if (r->n == r->room) {
        int64_t more = r->room * 2 + 256;
        r->samples = arena_grow(r->arena, r->samples, r->room, more, sizeof *r->samples);
        r->room = more;
    }
    r->samples[r->n++] = (struct sample){*op, unit, start, end};
}

/* The innermost range around the launch; launches come by thread and time. -1 = none. */
static int64_t range_around(const struct reader *r, int64_t thread, int64_t at, int64_t *next,
        int64_t *open, int *depth)
{
    while (*next < r->n_ranges
            && (r->ranges[*next].thread < thread
                    || (r->ranges[*next].thread == thread && r->ranges[*next].start <= at))) {
        if (*depth == DEPTH) /* the outermost one is given up */
            memmove(open, open + 1, (size_t)-- * depth * sizeof *open);
        open[(*depth)++] = (*next)++;
    }
    while (*depth > 0
            && (r->ranges[open[*depth - 1]].thread != thread
                    || r->ranges[open[*depth - 1]].end < at))
        --*depth;
    return *depth > 0 ? open[*depth - 1] : -1;
}

/* What the table says of a kernel's name; NULL = nothing. */
static const struct op *mapped(const struct import_options *options, const char *name)
{
    for (int i = 0; name != NULL && i < options->n_kernels; i++)
        if (fnmatch(options->kernels[i].pattern, name, 0) == 0)
            return &options->kernels[i].op;
    return NULL;
}

static bool read_kernels(struct reader *r, struct err *err)
{
    if (!has_table(r, "CUPTI_ACTIVITY_KIND_KERNEL"))
        return true;
    bool launches = has_table(r, "CUPTI_ACTIVITY_KIND_RUNTIME");
    sqlite3_stmt *stmt = prepare(r,
            launches ? "SELECT k.rowid, k.start, k.\"end\", s.value, a.globalTid, a.start FROM "
                       "CUPTI_ACTIVITY_KIND_KERNEL k LEFT JOIN StringIds s ON s.id = "
                       "k.demangledName LEFT JOIN CUPTI_ACTIVITY_KIND_RUNTIME a ON "
                       "a.correlationId = k.correlationId AND (a.globalTid & ~0xffffff) = "
                       "(k.globalPid & ~0xffffff) ORDER BY a.globalTid, a.start, k.rowid"
                     : "SELECT k.rowid, k.start, k.\"end\", s.value, NULL, NULL FROM "
                       "CUPTI_ACTIVITY_KIND_KERNEL k LEFT JOIN StringIds s ON s.id = "
                       "k.demangledName ORDER BY k.rowid",
            err);
    int64_t open[DEPTH], next = 0;
    int depth = 0, rc = SQLITE_DONE;
    if (stmt == NULL)
        return false;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t row = sqlite3_column_int64(stmt, 0), start = sqlite3_column_int64(stmt, 1);
        int64_t end = sqlite3_column_int64(stmt, 2), range = -1;
        const struct op *named = mapped(r->options, (const char *)sqlite3_column_text(stmt, 3));
        if (end <= start) {
            sqlite3_finalize(stmt);
            return err_at(err, (struct pos){r->file->path, 1, 1},
                    "CUPTI_ACTIVITY_KIND_KERNEL, row %lld: runs from %lld to %lld ns: its times "
                    "were lost; record again with fewer kernels",
                    (long long)row, (long long)start, (long long)end);
        }
        r->launches++;
        if (sqlite3_column_type(stmt, 4) != SQLITE_NULL)
            range = range_around(r, sqlite3_column_int64(stmt, 4), sqlite3_column_int64(stmt, 5),
                    &next, open, &depth);
        if (range >= 0)
            add_sample(r, &r->ops[range], range, start, end);
        else if (named != NULL)
            add_sample(r, named, r->n_ranges + row, start, end);
    }
    return finish(r, stmt, rc, err);
}

/* Copies inside a device (copyKind 8) are ops of their own. */
static bool read_copies(struct reader *r, struct err *err)
{
    if (!has_table(r, "CUPTI_ACTIVITY_KIND_MEMCPY"))
        return true;
    sqlite3_stmt *stmt = prepare(r,
            "SELECT rowid, start, \"end\", bytes FROM CUPTI_ACTIVITY_KIND_MEMCPY WHERE copyKind = "
            "8 AND bytes > 0 AND \"end\" > start ORDER BY rowid",
            err);
    int rc = SQLITE_DONE;
    if (stmt == NULL)
        return false;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct op op = {.kind = OP_COPY,
                .dtype = DTYPE_F32,
                .degree = 1,
                .dim = {sqlite3_column_int64(stmt, 3)}};
        /* Units below 0: ranges and kernels have those above. */
        add_sample(r, &op, -sqlite3_column_int64(stmt, 0) - 1, sqlite3_column_int64(stmt, 1),
                sqlite3_column_int64(stmt, 2));
    }
    return finish(r, stmt, rc, err);
}

static int by_op_unit_start(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    int order = op_compare(&x->op, &y->op);
    if (order != 0)
        return order;
    if (x->unit != y->unit)
        return x->unit < y->unit ? -1 : 1;
    return (x->start > y->start) - (x->start < y->start);
}

/* Time in which at least one of the unit's kernels ran; they are in order of start. */
static double busy_us(const struct sample *samples, int64_t n)
{
    int64_t busy = 0, until = samples[0].start;
    for (int64_t i = 0; i < n; i++) {
        int64_t from = samples[i].start > until ? samples[i].start : until;
        if (samples[i].end > from) {
            busy += samples[i].end - from;
            until = samples[i].end;
        }
    }
    return (double)busy * 1e-3;
}

static void add_point(
        struct import_batch *batch, const struct op *op, double *us, int64_t n, struct arena *arena)
{
    struct summary s;
    struct profile_point *point = import_add(batch, 1, arena);
    summary_of(&s, us, n);
    point->op = *op;
    point->cost_us = s.median;
    point->samples = (int32_t)n;
    point->min_us = s.min;
    if (n < 3)
        return; /* says nothing about its spread */
    profile_point_spread(point, &s);
}

static bool make_points(struct reader *r, struct imported *out, struct err *err)
{
    const char *name = r->device_name != NULL ? r->device_name : r->options->device;
    if (name == NULL)
        return err_at(err, (struct pos){r->file->path, 1, 1},
                "which device this is stands nowhere in it: say --device KIND, as in the cluster "
                "file");
    if (r->n == 0)
        return err_at(err, (struct pos){r->file->path, 1, 1},
                "%lld kernels, but none within an NVTX range that is named as an op (\"gemm bf16 "
                "m=8 n=1024 k=3072\"): add ranges, or say what kernels are with --kernels FILE",
                (long long)r->launches);
    qsort(r->samples, (size_t)r->n, sizeof *r->samples, by_op_unit_start);
    struct import_batch *batch =
            import_batch_of(out, r->file, r->options, name, "Nsight Systems", r->arena);
    double *us = ARENA_NEW(r->arena, double, r->n);
    for (int64_t at = 0; at < r->n;) {
        const struct op *op = &r->samples[at].op;
        int64_t n = 0, end;
        for (; at < r->n && op_compare(&r->samples[at].op, op) == 0; at = end) {
            for (end = at + 1; end < r->n && r->samples[end].unit == r->samples[at].unit
                               && op_compare(&r->samples[end].op, op) == 0;)
                end++;
            us[n++] = busy_us(&r->samples[at], end - at);
        }
        add_point(batch, op, us, n, r->arena);
    }
    return true;
}

bool import_nsight(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err)
{
    struct reader r = {.file = file, .options = options, .arena = arena};
    bool ok = open_bytes(&r, err) && read_device(&r, err) && read_ranges(&r, err)
              && read_kernels(&r, err) && read_copies(&r, err) && make_points(&r, out, err);
    sqlite3_close(r.db);
    return ok;
}
