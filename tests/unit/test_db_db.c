#include "db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "core/file.h"
#include "db/handle.h"
#include "db/profile_store.h"
#include "db/sql_store.h"

struct fixture {
    char dir[64], path[96], other[96];
    struct arena arena;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/test_db_XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/costs.db", f->dir);
    snprintf(f->other, sizeof f->other, "%s/other.db", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    /* NOLINTNEXTLINE(cert-env33-c): the folder is this test's own */
    int rc = system(command);
    arena_free(&f->arena);
    free(f);
    return rc;
}

/* SQL by a program that knows nothing of checksums. */
static void raw(const char *path, const char *sql)
{
    sqlite3 *handle;
    char *said = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &said) != SQLITE_OK)
        fail_msg("%s: %s", sql, said);
    sqlite3_close(handle);
}

static struct profile_point point_of(int64_t m)
{
    return (struct profile_point){.op = {.kind = OP_GEMM,
                                          .dtype = DTYPE_BF16,
                                          .degree = 1,
                                          .busy = 2,
                                          .dim = {m, 1024, 3072}},
            .cost_us = 1.5 * (double)m,
            .lo_us = 1.25 * (double)m,
            .hi_us = 2.0 * (double)m,
            .min_us = 1,
            .q1_us = 1.5,
            .q3_us = 1.75,
            .p99_us = 3,
            .mad_us = 0.1,
            .samples = 3,
            .cold = true,
            .source = COST_MEASURED,
            .stop = "interval"};
}

static void fill(struct fixture *f, const char *path, int64_t first, int64_t n)
{
    const double samples[] = {1, 2, 3};
    struct provenance who = {.host = "here", .wall_s = 1700000000, .cores = 2, .load = 0.5};
    struct db *db = db_open(path, DB_WRITE, &f->err);
    int64_t id;
    bool added;

    assert_non_null(db);
    assert_true(provenance_store(&id, db, &who, &f->err));
    for (int64_t m = first; m < first + n; m++) {
        struct profile_point point = point_of(m);
        assert_true(profile_store_add(&added, db, id, "cpu", &point, samples, STORE_KEEP, &f->err));
    }
    db_close(db);
}

static void opens_twice_and_checks(void **state)
{
    struct fixture *f = *state;
    int64_t rows;

    fill(f, f->path, 1, 4);
    struct db *db = db_open(f->path, DB_READ, &f->err);
    assert_non_null(db);
    assert_true(db_check(db, &rows, &f->err));
    assert_int_equal(rows, 6); /* provenance, device, four points */
    db_close(db);
}

static void refuses(struct fixture *f, enum db_mode mode, enum err_kind kind, const char *part)
{
    f->err = (struct err){0};
    struct db *db = db_open(f->path, mode, &f->err);
    assert_null(db);
    assert_int_equal(f->err.kind, kind);
    if (!strstr(f->err.text, part))
        fail_msg("\"%s\" is not in: %s", part, f->err.text);
}

static void refuses_missing_file(void **state)
{
    struct fixture *f = *state;
    refuses(f, DB_READ, ERR_INPUT, "No such file");
}

static void refuses_missing_folder(void **state)
{
    struct fixture *f = *state;
    snprintf(f->path, sizeof f->path, "%s/no/costs.db", f->dir);
    refuses(f, DB_WRITE, ERR_ENV, "cannot open it");
}

static void refuses_newer_version(void **state)
{
    struct fixture *f = *state;
    fill(f, f->path, 1, 1);
    raw(f->path, "PRAGMA user_version = 99");
    refuses(f, DB_READ, ERR_INPUT, "version 99, this program reads up to 6");
    refuses(f, DB_WRITE, ERR_INPUT, "version 99, this program reads up to 6");
}

static void refuses_other_programs_database(void **state)
{
    struct fixture *f = *state;
    raw(f->path, "CREATE TABLE songs (title TEXT)");
    refuses(f, DB_WRITE, ERR_INPUT, "a database of another program");
    raw(f->path, "DROP TABLE songs; PRAGMA application_id = 7");
    refuses(f, DB_WRITE, ERR_INPUT, "a database of another program");
}

