#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conf_json.h"
#include "core/spec/cluster_line.h"

#define HEAD "format: shardwright-cluster\nversion: 1\n"
#define KIND "kinds: [{name: core, memory: 1GiB, threads: [1, 2]}]\n"
#define NODE "nodes: [{kind: core, devices: 2}]\n"

static bool try_read(struct cluster *out, const char *text, struct arena *arena, struct err *err)
{
    return conf_read(out, &cluster_table, text, (int64_t)strlen(text), "c.yaml", arena, err)
           && cluster_check(out, err);
}

static void counts_and_kinds(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct cluster c;
    assert_true(try_read(&c,
            HEAD
            "kinds:\n"
            "  - {name: core, memory: 1GiB}\n"
            "  - {name: h200, type: cuda, memory: 141GB, memory_rate: 4.8TB/s, flops: 9.89e14}\n"
            "nodes:\n"
            "  - {kind: core, devices: 2, count: 3}\n"
            "  - {kind: h200, devices: 8}\n"
            "links: [{name: nvlink, inside: true, rate: 450GB/s, latency: 2us}]\n",
            &arena, &err));
    assert_int_equal(cluster_devices(&c), 14);
    const struct device_kind *h200 = cluster_kind(&c, "h200");
    assert_true(h200->type == DEVICE_CUDA && h200->memory_bytes == 141000000000);
    assert_true(h200->memory_rate == 4.8e12 && h200->n_threads == 1 && h200->threads[0] == 1);
    assert_null(cluster_kind(&c, "b200"));
    assert_true(c.links[0].inside && c.links[0].latency_us == 2);
    arena_free(&arena);
}

static void a_line_is_a_cluster_of_datasheets(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct cluster c;
    double rate;
    assert_true(cluster_read_file(&c, "64x8:a100+32x8:h200+1x4:a100", &arena, &err));
    assert_int_equal(cluster_devices(&c), 772);
    assert_int_equal(c.n_kinds, 2);
    assert_int_equal(c.n_nodes, 3);
    assert_int_equal(c.n_links, 4);
    assert_true(cluster_kind(&c, "h200")->memory_bytes == INT64_C(141000000000));
    assert_true(cluster_kind(&c, "a100-80")->flops == 312e12);
    assert_true(cluster_kind(&c, "a100-80")->flops_f8 == 0);
    assert_true(cluster_kind(&c, "h200")->flops_f8 == 1979e12);
    assert_string_equal(cluster_best_link(&c, "a100-80", true, &rate)->name, "nvlink");
    assert_true(rate == 300e9);
    assert_string_equal(cluster_best_link(&c, "h200", false, &rate)->name, "ib");
    assert_true(rate == 50e9);
    assert_false(cluster_line_is("8x8-h200.yaml"));
    assert_false(cluster_line_is("examples/8x8:h200"));
    arena_free(&arena);
}

