/*
 * The whole profiler on a recorded machine: what is wanted, measured, known, left.
 */
#include "profiler/profiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "profiler/points.h"
#include "profiler/record.h"

static int threads[] = {1};

struct fixture {
    char dir[64], path[96];
    struct arena arena;
    struct err err;
    struct model model;
    struct device_kind kind;
    struct cluster_node node;
    struct cluster cluster;
    struct profile_request request;
    struct ranks *ranks;
    struct points points;
    struct profile_point *got;
    int64_t n_got, fail_at;
};

/* 10 us and a little per element: an answer for everything. */
static double pretend_us(const struct op *op)
{
    return 10 + (double)op->dim[0] * 0.5;
}

static void record_points(struct fixture *f, int64_t n)
{
    struct recording recording = {0};
    record_begin(&recording, "core");
    for (int64_t i = 0; i < n; i++) {
        double samples[8];
        struct profile_point point = {.op = f->points.items[i].op, .samples = 8, .cold = true};
        for (int s = 0; s < 8; s++)
            samples[s] = pretend_us(&point.op) + 0.001 * s;
        record_add(&recording, &point, samples);
    }
    assert_true(record_end(&recording, f->path, &f->err));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int argc = 0;
    char **argv = NULL;

    *state = f;
    strcpy(f->dir, "/tmp/test_profiler_XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/machine.jsonl", f->dir);
    f->kind = (struct device_kind){
            .name = "core", .memory_bytes = 1 << 30, .threads = threads, .n_threads = 1};
    f->node = (struct cluster_node){.name = "n", .count = 1, .kind = "core", .devices = 2};
    f->cluster = (struct cluster){
            .name = "c", .kinds = &f->kind, .n_kinds = 1, .nodes = &f->node, .n_nodes = 1};
    f->ranks = ranks_open(&argc, &argv, &f->err);
    f->request = (struct profile_request){.models = &f->model,
            .n_models = 1,
            .cluster = &f->cluster,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .max_tokens = 16,
            .max_seqs = 4,
            .max_len = 64,
            .replay = f->path};
    if (!f->ranks || !model_read(&f->model, "tiny-llama", SOURCE_DIR, &f->arena, &f->err)
            || !points_of(&f->points, &f->request, &f->arena, &f->err))
        return -1;
    f->got = ARENA_NEW(&f->arena, struct profile_point, f->points.n);
    f->fail_at = -1;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char path[128];
    unlink(f->path);
    snprintf(path, sizeof path, "%s/again.jsonl", f->dir);
    unlink(path);
    rmdir(f->dir);
    ranks_close(f->ranks);
    arena_free(&f->arena);
    free(f);
    return 0;
}

static bool take(
        void *self, const struct profile_point *point, const double *samples, struct err *err)
{
    struct fixture *f = self;
    assert_true(samples[0] > 0);
    if (f->n_got == f->fail_at)
        return err_set(err, ERR_ENV, "the sink is full");
    f->got[f->n_got++] = *point;
    return true;
}

static bool run(struct fixture *f, struct profile_summary *summary)
{
    struct measure_sink sink = {.self = f, .point = take};
    return profiler_run(summary, &f->request, f->ranks, &sink, &f->err);
}

static void measures_everything_once_and_then_nothing(void **state)
{
    struct fixture *f = *state;
    struct profile_summary summary;
    struct profile known = {0};

    record_points(f, f->points.n);
    assert_true(run(f, &summary));
    assert_int_equal(summary.wanted, f->points.n);
    assert_int_equal(summary.measured, f->points.n);
    assert_int_equal(summary.known + summary.skipped + summary.left, 0);
    assert_int_equal(f->n_got, f->points.n);
    for (int64_t i = 0; i < f->n_got; i++) {
        double expected = pretend_us(&f->got[i].op);
        assert_true(f->got[i].cost_us >= expected && f->got[i].cost_us < expected + 0.01);
        assert_string_equal(f->got[i].stop, "interval");
        assert_int_equal(f->got[i].source, COST_MEASURED);
    }
    assert_true(summary.n_ceilings >= 1);
    assert_true(summary.ceilings[0].peak_flops > 0 && summary.ceilings[0].peak_bytes_per_s > 0);

    known.points = f->got;
    known.n = f->n_got;
    assert_true(profile_finish(&known, &f->err));
    f->request.known = &known;
    f->n_got = 0;
    struct profile_summary again;
    assert_true(run(f, &again));
    assert_int_equal(again.measured, 0);
    assert_int_equal(again.known, f->points.n);
    assert_int_equal(again.n_ceilings, summary.n_ceilings);
    assert_true(again.ceilings[0].peak_flops == summary.ceilings[0].peak_flops);
}

static void what_the_recording_lacks_is_skipped(void **state)
{
    struct fixture *f = *state;
    struct profile_summary summary;

    record_points(f, 10);
    assert_true(run(f, &summary));
    assert_int_equal(summary.measured, 10);
    assert_int_equal(summary.skipped, f->points.n - 10);
}

static void dry_run_measures_nothing(void **state)
{
    struct fixture *f = *state;
    struct profile_summary summary;

    f->request.replay = NULL;
    assert_true(profiler_run(&summary, &f->request, f->ranks, NULL, &f->err));
    assert_int_equal(summary.wanted, f->points.n);
    assert_int_equal(summary.measured, 0);
    assert_true(summary.estimate_s > 0);
}