static void refuses_text_file(void **state)
{
    struct fixture *f = *state;
    char text[4096];
    memset(text, 'x', sizeof text);
    assert_true(file_write(f->path, text, sizeof text, &f->err));
    refuses(f, DB_READ, ERR_INPUT, "not a database");
}

static void refuses_empty_file_for_reading(void **state)
{
    struct fixture *f = *state;
    assert_true(file_write(f->path, "", 0, &f->err));
    refuses(f, DB_READ, ERR_INPUT, "empty");
}

/* The first migration alone is what an old database looks like. */
static void migrates_old_version(void **state)
{
    struct fixture *f = *state;
    int64_t len, rows;
    char *sql;
    assert_true(
            file_read(&sql, &len, SOURCE_DIR "/db/schema/0001_profile.sql", &f->arena, &f->err));
    raw(f->path, sql);
    raw(f->path, "PRAGMA application_id = 0x53485744; PRAGMA user_version = 1");
    refuses(f, DB_READ, ERR_INPUT, "db vacuum");
    f->err = (struct err){0};
    fill(f, f->path, 1, 2);
    struct db *db = db_open(f->path, DB_READ, &f->err);
    assert_non_null(db);
    assert_true(db_check(db, &rows, &f->err));
    assert_int_equal(rows, 4);
    db_close(db);
}

/* Rows of the second version: what held still holds, on one machine, and damage is not blessed. */
static void migrates_rows_to_machines(void **state)
{
    static const char point[] =
            "%d,1,1,'gemm','f32',1,2,%d,6,7,0,0,0,12.5,NULL,NULL,NULL,NULL,NULL,"
            "NULL,NULL,0,1,'measured',NULL,NULL";
    struct fixture *f = *state;
    char text[512], sql[1024];
    struct rows rows;
    struct profile profile;
    int64_t sums[2] = {0, 0}, checked = 0;

    fill(f, f->path, 1, 1); /* for the function alone, and for a device and a provenance */
    struct db *db = db_open(f->path, DB_READ, &f->err);
    assert_non_null(db);
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, point, 2 + i, 40 + i);
        snprintf(sql, sizeof sql, "SELECT row_sum('op_point',%s)", text);
        assert_true(sql_query(&rows, db, sql, NO_VALUES, &f->err));
        assert_true(sql_next(&rows, &f->err));
        sums[i] = sql_int(&rows, 0);
        sql_end(&rows);
    }
    assert_true(sql_query(&rows, db,
            "SELECT "
            "row_sum('provenance',id,host,device,kernel,software,commit_id,build,clocks,wall_s,"
            "cores,load) FROM provenance",
            NO_VALUES, &f->err));
    assert_true(sql_next(&rows, &f->err));
    int64_t who = sql_int(&rows, 0);
    sql_end(&rows);
    db_close(db);
    snprintf(sql, sizeof sql, "UPDATE provenance SET row_sum = %lld", (long long)who);
    raw(f->path, sql);
    raw(f->path, "DROP INDEX op_point_key; ALTER TABLE op_point DROP COLUMN nodes; "
                 "ALTER TABLE op_point DROP COLUMN d6; ALTER TABLE op_point DROP COLUMN d7; "
                 "ALTER TABLE op_point DROP COLUMN kernel; DROP INDEX provenance_key; "
                 "ALTER TABLE provenance DROP COLUMN origin; "
                 "DROP INDEX check_result_key; ALTER TABLE check_result DROP COLUMN size_class; "
                 "ALTER TABLE check_result DROP COLUMN noise; DROP TABLE algorithm; "
                 "DELETE FROM op_point; PRAGMA user_version = 2");
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, point, 2 + i, 40 + i);
        snprintf(sql, sizeof sql, "INSERT INTO op_point VALUES (%s,%lld)", text,
                (long long)(sums[i] + i)); /* the second one is damaged */
        raw(f->path, sql);
    }
    raw(f->path, "CREATE UNIQUE INDEX op_point_key ON op_point (device, kind, dtype, degree, busy, "
                 "d0, d1, d2, d3, d4, d5); CREATE INDEX provenance_key ON provenance (host); "
                 "CREATE INDEX check_result_key ON check_result (kind)");
    db = db_open(f->path, DB_WRITE, &f->err);
    assert_non_null(db);
    assert_false(db_check(db, &checked, &f->err));
    assert_non_null(strstr(f->err.text, "table op_point, row 3: its checksum does not hold; 1 of"));
    f->err = (struct err){0};
    assert_true(db_drop_damaged(db, &checked, &f->err));
    assert_true(db_check(db, &checked, &f->err));
    assert_true(profile_store_read(&profile, db, "cpu", &f->arena, &f->err));
    assert_int_equal(profile.n, 1);
    assert_int_equal(profile.points[0].op.dim[0], 40);
    assert_int_equal(profile.points[0].op.nodes, 0);
    db_close(db);
}