static void bad_lines_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
            {"8x8:h20O", "8x8:h20O:1:5: no kind of device is known as \"h20O\", did you mean "
                         "\"h20\"?"},
            {"2x8:h100+8x8:tpuv9",
                    "2x8:h100+8x8:tpuv9:1:14: no kind of device is known as \"tpuv9\", expected "
                    "one "
                    "of a100-40, a100-80, b200, h100, h20, h200, l4, l40s, mi300x, or a cluster "
                    "file"},
            {"0x8:h200", "0x8:h200:1:1: expected NODESxDEVICES:KIND such as 8x8:h200, several "
                         "joined by +, with 1 to 65536 nodes of 1 to 4096 devices"},
            {"1x8:h200+", "1x8:h200+:1:10: expected NODESxDEVICES:KIND such as 8x8:h200, several "
                          "joined by +, with 1 to 65536 nodes of 1 to 4096 devices"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct cluster c;
        assert_false(cluster_read_file(&c, cases[i].line, &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        arena_free(&arena);
    }
}

/* Rails are shared by the devices of a machine, uplinks by machines; a kind has its own links. */
static void links_say_what_a_device_gets(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct cluster c;
    double rate;
    const char *text = HEAD "kinds: [{name: old, memory: 1GiB}, {name: new, memory: 1GiB}]\n"
                            "nodes: [{kind: old, devices: 8}, {kind: new, devices: 4}]\n"
                            "links:\n"
                            "  - {name: ib, rate: 40GB/s, rails: 2, sharing: 2}\n"
                            "  - {name: roce, rate: 8GB/s, kind: old}\n";
    assert_true(try_read(&c, text, &arena, &err));
    assert_string_equal(cluster_best_link(&c, "new", false, &rate)->name, "ib");
    assert_true(rate == 10e9);
    assert_string_equal(cluster_best_link(&c, "old", false, &rate)->name, "roce");
    assert_true(rate == 8e9);
    assert_null(cluster_best_link(&c, "old", true, &rate));
    struct json_writer w = {0};
    json_object_begin(&w, NULL);
    conf_put_json(&w, &c, &cluster_table);
    json_end(&w);
    assert_non_null(strstr(w.text, "\"memory_bytes\":1073741824"));
    assert_non_null(strstr(w.text, "\"rate_bytes_per_s\":40000000000"));
    assert_non_null(strstr(w.text, "\"type\":\"cpu\""));
    assert_non_null(strstr(w.text, "\"threads\":[1]"));
    json_writer_free(&w);
    arena_free(&arena);
}

static void bad_clusters_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {HEAD KIND,
                    "c.yaml:1:1: the key \"nodes\" is missing (groups of machines that are alike)"},
            {HEAD KIND "nodes: []\n", "the cluster has no nodes, expected at least one"},
            {HEAD "kinds: []\n" NODE, "the cluster has no kinds, expected at least one"},
            {HEAD KIND "nodes: [{kind: cor, devices: 2}]\n",
                    "c.yaml:4:16: no kind is named \"cor\", did you mean \"core\"?"},
            {HEAD KIND "nodes: [{kind: gpu, devices: 2}]\n",
                    "c.yaml:4:16: no kind is named \"gpu\", the first one is \"core\""},
            {HEAD KIND "nodes: [{name: n, kind: core, devices: 3}]\n",
                    "c.yaml:4:16: node \"n\" has 3 devices, which ranks of 2 threads (kind "
                    "\"core\") "
                    "do not divide"},
            {HEAD KIND "nodes: [{kind: core, devices: 0}]\n",
                    "c.yaml:4:31: devices: found 0, expected 1 to 4096"},
            {HEAD "kinds: [{name: a, memory: 1GiB}, {name: a, memory: 1GiB}]\n" NODE,
                    "c.yaml:3:41: a second kind is named \"a\", expected another name"},
            {HEAD "kinds: [{name: core, memory: -1GiB}]\n" NODE,
                    "c.yaml:3:30: memory: found \"-1GiB\", a size cannot be negative"},
            {HEAD "kinds: [{name: core, memory: 80}]\n" NODE,
                    "c.yaml:3:30: memory: found \"80\" without a unit, expected a size such as "
                    "80GiB, "
                    "512MiB, 1.5GB or 4096B"},
            {HEAD "kinds: [{name: core, memory: 1GiB, threads: [2, 1]}]\n" NODE,
                    "c.yaml:3:16: kind \"core\": threads has 1 after 2, expected ascending "
                    "numbers"},
            {HEAD "kinds: [{name: core, memory: 1GiB, threads: []}]\n" NODE,
                    "c.yaml:3:16: kind \"core\": threads is empty, expected [1] or more"},
            {HEAD "kinds: [{name: core, type: cuda, memory: 1GiB, threads: [2]}]\n" NODE,
                    "c.yaml:3:16: kind \"core\": threads is 2, but one rank drives one GPU: "
                    "expected "
                    "[1]"},
            {HEAD KIND "nodes: [{name: n, kind: core, devices: 4096, count: 65536}]\n",
                    "c.yaml:4:16: found 268435456 devices, expected at most 1048576"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct cluster c;
        assert_false(try_read(&c, cases[i].text, &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(err.kind, ERR_INPUT);
        arena_free(&arena);
    }
}

/* What has no place of its own still names the file. */
static void files_are_named(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct cluster c;
    char path[] = "/tmp/shardwright-cluster-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    fputs(HEAD KIND "nodes: []\n", file);
    fclose(file);
    assert_false(cluster_read_file(&c, path, &arena, &err));
    remove(path);
    char *expected =
            arena_printf(&arena, "%s: the cluster has no nodes, expected at least one", path);
    assert_string_equal(err.text, expected);
    arena_free(&arena);
}

static void shipped_examples_are_read(void **state)
{
    (void)state;
    static const char *const names[] = {"cpu-2.yaml", "h200-8.yaml", "mixed-16.yaml"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct cluster c;
        char *path = arena_printf(&arena, "%s/examples/%s", SOURCE_DIR, names[i]);
        if (!cluster_read_file(&c, path, &arena, &err))
            fail_msg("%s", err.text);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(counts_and_kinds),
            cmocka_unit_test(bad_clusters_are_refused),
            cmocka_unit_test(a_line_is_a_cluster_of_datasheets),
            cmocka_unit_test(bad_lines_are_refused),
            cmocka_unit_test(links_say_what_a_device_gets),
            cmocka_unit_test(files_are_named),
            cmocka_unit_test(shipped_examples_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
