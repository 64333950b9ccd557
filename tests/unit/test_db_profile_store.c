#include "db/profile_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];
static struct arena arena;
static struct err err;
static struct db *db;

static int setup(void **state)
{
    (void)state;
    strcpy(path, "/tmp/test_profile_store_XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    err = (struct err){0};
    db = db_open(path, DB_WRITE, &err);
    return db ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    db_close(db);
    arena_free(&arena);
    return unlink(path);
}

static struct profile_point point_of(enum op_kind kind, int64_t d0, double cost)
{
    return (struct profile_point){.op = {.kind = kind,
                                          .dtype = DTYPE_F32,
                                          .degree = 2,
                                          .busy = 1,
                                          .dim = {d0, 2, 3, 4, 5, 6}},
            .cost_us = cost,
            .lo_us = cost - 0.1,
            .hi_us = cost + 0.3,
            .min_us = -0.0, /* the file keeps no minus before zero */
            .q1_us = 0.25,
            .q3_us = 1e-300,
            .p99_us = 1e300,
            .mad_us = 1.0 / 3,
            .samples = 2,
            .cold = true,
            .source = COST_MEASURED,
            .stop = "noise"};
}

static void add(const struct profile_point *point, const double *samples,
        enum store_existing existing, bool expected)
{
    struct provenance who = {.host = "h", .wall_s = 5, .cores = 2};
    int64_t id;
    bool added;
    assert_true(provenance_store(&id, db, &who, &err));
    assert_int_equal(id, 1); /* the same every time */
    assert_true(profile_store_add(&added, db, id, "cpu", point, samples, existing, &err));
    assert_int_equal(added, expected);
}

static void every_field_comes_back(void **state)
{
    const double samples[] = {1.0 / 3, 2e-9};
    struct profile_point in = point_of(OP_ALL_REDUCE, 4096, 1.0 / 7);
    struct profile profile;
    double *got;
    int64_t n;
    (void)state;

    add(&in, samples, STORE_KEEP, true);
    assert_true(profile_store_read(&profile, db, "cpu", &arena, &err));
    assert_int_equal(profile.n, 1);
    assert_string_equal(profile.device, "cpu");
    assert_non_null(profile.digest);
    const struct profile_point *out = profile_find(&profile, &in.op);
    assert_non_null(out);
    assert_true(out->cost_us == in.cost_us && out->lo_us == in.lo_us && out->hi_us == in.hi_us);
    assert_true(out->min_us == 0 && out->q1_us == in.q1_us && out->q3_us == in.q3_us);
    assert_true(out->p99_us == in.p99_us && out->mad_us == in.mad_us);
    assert_int_equal(out->samples, 2);
    assert_true(out->cold);
    assert_int_equal(out->source, COST_MEASURED);
    assert_string_equal(out->stop, "noise");
    assert_true(profile_store_samples(&got, &n, db, "cpu", &in.op, &arena, &err));
    assert_int_equal(n, 2);
    assert_memory_equal(got, samples, sizeof samples);
}

static void keeps_the_first_unless_told_to_replace(void **state)
{
    struct profile_point first = point_of(OP_GEMM, 8, 10), second = point_of(OP_GEMM, 8, 20);
    struct profile profile;
    (void)state;

    add(&first, NULL, STORE_KEEP, true);
    add(&second, NULL, STORE_KEEP, false);
    assert_true(profile_store_read(&profile, db, "cpu", &arena, &err));
    assert_int_equal(profile.n, 1);
    assert_true(profile.points[0].cost_us == 10);
    add(&second, NULL, STORE_REPLACE, true);
    assert_true(profile_store_read(&profile, db, "cpu", &arena, &err));
    assert_int_equal(profile.n, 1);
    assert_true(profile.points[0].cost_us == 20);
}

static void further_looks_replace_what_is_their_own(void **state)
{
    struct profile_point first = point_of(OP_GEMM, 8, 10), second = point_of(OP_GEMM, 8, 20);
    struct profile_point other = point_of(OP_GEMM, 16, 30);
    struct profile profile;
    bool added;
    (void)state;

    add(&first, NULL, STORE_REPLACE_OWN, true);
    add(&second, NULL, STORE_REPLACE_OWN, true);
    struct provenance somebody = {.host = "other", .wall_s = 5, .cores = 2};
    int64_t id;
    assert_true(provenance_store(&id, db, &somebody, &err));
    assert_true(profile_store_add(&added, db, id, "cpu", &first, NULL, STORE_REPLACE_OWN, &err));
    assert_false(added);
    assert_true(profile_store_add(&added, db, id, "cpu", &other, NULL, STORE_REPLACE_OWN, &err));
    assert_true(added);
    assert_true(profile_store_read(&profile, db, "cpu", &arena, &err));
    assert_int_equal(profile.n, 2);
    assert_true(profile_find(&profile, &first.op)->cost_us == 20);
    assert_true(profile_find(&profile, &other.op)->cost_us == 30);
}

static void every_key_field_tells_points_apart(void **state)
{
    struct profile_point point = point_of(OP_GEMM, 8, 10);
    struct profile profile;
    (void)state;

    add(&point, NULL, STORE_KEEP, true);
    point.op.kind = OP_LM_HEAD;
    add(&point, NULL, STORE_KEEP, true);
    point.op.dtype = DTYPE_BF16;
    add(&point, NULL, STORE_KEEP, true);
    point.op.degree++;
    add(&point, NULL, STORE_KEEP, true);
    point.op.busy++;
    add(&point, NULL, STORE_KEEP, true);
    for (int d = 0; d < OP_DIMS; d++) {
        point.op.dim[d]++;
        add(&point, NULL, STORE_KEEP, true);
    }
    add(&point, NULL, STORE_KEEP, false);
    assert_true(profile_store_read(&profile, db, "cpu", &arena, &err));
    assert_int_equal(profile.n, 5 + OP_DIMS);
    for (int64_t i = 1; i < profile.n; i++)
        assert_true(op_compare(&profile.points[i - 1].op, &profile.points[i].op) < 0);
}

static void devices_are_kept_apart(void **state)
{
    struct profile_point point = point_of(OP_GEMM, 8, 10);
    struct profile profile;
    const char **names;
    bool added;
    int n;
    (void)state;

    add(&point, NULL, STORE_KEEP, true);
    assert_true(profile_store_add(&added, db, 1, "big", &point, NULL, STORE_KEEP, &err));
    assert_true(added);
    assert_true(profile_store_devices(&names, &n, db, &arena, &err));
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "big");
    assert_string_equal(names[1], "cpu");
    assert_true(profile_store_read(&profile, db, "none", &arena, &err));
    assert_int_equal(profile.n, 0);
}