static void counts_rows_of_no_use(void **state)
{
    struct fixture *f = *state;
    struct provenance nobody = {.host = "stopped before its first point", .wall_s = 9, .cores = 1};
    int64_t n, id;

    fill(f, f->path, 1, 5);
    struct db *db = db_open(f->path, DB_WRITE, &f->err);
    assert_true(db_orphans(db, &n, &f->err));
    assert_int_equal(n, 0);
    assert_true(provenance_store(&id, db, &nobody, &f->err));
    assert_true(db_orphans(db, &n, &f->err));
    assert_int_equal(n, 1);
    assert_true(db_check(db, &n, &f->err));
    db_close(db);
}

static void names_damaged_row_and_drops_it(void **state)
{
    struct fixture *f = *state;
    int64_t rows, dropped;
    struct profile profile;

    fill(f, f->path, 1, 5);
    raw(f->path, "UPDATE op_point SET cost_us = cost_us * 2 WHERE d0 IN (3, 4)");
    struct db *db = db_open(f->path, DB_WRITE, &f->err);
    assert_false(db_check(db, &rows, &f->err));
    assert_int_equal(f->err.kind, ERR_INPUT);
    assert_non_null(
            strstr(f->err.text, "table op_point, row 3: its checksum does not hold; 2 of 7 rows"));
    f->err = (struct err){0};
    assert_false(profile_store_read(&profile, db, "cpu", &f->arena, &f->err));
    assert_non_null(strstr(f->err.text, "table op_point, row 3"));
    f->err = (struct err){0};
    assert_true(db_drop_damaged(db, &dropped, &f->err));
    assert_int_equal(dropped, 2);
    assert_true(db_check(db, &rows, &f->err));
    assert_true(profile_store_read(&profile, db, "cpu", &f->arena, &f->err));
    assert_int_equal(profile.n, 3);
    db_close(db);
}

static void finds_broken_link(void **state)
{
    struct fixture *f = *state;
    int64_t rows;
    fill(f, f->path, 1, 1);
    raw(f->path, "PRAGMA foreign_keys = OFF; DELETE FROM provenance");
    struct db *db = db_open(f->path, DB_READ, &f->err);
    assert_false(db_check(db, &rows, &f->err));
    assert_non_null(strstr(f->err.text, "table op_point, row 1: points to a row of provenance"));
    db_close(db);
}

/* Every point that is served is one of the sound ones. */
static void assert_served(const struct profile *got, const struct profile *whole)
{
    for (int64_t i = 0; i < got->n; i++) {
        const struct profile_point *sound = profile_find(whole, &got->points[i].op);
        assert_non_null(sound);
        assert_true(got->points[i].cost_us == sound->cost_us);
        assert_true(got->points[i].hi_us == sound->hi_us);
    }
}

/* Whatever bit turns over: a message, or the same contents (pages are half empty). Never other numbers, whether
 * the database is checked before or just read. BIT_FLIPS=10000 tries as many. */
