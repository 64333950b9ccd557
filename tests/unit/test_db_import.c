/* What other programs measured: units, places of what is wrong, and all or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "db/import.h"

/* Samples written for these tests: the columns are the format's, the figures are made up. */
#define WHO "framework,version,device,op_name,kernel_source,"
static const char gemm[] = WHO "gemm_dtype,m,n,k,latency\n"
                               "VLLM,1.2,NVIDIA H200,gemm,linear,bfloat16,8,1024,4096,0.0125\n"
                               "VLLM,1.2,NVIDIA H200,gemm,cutlass,fp8_block,16,512,256,0.5\n";
static const char prefill[] = WHO
        "batch_size,isl,num_heads,num_key_value_heads,head_dim,beam_width,attn_dtype,"
        "kv_cache_dtype,step,window_size,latency\n"
        "VLLM,1.2,NVIDIA H200,context_attention,fa3,4,512,32,8,128,1,bfloat16,fp8,64,128,0.25\n";
static const char decode[] =
        WHO "batch_size,isl,num_heads,num_key_value_heads,head_dim,beam_width,attn_dtype,"
            "kv_cache_dtype,step,window_size,latency\n"
            "VLLM,1.2,NVIDIA H200,generation_attention,fa3,4,1,32,8,128,1,bfloat16,bfloat16,1023,0,"
            "0.02\n";
static const char moe[] =
        WHO "moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,"
            "distribution,latency\n"
            "VLLM,1.2,NVIDIA H200,moe,k,fp8,64,2048,768,8,128,2,4,power_law_1.2,0.1\n"
            "VLLM,1.2,NVIDIA H200,moe,k,w4a16_mxfp4,64,2048,768,8,128,1,1,balanced,0.1\n";
static const char mla[] = WHO
        "model,architecture,mla_dtype,kv_cache_dtype,gemm_type,num_heads,batch_size,isl,tp_size,"
        "step,latency\n"
        "VLLM,1.2,NVIDIA H200,mla_generation_module,k,m,DeepseekV3ForCausalLM,bfloat16,fp8,"
        "fp8_block,16,32,1,1,4095,0.2\n";
static const char nccl[] = WHO "nccl_dtype,num_gpus,message_size,latency\n"
                               "TRTLLM,2.29,NVIDIA H200,all_gather,NCCL,half,8,1024,0.01\n"
                               "TRTLLM,2.29,NVIDIA H200,all_reduce,NCCL,int8,4,2048,0.02\n";
static const char custom[] =
        WHO "allreduce_dtype,num_gpus,message_size,latency,backend\n"
            "vLLM,1.2,NVIDIA H200,all_reduce,k,bfloat16,2,128,0.004,vllm_graph\n";

struct scene {
    struct arena arena;
    struct imported imported;
    struct err err;
};

static bool read_as(struct scene *s, enum import_format format, const char *text, int ranks)
{
    struct import_file file = {
            .text = arena_strdup(&s->arena, text), .len = (int64_t)strlen(text), .path = "t.txt"};
    struct import_options options = {.format = format, .ranks = ranks};
    if (format == IMPORT_OSU)
        options.device = "cpu";
    return import_read(&s->imported, &file, &options, &s->arena, &s->err);
}

static bool read_text(struct scene *s, const char *text)
{
    struct import_file file = {
            .text = arena_strdup(&s->arena, text), .len = (int64_t)strlen(text), .path = "t.csv"};
    struct import_options options = {.format = IMPORT_AICONFIGURATOR};
    return import_read(&s->imported, &file, &options, &s->arena, &s->err);
}

static const struct profile_point *point_at(const struct scene *s, int batch, int64_t i)
{
    assert_true(batch < s->imported.n && i < s->imported.batches[batch].n);
    return &s->imported.batches[batch].points[i];
}

static void assert_op(const struct profile_point *point, const char *text, double us)
{
    char shown[160];
    assert_string_equal(op_show(shown, &point->op), text);
    assert_true(fabs(point->cost_us - us) < 1e-9 * us);
    assert_int_equal(point->source, COST_IMPORTED);
    assert_true(isnan(point->lo_us) && point->samples == 0);
}

