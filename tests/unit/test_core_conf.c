#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conf.h"
#include "core/random.h"

struct inner {
    int small;
    const char *name;
    struct pos pos;
};

struct outer {
    bool flag;
    int narrow;
    int64_t wide;
    double real;
    const char *text;
    int color;
    int64_t bytes;
    double us, rate;
    const int *ints;
    const int64_t *wides;
    const double *reals;
    const char *const *texts;
    int n_ints, n_wides, n_reals, n_texts;
    struct inner one;
    struct inner *many;
    int n_many;
    struct pos text_pos;
};

static const char *const colors[] = {"red", "green", "blue", NULL};

#define AT(member) offsetof(struct inner, member)
static const struct conf_field inner_fields[] = {
        {"small", CONF_INT, AT(small), .min = 1, .max = 9, .def = "3", .help = "a small number"},
        {"name", CONF_STRING, AT(name), .required = true, .pos = AT(pos), .help = "a name"}, {0}};
#undef AT
static const struct conf_table inner_table = {
        .size = sizeof(struct inner), .fields = inner_fields, .help = "an inner thing"};

#define AT(member) offsetof(struct outer, member)
static const struct conf_field outer_fields[] = {
        {"flag", CONF_BOOL, AT(flag), .def = "true", .help = "a truth"},
        {"narrow", CONF_INT, AT(narrow), .help = "an int"},
        {"wide", CONF_I64, AT(wide), .help = "a wide int"},
        {"real", CONF_DOUBLE, AT(real), .def = "0.5", .help = "a real"},
        {"text", CONF_STRING, AT(text), .pos = AT(text_pos), .help = "a text"},
        {"color", CONF_ENUM, AT(color), .names = colors, .def = "green", .help = "a color"},
        {"bytes", CONF_BYTES, AT(bytes), .min = 1024, .max = 1 << 30, .def = "1MiB",
                .help = "a size"},
        {"us", CONF_US, AT(us), .help = "a duration"},
        {"rate", CONF_RATE, AT(rate), .help = "a rate"},
        {"ints", CONF_INT_LIST, AT(ints), .count = AT(n_ints), .min = 1, .max = 100,
                .def = "[1, 2]", .help = "ints"},
        {"wides", CONF_I64_LIST, AT(wides), .count = AT(n_wides), .help = "wides"},
        {"reals", CONF_DOUBLE_LIST, AT(reals), .count = AT(n_reals), .help = "reals"},
        {"texts", CONF_STRING_LIST, AT(texts), .count = AT(n_texts), .help = "texts"},
        {"one", CONF_STRUCT, AT(one), .sub = &inner_table, .help = "one inner"},
        {"many", CONF_STRUCT_LIST, AT(many), .count = AT(n_many), .sub = &inner_table,
                .help = "many inner"},
        {0}};
#undef AT
static const struct conf_table outer_table = {.format = "test",
        .version = 2,
        .size = sizeof(struct outer),
        .fields = outer_fields,
        .help = "an outer thing"};

static bool try_read(struct outer *out, const char *text, struct arena *arena, struct err *err)
{
    return conf_read(out, &outer_table, text, (int64_t)strlen(text), "t.yaml", arena, err);
}

static void every_type_is_read(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct outer o;
    bool ok = try_read(&o,
            "format: test\nversion: 1\nflag: false\nnarrow: -5\nwide: 9007199254740993\n"
            "real: 1.25e3\ntext: some words\ncolor: blue\nbytes: 2KiB\nus: 2.5ms\nrate: 1GB/s\n"
            "ints: [7]\nwides: [1, -2]\nreals:\n  - 0.5\n  - 1\ntexts: [a, 'b c']\n"
            "one: {name: x, small: 9}\nmany:\n  - name: y\n  - {name: \"z\", small: 1}\n",
            &arena, &err);
    assert_string_equal(err.text, "");
    assert_true(ok);
    assert_true(!o.flag && o.narrow == -5 && o.wide == 9007199254740993 && o.real == 1250);
    assert_string_equal(o.text, "some words");
    assert_true(o.color == 2 && o.bytes == 2048 && o.us == 2500 && o.rate == 1e9);
    assert_true(o.n_ints == 1 && o.ints[0] == 7 && o.n_wides == 2 && o.wides[1] == -2);
    assert_true(o.n_reals == 2 && o.reals[0] == 0.5 && o.n_texts == 2);
    assert_string_equal(o.texts[1], "b c");
    assert_true(o.one.small == 9 && o.n_many == 2 && o.many[0].small == 3 && o.many[1].small == 1);
    assert_string_equal(o.many[1].name, "z");
    assert_int_equal(o.text_pos.line, 7);
    assert_int_equal(o.text_pos.column, 7);
    assert_int_equal(o.many[0].pos.line, 20);
    arena_free(&arena);
}

