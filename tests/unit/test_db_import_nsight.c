/* Traces of Nsight Systems: which op a kernel belongs to, what an execution takes, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "core/file.h"
#include "db/import.h"

struct scene {
    struct arena arena;
    struct imported imported;
    struct err err;
    struct import_options options;
};

/* The sample, changed by `sql`, as the bytes of a file. */
static struct import_file trace(struct scene *s, const char *sql)
{
    char *text;
    int64_t len;
    sqlite3_int64 bytes;
    sqlite3 *db;
    assert_true(file_read(&text, &len, SOURCE_DIR "/tests/unit/nsight.sql", &s->arena, &s->err));
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    unsigned char *image = sqlite3_serialize(db, "main", &bytes, 0);
    struct import_file file = {
            .text = arena_alloc(&s->arena, bytes + 1), .len = bytes, .path = "trace.sqlite"};
    memcpy(file.text, image, (size_t)bytes);
    sqlite3_free(image);
    sqlite3_close(db);
    return file;
}

static bool read_trace(struct scene *s, const char *sql)
{
    struct import_file file = trace(s, sql);
    s->options.format = IMPORT_NSIGHT;
    return import_read(&s->imported, &file, &s->options, &s->arena, &s->err);
}

static const struct profile_point *find(const struct scene *s, enum op_kind kind)
{
    const struct import_batch *batch = &s->imported.batches[0];
    for (int64_t i = 0; i < batch->n; i++)
        if (batch->points[i].op.kind == kind)
            return &batch->points[i];
    return NULL;
}

static void ranges_name_the_op_of_their_launches(void **unused)
{
    (void)unused;
    struct scene s = {0};
    assert_true(read_trace(&s, ""));
    assert_string_equal(s.imported.batches[0].device, "h200");
    assert_string_equal(s.imported.batches[0].provenance.software, "Nsight Systems");
    assert_int_equal(s.imported.batches[0].n, 3);
    const struct profile_point *gemm = find(&s, OP_GEMM);
    assert_non_null(gemm);
    assert_int_equal(gemm->op.dim[0], 8);
    assert_int_equal(gemm->op.dim[1], 1024);
    assert_int_equal(gemm->op.dim[2], 3072);
    assert_int_equal(gemm->op.dtype, DTYPE_BF16);
    assert_int_equal(gemm->samples, 3);
    assert_true(gemm->cost_us == 11 && gemm->min_us == 10); /* overlap counts once */
    assert_true(gemm->lo_us == 10 && gemm->hi_us == 12);
    assert_int_equal(gemm->source, COST_IMPORTED);
    assert_true(find(&s, OP_RMSNORM)->cost_us == 3); /* of the other thread */
    assert_true(find(&s, OP_COPY)->cost_us == 2 && find(&s, OP_COPY)->op.dim[0] == 65536);
    arena_free(&s.arena);
}

static void a_table_names_the_rest(void **unused)
{
    (void)unused;
    static const char table[] =
            "kernel,op\n"
            "nvjet*,\"gemm bf16 m=1 n=1 k=1\"\n" /* those lie in ranges, which say more */
            "*splitkv*,attention_decode bf16 batch=4 kv_len=2048 heads=16 kv_heads=8 head_dim=128 "
            "window=0\n";
    struct scene s = {0};
    struct import_file file = {
            .text = arena_strdup(&s.arena, table), .len = sizeof table - 1, .path = "kernels.csv"};
    struct import_kernel *kernels;
    assert_true(import_kernels_read(&kernels, &s.options.n_kernels, &file, &s.arena, &s.err));
    s.options.kernels = kernels;
    assert_int_equal(s.options.n_kernels, 2);
    assert_true(read_trace(&s, ""));
    assert_int_equal(s.imported.batches[0].n, 4);
    assert_true(find(&s, OP_ATTENTION_DECODE)->cost_us == 20);
    assert_int_equal(find(&s, OP_GEMM)->op.dim[0], 8);
    arena_free(&s.arena);
}

static void refuses(const char *sql, const char *expected)
{
    struct scene s = {0};
    assert_false(read_trace(&s, sql));
    assert_int_equal(s.err.kind, ERR_INPUT);
    if (!strstr(s.err.text, expected))
        fail_msg("\"%s\" is not in: %s", expected, s.err.text);
    arena_free(&s.arena);
}

static void what_cannot_be_right_is_refused(void **unused)
{
    (void)unused;
    refuses("UPDATE StringIds SET value = 'gemm bf16 m=8 n=1024' WHERE id = 1",
            "trace.sqlite: NVTX_EVENTS, row 2: gemm lacks k");
    refuses("UPDATE StringIds SET value = 'gemm bf17 m=8 n=1024 k=1' WHERE id = 1",
            "expected a type after gemm");
    refuses("UPDATE StringIds SET value = 'gemm bf16 m=8 n=x k=1' WHERE id = 1",
            "\"n=x\": expected NAME=NUMBER");
    refuses("UPDATE StringIds SET value = 'gemm bf16 m=8 n=1 k=1 q=3' WHERE id = 1",
            "gemm has no q=3");
    refuses("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET start = 0, end = 0 WHERE correlationId = 3",
            "CUPTI_ACTIVITY_KIND_KERNEL, row 3: runs from 0 to 0 ns");
    refuses("DROP TABLE NVTX_EVENTS; DELETE FROM CUPTI_ACTIVITY_KIND_MEMCPY",
            "7 kernels, but none within an NVTX range");
    refuses("DELETE FROM TARGET_INFO_GPU", "say --device KIND");
    refuses("ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN correlationId",
            "no such column: k.correlationId");
}

static void other_files_are_refused(void **unused)
{
    (void)unused;
    struct scene s = {0};
    struct import_file file = {.text = arena_strdup(&s.arena, "{}"), .len = 2, .path = "t.sqlite"};
    s.options.format = IMPORT_NSIGHT;
    assert_false(import_read(&s.imported, &file, &s.options, &s.arena, &s.err));
    assert_non_null(strstr(s.err.text, "t.sqlite:1:1: no SQLite database"));
    /* Cut short, and with any byte turned: an error or an answer, never more. */
    struct import_file whole = trace(&s, "");
    for (int64_t at = 100; at < whole.len; at += 37) {
        struct import_file bad = whole;
        bad.text = arena_alloc(&s.arena, whole.len + 1);
        memcpy(bad.text, whole.text, (size_t)whole.len);
        bad.text[at] = (char)(bad.text[at] ^ 0x41);
        bad.len = at % 2 ? whole.len : at;
        s.imported = (struct imported){0};
        s.err = (struct err){0};
        if (!import_read(&s.imported, &bad, &s.options, &s.arena, &s.err))
            assert_int_equal(s.err.kind, ERR_INPUT);
    }
    arena_free(&s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(ranges_name_the_op_of_their_launches),
            cmocka_unit_test(a_table_names_the_rest),
            cmocka_unit_test(what_cannot_be_right_is_refused),
            cmocka_unit_test(other_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