static void every_table_has_its_units(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *op;
        double us;
        int64_t row;
    } cases[] = {
            {gemm, "gemm bf16 m=8 n=1024 k=4096 threads=1 busy=0", 12.5, 0},
            {gemm, "gemm f8_block m=16 n=512 k=256 threads=1 busy=0", 500, 1},
            {prefill,
                    "attention_prefill f8 q_len=512 kv_len=576 heads=32 kv_heads=8 head_dim=128 "
                    "window=128 others=3 threads=1 busy=0",
                    250, 0},
            {decode,
                    "attention_decode bf16 batch=4 kv_len=1024 heads=32 kv_heads=8 head_dim=128 "
                    "threads=1 busy=0",
                    20, 0},
            {moe,
                    "moe f8 m=64 hidden=2048 inter=384 local=32 experts=128 top_k=8 skew=120 "
                    "threads=1 busy=0",
                    100, 0},
            {moe,
                    "moe mxfp4 m=64 hidden=2048 inter=768 local=128 experts=128 top_k=8 threads=1 "
                    "busy=0",
                    100, 1},
            {mla,
                    "mla_module_decode f8_block batch=32 kv_len=4096 heads=16 hidden=7168 "
                    "q_rank=1536 kv_rank=512 kv_bits=8 threads=1 busy=0",
                    200, 0},
            {nccl, "all_gather f16 bytes=256 ranks=8 busy=0", 10, 0},
            {nccl, "all_reduce i8 bytes=2048 ranks=4 busy=0", 20, 1},
            {custom, "all_reduce bf16 bytes=256 via=1 ranks=2 busy=0", 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene s = {0};
        if (!read_text(&s, cases[i].text))
            fail_msg("%s", s.err.text);
        assert_op(point_at(&s, 0, cases[i].row), cases[i].op, cases[i].us);
        assert_string_equal(s.imported.batches[0].device, "h200");
        assert_string_equal(s.imported.batches[0].provenance.device, "NVIDIA H200");
        arena_free(&s.arena);
    }
}

static void rows_keep_where_they_came_from(void **unused)
{
    (void)unused;
    struct scene s = {0};
    assert_true(read_text(&s, gemm) && read_text(&s, nccl));
    assert_int_equal(s.imported.n, 2);
    const struct import_batch *batch = &s.imported.batches[0];
    assert_string_equal(batch->provenance.software, "VLLM 1.2");
    char origin[64];
    snprintf(origin, sizeof origin, "aiconfigurator t.csv, %d bytes, xxh64 ", (int)sizeof gemm - 1);
    assert_non_null(strstr(batch->provenance.origin, origin));
    assert_string_equal(batch->points[1].kernel, "cutlass");
    assert_int_equal(batch->lines[1], 3);
    assert_string_equal(s.imported.batches[1].provenance.software, "TRTLLM 2.29");
    arena_free(&s.arena);
}