static void notices_flipped_bits(void **state)
{
    struct fixture *f = *state;
    struct profile whole, got;
    char *good, *bad;
    int64_t len, rows, noticed = 0;
    uint64_t random = 1;

    fill(f, f->path, 1, 600);
    struct db *db = db_open(f->path, DB_READ, &f->err);
    assert_true(profile_store_read(&whole, db, "cpu", &f->arena, &f->err));
    db_close(db);
    assert_true(file_read(&good, &len, f->path, &f->arena, &f->err));
    bad = arena_alloc(&f->arena, len);
    int flips = getenv("BIT_FLIPS") != NULL ? atoi(getenv("BIT_FLIPS")) : 300;
    for (int trial = 0; trial < flips; trial++) {
        struct arena arena = {0};
        struct err err = {0};
        random = random * 6364136223846793005u + 1442695040888963407u;
        memcpy(bad, good, (size_t)len);
        bad[(random >> 20) % (uint64_t)len] ^= (char)(1 << (random >> 61));
        assert_true(file_write(f->other, bad, len, &f->err));
        db = db_open(f->other, DB_READ, &err);
        if (db && db_check(db, &rows, &err) && profile_store_read(&got, db, "cpu", &arena, &err)) {
            assert_int_equal(got.n, whole.n);
            assert_served(&got, &whole);
        } else {
            assert_true(err.kind == ERR_INPUT || err.kind == ERR_BUG);
            noticed++;
            err = (struct err){0};
            if (db && profile_store_read(&got, db, "cpu", &arena, &err))
                assert_served(&got, &whole);
        }
        db_close(db);
        arena_free(&arena);
    }
    assert_true(noticed > flips / 3);
}

/* Two processes that write at once, one point a transaction: each waits for the other, nothing is lost. */
static void two_writers_lose_nothing(void **state)
{
    struct fixture *f = *state;
    struct profile profile;
    pid_t child[2];
    int64_t rows;

    fill(f, f->path, 1, 1);
    for (int i = 0; i < 2; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0) {
            fill(f, f->path, 1000 * (i + 1), 200);
            _exit(0);
        }
    }
    for (int i = 0; i < 2; i++) {
        int status = -1;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
    }
    struct db *db = db_open(f->path, DB_READ, &f->err);
    assert_non_null(db);
    assert_true(db_check(db, &rows, &f->err));
    assert_true(profile_store_read(&profile, db, "cpu", &f->arena, &f->err));
    assert_int_equal(profile.n, 401);
    db_close(db);
}

static void says_busy(void **state)
{
    struct fixture *f = *state;
    struct profile_point point = point_of(9);
    sqlite3 *other;
    bool added;

    fill(f, f->path, 1, 1);
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct db *db = db_open(f->path, DB_WRITE, &f->err);
    assert_non_null(db);
    db_set_timeout(db, 1);
    assert_false(profile_store_add(&added, db, 1, "cpu", &point, NULL, STORE_KEEP, &f->err));
    assert_int_equal(f->err.kind, ERR_BUSY);
    assert_false(added);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    f->err = (struct err){0};
    assert_true(profile_store_add(&added, db, 1, "cpu", &point, NULL, STORE_KEEP, &f->err));
    assert_true(added);
    db_close(db);
    sqlite3_close(other);
}

/* The file may not grow: every insert until then is whole, the first that fails leaves nothing. */
static void full_disk_leaves_nothing_half(void **state)
{
    struct fixture *f = *state;
    struct profile profile;
    int64_t rows, m = 100;
    bool added = true;

    fill(f, f->path, 1, 1);
    struct db *db = db_open(f->path, DB_WRITE, &f->err);
    assert_int_equal(
            sqlite3_exec(db->handle, "PRAGMA max_page_count = 40", NULL, NULL, NULL), SQLITE_OK);
    for (; added && m < 10000; m++) {
        struct profile_point point = point_of(m);
        if (!profile_store_add(&added, db, 1, "cpu", &point, NULL, STORE_KEEP, &f->err))
            break;
    }
    assert_false(added);
    assert_int_equal(f->err.kind, ERR_ENV);
    assert_non_null(strstr(f->err.text, "no space left on the disk"));
    f->err = (struct err){0};
    assert_true(db_check(db, &rows, &f->err));
    assert_true(profile_store_read(&profile, db, "cpu", &f->arena, &f->err));
    assert_int_equal(profile.n, m - 100 + 1);
    db_close(db);
}

