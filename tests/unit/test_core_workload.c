#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "core/spec/workload.h"

#define HEAD "format: shardwright-workload\nversion: 1\n"

static bool try_read(struct workload *out, const char *text, struct arena *arena, struct err *err)
{
    return conf_read(out, &workload_table, text, (int64_t)strlen(text), "w.yaml", arena, err)
           && workload_check(out, err);
}

static struct requests must_make(const char *text, struct arena *arena)
{
    struct err err = {0};
    struct workload w;
    struct requests r = {0};
    if (!try_read(&w, text, arena, &err) || !workload_requests(&r, &w, arena, &err))
        fail_msg("%s", err.text);
    return r;
}

static void bad_workloads_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {HEAD, "the workload has no \"requests\", expected at least 1"},
            {HEAD "requests: 0\n",
                    "w.yaml:3:11: the workload has no \"requests\", expected at least 1"},
            {HEAD "requests: 4\nprompt: {mean: 5}\noutput: {dist: uniform, min: 4, max: 2}\n",
                    "w.yaml:5:9: output: found min 4 and max 2, a uniform length needs both, min "
                    "<= "
                    "max"},
            {HEAD "requests: 4\nprompt: {dist: lognormal, mean: 5}\n",
                    "w.yaml:4:9: prompt: a lognormal length needs \"mean\" and \"sigma\""},
            {HEAD "requests: 4\nprompt: {min: 5}\n",
                    "w.yaml:4:9: prompt: a constant length needs \"mean\", at least 1"},
            {HEAD "requests: 4\narrival: {process: poisson}\n",
                    "w.yaml:4:10: arrival: the process \"poisson\" needs \"per_s\""},
            {HEAD "requests: 4\narrival: {process: trace}\n",
                    "w.yaml:4:10: arrival: found \"process: trace\" without a trace, expected "
                    "\"trace: {path: ...}\""},
            {HEAD "trace: {path: a}\nprompt: {mean: 4}\n",
                    "w.yaml:4:9: prompt: lengths come from the trace, expected none"},
            {HEAD "requests: -1\n", "w.yaml:3:11: requests: found -1, expected 0 to 100000000"},
            {HEAD "slo: {ttft: 5}\n", "w.yaml:3:13: ttft: found \"5\" without a unit, expected a "
                                      "duration such as 2.5ms, "
                                      "10us, 3s, 90min or 2h"},
            {HEAD "arrival: {proces: poisson}\n",
                    "w.yaml:3:11: unknown key \"proces\", did you mean \"process\"?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct workload w;
        assert_false(try_read(&w, cases[i].text, &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(err.kind, ERR_INPUT);
        arena_free(&arena);
    }
}

static void same_seed_same_requests(void **state)
{
    (void)state;
    static const char text[] =
            HEAD "requests: 500\nseed: 3\n"
                 "arrival: {process: poisson, per_s: 10}\n"
                 "prompt: {dist: lognormal, mean: 100, sigma: 0.7, min: 10, max: 400}\n"
                 "output: {dist: uniform, min: 5, max: 15}\n";
    struct arena arena = {0};
    struct requests a = must_make(text, &arena), b = must_make(text, &arena);
    assert_int_equal(a.n, 500);
    double prompt = 0, output = 0;
    for (int64_t i = 0; i < a.n; i++) {
        assert_memory_equal(&a.items[i], &b.items[i], sizeof a.items[i]);
        assert_in_range(a.items[i].prompt_len, 10, 400);
        assert_in_range(a.items[i].output_len, 5, 15);
        assert_true(i == 0 || a.items[i].arrival_ns >= a.items[i - 1].arrival_ns);
        prompt += (double)a.items[i].prompt_len / 500;
        output += (double)a.items[i].output_len / 500;
    }
    assert_true(fabs(output - 10) < 0.6 && fabs(prompt - 97) < 10);
    assert_true(fabs((double)a.items[499].arrival_ns / 1e9 - 50) < 8); /* sd 2.2 */
    arena_free(&arena);
}

static void a_longer_workload_begins_with_the_shorter(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct requests a = must_make(HEAD "requests: 5\nprompt: {dist: uniform, min: 1, max: 999}\n"
                                       "output: {mean: 4}\n",
            &arena);
    struct requests b = must_make(HEAD "requests: 9\nprompt: {dist: uniform, min: 1, max: 999}\n"
                                       "output: {mean: 4}\n",
            &arena);
    for (int64_t i = 0; i < 5; i++)
        assert_memory_equal(&a.items[i], &b.items[i], sizeof a.items[i]);
    assert_true(b.items[0].arrival_ns == 0 && b.items[8].arrival_ns == 0);
    arena_free(&arena);
}

static void uniform_arrivals_are_even(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct requests r = must_make(HEAD "requests: 3\narrival: {process: uniform, per_s: 4}\n"
                                       "prompt: {mean: 7}\noutput: {mean: 9}\n",
            &arena);
    for (int64_t i = 0; i < 3; i++) {
        assert_true(r.items[i].arrival_ns == i * 250000000);
        assert_true(r.items[i].prompt_len == 7 && r.items[i].output_len == 9);
    }
    arena_free(&arena);
}

static void tokens_are_uniform_and_repeatable(void **state)
{
    (void)state;
    struct request r = {.seed = 5};
    int hits[10] = {0};
    for (int64_t i = 0; i < 10000; i++) {
        int32_t token = request_token(&r, i, 10);
        assert_in_range(token, 0, 9);
        assert_int_equal(token, request_token(&r, i, 10));
        hits[token]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(hits[i], 850, 1150);
}

static void shared_prefixes_share_tokens(void **state)
{
    (void)state;
    const int64_t first[] = {11, 22}, second[] = {11, 33};
    struct request a = {.seed = 1, .prefix_hash = first, .n_prefix_hash = 2};
    struct request b = {.seed = 2, .prefix_hash = second, .n_prefix_hash = 2};
    int same = 0;
    for (int64_t i = 0; i < 512; i++) {
        assert_int_equal(request_token(&a, i, 30000), request_token(&b, i, 30000));
        same += request_token(&a, 512 + i, 30000) == request_token(&b, 512 + i, 30000);
        same += request_token(&a, 1024 + i, 30000) == request_token(&b, 1024 + i, 30000);
    }
    assert_in_range(same, 0, 2);
}

static void azure_rows(void **state)
{
    (void)state;
    static const char text[] = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                               "2023-12-31 23:59:59.9999999,374,44\r\n"
                               "2024-01-01 00:00:00.0000001,396,109\r\n"
                               "2024-02-29 12:00:00.5+00:00,1,1\r\n";
    struct arena arena = {0};
    struct err err = {0};
    struct requests r;
    assert_true(trace_read_azure(&r, text, sizeof text - 1, "t.csv", &arena, &err));
    assert_int_equal(r.n, 3);
    assert_true(r.items[0].arrival_ns == 0 && r.items[1].arrival_ns == 200);
    assert_true(r.items[2].arrival_ns == ((59 * 86400LL + 43200) * 10 + 5) * 100000000 + 100);
    assert_true(r.items[1].prompt_len == 396 && r.items[1].output_len == 109);
    arena_free(&arena);
}

static void rows_out_of_order_are_sorted(void **state)
{
    (void)state;
    static const char text[] = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
                               "2024-01-01 00:00:02,3,1\n2024-01-01 00:00:01,1,1\n"
                               "2024-01-01 00:00:01,2,1";
    struct arena arena = {0};
    struct err err = {0};
    struct requests r;
    assert_true(trace_read_azure(&r, text, sizeof text - 1, "t.csv", &arena, &err));
    for (int64_t i = 0; i < 3; i++)
        assert_int_equal(r.items[i].prompt_len, i + 1);
    assert_true(r.items[2].arrival_ns == 1000000000);
    arena_free(&arena);
}

#define AZURE "TIMESTAMP,ContextTokens,GeneratedTokens\n"

static void bad_azure_rows_are_refused_at_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {"", "t.csv:1:1: expected the header TIMESTAMP,ContextTokens,GeneratedTokens"},
            {"TIMESTAMP,ContextTokens,GeneratedTokens,More\n",
                    "t.csv:1:40: expected the header TIMESTAMP,ContextTokens,GeneratedTokens and "
                    "no "
                    "more columns"},
            {AZURE, "t.csv: the trace has no requests"},
            {AZURE "2024-01-01 00:00:00,0,5\n",
                    "t.csv:2:21: ContextTokens is 0, expected 1 to 268435456 tokens"},
            {AZURE "2024-01-01 00:00:00,5,-1\n", "t.csv:2:23: expected digits"},
            {AZURE "2024-01-01 00:00:00,5\n", "t.csv:2:22: the row ends early, expected \",\""},
            {AZURE "2024-01-01 00:00:00,5,5,5\n",
                    "t.csv:2:24: found \",\" after the last column, expected the end of the row"},
            {AZURE "2024-13-01 00:00:00,5,5\n",
                    "t.csv:2:1: found a time that does not exist, expected YYYY-MM-DD HH:MM:SS"},
            {AZURE "2024-01-01T00:00:00,5,5\n", "t.csv:2:11: found \"T\", expected \" \""},
            {AZURE "2024-01-01 00:00:00,99999999999,5\n",
                    "t.csv:2:21: found a number of more than 10 digits"},
            {AZURE "2024-01-01 00:00:00,5,5\nx\n", "t.csv:3:1: expected digits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct requests r;
        assert_false(trace_read_azure(
                &r, cases[i].text, (int64_t)strlen(cases[i].text), "t.csv", &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(err.kind, ERR_INPUT);
        arena_free(&arena);
    }
}

static void mooncake_rows(void **state)
{
    (void)state;
    static const char text[] =
            "{\"timestamp\": 10, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [7, "
            "9]}\n"
            "\n{\"timestamp\": 12.5, \"input_length\": 1, \"output_length\": 1}\n";
    struct arena arena = {0};
    struct err err = {0};
    struct requests r;
    assert_true(trace_read_mooncake(&r, text, sizeof text - 1, "t.jsonl", &arena, &err));
    assert_int_equal(r.n, 2);
    assert_true(r.items[0].n_prefix_hash == 2 && r.items[0].prefix_hash[1] == 9);
    assert_true(r.items[1].arrival_ns == 2500000 && r.items[1].prefix_hash == NULL);
    arena_free(&arena);
}

static void bad_mooncake_rows_are_refused_at_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {"\n{\"timestamp\": 1, \"input_length\": 0, \"output_length\": 5}",
                    "t.jsonl:2:1: \"input_length\" must be a whole number from 1 to 268435456"},
            {"{\"timestamp\": -1, \"input_length\": 4, \"output_length\": 5}",
                    "t.jsonl:1:1: \"timestamp\" must be milliseconds from 0 to 9e12"},
            {"{\"timestamp\": 1, \"input_length\": 4, \"output_length\": 5.5}",
                    "t.jsonl:1:1: \"output_length\" must be a whole number from 1 to 268435456"},
            {"{\"timestamp\": 1, \"input_length\": 4, \"output_length\": 5, \"hash_ids\": [1.5]}",
                    "t.jsonl:1:1: \"hash_ids\" must be a list of whole numbers"},
            {"[]", "t.jsonl:1:1: expected an object {\"timestamp\": ..., \"input_length\": ...}"},
            {"", "t.jsonl: the trace has no requests"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct requests r;
        assert_false(trace_read_mooncake(
                &r, cases[i].text, (int64_t)strlen(cases[i].text), "t.jsonl", &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        arena_free(&arena);
    }
    struct arena arena = {0};
    struct err err = {0};
    struct requests r;
    assert_false(trace_read_mooncake(&r, "\n{\"a\": 1", 8, "t.jsonl", &arena, &err));
    assert_memory_equal(err.text, "t.jsonl:2:", 10);
    arena_free(&arena);
}

/* Slices, scales and clamps, through a file beside the workload. */
static void a_slice_of_a_trace(void **state)
{
    (void)state;
    char dir[] = "/tmp/shardwright-trace-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct arena arena = {0};
    struct err err = {0};
    struct workload w;
    struct requests r;
    char *trace = arena_printf(&arena, "%s/t.csv", dir),
         *path = arena_printf(&arena, "%s/w.yaml", dir);
    FILE *file = fopen(trace, "w");
    fputs(AZURE
            "2024-01-01 00:00:00,10,1\n2024-01-01 00:00:01,100,20\n2024-01-01 00:00:03,1000,30\n"
            "2024-01-01 00:00:09,10,40\n",
            file);
    fclose(file);
    file = fopen(path, "w");
    fputs(HEAD
            "requests: 2\narrival: {process: trace}\n"
            "trace: {path: t.csv, skip: 1, time_scale: 2, length_scale: 0.125, max_prompt: 100}\n",
            file);
    fclose(file);
    if (!workload_read_file(&w, path, &arena, &err) || !workload_requests(&r, &w, &arena, &err))
        fail_msg("%s", err.text);
    assert_int_equal(r.n, 2);
    assert_true(r.items[0].arrival_ns == 0 && r.items[1].arrival_ns == 1000000000);
    assert_true(r.items[0].prompt_len == 13 && r.items[1].prompt_len == 100);
    assert_true(r.items[0].output_len == 3 && r.items[1].output_len == 4);
    w.requests = 4;
    assert_false(workload_requests(&r, &w, &arena, &err));
    assert_non_null(strstr(err.text, "w.yaml:3:11: found 4 requests, but "));
    err_clear(&err);
    w.trace.skip = 4;
    assert_false(workload_requests(&r, &w, &arena, &err));
    assert_non_null(strstr(err.text, "has 4 requests"));
    remove(trace);
    remove(path);
    rmdir(dir);
    arena_free(&arena);
}

static void the_published_traces_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int64_t n, span_s;
    } traces[] = {{"/../shared/data/traces/AzureLLMInferenceTrace_conv.csv", 19366, 3502},
            {"/../shared/data/traces/mooncake_conversation_trace.jsonl", 12031, 3537}};
    for (int i = 0; i < 2; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct workload w = {.arrival = {.process = ARRIVAL_TRACE},
                .trace = {.time_scale = 1, .length_scale = 1}};
        struct requests r;
        w.trace.path = arena_printf(&arena, "%s%s", SOURCE_DIR, traces[i].path);
        if (access(w.trace.path, R_OK) != 0) {
            arena_free(&arena);
            skip();
        }
        if (!workload_requests(&r, &w, &arena, &err))
            fail_msg("%s", err.text);
        assert_int_equal(r.n, traces[i].n);
        assert_int_equal(
                (int64_t)nearbyint((double)r.items[r.n - 1].arrival_ns / 1e9), traces[i].span_s);
        arena_free(&arena);
    }
}

static void steady_arrivals_take_a_rate(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct requests r;
    struct workload w = {.requests = 9,
            .arrival = {.process = ARRIVAL_STEADY},
            .prompt = {.mean = 5},
            .output = {.mean = 7},
            .admission = {.deadline_us = 1e6}};
    assert_true(workload_check(&w, &err));
    assert_true(workload_requests(&r, &w, &arena, &err));
    assert_true(r.unpaced);
    assert_int_equal(r.n_warm, 3);
    assert_int_equal(r.n_cool, 3);
    assert_false(requests_pace(&r, 0, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    err = (struct err){0};
    assert_true(requests_pace(&r, 4, &err));
    assert_int_equal(r.items[8].arrival_ns, 2000000000);
    assert_int_equal(r.items[8].deadline_ns, 3000000000);
    assert_true(requests_pace(&r, 8, &err)); /* it has one now */
    assert_int_equal(r.items[8].arrival_ns, 2000000000);
    w.arrival.per_s = 3;
    assert_false(workload_check(&w, &err));
    arena_free(&arena);
}

static void shipped_examples_are_read(void **state)
{
    (void)state;
    static const char *const names[] = {
            "chat-small.yaml", "chat-poisson.yaml", "offline-batch.yaml", "chat-steady.yaml"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct workload w;
        struct requests r;
        char *path = arena_printf(&arena, "%s/examples/%s", SOURCE_DIR, names[i]);
        if (!workload_read_file(&w, path, &arena, &err) || !workload_requests(&r, &w, &arena, &err))
            fail_msg("%s", err.text);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(bad_workloads_are_refused),
            cmocka_unit_test(same_seed_same_requests),
            cmocka_unit_test(a_longer_workload_begins_with_the_shorter),
            cmocka_unit_test(uniform_arrivals_are_even),
            cmocka_unit_test(tokens_are_uniform_and_repeatable),
            cmocka_unit_test(shared_prefixes_share_tokens),
            cmocka_unit_test(azure_rows),
            cmocka_unit_test(rows_out_of_order_are_sorted),
            cmocka_unit_test(bad_azure_rows_are_refused_at_their_place),
            cmocka_unit_test(mooncake_rows),
            cmocka_unit_test(bad_mooncake_rows_are_refused_at_their_line),
            cmocka_unit_test(a_slice_of_a_trace),
            cmocka_unit_test(the_published_traces_are_read),
            cmocka_unit_test(steady_arrivals_take_a_rate),
            cmocka_unit_test(shipped_examples_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
