#include "db/run_store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/profile_store.h"

static char path[64], other_path[64];
static struct arena arena;
static struct err err;
static struct db *db;

static int make_file(char *name, const char *pattern)
{
    strcpy(name, pattern);
    int fd = mkstemp(name);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

static int setup(void **state)
{
    (void)state;
    err = (struct err){0};
    if (make_file(path, "/tmp/test_run_store_XXXXXX")
            || make_file(other_path, "/tmp/test_run_other_XXXXXX"))
        return -1;
    db = db_open(path, DB_WRITE, &err);
    return db ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    db_close(db);
    arena_free(&arena);
    return unlink(path) | unlink(other_path);
}

static const int ranks_0[] = {0}, ranks_1[] = {1};

/* Two stages of 14 layers. */
static struct plan make_plan(const char *name)
{
    struct plan_stage *stages = ARENA_NEW(&arena, struct plan_stage, 2);
    struct plan_replica *replica = ARENA_NEW(&arena, struct plan_replica, 1);
    for (int s = 0; s < 2; s++)
        stages[s] = (struct plan_stage){.first_layer = 14 * s,
                .end_layer = 14 * s + 14,
                .tp = 1,
                .ep = 1,
                .attention_dp = 1,
                .threads = 1,
                .kind = "cpu",
                .ranks = s ? ranks_1 : ranks_0,
                .n_ranks = 1,
                .step_us = 1234.5};
    *replica = (struct plan_replica){.stages = stages,
            .n_stages = 2,
            .max_seqs = 8,
            .max_tokens = 128,
            .in_flight = 2,
            .kv_blocks = 64};
    return (struct plan){.name = name,
            .model = "qwen3-0.6b",
            .model_digest = "abc",
            .cluster = "here",
            .workload = "chat",
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .block_tokens = 16,
            .max_len = 512,
            .replicas = replica,
            .n_replicas = 1,
            .n_ranks = 2,
            .predicted = {.output_tokens_per_s = 42.5}};
}

static int64_t begin_run(struct db *in, const char *name)
{
    struct plan plan = make_plan(name);
    struct provenance who = {.host = "h", .device = "d", .commit = "c", .wall_s = 3, .cores = 2};
    int64_t plan_id, provenance, run;
    if (!run_store_plan(&plan_id, in, &plan, &err))
        fail_msg("%s", err.text);
    assert_true(provenance_store(&provenance, in, &who, &err));
    assert_true(run_store_begin(&run, in, plan_id, provenance, "qwen3-0.6b", "chat", &err));
    return run;
}

static void add_details(struct db *in, int64_t run)
{
    struct run_figure figure = {
            FIGURE_STAGE, 1, "busy_us", "us", (double)NAN, 12.5, (double)NAN, 13};
    struct run_request request = {0, 0, 17, 5, 100, 200, 300, 1};
    struct run_step step = {0, 1, 7, 1000, 900, 50, 24, 8, 16, 2048};
    assert_true(run_store_figure(in, run, &figure, &err));
    assert_true(run_store_request(in, run, &request, &err));
    assert_true(run_store_step(in, run, &step, &err));
}

static void same_plan_same_id(void **state)
{
    struct plan one = make_plan("a"), two = make_plan("b");
    int64_t first, again, other;
    (void)state;
    assert_true(run_store_plan(&first, db, &one, &err));
    assert_true(run_store_plan(&again, db, &one, &err));
    assert_true(run_store_plan(&other, db, &two, &err));
    assert_int_equal(first, again);
    assert_int_not_equal(first, other);
}

static void finished_run_comes_back_whole(void **state)
{
    struct plan_figures measured = {.output_tokens_per_s = 41.25,
            .ttft_p50_us = 1e5,
            .makespan_s = 2.5,
            .memory_bytes = 123456789012,
            .lo_frac = 0.9,
            .hi_frac = 1.1};
    struct run_row row;
    int64_t checked;
    (void)state;

    int64_t run = begin_run(db, "plan-a");
    add_details(db, run);
    assert_true(run_store_end(db, run, "done", "memory", &measured, &err));
    assert_true(run_store_read(&row, db, run, &arena, &err));
    assert_string_equal(row.status, "done");
    assert_string_equal(row.bottleneck, "memory");
    assert_string_equal(row.model, "qwen3-0.6b");
    assert_string_equal(row.workload, "chat");
    assert_string_equal(row.plan_name, "plan-a");
    assert_string_equal(row.host, "h");
    assert_string_equal(row.commit, "c");
    assert_true(row.measured.output_tokens_per_s == 41.25);
    assert_int_equal(row.measured.memory_bytes, 123456789012);
    assert_int_equal(row.plan.replicas[0].n_stages, 2);
    assert_true(row.plan.predicted.output_tokens_per_s == 42.5);
    assert_int_equal(row.n_figures, 1);
    assert_int_equal(row.figures[0].scope, FIGURE_STAGE);
    assert_string_equal(row.figures[0].name, "busy_us");
    assert_true(isnan(row.figures[0].predicted) && row.figures[0].measured == 12.5);
    assert_int_equal(row.n_requests, 1);
    assert_int_equal(row.requests[0].finish_ns, 300);
    assert_int_equal(row.n_steps, 1);
    assert_int_equal(row.steps[0].kv_tokens, 2048);
    assert_true(db_check(db, &checked, &err));
}

static void killed_run_is_seen_as_running(void **state)
{
    struct run_row *rows;
    int64_t n;
    (void)state;

    int64_t run = begin_run(db, "a");
    add_details(db, run);
    db_close(db); /* as good as a kill: nothing is written on the way */
    db = db_open(path, DB_WRITE, &err);
    assert_true(run_store_list(&rows, &n, db, 0, true, &arena, &err));
    assert_int_equal(n, 1);
    assert_string_equal(rows[0].status, "running");
    assert_null(rows[0].bottleneck);
    assert_int_equal(rows[0].n_steps, 1);
    assert_true(isnan(rows[0].measured.output_tokens_per_s));
}

static void batch_is_all_or_nothing(void **state)
{
    struct run_row row;
    (void)state;
    int64_t run = begin_run(db, "a");
    assert_true(run_store_batch_begin(db, &err));
    add_details(db, run);
    assert_false(run_store_batch_end(db, false, &err));
    assert_true(run_store_read(&row, db, run, &arena, &err));
    assert_int_equal(row.n_figures + row.n_requests + row.n_steps, 0);
    assert_true(run_store_batch_begin(db, &err));
    add_details(db, run);
    assert_true(run_store_batch_end(db, true, &err));
    assert_true(run_store_read(&row, db, run, &arena, &err));
    assert_int_equal(row.n_figures + row.n_requests + row.n_steps, 3);
}

static void lists_newest_first(void **state)
{
    struct run_row *rows;
    int64_t n;
    (void)state;
    begin_run(db, "a");
    int64_t second = begin_run(db, "b"), third = begin_run(db, "c");
    assert_true(run_store_list(&rows, &n, db, 2, false, &arena, &err));
    assert_int_equal(n, 2);
    assert_int_equal(rows[0].id, third);
    assert_int_equal(rows[1].id, second);
}

static void unknown_run_is_refused(void **state)
{
    struct plan_figures none = {0};
    struct run_row row;
    (void)state;
    assert_false(run_store_read(&row, db, 77, &arena, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    err = (struct err){0};
    assert_false(run_store_end(db, 77, "done", NULL, &none, &err));
}

static void merged_runs_keep_their_details_and_come_once(void **state)
{
    struct db_merge_counts added;
    struct run_row *rows;
    int64_t n, checked;
    (void)state;

    struct db *from = db_open(other_path, DB_WRITE, &err);
    begin_run(db, "mine");
    begin_run(from, "mine");
    add_details(from, begin_run(from, "theirs"));
    assert_true(db_merge(&added, db, from, &err));
    assert_int_equal(added.runs, 2);
    assert_true(db_merge(&added, db, from, &err));
    assert_int_equal(added.rows, 0);
    assert_true(run_store_list(&rows, &n, db, 0, true, &arena, &err));
    assert_int_equal(n, 3);
    assert_string_equal(rows[0].plan_name, "theirs");
    assert_int_equal(rows[0].n_steps, 1);
    assert_int_equal(rows[1].n_steps, 0);
    assert_true(db_check(db, &checked, &err));
    db_close(from);
}

static void checks_come_back_newest_first(void **state)
{
    struct check_store_row old = {"cpu", "gemm", "under 1 ms", 10, 100, 0.1, 0.05, 0.2, 0.3, -0.01,
                                   0.9, 0.02},
                           *rows;
    struct check_store_row new = {
            "cpu", "rope", "all", 20, 200, 0.2, 0.1, 0.4, (double)NAN, 0.01, 0.8, (double)NAN};
    struct provenance who = {.wall_s = 3, .cores = 2};
    int64_t id, n;
    (void)state;

    assert_true(provenance_store(&id, db, &who, &err));
    assert_true(check_store_add(db, id, &old, &err));
    assert_true(check_store_add(db, id, &new, &err));
    assert_true(check_store_read(&rows, &n, db, &arena, &err));
    assert_int_equal(n, 2);
    assert_string_equal(rows[0].op_kind, "rope");
    assert_true(isnan(rows[0].p99));
    assert_true(rows[1].bias == -0.01 && rows[1].coverage == 0.9 && rows[1].n == 10
                && rows[1].noise == 0.02);
    assert_string_equal(rows[1].size_class, "under 1 ms");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(same_plan_same_id), CASE(finished_run_comes_back_whole),
            CASE(killed_run_is_seen_as_running), CASE(batch_is_all_or_nothing),
            CASE(lists_newest_first), CASE(unknown_run_is_refused),
            CASE(merged_runs_keep_their_details_and_come_once),
            CASE(checks_come_back_newest_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