static void reads_from_write_protected_folder(void **state)
{
    struct fixture *f = *state;
    struct profile profile;
    fill(f, f->path, 1, 3);
    assert_int_equal(chmod(f->path, 0444), 0);
    assert_int_equal(chmod(f->dir, 0555), 0);
    struct db *db = db_open(f->path, DB_READ, &f->err);
    bool ok = db && profile_store_read(&profile, db, "cpu", &f->arena, &f->err);
    assert_int_equal(chmod(f->dir, 0755), 0);
    if (!ok)
        fail_msg("%s", f->err.text);
    assert_int_equal(profile.n, 3);
    db_close(db);
}

static void merges_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct db_merge_counts added;
    struct profile profile;
    int64_t rows;

    fill(f, f->path, 1, 4);
    fill(f, f->other, 3, 5);
    struct db *db = db_open(f->path, DB_WRITE, &f->err),
              *from = db_open(f->other, DB_READ, &f->err);
    assert_true(db_merge(&added, db, from, &f->err));
    assert_int_equal(added.points, 3);
    assert_int_equal(added.rows, 3);
    assert_true(db_check(db, &rows, &f->err));
    assert_true(profile_store_read(&profile, db, "cpu", &f->arena, &f->err));
    assert_int_equal(profile.n, 7);
    assert_true(db_merge(&added, db, from, &f->err));
    assert_int_equal(added.rows, 0);
    db_close(from);
    db_close(db);
}

static void merge_refuses_damaged_source(void **state)
{
    struct fixture *f = *state;
    struct db_merge_counts added;
    int64_t rows;

    fill(f, f->path, 1, 2);
    fill(f, f->other, 3, 2);
    raw(f->other, "UPDATE op_point SET lo_us = 0 WHERE d0 = 4");
    struct db *db = db_open(f->path, DB_WRITE, &f->err),
              *from = db_open(f->other, DB_READ, &f->err);
    assert_false(db_merge(&added, db, from, &f->err));
    assert_non_null(strstr(f->err.text, "other.db: table op_point, row 2"));
    f->err = (struct err){0};
    assert_true(db_check(db, &rows, &f->err));
    assert_int_equal(rows, 4);
    db_close(from);
    db_close(db);
}

static void exports_csv(void **state)
{
    struct fixture *f = *state;
    struct provenance who = {.host = "a \"b\", c", .wall_s = 1, .cores = 2, .load = 0.1};
    char *text, path[128];
    int64_t len, id;

    struct db *db = db_open(f->path, DB_WRITE, &f->err);
    assert_true(provenance_store(&id, db, &who, &f->err));
    snprintf(path, sizeof path, "%s/csv", f->dir);
    assert_true(db_export_csv(db, path, &f->err));
    db_close(db);
    snprintf(path, sizeof path, "%s/csv/provenance.csv", f->dir);
    assert_true(file_read(&text, &len, path, &f->arena, &f->err));
    assert_string_equal(text,
            "id,host,device,kernel,software,commit_id,build,clocks,wall_s,cores,load,origin\r\n"
            "1,\"a \"\"b\"\", c\",,,,,,,1,2,0.10000000000000001,\r\n");
}

static void vacuum_keeps_everything(void **state)
{
    struct fixture *f = *state;
    int64_t rows;
    fill(f, f->path, 1, 20);
    struct db *db = db_open(f->path, DB_WRITE, &f->err);
    assert_true(db_vacuum(db, &f->err));
    assert_true(db_check(db, &rows, &f->err));
    assert_int_equal(rows, 22);
    db_close(db);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(opens_twice_and_checks), CASE(refuses_missing_file),
            CASE(refuses_missing_folder), CASE(refuses_newer_version),
            CASE(refuses_other_programs_database), CASE(refuses_text_file),
            CASE(refuses_empty_file_for_reading), CASE(migrates_old_version),
            CASE(migrates_rows_to_machines), CASE(counts_rows_of_no_use),
            CASE(names_damaged_row_and_drops_it), CASE(finds_broken_link),
            CASE(notices_flipped_bits), CASE(two_writers_lose_nothing), CASE(says_busy),
            CASE(full_disk_leaves_nothing_half), CASE(reads_from_write_protected_folder),
            CASE(merges_what_is_missing), CASE(merge_refuses_damaged_source), CASE(exports_csv),
            CASE(vacuum_keeps_everything)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