/* A text with one thing changed, and the message. */
static void what_cannot_be_right_is_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *from, *to, *message;
    } cases[] = {
            {gemm, "0.5", "-1", "t.csv:3:56: latency is \"-1\", expected a number above 0"},
            {gemm, "fp8_block", "fp7",
                    "t.csv:3:35: gemm_dtype is \"fp7\", expected bfloat16, float16, half, float32, "
                    "fp8, fp8_block, int8, int4_wo or w4a16_mxfp4"},
            {gemm, "16,512", "16.5,512",
                    "t.csv:3:45: m is \"16.5\", expected a whole number from 1 to 2147483647"},
            {gemm, ",k,", ",kk,", "t.csv:2:1: column \"k\" is missing: it belongs to this table"},
            {gemm, "gemm,cutlass", "germ,cutlass",
                    "t.csv:3:22: op_name is \"germ\", expected \"gemm\" as before"},
            {prefill, "32,8,128", "32,5,128",
                    "t.csv:2:53: num_key_value_heads is 5, expected a divisor"},
            {prefill, "128,1,bf", "128,4,bf", "t.csv:2:59: beam_width is 4, expected 1"},
            {decode, "fa3,4,1,", "fa3,4,2,", "t.csv:2:49: isl is 2, expected 1"},
            {moe, "128,2,4", "128,2,5", "t.csv:2:52: moe_ep_size is 5, expected a divisor"},
            {moe, "power_law_1.2", "zipf", "t.csv:2:54: distribution is \"zipf\", expected"},
            {mla, "DeepseekV3", "Deepthought", "t.csv:2:48: architecture is "},
            {nccl, "half,8,1024", "half,8,1023", "t.csv:2:48: 1023 elements, expected a size that"},
            {nccl, "all_gather", "all_scatter", "t.csv:2:25: op_name is \"all_scatter\", expected"},
            {custom, "vllm_graph", "vllm", "t.csv:2:56: backend is \"vllm\", expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene s = {0};
        const char *at = strstr(cases[i].text, cases[i].from);
        assert_non_null(at);
        const char *text = arena_printf(&s.arena, "%.*s%s%s", (int)(at - cases[i].text),
                cases[i].text, cases[i].to, at + strlen(cases[i].from));
        assert_false(read_text(&s, text));
        assert_int_equal(s.err.kind, ERR_INPUT);
        if (strncmp(s.err.text, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s\nexpected %s", s.err.text, cases[i].message);
        arena_free(&s.arena);
    }
}

static void rows_may_lack_a_cost_when_it_is_asked_for(void **unused)
{
    (void)unused;
    struct scene s = {0};
    char text[] = WHO "gemm_dtype,m,n,k\nVLLM,1.2,NVIDIA H200,gemm,linear,bfloat16,8,1024,4096\n";
    struct import_file file = {text, sizeof text - 1, "t.csv", NULL};
    struct import_options options = {.format = IMPORT_AICONFIGURATOR, .no_cost = true};
    assert_true(import_read(&s.imported, &file, &options, &s.arena, &s.err));
    assert_true(isnan(point_at(&s, 0, 0)->cost_us));
    arena_free(&s.arena);
    s = (struct scene){0};
    assert_false(read_text(
            &s, WHO "gemm_dtype,m,n,k\nVLLM,1.2,NVIDIA H200,gemm,linear,bfloat16,8,1,4\n"));
    assert_string_equal(
            s.err.text, "t.csv:2:1: column \"latency\" is missing: it belongs to this table");
    arena_free(&s.arena);
}

/* Written for this test in the shape of nccl-tests 2.x; the figures are made up. */
static const char nccl_text[] =
        "# Collective test starting: all_gather_perf\n"
        "# Using devices\n"
        "#  Rank  0 Group  0 Pid   6899 on alpha device  0 [0000:04:00] NVIDIA H100 80GB HBM3\n"
        "#  Rank  1 Group  0 Pid   6900 on beta device  0 [0000:05:00] NVIDIA H100 80GB HBM3\n"
        "#       size         count      type   redop    root     time   algbw   busbw #wrong     "
        "time\n"
        "        1024           128     float    none      -1    12.50    0.08    0.04      0    "
        "11.00"
        "    0.09    0.05      0\n"
        "        2048           256     float    none      -1    14.00    0.15    0.07    N/A    "
        "13.00"
        "    0.16    0.08    N/A\n"
        "# Out of bounds values : 0 OK\n";
static const char nccl_json[] =
        "{\"version\": 1, \"args\": [\"./all_reduce_perf\", \"-g\", \"2\"],\n"
        "\"config\": {\"devices\": [{\"rank\": 0, \"hostname\": \"a\", \"device_info\": \"NVIDIA "
        "H200\"},"
        "{\"rank\": 1, \"hostname\": \"a\", \"device_info\": \"NVIDIA H200\"}]},\n"
        "\"results\": [{\"size\": 4096, \"type\": \"half\", \"out_of_place\": {\"time\": 7.5},"
        "\"in_place\": {\"time\": 7.0}}]}";

static void what_nccl_tests_print(void **unused)
{
    (void)unused;
    struct scene s = {0};
    if (!read_as(&s, IMPORT_NCCL_TESTS, nccl_text, 0))
        fail_msg("%s", s.err.text);
    assert_op(point_at(&s, 0, 0), "all_gather f32 bytes=512 ranks=2 busy=0 nodes=2", 12.5);
    assert_op(point_at(&s, 0, 1), "all_gather f32 bytes=1024 ranks=2 busy=0 nodes=2", 14);
    assert_string_equal(s.imported.batches[0].device, "h100-80gb-hbm3");
    assert_true(read_as(&s, IMPORT_NCCL_TESTS, nccl_json, 0));
    assert_op(point_at(&s, 1, 0), "all_reduce f16 bytes=4096 ranks=2 busy=0", 7.5);
    assert_string_equal(s.imported.batches[1].device, "h200");
    arena_free(&s.arena);
    /* Without its head the text does not say what it is of. */
    s = (struct scene){0};
    assert_false(read_as(&s, IMPORT_NCCL_TESTS, strstr(nccl_text, "        1024"), 0));
    assert_non_null(strstr(s.err.text, "t.txt:1:1: which collective this is stands nowhere above"));
    arena_free(&s.arena);
    s = (struct scene){0};
    assert_false(read_as(
            &s, IMPORT_NCCL_TESTS, "# all_reduce_perf\n 8 2 float sum -1 x 1 1 0 1 1 1 0\n", 2));
    assert_non_null(strstr(s.err.text, "t.txt:2:1: time is \"x\", expected a number above 0"));
    arena_free(&s.arena);
}

static void what_osu_prints(void **unused)
{
    (void)unused;
    static const char text[] = "\n# OSU MPI Allreduce Latency Test v7.3\n# Datatype: MPI_FLOAT.\n"
                               "# Size       Avg Latency(us)\n4                       1.25\n"
                               "1024                    9.50\n";
    struct scene s = {0};
    if (!read_as(&s, IMPORT_OSU, text, 4))
        fail_msg("%s", s.err.text);
    assert_op(point_at(&s, 0, 0), "all_reduce f32 bytes=4 ranks=4 busy=0", 1.25);
    assert_op(point_at(&s, 0, 1), "all_reduce f32 bytes=1024 ranks=4 busy=0", 9.5);
    assert_string_equal(
            s.imported.batches[0].provenance.software, "OSU MPI Allreduce Latency Test v7.3");
    arena_free(&s.arena);
    s = (struct scene){0};
    assert_false(read_as(&s, IMPORT_OSU, text, 0));
    assert_non_null(strstr(s.err.text, "t.txt:5:1: how many ranks took part stands nowhere above"));
    arena_free(&s.arena);
    /* Cut off in the middle of a row, and rows that are no times. */
    static const char *const bad[][2] = {
            {"# OSU MPI Allreduce Latency Test v7.3\n4 1.25\n1024", "t.txt:3:1: expected a size"},
            {"# OSU MPI Allreduce Latency Test v7.3\n4 -1.25\n", "t.txt:2:1: expected a size"},
            {"# OSU MPI Allreduce Latency Test v7.3\n4 nan\n", "t.txt:2:1: expected a size"},
            {"# OSU MPI Bandwidth Test v7.3\n# Size Bandwidth (MB/s)\n4 1.25\n",
                    "t.txt:1:1: a test of bandwidth"},
            {"# OSU MPI Reduce Latency Test v7.3\n4 1.25\n", "t.txt:2:1: which collective"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        s = (struct scene){0};
        assert_false(read_as(&s, IMPORT_OSU, bad[i][0], 4));
        if (!strstr(s.err.text, bad[i][1]))
            fail_msg("\"%s\" is not in: %s", bad[i][1], s.err.text);
        arena_free(&s.arena);
    }
}

static void our_own_table_reads_back(void **unused)
{
    (void)unused;
    struct scene s = {0};
    struct export_text out = {0};
    struct profile_point points[2] = {
            {.op = {.kind = OP_GEMM, .dtype = DTYPE_BF16, .degree = 2, .busy = 3, .dim = {7, 8, 9}},
                    .cost_us = 1.0 / 3,
                    .lo_us = 0.25,
                    .hi_us = 0.5,
                    .min_us = 0.1,
                    .q1_us = 0.3,
                    .q3_us = 0.4,
                    .p99_us = 0.6,
                    .mad_us = 0,
                    .cold = true,
                    .kernel = "a \"b\", c"},
            {.op = {.kind = OP_MOE,
                     .dtype = DTYPE_MXFP4,
                     .degree = 1,
                     .dim = {1, 2, 3, 4, 8, 2, 120}},
                    .cost_us = 5,
                    .lo_us = (double)NAN,
                    .hi_us = (double)NAN,
                    .min_us = (double)NAN,
                    .q1_us = (double)NAN,
                    .q3_us = (double)NAN,
                    .p99_us = (double)NAN,
                    .mad_us = (double)NAN}};
    struct profile profile = {.points = points, .n = 2, .device = "x, y"};
    export_csv_head(&out);
    export_csv(&out, &profile);
    char *text = arena_strndup(&s.arena, out.text, out.len);
    if (!read_as(&s, IMPORT_CSV, text, 0))
        fail_msg("%s", s.err.text);
    assert_string_equal(s.imported.batches[0].device, "x, y");
    for (int i = 0; i < 2; i++) {
        const struct profile_point *back = point_at(&s, 0, i);
        assert_int_equal(op_compare(&back->op, &points[i].op), 0);
        assert_true(back->cost_us == points[i].cost_us);
        assert_true(i == 1 ? isnan(back->lo_us) : back->lo_us == points[i].lo_us);
        assert_true(i == 1 ? isnan(back->mad_us) : back->mad_us == points[i].mad_us);
        assert_int_equal(back->cold, points[i].cold);
    }
    assert_string_equal(point_at(&s, 0, 0)->kernel, "a \"b\", c");
    export_text_free(&out);
    arena_free(&s.arena);
    s = (struct scene){0};
    assert_false(read_as(&s, IMPORT_CSV, "device,kind,dtype,d0,cost_us\nx,gemm,bf16,0,1\n", 0));
    assert_non_null(strstr(s.err.text, "t.txt:2:13: d0 is \"0\", expected a whole number from 1"));
    arena_free(&s.arena);
}

static void stored_once_and_read_back(void **unused)
{
    (void)unused;
    struct scene s = {0};
    char path[] = "/tmp/test_import_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct db *db = db_open(path, DB_WRITE, &s.err);
    assert_non_null(db);
    struct import_counts counts;
    struct profile profile;
    int64_t rows;
    assert_true(read_text(&s, gemm) && read_text(&s, moe));
    if (!import_store(&counts, db, &s.imported, false, &s.err))
        fail_msg("%s", s.err.text);
    assert_int_equal(counts.added, 4);
    assert_true(import_store(&counts, db, &s.imported, false, &s.err));
    assert_int_equal(counts.added, 0);
    assert_int_equal(counts.kept, 4);
    s.imported.batches[0].points[0].cost_us = 99;
    assert_true(import_store(&counts, db, &s.imported, true, &s.err));
    assert_int_equal(counts.added, 4);
    assert_true(db_check(db, &rows, &s.err));
    assert_true(profile_store_read(&profile, db, "h200", &s.arena, &s.err));
    assert_int_equal(profile.n, 4);
    const struct profile_point *found = profile_find(&profile, &s.imported.batches[0].points[0].op);
    assert_non_null(found);
    assert_true(found->cost_us == 99);
    assert_string_equal(found->kernel, "linear");
    found = profile_find(&profile, &s.imported.batches[1].points[0].op);
    assert_non_null(found);
    assert_int_equal(found->op.dim[6], 120);
    /* One row that cannot be stored: nothing of the import is. */
    s.imported.batches[0].points[1].op.dim[0] = 77;
    s.imported.batches[1].provenance.wall_s = 5;
    s.imported.batches[1].points[0].cost_us = (double)NAN; /* NOT NULL refuses it */
    s.imported.batches[1].points[0].op.dim[0] = 78;
    assert_false(import_store(&counts, db, &s.imported, false, &s.err));
    s.err = (struct err){0};
    assert_true(profile_store_read(&profile, db, "h200", &s.arena, &s.err));
    assert_int_equal(profile.n, 4);
    db_close(db);
    unlink(path);
    arena_free(&s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(every_table_has_its_units),
            cmocka_unit_test(rows_keep_where_they_came_from),
            cmocka_unit_test(what_cannot_be_right_is_refused),
            cmocka_unit_test(rows_may_lack_a_cost_when_it_is_asked_for),
            cmocka_unit_test(what_nccl_tests_print),
            cmocka_unit_test(what_osu_prints),
            cmocka_unit_test(our_own_table_reads_back),
            cmocka_unit_test(stored_once_and_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