static void defaults_fill_what_is_left_out(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct outer o;
    assert_true(try_read(&o, "format: test\nversion: 2\n", &arena, &err));
    assert_true(o.flag && o.real == 0.5 && o.color == 1 && o.bytes == 1 << 20 && o.one.small == 3);
    assert_true(o.n_ints == 2 && o.ints[1] == 2 && o.text == NULL && o.n_many == 0);
    assert_int_equal(o.text_pos.line, 0);
    arena_free(&arena);
}

#define HEAD "format: test\nversion: 1\n"

static void bad_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
            {"", "t.yaml: is empty, expected \"format: test\" first"},
            {"# nothing\n", "t.yaml: is empty, expected \"format: test\" first"},
            {"- a\n", "t.yaml:1:1: found no keys, expected \"format: test\" first"},
            {"narrow: 1\n", "t.yaml:1:1: expected \"format: test\" as the first line"},
            {"format: plan\n", "t.yaml:1:9: found the format \"plan\", expected \"test\": is this "
                               "the right file?"},
            {"format: test\nnarrow: 1\n", "t.yaml:2:1: expected \"version: 2\" after the format"},
            {"format: test\nversion: 3\n",
                    "t.yaml:2:10: found version 3, this build reads versions 1 to 2; use a newer "
                    "shardwright"},
            {"format: test\nversion: 0\n",
                    "t.yaml:2:10: found version 0, this build reads versions 1 to 2"},
            {"format: test\nversion: x\n",
                    "t.yaml:2:10: version: found \"x\", expected a whole number"},
            {HEAD "narow: 1\n", "t.yaml:3:1: unknown key \"narow\", did you mean \"narrow\"?"},
            {HEAD "zzzzzzzzzz: 1\n",
                    "t.yaml:3:1: unknown key \"zzzzzzzzzz\", expected one of flag, narrow, wide, "
                    "real, "
                    "text, color, bytes, us, rate, ints, wides, reals, texts, one, many"},
            {HEAD "narrow: 1\nnarrow: 2\n",
                    "t.yaml:4:1: duplicate key \"narrow\", first given on line 3"},
            {HEAD "flag: yes\n", "t.yaml:3:7: flag: found \"yes\", expected true or false"},
            {HEAD "narrow: 2147483648\n",
                    "t.yaml:3:9: narrow: found 2147483648, expected a number of at most 31 bits"},
            {HEAD "narrow: 1.5\n", "t.yaml:3:9: narrow: found \"1.5\", expected a whole number"},
            {HEAD "narrow:\n", "t.yaml:3:8: narrow: found nothing, expected an int"},
            {HEAD "narrow: [1]\n", "t.yaml:3:9: narrow: found a list, expected an int"},
            {HEAD "text: {a: b}\n", "t.yaml:3:7: text: found a mapping, expected a text"},
            {HEAD "color: gren\n",
                    "t.yaml:3:8: color: found \"gren\", expected red, green or blue; did you mean "
                    "\"green\"?"},
            {HEAD "bytes: 5\n",
                    "t.yaml:3:8: bytes: found \"5\" without a unit, expected a size such as 80GiB, "
                    "512MiB, 1.5GB or 4096B"},
            {HEAD "bytes: 2GiB\n", "t.yaml:3:8: bytes: found 2GiB, expected 1KiB to 1GiB"},
            {HEAD "ints: 5\n", "t.yaml:3:7: ints: found a single value, expected a list"},
            {HEAD "ints: [1, 101]\n", "t.yaml:3:11: ints: found 101, expected 1 to 100"},
            {HEAD "one: 5\n",
                    "t.yaml:3:6: one: found a single value, expected a mapping with the keys of an "
                    "inner thing"},
            {HEAD "one: {small: 2}\n", "t.yaml:3:6: the key \"name\" is missing (a name)"},
            {HEAD "many: [{name: a}, {small: 2}]\n",
                    "t.yaml:3:19: the key \"name\" is missing (a name)"},
            {HEAD "text: &a x\n", "t.yaml:3:7: found the anchor \"&a\", expected a plain value"},
            {HEAD "text: *a\n", "t.yaml:3:7: found an alias, expected the value itself"},
            {HEAD "text: !!str x\n",
                    "t.yaml:3:7: found the tag \"tag:yaml.org,2002:str\", expected a plain value"},
            {HEAD "text: \"a\\0b\"\n", "t.yaml:3:7: text: found text with a NUL character in it"},
            {HEAD "---\na: b\n", "t.yaml:3:1: found a second document, expected one"},
            {HEAD "text: \"open\n", "t.yaml:4:1: found unexpected end of stream, expected YAML"},
            {HEAD "one: {name: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
                    "t.yaml:3:13: name: found a list, expected a name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct outer o;
        assert_false(try_read(&o, cases[i].text, &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(err.kind, ERR_INPUT);
        arena_free(&arena);
    }
}

static void bytes_that_are_not_text(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct outer o;
    assert_false(try_read(&o, HEAD "text: \xff\xfe\n", &arena, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.text, "expected UTF-8 text"));
    err_clear(&err);
    assert_false(conf_read(&o, &outer_table, HEAD, (16 << 20) + 1, "t.yaml", &arena, &err));
    assert_string_equal(err.text, "t.yaml: is 16777217 bytes long, expected at most 16MiB");
    arena_free(&arena);
}

/* Nothing of the table nests this deep, so the limit is asked through a table that holds itself. */
static const struct conf_table nest_table;
struct nest {
    struct nest *inner;
    int n;
};
static const struct conf_field nest_fields[] = {
        {"inner", CONF_STRUCT_LIST, offsetof(struct nest, inner), .count = offsetof(struct nest, n),
                .sub = &nest_table, .help = "itself"},
        {0}};
static const struct conf_table nest_table = {.format = "nest",
        .version = 1,
        .size = sizeof(struct nest),
        .fields = nest_fields,
        .help = "a nest"};

static void depth_is_limited(void **state)
{
    (void)state;
    for (int depth = 16; depth <= 17; depth++) {
        struct arena arena = {0};
        struct err err = {0};
        struct nest nest;
        char *text = arena_strdup(&arena, "format: nest\nversion: 1\n");
        for (int i = 0; i < depth; i++)
            text = arena_printf(&arena, "%s%s", text, i == 0 ? "inner: [" : "{inner: [");
        for (int i = 0; i < depth; i++)
            text = arena_printf(&arena, "%s%s", text, i == 0 ? "]" : "}]");
        bool ok = conf_read(&nest, &nest_table, text, (int64_t)strlen(text), "t", &arena, &err);
        if (depth == 16)
            assert_true(ok);
        else
            assert_non_null(strstr(err.text, "nested deeper than 32 levels"));
        arena_free(&arena);
    }
    /* a long row of brackets ends early and takes no time */
    struct arena arena = {0};
    struct err err = {0};
    struct nest nest;
    char *text = arena_alloc(&arena, 200000);
    memset(text, '[', 200000);
    assert_false(conf_read(&nest, &nest_table, text, 200000, "t", &arena, &err));
    arena_free(&arena);
}

/* Any value of every type is written so that it reads back the same, byte for byte. */
static void what_is_written_reads_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"plain", "", "~", "null", "true", "12", "a: b", "- x", "#c",
            "multi\nline", " edge ", "\xc3\xa9", "'q\"", "yes", "*a", "&a", "tab\t", "1e5", "@",
            "\x01"};
    for (uint64_t i = 0; i < 2000; i++) {
        struct arena arena = {0};
        struct err err = {0};
        const int ints[] = {(int)(1 + random_u64(1, i) % 100), 100};
        const int64_t wides[] = {(int64_t)random_u64(2, i)};
        const double reals[] = {exp(100 * random_unit(3, i) - 50), -0.1};
        const char *const strings[] = {texts[i % 20], texts[random_u64(4, i) % 20]};
        struct inner many[] = {
                {.small = 2, .name = texts[(i + 1) % 20]}, {.small = 3, .name = "b"}};
        struct outer in = {.flag = i % 2 == 0,
                .narrow = (int)random_u64(5, i),
                .wide = (int64_t)random_u64(6, i),
                .real = random_unit(7, i),
                .text = i % 3 == 0 ? NULL : texts[random_u64(8, i) % 20],
                .color = (int)(i % 3),
                .bytes = 1024 + (int64_t)(random_u64(9, i) % (1 << 29)),
                .us = exp(40 * random_unit(10, i) - 10),
                .rate = exp(40 * random_unit(11, i)),
                .ints = ints,
                .n_ints = (int)(i % 3),
                .wides = wides,
                .n_wides = (int)(i % 2),
                .reals = reals,
                .n_reals = 2,
                .texts = strings,
                .n_texts = 2,
                .one = {.small = 3, .name = i % 5 == 0 ? NULL : "one"},
                .many = many,
                .n_many = (int)(i % 3)};
        struct outer back;
        char *text = NULL, *again = NULL;
        assert_true(conf_write(&text, &in, &outer_table, &arena, &err));
        if (!try_read(&back, text, &arena, &err))
            fail_msg("%s in\n%s", err.text, text);
        assert_true(conf_write(&again, &back, &outer_table, &arena, &err));
        assert_string_equal(text, again);
        assert_true(in.flag == back.flag && in.narrow == back.narrow && in.wide == back.wide
                    && in.real == back.real && in.color == back.color && in.bytes == back.bytes
                    && in.us == back.us && in.rate == back.rate && in.n_ints == back.n_ints
                    && in.n_wides == back.n_wides && in.n_many == back.n_many);
        assert_memory_equal(in.reals, back.reals, sizeof reals);
        assert_string_equal(in.text == NULL ? "-" : in.text, back.text == NULL ? "-" : back.text);
        for (int k = 0; k < 2; k++)
            assert_string_equal(in.texts[k], back.texts[k]);
        for (int k = 0; k < in.n_many; k++)
            assert_string_equal(in.many[k].name, back.many[k].name);
        arena_free(&arena);
    }
}