static void ceiling_of_most_busy_ranks_stands_in_the_profile(void **state)
{
    struct profile_point point = point_of(OP_GEMM, 8, 10);
    struct profile_ceiling *ceilings;
    struct profile profile;
    int n;
    (void)state;

    add(&point, NULL, STORE_KEEP, true);
    assert_true(profile_store_ceiling(db, 1, "cpu", 80e9, 20e9, &err));
    assert_true(profile_store_ceiling_at(
            db, 1, "cpu", &(struct profile_ceiling){1, 2, 70e9, 14e9}, &err));
    assert_true(profile_store_ceiling_at(
            db, 1, "cpu", &(struct profile_ceiling){2, 1, 140e9, 28e9}, &err));
    assert_true(profile_store_ceiling_at(
            db, 1, "cpu", &(struct profile_ceiling){1, 2, 71e9, 15e9}, &err));
    assert_true(profile_store_ceilings(&ceilings, &n, db, "cpu", &arena, &err));
    assert_int_equal(n, 3);
    assert_true(profile_store_read(&profile, db, "cpu", &arena, &err));
    assert_true(profile.peak_flops == 71e9 && profile.peak_bytes_per_s == 15e9);
}

static void provenance_with_unknown_fields_is_one_row(void **state)
{
    struct provenance who = {.wall_s = 1, .cores = 2, .load = 0}, got;
    int64_t first, second;
    (void)state;

    assert_true(provenance_store(&first, db, &who, &err));
    assert_true(provenance_store(&second, db, &who, &err));
    assert_int_equal(first, second);
    who.host = "h";
    assert_true(provenance_store(&second, db, &who, &err));
    assert_int_not_equal(first, second);
    assert_true(provenance_read(&got, db, second, &arena, &err));
    assert_string_equal(got.host, "h");
    assert_null(got.kernel);
    assert_int_equal(got.cores, 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A filter leaves out kinds and types of imports, never what was measured beside busy neighbours. */
static void a_filter_takes_what_is_wanted(void **state)
{
    struct profile_filter filter = {.dtypes = {0}};
    struct profile_point points[4] = {point_of(OP_GEMM, 8, 10), point_of(OP_GEMM, 9, 20),
            point_of(OP_MOE, 8, 30), point_of(OP_MOE, 9, 40)};
    struct profile profile;
    (void)state;

    for (int i = 0; i < 4; i++) {
        points[i].op.busy = i == 3 ? 2 : 0;
        points[i].op.dtype = i == 1 ? DTYPE_F8 : DTYPE_BF16;
        add(&points[i], NULL, STORE_KEEP, true);
    }
    filter.dtypes[OP_GEMM] = 1U << DTYPE_F8;
    assert_true(profile_store_read_some(&profile, db, "cpu", &filter, &arena, &err));
    assert_int_equal(profile.n, 2);
    assert_non_null(profile_find(&profile, &points[1].op));
    assert_non_null(profile_find(&profile, &points[3].op));
    filter.dtypes[OP_MOE] = ~0U;
    assert_true(profile_store_read_some(&profile, db, "cpu", &filter, &arena, &err));
    assert_int_equal(profile.n, 3);
    assert_null(profile_find(&profile, &points[0].op));
}

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(every_field_comes_back),
            CASE(keeps_the_first_unless_told_to_replace),
            CASE(further_looks_replace_what_is_their_own), CASE(every_key_field_tells_points_apart),
            CASE(devices_are_kept_apart), CASE(ceiling_of_most_busy_ranks_stands_in_the_profile),
            CASE(provenance_with_unknown_fields_is_one_row), CASE(a_filter_takes_what_is_wanted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