static void a_failing_sink_ends_it(void **state)
{
    struct fixture *f = *state;
    struct profile_summary summary;

    record_points(f, f->points.n);
    f->fail_at = 5;
    assert_false(run(f, &summary));
    assert_int_equal(f->err.kind, ERR_ENV);
    assert_string_equal(f->err.text, "the sink is full");
    assert_int_equal(f->n_got, 5);
}

static void a_recording_of_a_replay_is_the_same(void **state)
{
    struct fixture *f = *state;
    struct profile_summary summary;
    struct recorded *one, *two;
    int64_t n_one, n_two;
    char path[128];

    snprintf(path, sizeof path, "%s/again.jsonl", f->dir);
    record_points(f, 20);
    f->request.record = path;
    assert_true(run(f, &summary));
    assert_true(record_read(&one, &n_one, f->path, &f->arena, &f->err));
    assert_true(record_read(&two, &n_two, path, &f->arena, &f->err));
    assert_int_equal(n_one, 20);
    assert_int_equal(n_two, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(op_compare(&one[i].op, &two[i].op), 0);
        assert_true(two[i].n <= one[i].n);
        assert_memory_equal(one[i].samples, two[i].samples, (size_t)two[i].n * sizeof(double));
    }
}

static void bad_recordings_are_refused_with_their_line(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
            {"", "empty"},
            {"{}\n", "machine.jsonl:1:1: expected a recording"},
            {"{\"format\":\"shardwright-recording\",\"version\":9}\n",
                    "version 9, this program reads up to 1"},
            {"{\"format\":\"shardwright-recording\",\"version\":1}\n{\"kind\":\"no\",\"dtype\":"
             "\"f32\"}\n",
                    ":2:1: \"no\" is not an op kind"},
            {"{\"format\":\"shardwright-recording\",\"version\":1}\n"
             "{\"kind\":\"gemm\",\"dtype\":\"f32\",\"degree\":0,\"busy\":1,\"dim\":[1,2,3,0,0,0]}"
             "\n",
                    ":2:1: expected degree"},
            {"{\"format\":\"shardwright-recording\",\"version\":1}\n"
             "{\"kind\":\"gemm\",\"dtype\":\"f32\",\"degree\":1,\"busy\":1,\"dim\":[1,2,3,0,0,0],"
             "\"us\":[]}\n",
                    "expected \"us\""},
            {"{\"format\":\"shardwright-recording\",\"version\":1}\n"
             "{\"kind\":\"gemm\",\"dtype\":\"f32\",\"degree\":1,\"busy\":1,\"dim\":[1,2,3,0,0,0],"
             "\"us\":[-1]}\n",
                    "sample 1 is not a time"},
            {"{\"format\":\"shardwright-recording\",\"version\":1}\n{\n", "machine.jsonl:2"},
    };
    struct fixture *f = *state;
    struct recorded *out;
    int64_t n;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f->err = (struct err){0};
        assert_true(file_write(f->path, cases[i].text, (int64_t)strlen(cases[i].text), &f->err));
        assert_false(record_read(&out, &n, f->path, &f->arena, &f->err));
        assert_int_equal(f->err.kind, ERR_INPUT);
        if (!strstr(f->err.text, cases[i].part))
            fail_msg("\"%s\" is not in: %s", cases[i].part, f->err.text);
    }
}

/* Predicts a tenth too much within an interval that covers half of it. */
static bool predict_more(void *self, const struct op *op, double *us, double *lo_us, double *hi_us)
{
    (void)self;
    *us = 1.1 * pretend_us(op);
    *lo_us = op->dim[0] % 2 ? 0 : *us;
    *hi_us = *us;
    return true;
}

static void check_tells_error_bias_and_coverage(void **state)
{
    struct fixture *f = *state;
    struct check_row rows[CHECK_ROWS];
    struct recording recording = {0};
    int n_rows;

    /* A machine that knows every row count of every gemm. */
    record_begin(&recording, "core");
    for (int64_t i = 0; i < f->points.n; i++) {
        struct profile_point point = {.op = f->points.items[i].op, .samples = 5};
        if (point.op.kind != OP_GEMM || point.op.dim[0] != 1)
            continue;
        for (point.op.dim[0] = 1; point.op.dim[0] <= 512; point.op.dim[0]++) {
            double us = pretend_us(&point.op), samples[5] = {us, us, us, us, us};
            record_add(&recording, &point, samples);
        }
    }
    assert_true(record_end(&recording, f->path, &f->err));
    const struct check_request sizes = {predict_more, NULL, 200, 7};
    assert_true(profiler_check(rows, &n_rows, &f->request, &sizes, f->ranks, &f->err));
    assert_int_equal(n_rows, 2); /* all, and the class that they are all of */
    assert_int_equal(rows[0].kind, OP_GEMM);
    assert_int_equal(rows[0].size_class, COST_CLASSES);
    assert_int_equal(rows[1].size_class, COST_SHORT);
    assert_int_equal(rows[1].n, rows[0].n);
    assert_float_equal(rows[0].noise, 0, 1e-9);
    assert_true(rows[0].n >= 5);
    assert_float_equal(rows[0].mape, 0.1, 1e-9);
    assert_float_equal(rows[0].median, 0.1, 1e-9);
    assert_float_equal(rows[0].bias, 0.1, 1e-9);
    assert_true(rows[0].coverage > 0 && rows[0].coverage < 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(measures_everything_once_and_then_nothing),
            CASE(what_the_recording_lacks_is_skipped), CASE(dry_run_measures_nothing),
            CASE(a_failing_sink_ends_it), CASE(a_recording_of_a_replay_is_the_same),
            CASE(bad_recordings_are_refused_with_their_line),
            CASE(check_tells_error_bias_and_coverage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