static void defaults_are_left_out(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct outer o;
    char *text = NULL;
    assert_true(try_read(&o, HEAD "real: 0.5\nwide: 7\nbytes: 1024KiB\n", &arena, &err));
    assert_true(conf_write(&text, &o, &outer_table, &arena, &err));
    assert_string_equal(text, "format: test\nversion: 2\nwide: 7\n");
    arena_free(&arena);
}

static void values_without_a_text_are_our_bug(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    char *text = NULL;
    struct outer o = {.real = (double)NAN};
    assert_false(conf_write(&text, &o, &outer_table, &arena, &err));
    assert_int_equal(err.kind, ERR_BUG);
    err_clear(&err);
    o = (struct outer){.color = 3, .bytes = 1024};
    assert_false(conf_write(&text, &o, &outer_table, &arena, &err));
    err_clear(&err);
    o = (struct outer){.text = "\xff"};
    assert_false(conf_write(&text, &o, &outer_table, &arena, &err));
    arena_free(&arena);
}

static void the_reference_names_every_key(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    conf_document(out, &outer_table);
    fclose(out);
    assert_non_null(strstr(text, "| `format` | `test` | required | the first line |\n"));
    assert_non_null(strstr(text, "| `bytes` | size (`80GiB`), 1KiB to 1GiB | `1MiB` | a size |\n"));
    assert_non_null(
            strstr(text, "| `color` | one of `red`, `green`, `blue` | `green` | a color |\n"));
    assert_non_null(
            strstr(text, "| `one.small` | whole number, 1 to 9 | `3` | a small number |\n"));
    assert_non_null(strstr(text, "| `many[].name` | text | required | a name |\n"));
    free(text);
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct outer o;
    assert_false(conf_read_file(&o, &outer_table, "/nowhere/t.yaml", &arena, &err));
    assert_string_equal(
            err.text, "/nowhere/t.yaml: cannot open: No such file or directory; check the name");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(every_type_is_read),
            cmocka_unit_test(defaults_fill_what_is_left_out),
            cmocka_unit_test(bad_text_is_refused_with_its_place),
            cmocka_unit_test(bytes_that_are_not_text),
            cmocka_unit_test(depth_is_limited),
            cmocka_unit_test(what_is_written_reads_back),
            cmocka_unit_test(defaults_are_left_out),
            cmocka_unit_test(values_without_a_text_are_our_bug),
            cmocka_unit_test(the_reference_names_every_key),
            cmocka_unit_test(files_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
