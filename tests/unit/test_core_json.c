#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"

static struct json *must_read(const char *text)
{
    struct err err = {0};
    struct json *doc = json_read(text, (int64_t)strlen(text), "t.json", &err);
    assert_string_equal(err.text, "");
    return doc;
}

static void values_and_defaults(void **state)
{
    (void)state;
    struct json *doc = must_read("{\"a\": 9007199254740993, \"b\": 1.5, \"c\": \"x\", \"d\": true, "
                                 "\"e\": null, \"f\": [1, 2]}");
    const struct json_node *root = json_root(doc);
    assert_int_equal(json_kind(root), JSON_KIND_OBJECT);
    assert_int_equal(json_count(root), 6);
    assert_true(json_int(json_get(root, "a"), 0) == 9007199254740993);
    assert_true(json_int(json_get(root, "b"), -1) == -1);
    assert_true(json_double(json_get(root, "b"), 0) == 1.5);
    assert_true(json_double(json_get(root, "f"), -2) == -2);
    assert_string_equal(json_text(json_get(root, "c"), ""), "x");
    assert_true(json_bool(json_get(root, "d"), false));
    assert_int_equal(json_kind(json_get(root, "e")), JSON_KIND_NULL);
    assert_int_equal(json_kind(json_get(root, "none")), JSON_KIND_NULL);
    assert_string_equal(json_text(json_get(root, "none"), "def"), "def");
    assert_int_equal(json_int(json_at(json_get(root, "f"), 1), 0), 2);
    assert_null(json_at(json_get(root, "f"), 2));
    assert_null(json_get(json_get(root, "c"), "x"));
    json_close(doc);
    json_close(NULL);
}

static void members_in_file_order(void **state)
{
    (void)state;
    struct json *doc = must_read("{\"z\": 1, \"a\": 2, \"m\": 3}");
    const char *key = "";
    const char *const order[] = {"z", "a", "m"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(json_int(json_member(json_root(doc), i, &key), 0), i + 1);
        assert_string_equal(key, order[i]);
    }
    assert_null(json_member(json_root(doc), 3, &key));
    int n = 0;
    for (void *m = json_first(json_root(doc)); m != NULL; m = json_next(json_root(doc), m)) {
        json_member_value(m, &key);
        assert_string_equal(key, order[n++]);
    }
    assert_int_equal(n, 3);
    json_close(doc);
}

static void bad_text_is_refused_at_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
    } cases[] = {{"", "t.json:1: is empty"}, {"{\"a\": 1,\n \"a\": 2}", "t.json:2:"},
            {"{\"a\": 92233720368547758080}", "t.json:1:"}, {"{\"a\": 1} x", "t.json:1:"},
            {"{\n\n\"a\": tru}", "t.json:3:"}, {"\"\xff\"", "t.json:1:"}, {"[1,", "t.json:1:"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        assert_null(json_read(cases[i].text, (int64_t)strlen(cases[i].text), "t.json", &err));
        assert_int_equal(err.kind, ERR_INPUT);
        assert_memory_equal(err.text, cases[i].place, strlen(cases[i].place));
    }
    struct err err = {0};
    struct pos start = {.path = "t.jsonl", .line = 7};
    assert_null(json_read_at("{", 1, start, &err));
    assert_memory_equal(err.text, "t.jsonl:7:", 10);
}

static void depth_is_limited(void **state)
{
    (void)state;
    char text[10000];
    memset(text, '[', sizeof text);
    struct err err = {0};
    assert_null(json_read(text, sizeof text, "t.json", &err));
    assert_int_equal(err.kind, ERR_INPUT);
}

static void written_text_reads_back(void **state)
{
    (void)state;
    for (int pretty = 0; pretty < 2; pretty++) {
        struct json_writer w = {.pretty = pretty != 0};
        json_object_begin(&w, NULL);
        json_put_string(&w, "text", "q\"\\\n\x01 \xc3\xa9 \xff\xed\xa0\x80");
        json_put_int(&w, "int", INT64_MIN);
        json_put_double(&w, "real", 0.1);
        json_put_double(&w, "nan", (double)NAN);
        json_put_bool(&w, "yes", true);
        json_put_string(&w, "none", NULL);
        json_array_begin(&w, "list");
        json_put_int(&w, NULL, 1);
        json_object_begin(&w, NULL);
        json_end(&w);
        json_end(&w);
        json_end(&w);
        struct json *doc = must_read(w.text);
        const struct json_node *root = json_root(doc);
        assert_string_equal(json_text(json_get(root, "text"), ""),
                "q\"\\\n\x01 \xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
        assert_true(json_int(json_get(root, "int"), 0) == INT64_MIN);
        assert_true(json_double(json_get(root, "real"), 0) == 0.1);
        assert_int_equal(json_kind(json_get(root, "nan")), JSON_KIND_NULL);
        assert_int_equal(json_count(json_get(root, "list")), 2);
        json_close(doc);
        json_writer_free(&w);
    }
}

static void pretty_text_is_stable(void **state)
{
    (void)state;
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_array_begin(&w, "a");
    json_put_int(&w, NULL, 1);
    json_put_int(&w, NULL, 2);
    json_end(&w);
    json_array_begin(&w, "b");
    json_end(&w);
    json_end(&w);
    assert_string_equal(w.text, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": []\n}\n");
    json_writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(values_and_defaults),
            cmocka_unit_test(members_in_file_order),
            cmocka_unit_test(bad_text_is_refused_at_its_place),
            cmocka_unit_test(depth_is_limited),
            cmocka_unit_test(written_text_reads_back),
            cmocka_unit_test(pretty_text_is_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
